# SPDX-License-Identifier: BSD-3-Clause
"""Where packets wait that are delayed, or that later ones are to overtake."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iavfio.datapath.burst import Burst
from iavfio.datapath.packets import Packets


class Source:
    """A burst whose packets leave it one by one; it is released behind the last."""

    def __init__(self, burst: Burst) -> None:
        self.burst = burst
        self.waiting = burst.left

    def leave(self, packets: int) -> None:
        """Notes that `packets` more were handed over; the burst is released behind its last."""
        self.waiting -= packets
        if self.waiting == 0:
            self.burst.release()


@dataclass(order=True, slots=True)
class Waiting:
    """A packet that waits; sorted by the moment at which its delay is over, then by arrival."""

    due: float
    number: int
    distance: int  # packets that have yet to overtake it
    until: float  # when it goes although fewer did
    row: int
    source: Source


class Stage:
    """Packets between the port and the program. `limit`: how many wait; beyond it they go early."""

    def __init__(self, limit: int, hold: float) -> None:
        self._limit, self._hold = limit, hold
        self._delayed: list[Waiting] = []  # a heap
        self._back: list[Waiting] = []  # due, and waiting to be overtaken
        self._ready: deque[Waiting] = deque()
        self._arrived = 0
        self._last = -1  # the highest number that went
        self.reordered = 0
        self.delayed = 0

    def __len__(self) -> int:
        return len(self._delayed) + len(self._back) + len(self._ready)

    @property
    def ready(self) -> int:
        """Packets that may go now."""
        return len(self._ready)

    @property
    def next(self) -> float | None:
        """The moment at which the next packet may go, None when none waits for a moment."""
        moments = [self._delayed[0].due] if self._delayed else []
        moments += [waiting.until for waiting in self._back]
        return min(moments, default=None)

    def put(self, source: Source, row: int, now: float, delay: float, distance: int) -> None:
        """Takes in one packet of a burst."""
        due = now + delay
        waiting = Waiting(due, self._arrived, distance, due + self._hold, row, source)
        self._arrived += 1
        self.delayed += delay > 0
        heapq.heappush(self._delayed, waiting)

    def advance(self, now: float) -> None:
        """Makes ready what may go at that moment; infinity: everything."""
        while self._delayed and self._delayed[0].due <= now:
            self._let_go(heapq.heappop(self._delayed))
        for waiting in [each for each in self._back if each.until <= now]:
            self._overtaken(waiting)
        while len(self._delayed) + len(self._back) > self._limit:
            if self._back:
                self._go(self._back.pop(0))
            else:
                self._let_go(heapq.heappop(self._delayed))

    def _let_go(self, waiting: Waiting) -> None:
        """The delay of a packet is over: it goes, or waits for others to overtake it."""
        if waiting.distance:
            self._back.append(waiting)
        else:
            self._go(waiting)

    def _go(self, waiting: Waiting) -> None:
        """A packet is ready, and has overtaken those that came before and wait."""
        self._ready.append(waiting)
        self.reordered += waiting.number < self._last
        self._last = max(self._last, waiting.number)
        passed = [each for each in self._back if each.number < waiting.number]
        for each in passed:
            each.distance -= 1
        for each in passed:
            if each.distance <= 0:
                self._overtaken(each)

    def _overtaken(self, waiting: Waiting) -> None:
        """A packet was passed by enough others, unless it went meanwhile."""
        if waiting in self._back:
            self._back.remove(waiting)
            self._go(waiting)

    def take(self, most: int) -> list[Waiting]:
        """Up to `most` packets that are ready, in the order in which they go."""
        return [self._ready.popleft() for _ in range(min(most, len(self._ready)))]

    def clear(self) -> int:
        """Gives up all packets; returns how many."""
        self.advance(float("inf"))
        taken = self.take(len(self._ready))
        for source in {id(each.source): each.source for each in taken}.values():
            source.burst.release()
        return len(taken)


def parts(taken: Sequence[Waiting]) -> list[Packets]:
    """The packets as selections of their bursts, neighbours of one burst together."""
    found: list[tuple[Source, list[int]]] = []
    for waiting in taken:
        if not found or found[-1][0] is not waiting.source:
            found.append((waiting.source, []))
        found[-1][1].append(waiting.row)
    return [source.burst[_rows(rows)] for source, rows in found]


def _rows(rows: list[int]) -> NDArray[np.intp]:
    return np.array(rows, dtype=np.intp)
