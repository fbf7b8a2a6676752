# SPDX-License-Identifier: BSD-3-Clause
"""What of the host decides how a card behaves: kernel, IOMMU, PF driver, firmware."""

from __future__ import annotations

import fcntl
import os
import platform
import resource
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iavfio.host import Tree, read
from iavfio.pyvfio.opening import normal_bdf

SIOCETHTOOL, GDRVINFO = 0x8946, 0x3  # of linux/sockios.h and linux/ethtool.h
DRVINFO = struct.Struct("=I32s32s32s32s32s12sIIIII")


def host_facts(targets: Sequence[str], tree: Tree | None = None) -> dict[str, Any]:
    """Names, versions and limits; what cannot be read is left out. `doctor` and `qualify` show it.

    Limits and versions are those of the running host; `tree` is where functions are looked up.
    """
    facts: dict[str, Any] = {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "page_bytes": resource.getpagesize(),
        "root": os.geteuid() == 0,
        "memlock_bytes": resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
        "huge_pages": _first("/proc/sys/vm/nr_hugepages"),
        "command_line": _iommu_words(_first("/proc/cmdline")),
    }
    for target in targets:
        bdf = normal_bdf(target)
        if bdf is not None:
            facts[bdf] = _function(tree or Tree(), bdf)
    return facts


def _function(tree: Tree, bdf: str) -> dict[str, Any]:
    function = read(tree, bdf)
    facts: dict[str, Any] = {
        "name": function.name,
        "subsystem": function.subsystem,
        "driver": function.driver,
        "iommu_group": function.group is not None,
        "numa_node": function.numa_node,
    }
    if function.physfn:
        pf = read(tree, function.physfn)
        facts["pf"] = {"name": pf.name, "driver": pf.driver, "pcie": pf.pcie_link}
        for interface in pf.interfaces:
            facts["pf"] |= driver_info(interface.name)
    return facts


def versions(facts: dict[str, Any]) -> str:
    """Driver and firmware of a function's PF in words, "" where they are not known."""
    pf = facts.get("pf", {})
    words = [pf.get("driver", ""), pf.get("driver_version", "")]
    if pf.get("firmware"):
        words += ["firmware", pf["firmware"]]
    return " ".join(word for word in words if word)


def driver_info(interface: str) -> dict[str, str]:
    """Driver, its version and the firmware's, as `ethtool -i` prints them; empty where unknown."""
    space = bytearray(DRVINFO.pack(GDRVINFO, b"", b"", b"", b"", b"", b"", 0, 0, 0, 0, 0))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            request = struct.pack("16sQ16x", interface.encode()[:15], _address_of(space))
            fcntl.ioctl(channel, SIOCETHTOOL, request)
    except (OSError, ValueError):
        return {}
    _, driver, version, firmware, *_ = DRVINFO.unpack(bytes(space))
    return {
        "driver": _text(driver),
        "driver_version": _text(version),
        "firmware": _text(firmware),
    }


def _address_of(buffer: bytearray) -> int:
    from iavfio._driver import ffi

    return int(ffi.cast("uintptr_t", ffi.from_buffer(buffer)))


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode(errors="replace")


def _first(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _iommu_words(line: str) -> str:
    """Returns the words that concern DMA, interrupts and CPUs: the rest may be private."""
    words = ("iommu", "amd_iommu", "intel_iommu", "isolcpus", "nohz", "hugepage", "default_huge")
    return " ".join(word for word in line.split() if word.startswith(words))
