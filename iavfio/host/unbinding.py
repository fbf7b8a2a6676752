# SPDX-License-Identifier: BSD-3-Clause
"""Undoing what `bind` changed, from its record and from what the function looks like now."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from iavfio.host import binding, changes, functions, groups, sysfs
from iavfio.host.errors import BadRecord, InUse, KernelRefused, not_permitted
from iavfio.host.records import Record, Records


@dataclass(frozen=True)
class Unbound:
    """What unbinding one function came to; `outcome` says it as the end of a sentence."""

    bdf: str
    driver: str  # the driver that has it now, "" for none
    outcome: str


def recorded(tree: sysfs.Tree) -> list[str]:
    """BDFs that `bind` changed and that are not undone, in the order of their binding."""
    return sorted((records := Records.of(tree).load()), key=lambda bdf: records[bdf].bound_at)


def unbind(
    tree: sysfs.Tree, bdfs: Sequence[str], writer: changes.Writer, *, force: bool = False
) -> list[Unbound]:
    """Gives functions back to the drivers they had. Raises HostError's kinds.

    Refused before anything is changed: a function without a record, or one that a process has
    open, since the kernel would wait for that process (not with `force`).
    """
    records = Records.of(tree)
    known = records.load()
    asked = list(dict.fromkeys(bdfs))
    for bdf in asked:
        _check(tree, bdf, known.get(bdf), writer, force=force)
    return [_unbind_one(tree, bdf, known.get(bdf), writer, records) for bdf in asked]


def _check(
    tree: sysfs.Tree, bdf: str, record: Record | None, writer: changes.Writer, *, force: bool
) -> None:
    path = tree.devices / bdf
    if not path.exists():
        return  # the record outlived the device and is dropped
    driver = groups.driver_of(tree, bdf)
    if record is None:
        if "vfio" not in driver:
            return
        raise BadRecord(
            f"{bdf} was not bound by iavfio in this boot, so what it was before is not known",
            f"driver {driver} has it",
            f"as root: echo > {path}/driver_override; echo {bdf} > {path}/driver/unbind; "
            f"echo {bdf} > {tree.root / 'sys/bus/pci/drivers_probe'}",
        )
    busy = [] if force else groups.users(tree, groups.nodes(tree, bdf))
    if busy and driver == binding.DRIVER:
        raise InUse(
            f"{bdf} is in use by {', '.join(map(str, busy[:3]))}",
            "unbinding would wait until it lets go of the device",
            f"end it first, or wait for it: iavfio unbind --force {bdf}",
        )
    if not writer.dry and not os.access(path / "driver_override", os.W_OK):
        raise not_permitted(path / "driver_override", writer.command)


def _unbind_one(
    tree: sysfs.Tree, bdf: str, record: Record | None, writer: changes.Writer, records: Records
) -> Unbound:
    if record is None:
        driver = groups.driver_of(tree, bdf)
        return Unbound(bdf, driver, "is not bound to vfio-pci; nothing to undo")
    if writer.dry:
        return _rehearse(tree, record, writer)
    with records.locked(writer.command):
        outcome = _undo(tree, record, writer)
        records.drop(bdf)
    return outcome


def _undo(tree: sysfs.Tree, record: Record, writer: changes.Writer) -> Unbound:
    bdf, before = record.bdf, groups.driver_of(tree, record.bdf)
    if not (tree.devices / bdf).exists():
        return Unbound(bdf, "", "is gone; its record is dropped")
    if before not in (binding.DRIVER, ""):
        # Somebody else rebound it, or it is a new VF at an old address: only our override goes.
        if functions.read(tree, bdf).driver_override == binding.DRIVER:
            writer.write(changes.override(tree, bdf, record.driver_override))
        return Unbound(bdf, before, f"is already with {before}")
    driver = binding.give_back(tree, bdf, record.driver, record.driver_override, writer)
    if driver == binding.DRIVER or (record.driver and driver != record.driver):
        raise KernelRefused(
            f"{bdf} did not go back to driver {record.driver or 'none'}",
            f"driver {driver} has it now" if driver else "no driver took it",
            f"see dmesg, load the driver (modprobe {record.driver or binding.DRIVER}), "
            f"then: iavfio unbind {bdf}",
        )
    text = f"is back with {driver}" if driver else "is without a driver, as before"
    if record.interfaces and driver:
        text += f"; interface {', '.join(record.interfaces)} comes back down and unconfigured"
    return Unbound(bdf, driver, text)


def _rehearse(tree: sysfs.Tree, record: Record, writer: changes.Writer) -> Unbound:
    if not (tree.devices / record.bdf).exists():
        return Unbound(record.bdf, "", "is gone; its record would be dropped")
    writer.write(changes.override(tree, record.bdf, record.driver_override))
    if groups.driver_of(tree, record.bdf) == binding.DRIVER:
        writer.write(changes.detach(tree, record.bdf))
    if record.driver:
        writer.write(changes.probe(tree, record.bdf))
    return Unbound(record.bdf, record.driver, f"would go back to {record.driver or 'no driver'}")
