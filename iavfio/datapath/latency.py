# SPDX-License-Identifier: BSD-3-Clause
"""How long packets are under way: what C workers measure, as distributions (docs/design.md 11)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from iavfio._driver import ffi, lib
from iavfio.arguments import counted
from iavfio.errors import IavfioError
from iavfio.notebook import Bars, table
from iavfio.ranges import PERCENT

SUB_BITS: int = lib.HISTOGRAM_SUB_BITS
BUCKETS: int = lib.HISTOGRAM_BUCKETS
PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)


@dataclass(frozen=True)
class Latency:
    """A distribution of times in nanoseconds, each right to 1.6 %.

    `buckets` is a uint64 array of 2,368 counts; `missed` packets are not in them, because more
    packets of their flow were under way than times are kept for.
    """

    count: int
    total_ns: int
    least_ns: int
    most_ns: int
    missed: int
    buckets: npt.NDArray[np.uint64]

    @classmethod
    def none(cls) -> Latency:
        """Returns the distribution of no packet."""
        return cls(0, 0, 0, 0, 0, np.zeros(BUCKETS, np.uint64))

    def __add__(self, other: Latency) -> Latency:
        """Returns the distribution of both."""
        leasts = [each.least_ns for each in (self, other) if each.count]
        return Latency(
            self.count + other.count,
            self.total_ns + other.total_ns,
            min(leasts, default=0),
            max(self.most_ns, other.most_ns),
            self.missed + other.missed,
            self.buckets + other.buckets,
        )

    @property
    def mean_ns(self) -> float:
        """The mean in nanoseconds, 0 of no packet."""
        return self.total_ns / self.count if self.count else 0.0

    @cached_property
    def _below(self) -> npt.NDArray[np.uint64]:
        """How many packets are in each bucket and those before it."""
        return np.cumsum(self.buckets, dtype=np.uint64)

    def percentile(self, percent: float) -> int:
        """Returns the nanoseconds that so many percent of the packets took at most.

        It is the upper end of the bucket, and never more than the longest. Raises ConfigError for
        what is no percentage.
        """
        wanted = PERCENT("percent", percent) / 100 * self.count
        if not self.count:
            return 0
        index = int(np.searchsorted(self._below, max(wanted, 1)))
        return min(bounds(min(index, BUCKETS - 1))[1], self.most_ns)

    def as_dict(self) -> dict[str, Any]:
        """Returns a JSON object: nanoseconds, with the percentiles of PERCENTILES."""
        return {
            "packets": self.count,
            "missed": self.missed,
            "least_ns": self.least_ns,
            "mean_ns": round(self.mean_ns, 1),
            "most_ns": self.most_ns,
            "percentiles_ns": {f"{p:g}": self.percentile(p) for p in PERCENTILES},
        }

    def _repr_html_(self) -> str:
        points = [("least", self.least_ns)]
        points += [(f"p{p:g}", self.percentile(p)) for p in PERCENTILES]
        points.append(("longest", self.most_ns))
        title = f"latency of {counted(self.count, 'packet')}"
        bars = [(name, value, f"{value / 1000:,.1f} us") for name, value in points]
        return Bars(title, bars, "#bc6c25").svg + table(title, ((n, text) for n, _, text in bars))

    def hgrm(self, ticks: int = 5) -> Iterator[str]:
        """Yields the lines of an .hgrm file, as HdrHistogram's plotters read it; in microseconds.

        `ticks`: points in each half of what is left to 100 %.
        """
        yield f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}"
        yield ""
        share, step = 0.0, 0
        while self.count:
            value = self.percentile(100 * share)
            within = int(self._below[lib.histogram_index(value)])
            rest = f"{1 / (1 - share):14.2f}" if share < 1 else f"{'inf':>14}"
            yield f"{value / 1000:12.3f} {share:14.12f} {within:10d} {rest}"
            if share >= 1:
                break
            step += 1
            halves, part = divmod(step, ticks)
            share = 1 - 0.5**halves * (1 - 0.5 * part / ticks)
            if within >= self.count:
                share = 1.0
        mean, deviation = self.mean_ns / 1000, self._deviation()
        yield f"#[Mean    = {mean:12.3f}, StdDeviation   = {deviation:12.3f}]"
        yield f"#[Max     = {self.most_ns / 1000:12.3f}, Total count    = {self.count:12d}]"
        yield f"#[Buckets = {BUCKETS >> SUB_BITS:12d}, SubBuckets     = {1 << SUB_BITS:12d}]"

    def _deviation(self) -> float:
        """The standard deviation in microseconds."""
        if not self.count:
            return 0.0
        middles = np.array([sum(bounds(i)) / 2 for i in range(BUCKETS)])
        spread = float(np.dot(self.buckets, (middles - self.mean_ns) ** 2)) / self.count
        return float(spread**0.5) / 1000


def bounds(index: int) -> tuple[int, int]:
    """Returns the least and the most nanoseconds of a bucket."""
    shift = max((index >> SUB_BITS) - 1, 0)
    low = (index - (shift << SUB_BITS)) << shift
    return low, low + (1 << shift) - 1


class LatencyTable:
    """When the packets of a run were made, and how long they took: shared by the run's workers."""

    def __init__(self, senders: int, flows: int) -> None:
        """Raises IavfioError when memory is short."""
        self.raw: Any = lib.stamps_new(senders, flows)
        if self.raw == ffi.NULL:
            raise IavfioError("no memory for times", f"{senders} senders, {flows} flows")
        self._histograms: list[Any] = []

    def histogram(self) -> Any:
        """Returns memory for one more worker's times: a `struct histogram *`."""
        raw: Any = ffi.new("struct histogram *")
        self._histograms.append(raw)
        return raw

    @property
    def latency(self) -> Latency:
        """What was measured so far, by all workers."""
        found = Latency.none()
        for raw in self._histograms:
            found += Latency(
                int(raw.count),
                int(raw.sum_ns),
                int(raw.least_ns),
                int(raw.most_ns),
                int(raw.missed),
                np.frombuffer(ffi.buffer(raw.bucket), np.uint64).copy(),
            )
        return found

    def close(self) -> None:
        """Frees the times, after the last worker has ended; what was measured stays."""
        raw, self.raw = self.raw, ffi.NULL
        if raw != ffi.NULL:
            lib.stamps_free(raw)


def summary(latency: Latency, percents: Sequence[float] = PERCENTILES) -> str:
    """Returns a line: least, percentiles and longest in microseconds."""
    parts = [f"min {latency.least_ns / 1000:.1f}"]
    parts += [f"p{percent:g} {latency.percentile(percent) / 1000:.1f}" for percent in percents]
    return ", ".join([*parts, f"max {latency.most_ns / 1000:.1f} us"])
