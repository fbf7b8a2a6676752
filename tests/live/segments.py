# SPDX-License-Identifier: BSD-3-Clause
"""Ports that only count: segments whose blocks a test writes."""

from __future__ import annotations

from typing import Any

from iavfio._driver import ffi
from iavfio.stats import PortSegment


def add(segment: PortSegment, block: str, queue: int, **counts: int) -> None:
    """Adds to the counters of a queue's block "rq" or "sq"."""
    address = getattr(segment, f"{block}_address")(queue)
    counters: Any = ffi.cast(f"struct {block}_counters *", address)
    for name, count in counts.items():
        setattr(counters, name, getattr(counters, name) + count)


def running(name: str, pairs: int = 2, mode: int = 0o600) -> PortSegment:
    """The segment of a port that runs with a link of 10 Gbit/s."""
    segment = PortSegment.create(name, pairs, device=f"/{name}.sock", transport="test", mode=mode)
    segment.set_pairs(pairs)
    segment.set_link(True, 10_000, bytes(6))
    segment.set_state("running")
    return segment
