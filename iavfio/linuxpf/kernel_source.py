# SPDX-License-Identifier: BSD-3-Clause
"""Debian's kernel source packages and the two tools that a kernel build needs beside a compiler.

A kernel with a number comes from the host's own apt. The newest one is found in the backports of
the same mirror, which are asked at most once a day.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from iavfio.linuxpf.archive import BACKPORTS, Archive
from iavfio.linuxpf.cache import (
    LabError,
    Unavailable,
    cache_dir,
    call,
    locked,
    replace_tree,
    written,
)

COMPILER = ("gcc", "make", "bc", "xz")
TOOLS = ("flex", "bison")
TOOL_PACKAGES = ("flex", "bison", "m4", "libfl2", "libsigsegv2")
NEWEST = "newest"  # in the place of a kernel's number
FRESH_SECONDS = 86400.0  # of the archive's lists


@dataclass(frozen=True)
class Source:
    """A kernel's source: package, version and where it is had from (None: the host's own apt)."""

    package: str
    version: str
    archive: Archive | None = None

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


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


def source(kernel: str) -> Source:
    """The source of a kernel such as "6.12", or of the newest that is known here.

    Raises Unavailable when there is none.
    """
    if kernel != NEWEST:
        package = f"linux-source-{kernel}"
        return Source(package, newest_version(package))
    archive = _backports()
    if not archive.listed:
        raise Unavailable(
            "which kernel is the newest was never asked: run 'make judge' where the package "
            "archive can be reached"
        )
    version = archive.versions("linux-source").get(BACKPORTS, "")
    names = archive.depends("linux-source", version) if version else []
    package = next((name for name in names if name.startswith("linux-source-")), "")
    if not package:
        raise Unavailable(
            f"the package archive has no linux-source in {BACKPORTS}: use a mirror that has it"
        )
    return Source(package, archive.versions(package)[BACKPORTS], archive)


def refresh(log: Path) -> None:
    """Asks the archive for the newest kernel, unless it was asked within a day.

    Where it does not answer what is known already is good enough. Raises Unavailable when nothing
    is known.
    """
    with locked("judge-apt"):
        archive = _backports()
        asked = _asked(archive)
        fresh = asked.exists() and time.time() - asked.stat().st_mtime < FRESH_SECONDS
        if archive.listed and fresh:
            return
        try:
            archive.update(log)
            asked.touch()
        except Unavailable as error:
            if not archive.listed:
                raise
            print(f"the newest kernel is that of the last time: {error}", flush=True)


def _backports() -> Archive:
    return Archive(cache_dir() / "judge-apt", (BACKPORTS,))


def _asked(archive: Archive) -> Path:
    """Tells by its time when the archive was asked last."""
    return archive.home / "asked"


def _download(source: Source, archive: Archive, log: Path) -> Path:
    try:
        (deb,) = archive.download([f"{source.package}={source.version}"], log)
    except LabError as error:
        _asked(archive).unlink(missing_ok=True)  # it may have another version by now
        raise Unavailable(
            f"the package archive does not hand out {source}: run 'make judge' again when it can "
            f"be reached ({error})"
        ) from error
    return deb


def _fetch(packages: list[str], into: Path, log: Path) -> None:
    """Unpacks packages of the host's apt into a directory; installs nothing."""
    debs = into / "debs"
    with written(debs):
        debs.mkdir(parents=True)
    call(["apt-get", "download", "-q", *packages], log=log, timeout=900, cwd=debs)
    for deb in sorted(debs.glob("*.deb")):
        call(["dpkg-deb", "-x", deb, into], log=log, timeout=300)
    shutil.rmtree(debs)


def unpack(source: Source, work: Path, log: Path) -> Path:
    """The kernel's source tree below `work`."""
    if source.archive is None:
        _fetch([f"{source.package}={source.version}"], work, log)
    else:
        deb = _download(source, source.archive, log)
        call(["dpkg-deb", "-x", deb, work], log=log, timeout=300)
        deb.unlink()
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
        part = tools.with_name(f"{tools.name}.part")
        shutil.rmtree(part, ignore_errors=True)  # of one that was killed
        _fetch(list(TOOL_PACKAGES), part, log)
        replace_tree(part, tools)
    libraries = [str(path) for path in (tools / "usr/lib").glob("*-linux-gnu")]
    return {
        "PATH": f"{tools}/usr/bin:{os.environ['PATH']}",
        "M4": f"{tools}/usr/bin/m4",
        "BISON_PKGDATADIR": f"{tools}/usr/share/bison",
        "LD_LIBRARY_PATH": ":".join(libraries),
    }
