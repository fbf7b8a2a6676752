# SPDX-License-Identifier: BSD-3-Clause
"""What `make bench-neighbour` makes of the times that it measured (docs/spec/reliability.md D6)."""

from __future__ import annotations

import pytest

from tests.hostile.neighbour import (
    BROKEN,
    HOLDS,
    SHOWS_NOTHING,
    Measured,
    Samples,
    histogram,
    verdict,
)

QUIET = Samples([0.0001] * 99 + [0.009], [0.001] * 100)


@pytest.mark.parametrize(
    ("reads", "frames", "word"),
    [
        ([0.0002] * 99 + [0.0099], [0.002] * 100, ""),
        ([0.00021] * 100, [0.001] * 100, "a register read is 2.10 times as long"),
        ([0.0001] * 99 + [0.010], [0.001] * 100, "a register read took 10.0 ms"),
        ([0.0001] * 100, [0.0021] * 100, "a frame takes 2.10 times as long"),
    ],
)
def test_a_promise_that_is_broken_is_told(
    reads: list[float], frames: list[float], word: str
) -> None:
    well = Measured("calm", QUIET, QUIET)
    status, why = verdict([well, Measured("storm", QUIET, Samples(reads, frames)), well])
    assert status == (BROKEN if word else HOLDS)
    assert len(why) == 1
    assert word in why[0]
    assert why[0].startswith("storm: ") == bool(word)


def test_a_loaded_machine_shows_nothing() -> None:
    loaded = Samples([0.0001] * 99 + [0.010], [0.001] * 100)
    bad = Samples([1.0] * 100, [1.0] * 100)
    status, why = verdict([Measured("storm", loaded, bad), Measured("calm", QUIET, QUIET)])
    assert status == SHOWS_NOTHING
    assert "loaded" in why[0]


def test_a_row_of_the_table() -> None:
    stormy = Samples([0.0002] * 98 + [0.003, 0.004], [0.0015] * 100)
    row = Measured("FLR", QUIET, stormy).row()
    assert row == "| FLR | 0.100 | 0.200 | 4.00 | 9.00 | 4.00 | 1.50 |"


def test_each_sample_is_counted_once() -> None:
    counts = histogram([0.00001, 0.00005, 0.0099, 0.010, 5.0]).split()
    assert counts == ["1", "1", "0", "0", "0", "0", "0", "1", "1", "0", "0", "0", "1"]
