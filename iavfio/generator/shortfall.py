# SPDX-License-Identifier: BSD-3-Clause
"""A rate that was asked for and not reached: by how much, and what kept the sender back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iavfio.generator.schedule import Pace

TOLD = 0.99  # of the rate: what is below is told,
TOLD_LATE = 0.01  # where it is late by so many seconds
MISSED = 0.95  # and makes a run unsound below this share of the rate,
MISSED_LATE = 1.0  # where it is late by so much: a busy host holds each sender up for a moment
RING = 0.05  # tries for each packet that found the ring full, from which on the ring is the reason
HELD_UP = 0.9  # of a CPU: a sender that had less was held up by the host


@dataclass(frozen=True)
class Effort:
    """What sending took: `seconds` of the clock, of which `cpu` on a CPU; `full` tries found the
    send ring full; `resets` of the VF meanwhile; `packets` that went out.
    """

    seconds: float
    cpu: float
    full: int
    resets: int
    packets: int


@dataclass(frozen=True)
class Shortfall:
    """`share` of the asked rate that was reached, `late` seconds behind at the end, and why."""

    share: float
    late: float
    why: str

    @property
    def missed(self) -> bool:
        """Whether it is more than a busy host's delay."""
        return self.share < MISSED and self.late >= MISSED_LATE

    def __str__(self) -> str:
        return (
            f"{self.share:.1%} of the asked rate was reached ({self.late:.2f} s behind): {self.why}"
        )


def shortfall(
    paces: Sequence[Pace], sent: Sequence[int], effort: Effort, complete: bool
) -> Shortfall | None:
    """What a run fell short of its streams' rates; None when it kept them, or there are none.

    `sent`: packets of each stream; `complete`: it ended because all that was asked for was sent.
    """
    if not any(pace.pps for pace in paces) or effort.seconds <= 0:
        return None
    if complete:  # it should have ended when its last packet was due
        due = [pace.due_at(count - 1) for pace, count in zip(paces, sent, strict=True) if count]
        planned = max(due, default=0.0)
    else:
        due = [
            pace.due_at(count)
            for pace, count in zip(paces, sent, strict=True)
            if not pace.count or count < pace.count
        ]
        planned = min(due, default=effort.seconds)
    late = effort.seconds - planned
    share = planned / effort.seconds
    if late < TOLD_LATE or share >= TOLD:
        return None
    return Shortfall(share, late, _why(effort))


def _why(effort: Effort) -> str:
    if effort.resets:
        return "the VF was reset meanwhile"
    if effort.full > RING * effort.packets:
        return (
            f"the send ring stood full in {effort.full} tries: the device, or the link, takes no "
            "more"
        )
    share = effort.cpu / effort.seconds
    if share < HELD_UP:
        return (
            f"the sender had {share:.0%} of a CPU: the host is busy, or it was stopped; give it a "
            "CPU of its own (taskset, isolcpus)"
        )
    return "one CPU makes no more frames a second; longer frames, or several generators, do"
