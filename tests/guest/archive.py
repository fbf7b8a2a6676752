# SPDX-License-Identifier: BSD-3-Clause
"""The guest lab's view of the package archive: Debian 13 with its backports."""

from __future__ import annotations

from iavfio.linuxpf.archive import BACKPORTS, Archive
from iavfio.linuxpf.cache import cache_dir

SUITES = ("trixie", "trixie-updates", BACKPORTS)
BACKPORTED = "src:qemu:any src:seabios:any"  # vfio-user-pci needs QEMU 10.1, trixie has 10.0


def preferences() -> str:
    """apt preferences of the lab: only the machine emulator comes from the backports."""
    return f"Package: {BACKPORTED}\nPin: release n={BACKPORTS}\nPin-Priority: 600\n"


def lab_archive() -> Archive:
    """apt of the lab, in its cache. Raises Unavailable as `sources` does."""
    return Archive(cache_dir() / "apt", SUITES, preferences())
