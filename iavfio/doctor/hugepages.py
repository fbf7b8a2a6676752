# SPDX-License-Identifier: BSD-3-Clause
"""Huge pages, of the host and of the NUMA node that a VF sits on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from iavfio.doctor.finding import Seen
from iavfio.doctor.host import Host, HostRow, Vf, VfRow
from iavfio.host.changes import Write

KIND = "hugepages-2048kB"
WHOLE = f"sys/kernel/mm/hugepages/{KIND}"
ENOUGH = 512  # pages: 1 GiB


def _counts(host: Host, place: str) -> tuple[int, int]:
    """Huge pages there are and that are free, of all sizes, in units of 2 MiB."""
    total = free = 0
    for name in host.names(place):
        size = name.removeprefix("hugepages-").removesuffix("kB")
        scale = int(size) // 2048 if size.isdecimal() else 0
        total += scale * (host.number(f"{place}/{name}/nr_hugepages") or 0)
        free += scale * (host.number(f"{place}/{name}/free_hugepages") or 0)
    return total, free


def _write(path: Path, pages: int) -> tuple[Write, ...]:
    return (Write(path, str(pages)),)


def _none(host: Host) -> Iterator[Seen]:
    place = "sys/kernel/mm/hugepages"
    if not host.path(WHOLE).exists():
        return
    total, free = _counts(host, place)
    path = host.path(f"{WHOLE}/nr_hugepages")
    wanted = (host.number(path) or 0) + ENOUGH
    if not free:
        yield Seen(
            "no huge page is free" if total else "no huge pages are reserved",
            "buffers are then in pages of 4 KiB, which costs the device and the CPU lookups"
            if not total
            else f"all {total} (of 2 MiB) are in use",
            f"echo {wanted} | sudo tee {path}; for good: vm.nr_hugepages={wanted} in /etc/sysctl.d",
            _write(path, wanted),
        )


def _node(vf: Vf) -> Iterator[Seen]:
    host, node = vf.host, vf.function.numa_node
    if node is None or not _counts(host, "sys/kernel/mm/hugepages")[1]:
        return
    place = f"sys/devices/system/node/node{node}/hugepages"
    path = host.path(f"{place}/{KIND}/nr_hugepages")
    if not path.exists() or _counts(host, place)[1]:
        return
    wanted = (host.number(path) or 0) + ENOUGH
    yield Seen(
        f"no huge page is free on its NUMA node {node}, though other nodes have some",
        "buffers would be in pages of 4 KiB, or on the far node",
        f"echo {wanted} | sudo tee {path}",
        _write(path, wanted),
    )


ROWS: tuple[HostRow, ...] = (HostRow("hugepages.none", "warning", _none),)
VF_ROWS: tuple[VfRow, ...] = (VfRow("hugepages.node", "warning", _node),)
