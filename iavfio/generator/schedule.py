# SPDX-License-Identifier: BSD-3-Clause
"""Which stream sends its next packet when: the streams of a run merged by arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iavfio.errors import ConfigError

SECOND = 1_000_000_000
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Pace:
    """How a stream sends: `pps` packets a second in groups of `burst`, `count` in all (0: no end).

    `pps` 0: as fast as possible, in turn with the other streams of the run.
    """

    pps: float
    burst: int = 1
    count: int = 0

    def due(self, numbers: Numbers) -> NDArray[np.float64]:
        """When the packets with these numbers are due, in seconds; without a rate their turn."""
        groups = (numbers // self.burst).astype(np.float64)
        groups *= self.burst / self.pps if self.pps else 1.0
        return groups

    def due_at(self, number: int) -> float:
        """When the packet of that number is due, in seconds."""
        return float(self.due(np.array([number]))[0])

    def until(self, when: float) -> int:
        """How many packets are due before `when`, up to `count`."""
        interval = self.burst / self.pps if self.pps else 1.0
        groups = math.ceil(when / interval)
        number = groups * self.burst
        return min(number, self.count) if self.count else number


@dataclass(frozen=True)
class Chunk:
    """The next packets in order: of each its stream, its number in the stream, and when it is due.

    `due` in ns after the beginning of the run, None: at once.
    """

    streams: Numbers
    numbers: Numbers
    due: Numbers | None

    def __len__(self) -> int:
        return len(self.streams)


class Schedule:
    """The order of all packets of a run.

    Either every stream has a rate or none has: raises ConfigError otherwise.
    """

    def __init__(self, paces: Sequence[Pace]) -> None:
        self.paces = tuple(paces)
        self.paced = any(pace.pps for pace in paces)
        if self.paced and not all(pace.pps for pace in paces):
            raise ConfigError(
                "some streams have a rate and others have none",
                "one that is as fast as possible leaves no room for the rate of another",
                "give each stream a rate, or none",
            )

    def chunk(self, sent: Sequence[int], most: int) -> Chunk:
        """The `most` packets, or fewer, that follow when each stream has sent so many.

        Empty when every stream has reached its count.
        """
        open_streams = [
            i for i, pace in enumerate(self.paces) if not pace.count or sent[i] < pace.count
        ]
        if not open_streams or most <= 0:
            empty = np.empty(0, dtype=np.int64)
            return Chunk(empty, empty, empty if self.paced else None)
        first = min(self.paces[i].due_at(sent[i]) for i in open_streams)
        turns = [self.paces[i] for i in open_streams]
        speed = sum(pace.pps if pace.pps else pace.burst for pace in turns)
        horizon = first + most / speed
        streams, numbers, due, whole = [], [], [], math.inf
        for i in open_streams:
            pace = self.paces[i]
            soonest = pace.due_at(sent[i]) <= first
            end = max(pace.until(horizon), sent[i] + soonest)  # whatever rounding does
            taken = np.arange(sent[i], min(end, sent[i] + most), dtype=np.int64)
            times = pace.due(taken)
            if sent[i] + most < end:
                whole = min(whole, float(times[-1]))
            streams.append(np.full(len(taken), i, dtype=np.int64))
            numbers.append(taken)
            due.append(times)
        merged = np.concatenate(due)
        order = np.argsort(merged, kind="stable")
        order = order[merged[order] <= whole][:most]
        when = (merged[order] * SECOND).astype(np.int64) if self.paced else None
        return Chunk(np.concatenate(streams)[order], np.concatenate(numbers)[order], when)
