# SPDX-License-Identifier: BSD-3-Clause
"""Fates of packets: each fault's draws are its own, and each queue's and side's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iavfio.faults.plan import Dice, Fates, Plan

MANY = 20_000


def plan(**changes: Any) -> Plan:
    none = {"loss": 0, "duplicate": 0, "reorder": 0, "corrupt": 0, "delay": 0}
    rest = {"distance": 3, "hold": 0.1, "limit": 10, "seed": 1, "sides": ("rx", "tx")}
    return Plan.checked(**(none | rest | changes))


def fates(side: str = "tx", queue: int = 0, packets: int = MANY, **changes: Any) -> Fates:
    return Dice(plan(**changes), side, queue).throw(packets)


ALL: dict[str, Any] = {"loss": 0.3, "duplicate": 0.3, "reorder": 0.3, "corrupt": 0.3}
COLUMNS = {
    "loss": "lost",
    "duplicate": "duplicated",
    "corrupt": "corrupted",
    "reorder": "distance",
}


@pytest.mark.parametrize("fault", ALL)
def test_one_fault_does_not_shift_anothers(fault: str) -> None:
    changes: dict[str, Any] = {fault: 0.3}
    alone, together = fates(**changes), fates(**ALL)
    column = COLUMNS[fault]
    assert (getattr(alone, column) == getattr(together, column)).all()
    assert 0.28 < (getattr(alone, column) > 0).mean() < 0.32


def test_faults_meet_by_chance_only() -> None:
    """Of the packets that one fault hits, another hits its own share."""
    found = fates(**ALL)
    for one in COLUMNS.values():
        for other in COLUMNS.values():
            if one != other:
                hit = getattr(found, one) > 0
                assert 0.26 < (getattr(found, other)[hit] > 0).mean() < 0.34, (one, other)


def test_queues_and_sides_have_fates_of_their_own() -> None:
    seen = [fates(side, queue, loss=0.5).lost for side in ("rx", "tx") for queue in (0, 1, 2)]
    for at, one in enumerate(seen):
        for other in seen[at + 1 :]:
            assert 0.45 < (one == other).mean() < 0.55


def test_bursts_do_not_matter() -> None:
    whole, dice = fates(packets=100, **ALL, delay=(1, 2)), Dice(plan(**ALL, delay=(1, 2)), "tx", 0)
    parts = [dice.throw(size) for size in (1, 0, 7, 92)]
    for name, column in vars(whole).items():
        assert (np.concatenate([getattr(part, name) for part in parts]) == column).all(), name


@pytest.mark.parametrize("distance", [1, 3, 1024])
def test_whoever_is_overtaken_is_so_by_one_at_least(distance: int) -> None:
    found = fates(reorder=1, distance=distance).distance
    assert (found.min(), found.max()) == (1, distance)
    assert not fates(distance=distance).distance.any()


def test_delays_lie_in_their_interval() -> None:
    found = fates(delay=(1, 3)).delay
    assert 1 <= found.min() < 1.1 and 2.9 < found.max() <= 3
    assert 1.95 < found.mean() < 2.05
    assert set(fates(delay=2).delay) == {2.0}
