#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Builds wheels that run on other systems into dist/, for x86-64 and 64-bit ARM.

    tools/manylinux.py [x86_64] [aarch64]

The compiler is the clang of the package ziglang, which links against a C library of any age: here
glibc 2.28, the one of manylinux_2_28. The extensions keep to Python's stable ABI, so one wheel
serves each Python from 3.11 on. A wheel reaches dist/ when its libraries keep to what its name
promises (`faults`), and auditwheel agrees. Docs: docs/guides/wheels.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build-manylinux"
GLIBC = (2, 28)
MACHINES = {
    "x86_64": "Advanced Micro Devices X86-64",
    "aarch64": "AArch64",
}  # as readelf names them
SYSTEM = re.compile(r"lib(c|m|dl|rt|pthread)\.so\.\d+|ld-linux-[a-z0-9-]+\.so\.\d+")
CROSS = """\
[binaries]
c = ['{python}', '-m', 'ziglang', 'cc', '-target', '{machine}-linux-gnu.{glibc}']

[built-in options]
c_args = ['-I{headers}', '-fno-sanitize=undefined']
c_link_args = ['-s']

[host_machine]
system = 'linux'
cpu_family = '{machine}'
cpu = '{machine}'
endian = 'little'
"""


def tag(machine: str) -> str:
    """The platform tag of a machine's wheel."""
    return f"manylinux_{GLIBC[0]}_{GLIBC[1]}_{machine}"


def copy_headers(to: Path) -> None:
    """Python's configuration, where a header of Debian looks for the one of each machine.

    Both have 64-bit longs and pointers, and the stable ABI asks for no more of it.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    config = Path(sysconfig.get_config_h_filename())
    debian = Path("/usr/include") / f"{sysconfig.get_config_var('MULTIARCH')}/{version}/pyconfig.h"
    for machine in MACHINES:
        folder = to / f"{machine}-linux-gnu" / version
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(debian if debian.exists() else config, folder / "pyconfig.h")


def build(machine: str, into: Path) -> Path:
    """Builds one machine's wheel into a directory; returns its file. Raises SystemExit."""
    work = WORK / machine
    work.mkdir(parents=True, exist_ok=True)
    copy_headers(WORK / "include")
    cross = work / "cross.ini"
    cross.write_text(
        CROSS.format(
            python=sys.executable,
            machine=machine,
            glibc=".".join(map(str, GLIBC)),
            headers=WORK / "include",
        ),
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", ".", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-build-isolation", "--wheel-dir", str(into)),
            *("-C", f"build-dir={work / 'build'}", "-C", f"setup-args=--cross-file={cross}"),
            *("-C", "setup-args=-Dwerror=true"),
        ],
        cwd=ROOT,
        # What sysconfig.get_platform() answers, of which meson-python makes the tag.
        env={**os.environ, "_PYTHON_HOST_PLATFORM": tag(machine)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{done.stdout[-4000:]}\nthe wheel for {machine} does not build")
    return next(into.glob(f"*-{tag(machine)}.whl"))


def described(library: Path) -> str:
    """What readelf says of a library: header, sections, segments, what it needs."""
    command = ["readelf", "--wide", "--file-header", "--sections", "--segments", "--dynamic"]
    done = subprocess.run(
        [*command, "--version-info", str(library)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    return done.stdout


def glibc_of(text: str) -> tuple[int, ...]:
    """The newest version of glibc that the library asks for; (0,) when it asks for none."""
    found = re.findall(r"Name: GLIBC_(\d+(?:\.\d+)+)\s", text)
    return max((tuple(map(int, one.split("."))) for one in found), default=(0,))


def faults(text: str, machine: str) -> list[str]:
    """What keeps the described library from running wherever the tag of its wheel says."""
    found = []
    if f"Machine:                           {MACHINES[machine]}\n" not in text:
        found.append(f"it is not for {machine}")
    if glibc_of(text) > GLIBC:
        found.append(f"it needs glibc {'.'.join(map(str, glibc_of(text)))}")
    for name in re.findall(r"Name: (?!GLIBC_\d)(\S+)\s+Flags", text):
        found.append(f"it needs the version {name}")
    for name in re.findall(r"\(NEEDED\).*\[(.+)\]", text):
        if not SYSTEM.fullmatch(name):
            found.append(f"it needs {name}, which not every system has")
    if re.search(r"\((RPATH|RUNPATH)\)", text):
        found.append("it looks for libraries in a directory of the builder's")
    if re.search(r"\(TEXTREL\)", text):
        found.append("it has its code changed when it is loaded")
    if re.search(r"GNU_STACK.*\bRWE\b", text):
        found.append("it wants a stack that can be executed")
    if re.search(r"\s\.(symtab|debug_info)\s", text):
        found.append("it is not stripped")
    return found


def check(wheel: Path, machine: str) -> None:
    """Prints what a wheel's libraries need. Raises SystemExit when it is more than the tag says."""
    wrong = []
    with tempfile.TemporaryDirectory() as directory, zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".so")]
        for name in names:
            text = described(Path(archive.extract(name, directory)))
            size = archive.getinfo(name).file_size / 1000
            newest = ".".join(map(str, glibc_of(text)))
            print(f"  {name:34} {size:4.0f} kB, glibc {newest}")
            wrong += [f"{name}: {fault}" for fault in faults(text, machine)]
    if not names:
        wrong.append("there is no library in it")
    shown = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", str(wheel)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = " ".join((shown.stdout + shown.stderr).split())
    agreed = re.search(r'following platform tag: "manylinux_2_(\d+)_(\w+)"', said)
    if not agreed or int(agreed[1]) > GLIBC[1] or agreed[2] != machine:
        wrong.append(f"auditwheel does not agree: {said}")
    else:
        print(f"  auditwheel: manylinux_2_{agreed[1]}_{agreed[2]}")
    if wrong:
        raise SystemExit("\n".join([f"{wheel.name} is not what its name says:", *wrong]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("machine", nargs="*", help=f"{' or '.join(MACHINES)}; both by default")
    chosen = parser.parse_args().machine or list(MACHINES)
    unknown = set(chosen) - set(MACHINES)
    if unknown:
        parser.error(f"no wheel is built for {', '.join(sorted(unknown))}")
    target = ROOT / "dist"
    target.mkdir(exist_ok=True)
    for machine in chosen:
        with tempfile.TemporaryDirectory(dir=target) as directory:
            wheel = build(machine, Path(directory))
            print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
            check(wheel, machine)
            wheel.replace(target / wheel.name)


if __name__ == "__main__":
    main()
