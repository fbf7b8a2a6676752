# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's net_iavf as a peer: the installed package's static libraries, its source's headers.

The burst functions are in the static library but in no shared one, and the queue structures that
they take are in headers that no binary package has. So the headers come from the source package of
the very version that is installed, through apt with a configuration of its own: the machine's is
not touched.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "libdpdk-dev"
#: What the adapter needs, and what these need.
LIBRARIES = (
    "net_iavf common_iavf ethdev mbuf mempool ring eal kvargs telemetry security cryptodev net "
    "bus_pci bus_vdev pci meter rcu timer hash"
).split()
#: Registers its operations when it is loaded, so that nobody refers to it.
WHOLE = "mempool_ring"
SYSTEM = "-lpthread -lnuma -lm -ldl -latomic -lbsd".split()
HEADERS = (
    "drivers/net/iavf drivers/common/iavf drivers/bus/pci drivers/bus/vdev "
    "lib/ethdev lib/security lib/cryptodev lib/telemetry lib/eal/include"
).split()


class PeerMissing(Exception):
    """DPDK cannot take part; the text says why and what mends it."""


@dataclass(frozen=True)
class Peer:
    """What the compiler and the linker need."""

    version: str
    compile_args: tuple[str, ...]
    link_args: tuple[str, ...]


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _installed() -> tuple[str, str]:
    """Version of the package, directory of its libraries."""
    if not shutil.which("dpkg-query") or not shutil.which("pkg-config"):
        raise PeerMissing(
            "DPDK comes from Debian packages; this machine has no dpkg and pkg-config"
        )
    version = _output("dpkg-query", "-W", "-f", "${source:Version}", PACKAGE)
    libraries = _output("pkg-config", "--variable=libdir", "libdpdk")
    if not version or not libraries:
        raise PeerMissing(f"{PACKAGE} is not installed: apt-get install {PACKAGE} pkg-config")
    missing = [n for n in (*LIBRARIES, WHOLE) if not Path(libraries, f"librte_{n}.a").exists()]
    if missing:
        raise PeerMissing(f"{PACKAGE} {version} has no static library of {', '.join(missing)}")
    return version, libraries


def source_lists(etc: Path, out: Path) -> int:
    """Writes the machine's package sources into `out` as sources of source packages; how many."""
    out.mkdir(parents=True, exist_ok=True)
    written = 0
    for file in sorted([*etc.glob("sources.list"), *etc.glob("sources.list.d/*")]):
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".sources":
            text = re.sub(r"^Types:.*$", "Types: deb-src", text, flags=re.MULTILINE)
        elif file.suffix == ".list":
            text = re.sub(r"^deb\s", "deb-src ", text, flags=re.MULTILINE)
        else:
            continue
        (out / file.name).write_text(text, encoding="utf-8")
        written += 1
    return written


def _apt(work: Path, *arguments: str) -> None:
    options = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": str(work / "sources"),
        "Dir::State::lists": str(work / "lists"),
        "Dir::Cache": str(work / "cache"),
    }
    if os.geteuid() == 0:
        options["APT::Sandbox::User"] = "root"
    command = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in options.items())]
    done = subprocess.run(
        [*command, *arguments], cwd=work, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PeerMissing(f"DPDK's source package cannot be had: apt-get {arguments[0]}: {last}")


def _wanted(name: str) -> str | None:
    """Returns where a member of the archive goes, below the headers' directory; None: nowhere."""
    inner = name.partition("/")[2]
    if ".." in inner.split("/"):
        return None
    if inner.endswith(".h") and inner.startswith(tuple(f"{h}/" for h in HEADERS)):
        return inner
    return None


def _headers(build: Path, version: str) -> Path:
    """The private headers of this version; fetched once."""
    out = build / f"dpdk-{version}"
    if out.exists():
        return out
    work = (build / "source").absolute()
    (work / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    if not source_lists(Path("/etc/apt"), work / "sources"):
        raise PeerMissing("apt has no package sources: /etc/apt/sources.list.d is empty")
    print(f"fetching the headers of DPDK {version}", flush=True)
    _apt(work, "update")
    _apt(work, "source", "--download-only", f"dpdk={version}")
    archive = next(work.glob("dpdk_*.orig.tar.*"))
    partial = out.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            inner = _wanted(member.name)
            file = tar.extractfile(member) if inner and member.isfile() else None
            if inner and file:
                target = partial / inner
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read())
    partial.rename(out)
    shutil.rmtree(work)
    return out


def find(build: Path) -> Peer:
    """DPDK for the compiler, its headers below `build`. Raises PeerMissing."""
    version, libraries = _installed()
    headers = _headers(build, version)
    flags = _output("pkg-config", "--cflags", "libdpdk").split()
    archives = [f"{libraries}/librte_{name}.a" for name in LIBRARIES]
    return Peer(
        version=version,
        compile_args=(
            *(
                f
                for f in flags
                if f.startswith(("-I", "-march")) or f in ("-include", "rte_config.h")
            ),
            *(f"-isystem{headers / folder}" for folder in HEADERS),
            "-DALLOW_INTERNAL_API",
            "-DALLOW_EXPERIMENTAL_API",
        ),
        link_args=(
            "-Wl,--whole-archive",
            f"{libraries}/librte_{WHOLE}.a",
            "-Wl,--no-whole-archive",
            "-Wl,--start-group",
            *archives,
            "-Wl,--end-group",
            *SYSTEM,
        ),
    )
