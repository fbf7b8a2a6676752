# SPDX-License-Identifier: BSD-3-Clause
"""What the outcomes say of the promises: the table of the page, and the exit status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import record
from bench.bounds.campaign import Outcome
from bench.bounds.conditions import SLOW
from bench.bounds.metronome import Delay, lateness
from bench.bounds.page import CONDITIONS, Promises, seconds

HOLDS, BROKEN, SHOWS_NOTHING = 0, 1, 75
# Seconds beyond what a call may wait: its own work, and the clock ticks in which waits end.
WORK = 0.1
COMMAND = "the same in a command of iavfio's"


@dataclass(frozen=True)
class Judged:
    """An outcome beside what is promised of it. `grown`: seconds that a slow PF adds."""

    outcome: Outcome
    promised: float
    grown: float = 0.0

    @property
    def row(self) -> str:
        """The row of the table."""
        return COMMAND if self.outcome.case.call.command else self.outcome.case.call.row

    @property
    def excess(self) -> float:
        """Seconds beyond the promise and the call's own work; negative where it holds."""
        return self.outcome.longest - self.promised - self.grown - WORK

    def late(self, delays: Sequence[Delay]) -> float:
        """By how many seconds the machine was late during the longest call."""
        longest = max(self.outcome.spans, key=lambda span: span.seconds)
        return longest.delayed + lateness(delays, longest.began, longest.ended)


def judged(outcomes: Sequence[Outcome], promises: Promises) -> list[Judged]:
    """Those in which a call was measured."""
    out = []
    for outcome in outcomes:
        call, column = outcome.case.call, outcome.case.condition.column
        if outcome.spans:
            promised = seconds(promises, call.row, column, call.of, call.command)
            grown = outcome.patience * (2 if column == SLOW else 1)  # as stop's 2 s are 4 then
            out.append(Judged(outcome, promised, grown))
    return out


def verdict(
    results: Sequence[Judged], failed: Sequence[Outcome], delays: Sequence[Delay]
) -> tuple[int, list[str]]:
    """The exit status, and why, in words. `failed`: what could not be measured."""
    broken, unclear = [], []
    for each in results:
        if each.excess > 0:
            late = each.late(delays)
            text = (
                f"{each.outcome.case.name} took {length(each.outcome.longest)}, "
                f"{length(each.promised)} are promised"
            )
            if late < each.excess:
                broken.append(text)
            else:
                unclear.append(f"{text}, and the machine was late by {length(late)}")
    unclear += [f"{each.case.name} was not measured: {each.error}" for each in failed]
    if broken:
        return BROKEN, broken + unclear
    if unclear:
        return SHOWS_NOTHING, unclear
    return HOLDS, ["each call ends in the time that docs/spec/reliability.md 7 promises"]


def length(seconds: float) -> str:
    """A time, in ms below a second."""
    return f"{seconds * 1e3:.0f} ms" if seconds < 0.9995 else f"{seconds:.4g} s"


def table(results: Sequence[Judged]) -> str:
    """A row for each of the page, in its order: the longest call of what was promised."""
    rows: dict[str, list[str]] = {}
    for each in results:
        rows.setdefault(each.row, [""] * len(CONDITIONS))
    for row, cells in rows.items():
        for column, condition in enumerate(CONDITIONS):
            cells[column] = _cell(
                [
                    each
                    for each in results
                    if (each.row, each.outcome.case.condition.column) == (row, condition)
                ]
            )
    return record.table("|".join(("Call", *CONDITIONS)), [[row, *c] for row, c in rows.items()])


def _cell(results: Sequence[Judged]) -> str:
    """The call that comes nearest to its bound, or goes farthest beyond."""
    if not results:
        return ""
    most = max(results, key=lambda each: each.outcome.longest / (each.promised + each.grown + WORK))
    took = length(most.outcome.longest)
    return f"{took} of {length(most.promised)}" if most.promised else took
