# SPDX-License-Identifier: BSD-3-Clause
"""When packets are due, and which of them arrived: arithmetic against the plain way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iavfio.errors import ConfigError
from iavfio.generator.arrivals import BLOCK, Arrivals
from iavfio.generator.rate import parse_stream_rate
from iavfio.generator.schedule import Pace, Schedule

PACES = st.builds(
    Pace,
    pps=st.sampled_from([0.5, 1.0, 3.0, 1000.0, 1e6]),
    burst=st.integers(1, 40),
    count=st.integers(1, 300),
)


def walked(schedule: Schedule, most: int) -> list[tuple[int, int]]:
    """Stream and number of all packets, chunk by chunk."""
    sent = [0] * len(schedule.paces)
    order: list[tuple[int, int]] = []
    while len(chunk := schedule.chunk(sent, most)):
        assert len(chunk) <= most
        for stream, number in zip(chunk.streams.tolist(), chunk.numbers.tolist(), strict=True):
            assert number == sent[stream]  # each stream's packets come in order, none is left out
            sent[stream] += 1
            order.append((stream, number))
    return order


@settings(max_examples=40, deadline=None)
@given(paces=st.lists(PACES, min_size=1, max_size=5), most=st.integers(1, 64))
def test_streams_are_merged_by_the_time_at_which_packets_are_due(
    paces: list[Pace], most: int
) -> None:
    order = walked(Schedule(paces), most)
    assert [order.count((i, 0)) for i in range(len(paces))] == [1] * len(paces)
    assert len(order) == sum(pace.count for pace in paces)
    due = [float(paces[i].due(np.array([n]))[0]) for i, n in order]
    assert due == sorted(due)


def test_streams_without_a_rate_take_turns_by_their_bursts() -> None:
    order = walked(Schedule([Pace(0.0, 2, 6), Pace(0.0, 1, 3)]), 4)
    assert [stream for stream, _ in order] == [0, 0, 1, 0, 0, 1, 0, 0, 1]


def test_a_rate_beside_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="others have none"):
        Schedule([Pace(1.0), Pace(0.0)])


@pytest.mark.parametrize(
    ("text", "pps"),
    [
        ("1000", 1000),
        ("10kpps", 10_000),
        ("100Mbit/s", 1e8 / (8 * 64)),
        ("10%", 0.1 * 10e9 / (8 * 84)),
        ("100%", 14_880_952.38),
        ("max", 0),
    ],
)
def test_rates_of_64_byte_frames_at_10_gbits(text: str, pps: float) -> None:
    assert parse_stream_rate(text).pps(60, 10_000) == pytest.approx(pps)


def test_a_share_of_an_unknown_speed_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not tell the link's speed"):
        parse_stream_rate("10%").pps(60, 0)


def plainly(numbers: list[int]) -> tuple[int, int, int]:
    """Received, duplicated, reordered, one by one."""
    seen: set[int] = set()
    duplicated = reordered = 0
    for number in numbers:
        if number in seen:
            duplicated += 1
            continue
        reordered += bool(seen) and number < max(seen)
        seen.add(number)
    return len(seen), duplicated, reordered


@settings(deadline=None)
@given(numbers=st.lists(st.integers(0, 200), max_size=300), at=st.integers(1, 50))
def test_arrivals_are_counted_as_if_one_by_one(numbers: list[int], at: int) -> None:
    numbers = [number * 997 for number in numbers]  # over several blocks
    arrivals = Arrivals()
    for begin in range(0, len(numbers), at):
        arrivals.add(np.array(numbers[begin : begin + at], dtype=np.int64))
    assert (arrivals.received, arrivals.duplicated, arrivals.reordered) == plainly(numbers)


def test_a_whole_block_that_comes_again_is_all_duplicates() -> None:
    arrivals = Arrivals()
    whole = np.arange(BLOCK)
    arrivals.add(whole)
    arrivals.add(whole[::-1].copy())
    assert (arrivals.received, arrivals.duplicated, arrivals.reordered) == (BLOCK, BLOCK, 0)


def test_numbers_go_on_after_32_bits() -> None:
    arrivals = Arrivals()
    step = 1 << 30
    for i in range(12):
        arrivals.add(np.array([i * step % (1 << 32)], dtype=np.int64))
    assert (arrivals.received, arrivals.duplicated, arrivals.reordered) == (12, 0, 0)
