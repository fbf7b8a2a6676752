# SPDX-License-Identifier: BSD-3-Clause
"""Functions as text in dpdk-devbind's form, and as plain data for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from iavfio.host.functions import Function
from iavfio.host.interfaces import Interface


def line(function: Function) -> str:
    """One line: BDF, name and id, if=, drv=, unused=, what iavfio adds, *Active*."""
    parts = [function.bdf, f"'{function.name or 'Device'} {function.device:04x}'"]
    if function.vf_index is not None:
        parts.append(f"vf={function.vf_index}")
    if function.interfaces:
        parts.append(f"if={','.join(interface.name for interface in function.interfaces)}")
    if function.driver:
        parts.append(f"drv={function.driver}")
    parts.append(f"unused={','.join(function.unused)}")
    if function.is_pf:
        parts.append(f"vfs={len(function.vfs)}/{function.max_vfs}")
    if function.numa_node is not None:
        parts.append(f"numa={function.numa_node}")
    if function.group is not None and function.is_vf:
        parts.append(f"group={function.group.number}")
        if function.uses_vfio and function.group.holders:
            parts.append(f"held-by={','.join(function.group.holders)}")
    if function.uses_vfio and function.nodes:
        parts.append(f"node={','.join(function.nodes)}")
    if function.active:
        parts.append("*Active*")
    return " ".join(parts)


def lines(functions: Sequence[Function]) -> Iterator[str]:
    """A line for each function, VFs indented below their PF."""
    for function, below in ordered(functions):
        yield f"{'  ' if below else ''}{line(function)}"


def ordered(functions: Sequence[Function]) -> Iterator[tuple[Function, bool]]:
    """Functions with VFs right after their PF (True), whatever their addresses are."""
    by_bdf = {function.bdf: function for function in functions}
    for function in functions:
        if function.physfn in by_bdf:
            continue
        yield function, False
        vfs = [vf for vf in functions if vf.physfn == function.bdf]
        for vf in sorted(vfs, key=lambda vf: (vf.vf_index is None, vf.vf_index or 0, vf.bdf)):
            yield vf, True


def data(functions: Iterable[Function]) -> list[dict[str, Any]]:
    """One plain dictionary a function, for JSON; the order is that of the text."""
    return [_function(function) for function, _ in ordered(list(functions))]


def _function(function: Function) -> dict[str, Any]:
    group = function.group
    return {
        "bdf": function.bdf,
        "kind": "vf" if function.is_vf else "pf" if function.is_pf else "nic",
        "vendor": f"{function.vendor:04x}",
        "device": f"{function.device:04x}",
        "revision": function.revision,
        "subsystem": function.subsystem,
        "name": function.name,
        "driver": function.driver or None,
        "driver_version": function.driver_version or None,
        "driver_override": function.driver_override or None,
        "unused": list(function.unused),
        "supported": function.is_adaptive_vf,
        "active": function.active,
        "interfaces": [_interface(interface) for interface in function.interfaces],
        "numa_node": function.numa_node,
        "pcie_link": function.pcie_link or None,
        "pf": function.physfn or None,
        "vf": function.vf_index,
        "vfs": list(function.vfs),
        "max_vfs": function.max_vfs,
        "iommu_group": None
        if group is None
        else {
            "number": group.number,
            "members": group.members,
            "held_by": group.holders,
            "noiommu": group.noiommu,
        },
        "nodes": list(function.nodes),
    }


def _interface(interface: Interface) -> dict[str, Any]:
    return {
        "name": interface.name,
        "mac": interface.mac,
        "mtu": interface.mtu,
        "up": interface.up,
        "speed_mbps": interface.speed,
        "uses": list(interface.uses),
    }
