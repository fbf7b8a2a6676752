# SPDX-License-Identifier: BSD-3-Clause
"""Frames that came to a VF and were never received, by the counters that say why."""

from __future__ import annotations

from iavfio.stats import GLOBAL, RX, Snapshot


def losses(counted: Snapshot) -> dict[str, int]:
    """What `counted` (of an interval) says was lost on the way in, by counter; those that moved."""
    found = {
        counter.name: counted.pf[counter.name]
        for counter in GLOBAL
        if counter.lost and counter.name.startswith("rx_")
    }
    for counter in RX:
        if counter.lost:
            found[f"rq_{counter.name}"] = sum(rq[counter.name] for rq in counted.rq)
    return {name: count for name, count in found.items() if count > 0}


def told(drops: dict[str, int]) -> str:
    """Losses in words: "none", or each counter with its count."""
    return ", ".join(f"{name} {count}" for name, count in drops.items()) or "none"
