# SPDX-License-Identifier: BSD-3-Clause
"""Link state, as the PF tells it."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """`up`, `mbps` (Mb/s, 0 = unknown) and since when it is up or down (monotonic seconds)."""

    up: bool = False
    mbps: int = 0
    since: float = 0.0

    @classmethod
    def now(cls, up: bool, mbps: int) -> Link:
        """Returns a link of which the PF has just told; `mbps` is its speed in Mbit/s."""
        return cls(up, mbps, time.monotonic())

    @property
    def gbps(self) -> float:
        """Speed in Gbit/s."""
        return self.mbps / 1000

    def __str__(self) -> str:
        if not self.up:
            return "down"
        return f"up, {self.gbps:g} Gbit/s" if self.mbps else "up"
