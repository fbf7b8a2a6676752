# SPDX-License-Identifier: BSD-3-Clause
"""When each frame of a file is sent: as it was captured, faster or slower, or at a rate."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iavfio.capture.packet_file import Frames
from iavfio.datapath.pair import FCS
from iavfio.errors import ConfigError

SECOND = 1_000_000_000
NEVER = 1 << 62  # ns, 146 years: whatever is due later is due then, so that C's sums have room
FASTEST_PPS, FASTEST_BPS = 1e10, 1e13
UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True)
class Timing:
    """How fast: `speed` times as captured, or `pps` frames or `bps` bits a second.

    All 0: as fast as the device takes them.
    """

    speed: float = 0.0
    pps: float = 0.0
    bps: float = 0.0

    def __str__(self) -> str:
        if self.speed:
            return "as captured" if self.speed == 1 else f"{self.speed:g} times as fast as captured"
        if self.pps:
            return f"{self.pps:g} frames a second"
        if self.bps:
            return f"{self.bps:g} bit/s"
        return "as fast as possible"


def parse_timing(text: str) -> Timing:
    """The timing of "original", "max", or "xN". Raises ConfigError."""
    if text == "original":
        return Timing(speed=1.0)
    if text == "max":
        return Timing()
    found = re.fullmatch(r"x(\d{1,7}(?:\.\d{1,6})?)", text, re.ASCII)
    if found and 0.001 <= float(found[1]) <= 1e6:
        return Timing(speed=float(found[1]))
    raise ConfigError(
        f"{text!r} is no timing",
        "frames are sent as they were captured, so many times as fast, or at once",
        "write original, x2, x0.5 (from x0.001 to x1000000), or max",
    )


def parse_rate(text: str) -> Timing:
    """The timing of "1000", "10kpps", "2.5Gbit/s". Raises ConfigError."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,9})?)(k|M|G|)(pps|bit/s|bps|)", text, re.ASCII)
    if found:
        rate = float(found[1]) * UNITS[found[2]]
        if found[3] in ("pps", "") and 0.001 <= rate <= FASTEST_PPS:
            return Timing(pps=rate)
        if found[3] not in ("pps", "") and 1 <= rate <= FASTEST_BPS:
            return Timing(bps=rate)
    raise ConfigError(
        f"{text!r} is no rate",
        "a rate is a number of frames a second, or of bits",
        "write 1000, 10kpps or 1.5Mpps, or 100Mbit/s or 2.5Gbit/s",
    )


def due_times(frames: Frames, timing: Timing) -> tuple[NDArray[np.uint64] | None, int]:
    """When each frame is due, in ns after the beginning of a round, and how long a round is.

    None: at once. A capture's round is longer than the time between its first and last frame by the
    mean gap. Frames whose times go backwards are due with the one before, and none is due later
    than `NEVER`.
    """
    count = len(frames)
    if timing.pps:
        gap = SECOND / timing.pps
        return _bounded(np.arange(count) * gap), min(round(count * gap), NEVER)
    if timing.bps:
        bits = (frames.lengths.astype(np.float64) + FCS) * 8
        ends = np.cumsum(bits) / timing.bps * SECOND
        return _bounded(np.concatenate(([0.0], ends[:-1]))), min(round(float(ends[-1])), NEVER)
    if not timing.speed:
        return None, 0
    # Unsigned, since the times of a file may be further apart than a signed number is large.
    since = np.maximum.accumulate(frames.times).view(np.uint64) - frames.times[:1].view(np.uint64)
    due = _bounded(since / timing.speed)
    last = int(due[-1])
    return due, last + (last // (count - 1) if count > 1 else 0)


def _bounded(times: NDArray[np.floating[Any]]) -> NDArray[np.uint64]:
    """Times in whole ns, none of them later than NEVER."""
    bounded: NDArray[np.uint64] = np.minimum(times, float(NEVER)).astype(np.uint64)
    return bounded
