# SPDX-License-Identifier: BSD-3-Clause
"""What has ended is told soon, and what comes and goes does not flap."""

from __future__ import annotations

import pytest

from iavfio.port import calm
from iavfio.port.calm import Calm


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(calm, "time", clock)
    return clock


def ends_after(watch: Calm, clock: Clock) -> int:
    """In how many seconds it is over, found now and looked for each second."""
    watch.found("it")
    for second in range(1, 100):
        clock.now += 1.0
        if watch.over("it"):
            return second
    raise AssertionError


def test_it_is_over_at_the_next_look_and_once(clock: Clock) -> None:
    watch = Calm()
    assert ends_after(watch, clock) == 1
    assert not watch.over("it") and watch.open() == []


def test_looks_in_between_do_not_end_it(clock: Clock) -> None:
    watch = Calm()
    watch.found("it")
    clock.now += 0.2
    assert not watch.over("it") and watch.open() == ["it"]


def test_what_comes_back_must_be_away_for_longer(clock: Clock) -> None:
    watch = Calm()
    took = []
    for _ in range(4):
        took.append(ends_after(watch, clock))
        clock.now += 2.0
    assert took == [1, 4, 15, 15]
    clock.now += 60.0
    assert ends_after(watch, clock) == 1


def test_what_was_never_found_is_not_over(clock: Clock) -> None:
    assert not Calm().over("it")
