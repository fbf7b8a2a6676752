# SPDX-License-Identifier: BSD-3-Clause
"""The longest burst that a way carries without loss: RFC 2544, 26.4 as RFC 9004 updates it.

Each of several searches of its own ends with a burst length; told are all of them with average,
least, most and standard deviation, and the buffer that they imply.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from iavfio.bench.ndr import Trial
from iavfio.bench.plan import Plan

LINE_RATE = 0.99  # of the line, from which on frames follow each other with the least gap
MeasureBurst = Callable[[int], Trial]


@dataclass(frozen=True)
class Longest:
    """One search: `frames` is the longest burst of which nothing was lost, 0 where one frame was.

    `pps`: how fast the first and longest burst was sent, with `line_share` of the links' speed.
    `whole`: that one passed, so that a longer one might as well.
    """

    frames: int
    whole: bool
    pps: float
    line_share: float | None
    trials: int


@dataclass(frozen=True)
class BackToBack:
    """Several searches. `tried`: frames of the longest burst; `throughput`: packets a second that
    the way carries without loss, 0 = none.
    """

    searches: tuple[Longest, ...]
    tried: int
    throughput: float

    @property
    def frames(self) -> tuple[int, ...]:
        """The longest burst of each search."""
        return tuple(each.frames for each in self.searches)

    @property
    def average(self) -> float:
        """Frames of the longest burst on average: the benchmark."""
        return statistics.fmean(self.frames)

    @property
    def deviation(self) -> float:
        """The standard deviation of a search's frames, 0 of a single search."""
        return statistics.stdev(self.frames) if len(self.frames) > 1 else 0.0

    @property
    def pps(self) -> float:
        """Packets a second of the bursts, on average of the longest."""
        return statistics.fmean(each.pps for each in self.searches)

    @property
    def line_share(self) -> float | None:
        """The bursts' rate as a share of the links' speed; None when no speed is known."""
        shares = [each.line_share for each in self.searches if each.line_share is not None]
        return statistics.fmean(shares) if shares else None

    @property
    def buffer_s(self) -> float | None:
        """Seconds that the way can hold back (RFC 9004: corrected DUT buffer time).

        While a burst comes in, the way sends on at its throughput: that part of it needs no buffer.
        None where the burst was no faster than the throughput, or none was too long.
        """
        if any(each.whole for each in self.searches) or self.pps <= self.throughput:
            return None
        implied = self.average / self.pps
        return implied - implied * self.throughput / self.pps

    @property
    def notes(self) -> tuple[str, ...]:
        """What keeps the result from being the benchmark, in words."""
        found = []
        whole = sum(each.whole for each in self.searches)
        if whole:
            found.append(
                f"in {whole} of {len(self.searches)} searches the longest burst that was tried "
                f"({self.tried} frames) lost nothing: there is no limit to be seen"
            )
        if self.line_share is not None and self.line_share < LINE_RATE:
            found.append(
                f"bursts were sent at {self.line_share:.1%} of line rate, as fast as this host "
                "can; RFC 9004 wants the least gap between frames"
            )
        return tuple(found)


def longest_burst(measure: MeasureBurst, most: int, precision: float) -> Longest:
    """Searches the longest burst without loss, up to `most` frames.

    `measure(frames)` sends a burst of so many. The result is right to the share `precision` of it,
    or to a frame.
    """
    first = trial = measure(most)
    low, high, trials = 0, most, 1
    whole = _whole(trial, most)
    if whole:
        low = most
    while high - low > max(1.0, precision * high):
        middle = (low + high) // 2
        trial = measure(middle)
        trials += 1
        if _whole(trial, middle):
            low = middle
        else:
            high = middle
    return Longest(low, whole, first.pps, first.line_share, trials)


def _whole(trial: Trial, frames: int) -> bool:
    return not trial.loss and not trial.wrong and trial.sent == frames


def back_to_back(
    measure: MeasureBurst, most: int, precision: float, repeat: int, throughput: float
) -> BackToBack:
    """Makes `repeat` searches of their own; the arguments are those of `longest_burst`."""
    searches: Sequence[Longest] = [longest_burst(measure, most, precision) for _ in range(repeat)]
    return BackToBack(tuple(searches), most, throughput)


def burst_plan(plan: Plan, size: int, frames: int) -> Plan:
    """Returns the plan of a burst of one size, sent as fast as possible whatever comes back."""
    return replace(
        plan,
        sizes=(size,),
        rate=0.0,
        duration=None,
        count=frames,
        latency=False,
        open_loop=True,
        max_loss=1.0,
    )
