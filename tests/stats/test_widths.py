# SPDX-License-Identifier: BSD-3-Clause
"""Widths of the PF's counters, and the sequence count of their block, with their right values.

The widths stand here once more (docs/spec/libie-counters.md 5): a model that takes them from the
driver's table agrees with whatever stands there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from iavfio._driver import ffi
from iavfio.stats import PortSegment, SegmentReader, liveness
from iavfio.stats.monotonic import Monotonic
from tests.snapshots import idle

BITS = {
    "rx_bytes": 48,
    "rx_unicast": 48,
    "rx_multicast": 48,
    "rx_broadcast": 48,
    "rx_discards": 32,
    "rx_unknown_protocol": 32,
    "tx_bytes": 48,
    "tx_unicast": 48,
    "tx_multicast": 48,
    "tx_broadcast": 48,
    "tx_discards": 32,
    "tx_errors": 32,
}
NAMES = list(BITS)


def total(name: str, *values: int, reset_before: int = 0) -> int:
    """The total of one counter after these answers, one a second."""
    totals, told = Monotonic(), (0,) * len(BITS)
    for second, value in enumerate(values):
        if second and second == reset_before:
            totals.after_reset()
        answer = [0] * len(BITS)
        answer[NAMES.index(name)] = value
        told = totals.feed(answer, float(second))
    assert [count for at, count in enumerate(told) if at != NAMES.index(name)] == [0] * 11
    return told[NAMES.index(name)]


# docs/spec/reliability.md F16
@pytest.mark.parametrize("name", NAMES)
def test_each_counter_wraps_at_its_own_width(name: str) -> None:
    for bits in (32, 48, 64):
        old = (1 << bits) - 10
        wraps = bits in (BITS[name], 64)
        assert total(name, old, 5) == (old + 15 if wraps else old + 5), bits


# docs/spec/reliability.md F16
@pytest.mark.parametrize("name", NAMES)
def test_a_wrap_after_the_first_answer_since_a_reset_is_one(name: str) -> None:
    old = (1 << BITS[name]) - 10
    assert total(name, old, 5, reset_before=1) == old + 5  # it began again
    assert total(name, 7, old, 5, reset_before=1) == 7 + (old - 7) + 15  # of that answer it wraps


@pytest.mark.parametrize("name", NAMES)
def test_a_counter_that_stands_still_or_grows_is_taken_as_it_is(name: str) -> None:
    assert total(name, 100, 100) == 100
    assert total(name, 100, 101, 1 << 50) == 1 << 50
    assert total(name, 0, 0, 5) == 5


# ---- a segment's block


@pytest.fixture
def segment() -> Iterator[PortSegment]:
    segment = PortSegment.create("widths", 2, device="/dev/widths", transport="test")
    segment.set_pairs(2)
    yield segment
    segment.close()


def sequence(segment: PortSegment) -> int:
    """The first word of the block of the PF's counters, as a reader in another process sees it."""
    reader = SegmentReader(segment.path)
    header: Any = ffi.new("struct segment_header *")
    data = segment.path.read_bytes()
    ffi.memmove(header, data, ffi.sizeof("struct segment_header"))
    at = int(header.pf_offset)
    assert reader.alive
    return int.from_bytes(data[at : at + 8], "little")


def test_every_update_moves_the_sequence_count(segment: PortSegment) -> None:
    """By two: a reader that looked before and after it knows that its copy is no good."""
    updates: list[Callable[[], None]] = [
        lambda: segment.set_global([1] * 12),
        lambda: segment.set_link(True, 10_000, bytes(6)),
        lambda: segment.set_state("resetting"),
    ]
    for update in updates:
        before = sequence(segment)
        assert before % 2 == 0
        update()
        assert sequence(segment) == before + 2


def test_a_link_change_counts_when_the_link_has_changed(segment: PortSegment) -> None:
    reader = SegmentReader(segment.path)
    told = []
    for up, mbps in ((False, 0), (True, 10_000), (True, 25_000), (False, 0), (False, 0)):
        segment.set_link(up, mbps, bytes(6))
        snapshot = reader.snapshot()
        told.append((snapshot.link_changes, snapshot.link_up, snapshot.link_mbps))
    assert told == [
        *((0, False, 0), (1, True, 10_000), (1, True, 25_000), (2, False, 0), (2, False, 0)),
    ]


def test_new_queues_count_from_zero_in_a_difference() -> None:
    one = idle()
    two = replace(
        one,
        rq=(one.rq[0] | {"packets": 5}, one.rq[0] | {"packets": 7}),
        sq=(one.sq[0], one.sq[0] | {"packets": 3}),
    )
    counted = two.since(one)
    assert [queue["packets"] for queue in counted.rq] == [5, 7]
    assert [queue["packets"] for queue in counted.sq] == [0, 3]


def test_a_file_that_takes_the_name_of_the_dead_one_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the dead file and its removal another port may have taken the name."""
    (tmp_path / "p.stats").write_bytes(b"old")

    def dead_and_replaced(fd: int) -> bool:
        (tmp_path / "new").write_bytes(b"new")
        (tmp_path / "new").rename(tmp_path / "p.stats")
        return False

    monkeypatch.setattr(liveness, "is_alive", dead_and_replaced)
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert not liveness.remove_if_dead(folder, "p.stats")
    finally:
        os.close(folder)
    assert (tmp_path / "p.stats").read_bytes() == b"new"
