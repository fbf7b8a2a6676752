# SPDX-License-Identifier: BSD-3-Clause
"""Making and destroying VFs, and putting a PF back as it was before iavfio changed it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from iavfio.arguments import counted
from iavfio.errors import ConfigError
from iavfio.vfs.change import Changed, make, put, record_of
from iavfio.vfs.pf import Pf, VfState
from iavfio.vfs.words import WORDS, Value

Report = Callable[[str], None]


@dataclass(frozen=True)
class Undone:
    """What was put back: the number of VFs before and now, and settings."""

    recorded: bool  # False: there was nothing to undo
    number_before: int
    number: int
    changed: list[Changed]


def resize(pf: Pf, number: int, report: Report, *, dry: bool = False, command: str = "vf") -> int:
    """Makes `number` VFs, 0 destroys all; returns how many there were.

    Their settings are recorded before they go. Raises ConfigError when there are VFs already that
    would have to go for another number, and HostError's kinds.
    """
    states = pf.vfs()
    if len(states) == number:
        return number
    if states and number:
        raise ConfigError(
            f"{pf.name} has {counted(len(states), 'VF')}",
            "the kernel makes VFs only where there are none",
            f"first: iavfio vf {pf.name} destroy",
        )
    if dry:
        pf.resize(number, report, True)
        return len(states)
    file = pf.file()
    with file.locked(command):
        record = record_of(file, pf)
        was = len(states) if record.number is None else record.number
        kept = {vf: dict(values) for vf, values in record.vfs.items()}
        for state in states if record.number is None else ():
            kept[state.vf] = _settings(pf, state) | kept.get(state.vf, {})
        put(file, pf, record, vfs=kept, number=was)
        try:
            pf.resize(number, report, False)
        finally:
            if len(pf.vfs()) == was == 0:
                file.drop(pf.name)  # VFs that iavfio made are gone
            elif len(pf.vfs()) == len(states) and record.number is None:
                put(file, pf, record)  # nothing was changed
    return len(states)


def undo(pf: Pf, report: Report, *, dry: bool = False, command: str = "vf") -> Undone:
    """Puts number and settings of the VFs back as they were before the first recorded change.

    What cannot be put back stays recorded. Raises HostError's kinds.
    """
    file = pf.file()
    states = pf.vfs()
    record = file.load().get(pf.name)
    if record is None or record.instance != pf.instance:
        return Undone(False, len(states), len(states), [])
    if dry:
        return _undo(pf, record.number, record.vfs, report, True)
    with file.locked(command):
        done = _undo(pf, record.number, record.vfs, report, False)
        file.drop(pf.name)
    return done


def _undo(
    pf: Pf,
    number: int | None,
    vfs: dict[int, dict[str, Value]],
    report: Report,
    dry: bool,
) -> Undone:
    states = pf.vfs()
    there = len(states)
    if number is not None and number != there:
        if there:
            pf.resize(0, report, dry)
        if number:
            pf.resize(number, report, dry)
        states = states if dry else pf.vfs()
    changed: list[Changed] = []
    for state in states:
        changed += _restore(pf, state, vfs.get(state.vf, {}), report, dry)
    return Undone(True, there, there if number is None else number, changed)


def _restore(
    pf: Pf, state: VfState, kept: dict[str, Value], report: Report, dry: bool
) -> list[Changed]:
    done: list[Changed] = []
    for group in dict.fromkeys(WORDS[name].group for name in kept):
        step = {name: value for name, value in kept.items() if WORDS[name].group == group}
        new = {name: value for name, value in step.items() if state.value(name) != value}
        if not new:
            continue
        report(pf.command(state.vf, step, state))
        if dry:
            done += [Changed(state.vf, n, state.value(n), v, False) for n, v in new.items()]
        else:
            done += make(pf, state, step, new)
    return done


def _settings(pf: Pf, state: VfState) -> dict[str, Value]:
    return {name: value for name in pf.settable if (value := state.value(name)) is not None}
