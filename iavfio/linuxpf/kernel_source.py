# SPDX-License-Identifier: BSD-3-Clause
"""Debian's kernel source packages and the two tools that a kernel build needs beside a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from iavfio.linuxpf.cache import Unavailable, cache_dir, call

COMPILER = ("gcc", "make", "bc", "xz")
TOOLS = ("flex", "bison")
TOOL_PACKAGES = ("flex", "bison", "m4", "libfl2", "libsigsegv2")


def _apt_cache(*words: str) -> str:
    try:
        done = subprocess.run(
            ["apt-cache", *words], capture_output=True, text=True, check=False, timeout=60
        )
    except OSError as error:
        raise Unavailable("this host has no apt: judges are built from Debian packages") from error
    return done.stdout


def newest_version(package: str) -> str:
    """The version that apt would fetch. Raises Unavailable when there is none."""
    for line in _apt_cache("policy", package).splitlines():
        name, _, version = line.strip().partition(": ")
        if name == "Candidate" and version not in ("", "(none)"):
            return version
    raise Unavailable(f"apt knows no package {package}: run 'apt-get update' on a Debian host")


def _fetch(packages: list[str], into: Path, log: Path) -> None:
    """Unpacks packages into a directory; installs nothing."""
    debs = into / "debs"
    debs.mkdir(parents=True)
    call(["apt-get", "download", "-q", *packages], log=log, timeout=900, cwd=debs)
    for deb in sorted(debs.glob("*.deb")):
        call(["dpkg-deb", "-x", deb, into], log=log, timeout=300)
    shutil.rmtree(debs)


def unpack(package: str, version: str, work: Path, log: Path) -> Path:
    """The kernel's source tree below `work`."""
    _fetch([f"{package}={version}"], work, log)
    tar = next((work / "usr/src").glob("linux-source-*.tar.xz"))
    call(["tar", "-C", work, "-xf", tar], log=log, timeout=600)
    shutil.rmtree(work / "usr")
    return next(path for path in work.iterdir() if path.name.startswith("linux-source-"))


def build_environment(log: Path) -> Mapping[str, str]:
    """What `make` needs in its environment. Raises Unavailable without a compiler."""
    missing = [tool for tool in COMPILER if shutil.which(tool) is None]
    if missing:
        raise Unavailable(f"a judge's build needs {', '.join(missing)}: apt-get install them")
    if all(map(shutil.which, TOOLS)):
        return {}
    tools = cache_dir() / "judge-tools"
    if not (tools / "usr/bin/bison").exists():
        shutil.rmtree(tools, ignore_errors=True)
        _fetch(list(TOOL_PACKAGES), tools, log)
    libraries = [str(path) for path in (tools / "usr/lib").glob("*-linux-gnu")]
    return {
        "PATH": f"{tools}/usr/bin:{os.environ['PATH']}",
        "M4": f"{tools}/usr/bin/m4",
        "BISON_PKGDATADIR": f"{tools}/usr/share/bison",
        "LD_LIBRARY_PATH": ":".join(libraries),
    }
