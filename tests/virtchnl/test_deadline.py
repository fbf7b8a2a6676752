# SPDX-License-Identifier: BSD-3-Clause
"""A budget of time that steps share, on a clock that the test moves."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iavfio.virtchnl.deadline import Deadline


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(st.floats(0.01, 100), st.lists(st.floats(0.0, 50), max_size=30))
def test_steps_that_share_a_deadline_never_add_up_to_more(
    budget: float, steps: list[float]
) -> None:
    clock = Clock()
    deadline = Deadline(budget, clock)
    for wanted in steps:
        clock.now += deadline.within(wanted)  # a step that fails at its own time-out
    assert clock.now <= 1000.0 + budget + 1e-9
    assert deadline.left == pytest.approx(max(0.0, budget - sum(steps)), abs=1e-6)


def test_a_part_ends_with_the_whole_at_the_latest() -> None:
    clock = Clock()
    whole = Deadline(2.0, clock)
    assert whole.part(0.5).left == pytest.approx(0.5)
    assert whole.part(5.0).left == pytest.approx(2.0)
    clock.now += 3.0
    assert whole.over
    assert whole.left == whole.within(1.0) == whole.part(1.0).left == 0.0


def test_without_a_bound_nothing_is_ever_over() -> None:
    forever = Deadline()
    assert forever.left == math.inf
    assert forever.within(7.0) == 7.0
    assert not forever.part(math.inf).over
