# SPDX-License-Identifier: BSD-3-Clause
"""A VF's driver and IOMMU group: whether it can be opened, and who else holds it."""

from __future__ import annotations

from collections.abc import Iterator

from iavfio.doctor.finding import Seen
from iavfio.doctor.host import Vf, VfRow
from iavfio.host import groups, read


def _driver(vf: Vf) -> Iterator[Seen]:
    function = vf.function
    if not function.uses_vfio:
        yield Seen(
            "is not bound to vfio-pci",
            f"driver {function.driver} has it" if function.driver else "it has no driver",
            f"sudo iavfio bind {vf.bdf}",
        )


def _none(vf: Vf) -> Iterator[Seen]:
    if vf.host.has_iommu and vf.function.group is None:
        yield Seen(
            "has no IOMMU group",
            "the IOMMU does not cover its bus, or was switched off for it",
            "look at: sudo dmesg | grep -i -e DMAR -e IOMMU",
        )


def _held(vf: Vf) -> Iterator[Seen]:
    group = vf.function.group
    others = {b: d for b, d in (group.holders if group else {}).items() if b != vf.bdf}
    if not group or not others:
        return
    named = ", ".join(f"{bdf} ({driver})" for bdf, driver in others.items())
    nics = all(read(vf.host.tree, bdf).is_nic for bdf in others)
    yield Seen(
        f"cannot be opened: its IOMMU group {group.number} has other devices with kernel drivers",
        f"{named}: the kernel cannot keep them apart from it",
        f"sudo iavfio bind {' '.join([vf.bdf, *others])}"
        if nics
        else "use a slot whose root port has ACS, or switch ACS on in the firmware",
    )


def _noiommu(vf: Vf) -> Iterator[Seen]:
    if vf.function.group and vf.function.group.noiommu:
        yield Seen(
            "is in a group without an IOMMU",
            "its DMA can reach all memory of this host",
            "switch the IOMMU on (iommu.firmware, iommu.kernel); until then --unsafe-noiommu",
        )


def _busy(vf: Vf) -> Iterator[Seen]:
    if vf.host.follows_port:
        return
    users = groups.users(vf.host.tree, groups.nodes(vf.host.tree, vf.bdf))
    if users:
        yield Seen(
            f"is open in {', '.join(map(str, users[:3]))}",
            "a device or its group has one user at a time",
            "end that program to use the VF here; for a port of iavfio: iavfio why PORT",
        )


ROWS: tuple[VfRow, ...] = (
    VfRow("vf.driver", "error", _driver),
    VfRow("group.none", "error", _none),
    VfRow("group.held", "error", _held),
    VfRow("group.noiommu", "warning", _noiommu),
    VfRow("group.busy", "note", _busy),
)
