# SPDX-License-Identifier: BSD-3-Clause
"""What became of all frames of a soak, and how long resets lasted and went unseen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import ceil
from typing import Any

STEPS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass
class Account:
    """What became of all frames, and what was wrong; times in seconds.

    `sent`, `received` and `lost` are numbered frames of Python; `loaded`, `loaded_received` and
    `loaded_lost` those of C workers. `lost`: in storms; `loaded_lost`: while something happened to
    a port. `detected`: from what the host did until the port told of it.
    """

    sent: int = 0
    received: int = 0
    lost: int = 0
    loaded: int = 0
    loaded_received: int = 0
    loaded_lost: int = 0
    rounds: int = 0
    resets: int = 0
    happened: Counter[str] = field(default_factory=Counter)
    outages: list[float] = field(default_factory=list)
    first_packets: list[float] = field(default_factory=list)
    detected: list[float] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)  # until one was found
    wrong: list[str] = field(default_factory=list)
    interrupted: bool = False  # by a signal, before its time

    @property
    def packets(self) -> int:
        """Frames that came and were checked."""
        return self.received + self.loaded_received

    def balance(self) -> None:
        """Notes as wrong when what was sent is not what was received and lost."""
        for who, sent, received, lost in (
            ("Python", self.sent, self.received, self.lost),
            ("C workers", self.loaded, self.loaded_received, self.loaded_lost),
        ):
            if sent != received + lost:
                self.wrong.append(f"{who}: {sent} sent are not {received} received and {lost} lost")

    def report(self, seconds: float, usage: dict[str, Any]) -> dict[str, Any]:
        """Returns the account as JSON-able values."""
        return {
            "seconds": round(seconds, 1),
            "rounds": self.rounds,
            "packets": self.packets,
            "resets": self.resets,
            "sent": self.sent,
            "received": self.received,
            "lost_in_storms": self.lost,
            "workers": {
                "sent": self.loaded,
                "received": self.loaded_received,
                "lost_while_something_happened": self.loaded_lost,
            },
            "happened": dict(sorted(self.happened.items())),
            "detected_ms": histogram(self.detected),
            "stall_found_ms": histogram(self.stalls),
            "outage_ms": histogram(self.outages),
            "first_packet_ms": histogram(self.first_packets),
            "quantiles_ms": {
                "detected": quantiles(self.detected),
                "stall_found": quantiles(self.stalls),
                "outage": quantiles(self.outages),
                "first_packet": quantiles(self.first_packets),
            },
            "usage": usage,
            "interrupted": self.interrupted,
            "wrong": self.wrong,
        }


def histogram(seconds: list[float]) -> dict[str, int]:
    """Number of values up to each step, in milliseconds."""
    counts = Counter(
        next((f"<= {step}" for step in STEPS_MS if value * 1e3 <= step), f"> {STEPS_MS[-1]}")
        for value in seconds
    )
    names = [*(f"<= {step}" for step in STEPS_MS), f"> {STEPS_MS[-1]}"]
    return {name: counts[name] for name in names if counts[name]}


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Median, 90th and 99th percentile (each a value that occurred) and maximum, in ms."""
    values = sorted(seconds)
    ranks = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    last = len(values) - 1
    return {
        name: round(values[ceil(last * rank)] * 1e3, 1) for name, rank in ranks.items() if values
    }
