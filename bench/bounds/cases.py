# SPDX-License-Identifier: BSD-3-Clause
"""Which call is measured under which condition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.bounds.calls import BEHIND, CALLS, DEVICE, TRAFFIC, Call
from bench.bounds.conditions import (
    FROZEN,
    HANGING_PF,
    SILENT_PF,
    Condition,
    late,
    stops_after,
)

TRIFLING, BUSY, NEARLY_LOST, VERY_SLOW = 0.05, 0.3, 0.65, 4.5  # seconds for each request
# A third of what stopping and closing may take spares a slow server (docs/adr/0008).
PORT = (
    SILENT_PF,
    HANGING_PF,
    FROZEN,
    *(stops_after(answers) for answers in (1, 4, 16)),
    *(late(seconds) for seconds in (TRIFLING, BUSY, NEARLY_LOST, VERY_SLOW)),
    *(late(seconds, loses=True) for seconds in (TRIFLING, BUSY)),
)
ONE_REQUEST = (SILENT_PF, FROZEN, stops_after(1), late(NEARLY_LOST), late(VERY_SLOW))
POSTED = (
    SILENT_PF,
    FROZEN,
    stops_after(1, posted=True),
    late(TRIFLING, posted=True),
    late(VERY_SLOW, posted=True),
)
INTERRUPTED = (SILENT_PF, FROZEN, stops_after(4), late(BUSY))


@dataclass(frozen=True)
class Case:
    """One measurement."""

    call: Call
    condition: Condition

    @property
    def name(self) -> str:
        """For people."""
        how = " in a command" if self.call.command else ""
        return f"{self.call.name}{how} [{self.condition.column}: {self.condition.name}]"


def named(name: str) -> Case:
    """The case of that name."""
    return next(case for case in cases() if case.name == name)


def cases() -> Iterator[Case]:
    """All of them, in the order of the page's rows."""
    conditions = {DEVICE: ONE_REQUEST, TRAFFIC: POSTED, BEHIND: INTERRUPTED}
    for call in CALLS:
        for condition in conditions.get(call.row, PORT):
            yield Case(call, condition)
