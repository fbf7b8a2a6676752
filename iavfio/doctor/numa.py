# SPDX-License-Identifier: BSD-3-Clause
"""Whether the CPUs are near the VF."""

from __future__ import annotations

from collections.abc import Iterator

from iavfio.doctor.finding import Seen
from iavfio.doctor.host import Host, Vf, VfRow, cpu_list, shown_cpus

NODES = "sys/devices/system/node"
LOCAL = 10  # ACPI's distance of a node from itself


def _cpus(vf: Vf) -> Iterator[Seen]:
    host, node = vf.host, vf.function.numa_node
    near = cpu_list(host.text(f"{NODES}/node{node}/cpulist")) if node is not None else frozenset()
    if node is None or not near or not host.cpus:
        return
    far = host.cpus - near
    if host.cpus & near and not (host.follows_port and far):
        return
    whose = "workers of the port run" if host.follows_port else "this process may run only"
    yield Seen(
        f"{whose} on CPUs far from the VF: {shown_cpus(far)}",
        f"the VF is on NUMA node {node}, at distance {_distance(host, node, min(far))} "
        f"({LOCAL} is local): each packet crosses between the sockets",
        f"use CPUs of node {node}: taskset -c {shown_cpus(near)} ..., or --cpus of "
        f"{shown_cpus(near)}",
    )


def _distance(host: Host, node: int, cpu: int) -> str:
    """The distance from a node to that of a CPU, "?" where the kernel does not tell."""
    distances = host.text(f"{NODES}/node{node}/distance").split()
    for name in host.names(NODES):
        number = name.removeprefix("node")
        if number.isdecimal() and cpu in cpu_list(host.text(f"{NODES}/{name}/cpulist")):
            return distances[int(number)] if int(number) < len(distances) else "?"
    return "?"


VF_ROWS: tuple[VfRow, ...] = (VfRow("numa.cpus", "warning", _cpus),)
