# SPDX-License-Identifier: BSD-3-Clause
"""Changing settings of a VF: recorded first, then made, then read back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from iavfio.errors import ConfigError
from iavfio.host.errors import HostError, KernelRefused
from iavfio.host.records import RecordFile
from iavfio.vfs.pf import Pf, VfRecord, VfState, require
from iavfio.vfs.words import WORDS, Value, shown


@dataclass(frozen=True)
class Changed:
    """One setting of one VF before and after; `verified`: the PF's driver told the new value."""

    vf: int
    setting: str
    before: Value | None
    after: Value
    verified: bool

    def __str__(self) -> str:
        return self._told("")

    @property
    def undone(self) -> str:
        """The words for a setting that has its former value again."""
        return self._told(" again")

    def _told(self, again: str) -> str:
        now, was = shown(self.setting, self.after), shown(self.setting, self.before)
        if self.before == self.after:
            return f"VF {self.vf}: {self.setting} is {now} already"
        doubt = "" if self.verified else "; the PF's driver does not tell whether it is in force"
        return f"VF {self.vf}: {self.setting} {now}{again} (was: {was}){doubt}"


class Ignored(KernelRefused):
    """A change was accepted and is not in force."""


def apply(
    pf: Pf,
    vf: int,
    asked: Mapping[str, Value],
    report: Callable[[str], None] = lambda line: None,
    *,
    dry: bool = False,
    command: str = "vf",
) -> list[Changed]:
    """Sets what differs from what is in force, group by group, each read back.

    The value from before is recorded first, once. Raises ConfigError for a VF or a setting that
    there is not, KernelRefused for a change that is refused, Ignored for one that was accepted and
    is not in force: settings of earlier groups are changed then, and recorded.
    """
    state = require(pf.vfs(), pf, vf)
    for name in asked:
        if name not in pf.settable:
            raise ConfigError(
                f"{name} cannot be set on {pf.name}",
                f"it takes {', '.join(pf.settable)}",
                f"see: iavfio vf {pf.name}",
            )
    done: list[Changed] = []
    for step in _steps(asked):
        new = {name: value for name, value in step.items() if state.value(name) != value}
        done += [Changed(vf, n, v, v, True) for n, v in step.items() if n not in new]
        if not new:
            continue
        _check_step(step, state)
        report(pf.command(vf, step, state))
        if dry:
            done += [Changed(vf, n, state.value(n), v, False) for n, v in new.items()]
            continue
        done += _change(pf, state, step, new, command)
        state = require(pf.vfs(), pf, vf)
    return done


def make(
    pf: Pf, state: VfState, step: Mapping[str, Value], new: Mapping[str, Value]
) -> list[Changed]:
    """Makes a step and reads it back; records nothing."""
    pf.put(state.vf, step, state)
    now = require(pf.vfs(), pf, state.vf)
    for name, value in new.items():
        if now.value(name) not in (None, value):
            cause, remedy = pf.why_ignored(state.vf, name)
            raise Ignored(
                f"{name} of VF {state.vf} is {shown(name, now.value(name))}, not "
                f"{shown(name, value)}: the change was accepted and is not in force",
                cause,
                remedy,
            )
    return [
        Changed(state.vf, n, state.value(n), v, now.value(n) is not None) for n, v in new.items()
    ]


def _steps(asked: Mapping[str, Value]) -> list[dict[str, Value]]:
    groups: dict[str, dict[str, Value]] = {}
    for name, value in asked.items():
        groups.setdefault(WORDS[name].group, {})[name] = value
    return list(groups.values())


def _check_step(step: Mapping[str, Value], state: VfState) -> None:
    vlan = step.get("vlan", state.vlan)
    if step.get("qos") and not vlan:
        raise ConfigError(
            "qos needs a port VLAN", "the priority is part of its tag", "add: vlan 100"
        )
    most, least = step.get("rate", state.rate), step.get("min-rate", state.min_rate)
    if most and least and int(most) < int(least):
        raise ConfigError(
            f"rate {most} is below min-rate {least}",
            "the VF could not send what is kept for it",
            f"set both: rate {least} min-rate {least}",
        )


def _change(
    pf: Pf, state: VfState, step: Mapping[str, Value], new: Mapping[str, Value], command: str
) -> list[Changed]:
    file = pf.file()
    with file.locked(command):
        before = record_of(file, pf)
        kept = dict(before.vfs.get(state.vf, {}))
        for name in new:
            if (was := state.value(name)) is not None:
                kept.setdefault(name, was)
        put(file, pf, before, vfs=before.vfs | {state.vf: kept})
        try:
            return make(pf, state, step, new)
        finally:
            _settle(file, pf, state.vf)


def _settle(file: RecordFile[VfRecord], pf: Pf, vf: int) -> None:
    """Forgets of the record what is as it was."""
    try:
        now = next((state for state in pf.vfs() if state.vf == vf), None)
    except HostError:
        return  # what cannot be read stays recorded
    record = record_of(file, pf)
    if now is not None:
        kept = {n: v for n, v in record.vfs.get(vf, {}).items() if now.value(n) != v}
        put(file, pf, record, vfs=record.vfs | {vf: kept})


def record_of(file: RecordFile[VfRecord], pf: Pf) -> VfRecord:
    """The record of this PF, a new one where there is none, or one of another PF of its name."""
    found = file.load().get(pf.name)
    if found is None or found.instance != pf.instance:
        return VfRecord(file.boot_id, pf.instance, None, {}, time.time())
    return found


def put(
    file: RecordFile[VfRecord],
    pf: Pf,
    record: VfRecord,
    *,
    vfs: Mapping[int, Mapping[str, Value]] | None = None,
    number: int | None = None,
) -> None:
    """Writes the record with other VFs; a record of nothing is dropped."""
    rest = {v: dict(kept) for v, kept in (record.vfs if vfs is None else vfs).items() if kept}
    if not rest and number is None and record.number is None:
        file.drop(pf.name)
        return
    kept_number = record.number if number is None else number
    file.put(
        pf.name, VfRecord(record.boot_id, record.instance, kept_number, rest, record.changed_at)
    )
