# SPDX-License-Identifier: BSD-3-Clause
"""Binding functions to vfio-pci: everything is checked first, recorded, then changed."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from iavfio.arguments import counted
from iavfio.errors import GroupNotViable, NoIommu
from iavfio.host import changes, functions, groups, sysfs
from iavfio.host.address import interfaces_of
from iavfio.host.errors import (
    HostError,
    InUse,
    KernelRefused,
    NotNic,
    not_permitted,
)
from iavfio.host.functions import Function
from iavfio.host.models import INTEL
from iavfio.host.records import Record, Records

DRIVER = "vfio-pci"


@dataclass(frozen=True)
class Bound:
    """What binding one function came to."""

    function: Function  # as it is now
    previous: str  # driver before, "" for none
    already: bool  # nothing had to be changed
    warnings: tuple[str, ...]


def bind(
    tree: sysfs.Tree,
    bdfs: Sequence[str],
    writer: changes.Writer,
    *,
    force: bool = False,
) -> list[Bound]:
    """Binds existing functions to vfio-pci (docs/spec/vfio.md 1), all of them or none.

    Refused before anything is changed: what is no NIC, an interface in use, a PF with VFs, a group
    that would not be viable (these three not with `force`), a host without IOMMU. A function whose
    binding fails is given back to its driver. Raises NotNic, NoIommu, GroupNotViable
    and the kinds of HostError.
    """
    wanted = [functions.read(tree, bdf) for bdf in dict.fromkeys(bdfs)]
    for function in wanted:
        _check(tree, function, writer, force=force)
    warnings = _check_groups(tree, wanted, force=force)
    if any(not f.uses_vfio for f in wanted) and not (tree.drivers / DRIVER).exists():
        writer.modprobe(DRIVER)
    results: list[Bound] = []
    done: list[Function] = []
    records = Records.of(tree)
    for function in wanted:
        if function.uses_vfio:
            results.append(Bound(function, function.driver, True, ()))
            continue
        try:
            _bind_one(tree, function, writer, records)
        except HostError:
            for earlier in reversed(done):
                _restore(tree, earlier, writer, records)
            raise
        done.append(function)
        now = function if writer.dry else functions.read(tree, function.bdf)
        results.append(Bound(now, function.driver, False, tuple(warnings.get(function.bdf, ()))))
    return results


def _check(tree: sysfs.Tree, function: Function, writer: changes.Writer, *, force: bool) -> None:
    bdf = function.bdf
    if not function.is_nic:
        raise NotNic(
            f"{bdf} is not a network controller (class {function.class_code:06x})",
            f"driver {function.driver} has it" if function.driver else "",
            "list the NICs with: iavfio list",
        )
    if function.uses_vfio:
        return
    unsafe = sysfs.text(tree.root / "sys/module/vfio/parameters/enable_unsafe_noiommu_mode") == "Y"
    if function.vendor != INTEL and not force:
        what = ", ".join(interfaces_of(tree, bdf))
        raise NotNic(
            f"{bdf}{f', the network interface {what},' if what else ''} is not an Intel NIC",
            f"it is {function.vendor:04x}:{function.device:04x} with driver "
            f"{function.driver or 'none'}, and iavfio drives VFs of Intel's",
            "list the VFs with: iavfio list; for another program: iavfio bind --force " + bdf,
        )
    if not force:
        _check_use(function)
    if function.group is None and not unsafe:
        raise NoIommu(
            f"{bdf} has no IOMMU group, so VFIO cannot isolate it",
            "the IOMMU is off in the firmware or on the kernel's command line",
            "switch VT-d or AMD-Vi on in the firmware, add intel_iommu=on (Intel) to the kernel's "
            "command line, reboot",
        )
    attribute = tree.devices / bdf / "driver_override"
    if not writer.dry and not os.access(attribute, os.W_OK):
        raise not_permitted(attribute, writer.command)


def _check_use(function: Function) -> None:
    bdf = function.bdf
    for interface in function.interfaces:
        if interface.active:
            raise InUse(
                f"{bdf} is in use as {interface.name}",
                ", ".join(interface.uses[:3]) + (", ..." if len(interface.uses) > 3 else ""),
                f"if it may go: iavfio bind --force {bdf}",
            )
    if function.vfs:
        raise InUse(
            f"{bdf} is a PF with {counted(len(function.vfs), 'VF')}",
            "they would stop working without their PF's driver",
            f"bind a VF ({function.vfs[0]} ...), or the PF with --force",
        )
    if function.driver and function.driver == function.kernel_driver and not function.interfaces:
        raise InUse(
            f"{bdf} has driver {function.driver} but no interface in this network namespace",
            "a container may be using it, or the driver could not start it",
            f"if it may go: iavfio bind --force {bdf}",
        )


def _check_groups(
    tree: sysfs.Tree, wanted: Sequence[Function], *, force: bool
) -> dict[str, list[str]]:
    """Raises GroupNotViable if other members would keep a group from being opened.

    With `force` that is a warning, returned by BDF.
    """
    ours = {function.bdf for function in wanted}
    warnings: dict[str, list[str]] = {}
    for function in wanted:
        holders = function.group.holders if function.group and not function.uses_vfio else {}
        others = {bdf: driver for bdf, driver in holders.items() if bdf not in ours}
        if not others:
            continue
        assert function.group is not None
        named = ", ".join(f"{bdf} ({driver})" for bdf, driver in others.items())
        what = f"IOMMU group {function.group.number} of {function.bdf} would not be viable"
        if force:
            warnings.setdefault(function.bdf, []).append(f"{what}: {named} is still in it")
            continue
        raise GroupNotViable(
            what,
            f"it also holds {named}",
            _group_remedy(tree, sorted(ours), others),
            holders=others,
        )
    return warnings


def _group_remedy(tree: sysfs.Tree, ours: list[str], others: dict[str, str]) -> str:
    foreign = [bdf for bdf in others if not functions.read(tree, bdf).is_nic]
    if foreign:
        return (
            f"{foreign[0]} is no NIC: use a slot whose root port has ACS, or another PF; "
            f"see ls {tree.devices / ours[0] / 'iommu_group/devices'}"
        )
    return f"bind the whole group at once: iavfio bind {' '.join([*ours, *others])}"


def _plan(tree: sysfs.Tree, function: Function) -> list[changes.Write]:
    plan = [changes.override(tree, function.bdf, DRIVER)]
    if function.driver:
        plan.append(changes.detach(tree, function.bdf))
    return [*plan, changes.probe(tree, function.bdf)]


def _bind_one(
    tree: sysfs.Tree, function: Function, writer: changes.Writer, records: Records
) -> None:
    plan = _plan(tree, function)
    if writer.dry:
        for change in plan:
            writer.write(change)
        return
    with records.locked(writer.command):
        records.put(
            function.bdf,
            Record(
                bdf=function.bdf,
                driver=function.driver,
                driver_override=function.driver_override,
                interfaces=[interface.name for interface in function.interfaces],
                bound_at=time.time(),
                boot_id=records.boot_id,
                changes=[str(change) for change in plan],
            ),
        )
        try:
            for change in plan:
                writer.write(change)
            if groups.driver_of(tree, function.bdf) != DRIVER:
                raise KernelRefused(
                    f"vfio-pci did not take {function.bdf}",
                    "the kernel's log says why",
                    "look at: dmesg | tail",
                )
        except HostError:
            _give_back(tree, function, writer)
            records.drop(function.bdf)
            raise


def _restore(
    tree: sysfs.Tree, function: Function, writer: changes.Writer, records: Records
) -> None:
    """Undoes a finished binding because a later one failed."""
    with records.locked(writer.command):
        if not writer.dry:
            _give_back(tree, function, writer)
            records.drop(function.bdf)


def _give_back(tree: sysfs.Tree, function: Function, writer: changes.Writer) -> None:
    """Brings a function back to its driver as far as the kernel lets.

    Errors on that way are only reported: the error that led here is the one that matters.
    """
    give_back(tree, function.bdf, function.driver, function.driver_override, writer)


def give_back(
    tree: sysfs.Tree, bdf: str, driver: str, driver_override: str, writer: changes.Writer
) -> str:
    """Takes a function from vfio-pci and restores driver and override; returns its driver now.

    A VF whose PF has driver autoprobe off is probed only under an override, so a second try names
    the driver there for a moment.
    """
    steps = [changes.override(tree, bdf, driver_override)]
    if groups.driver_of(tree, bdf) == DRIVER:
        steps.append(changes.detach(tree, bdf))
    if driver and groups.driver_of(tree, bdf) != driver:
        steps.append(changes.probe(tree, bdf))
    _attempt(steps, writer)
    if driver and groups.driver_of(tree, bdf) == "":
        _attempt([changes.override(tree, bdf, driver), changes.probe(tree, bdf)], writer)
        _attempt([changes.override(tree, bdf, driver_override)], writer)
    return groups.driver_of(tree, bdf)


def _attempt(steps: Sequence[changes.Write], writer: changes.Writer) -> None:
    for change in steps:
        try:
            writer.write(change)
        except HostError as failure:
            writer.report(f"# {failure.what}")
