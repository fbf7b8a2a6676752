# SPDX-License-Identifier: BSD-3-Clause
"""Totals of the PF's counters, against a model PF that wraps and restarts at every width."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iavfio.stats.monotonic import SLACK, WIDTHS, Monotonic, Width

COUNTERS = len(WIDTHS)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["traffic", "traffic", "traffic", "reset", "restart"]),
        st.floats(0.001, 30.0),  # seconds
        st.floats(0.0, 0.5),  # load, of the fastest wire
    ),
    max_size=30,
)


def could_have_wrapped(width: Width, old: int, seconds: float) -> bool:
    """Whether a restart at this value cannot be told from a wrap, by anybody."""
    most = width.fastest * (seconds + SLACK)
    return any((1 << bits) - old <= most for bits in width.bits if old < 1 << bits)


# docs/spec/reliability.md F16
@settings(max_examples=300, deadline=None)
@given(st.integers(0, COUNTERS - 1), st.booleans(), st.integers(0, 2**64 - 1), st.booleans(), STEPS)
def test_total_is_what_the_wire_carried(
    index: int, wide: bool, start: int, near: bool, steps: list[tuple[str, float, float]]
) -> None:
    """A model PF of either width wraps by itself, is rebuilt by a reset, or restarts silently."""
    width = WIDTHS[index]
    bits = width.bits[wide]
    value = (1 << bits) - 1 - start % 1000 if near else start % (1 << bits)
    totals, now, answer = Monotonic(), 100.0, [0] * COUNTERS
    answer[index] = value
    base = totals.feed(answer, now)[index]
    carried = 0
    for kind, seconds, load in steps:
        # Answers come once a second: no counter wraps half its width between two.
        amount = min(int(load * width.fastest * seconds), (1 << (bits - 1)) - 1)
        if kind == "restart" and (not value or could_have_wrapped(width, value, seconds)):
            continue
        if kind != "traffic" and value:
            # More would hide that it began again, or look like sums that went back a little.
            amount = min(amount, value - 1 - value // 1024)
            value = 0
        if kind == "reset":
            totals.after_reset()
        now += seconds
        carried += amount
        answer[index] = value = (value + amount) % (1 << bits)
        assert totals.feed(answer, now)[index] == base + carried


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 2**64 - 1), min_size=12, max_size=12), max_size=8))
def test_totals_never_go_back_whatever_the_pf_says(answers: list[list[int]]) -> None:
    totals, before = Monotonic(), (0,) * COUNTERS
    for i, answer in enumerate(answers):
        if i % 3 == 2:
            totals.after_reset()
        told = totals.feed(answer, float(i))
        assert all(new >= old for new, old in zip(told, before, strict=True))
        before = told


def one(index: int, *values: int, seconds: float = 1.0, reset_before: int = -1) -> int:
    """The total of one counter after these values."""
    totals, told = Monotonic(), (0,) * COUNTERS
    for i, value in enumerate(values):
        if i == reset_before:
            totals.after_reset()
        answer = [0] * COUNTERS
        answer[index] = value
        told = totals.feed(answer, i * seconds)
    return told[index]


@pytest.mark.parametrize("index", range(COUNTERS))
def test_64_bit_counter_that_goes_back_has_begun_again(index: int) -> None:
    """An ice PF adds counters up to 64 bits: it cannot have wrapped at 2^48 from above it."""
    assert one(index, 1 << 50, 3) == (1 << 50) + 3
    assert one(index, 1_000_000, 999_999) == 1_999_999
    assert one(index, 1_000_000, 0, 5) == 1_000_005


@pytest.mark.parametrize("reset_before", [-1, 1])
@pytest.mark.parametrize("index", [1, 4])
def test_a_counter_that_goes_back_a_little_invents_nothing(index: int, reset_before: int) -> None:
    high = (1 << 30) - 1
    assert one(index, high, high - 1, high - 2, high + 8, reset_before=reset_before) == high + 10


@pytest.mark.parametrize("index", [0, 1, 4])
def test_more_than_the_wire_carries_since_a_restart_counts_nothing(index: int) -> None:
    most = int(WIDTHS[index].fastest * (1.0 + SLACK))
    assert one(index, 1 << 47, most) == (1 << 47) + most
    assert one(index, 1 << 47, most + (1 << 20)) == 1 << 47


def test_wrap_at_the_register_width_is_no_restart() -> None:
    assert one(0, (1 << 48) - 10, 5) == (1 << 48) + 5
    assert one(4, (1 << 32) - 10, 5) == (1 << 32) + 5
    assert one(0, (1 << 64) - 10, 5) == (1 << 64) + 5
    assert one(4, (1 << 64) - 10, 5) == (1 << 64) + 5


def test_bytes_do_not_wrap_at_32_bits() -> None:
    assert one(0, (1 << 32) - 10, 5) == (1 << 32) - 10 + 5


def test_time_decides_what_is_plausible() -> None:
    """Half a wrap of 32 bits in an hour is one; in a second no wire carries it."""
    old, new = (1 << 32) - (1 << 30), 1 << 29
    assert one(4, old, new, seconds=3600) == (1 << 32) + new
    assert one(4, old, new, seconds=0.1) == old + new


# docs/spec/reliability.md F16
def test_after_a_reset_the_pf_counts_from_zero() -> None:
    assert one(0, (1 << 48) - 10, 5, reset_before=1) == (1 << 48) - 10 + 5
    assert one(4, 100, 100, reset_before=1) == 100  # the VSI was not rebuilt
