# SPDX-License-Identifier: BSD-3-Clause
"""What `make bench-neighbour` makes of the times that it measured (docs/spec/reliability.md D6)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from tests.hostile.neighbour import (
    BROKEN,
    HOLDS,
    SHOWS_NOTHING,
    Measured,
    Samples,
    histogram,
    stolen,
    verdict,
)
from tests.hostile.served_pf import served_pf
from tests.hostile.storms import storm, storm_elsewhere
from tests.softvf.function.mailbox_rings import RSTAT
from tests.softvf.server.raw_client import RawClient

QUIET = Samples([0.0001] * 99 + [0.009], [0.001] * 100)


@pytest.mark.parametrize(
    ("reads", "frames", "word"),
    [
        ([0.0009] * 99 + [0.0099], [0.002] * 100, ""),
        ([0.0001] * 99 + [0.010], [0.001] * 100, "a register read took 10.0 ms"),
        ([0.0001] * 100, [0.0021] * 100, "a burst takes 2.10 times as long"),
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


@pytest.mark.parametrize(
    ("seconds", "gone", "kept"),
    [(0.1, 0.1, False), (0.1, 0.06, False), (0.1, 0.04, True), (0.0049, 1.0, True)],
)
def test_a_read_without_a_processor_is_no_read(seconds: float, gone: float, kept: bool) -> None:
    samples = Samples()
    samples.add(seconds, 5.0, 5.0 + gone)
    assert (samples.reads, samples.stolen) == (([seconds], 0) if kept else ([], 1))


def test_what_a_hypervisor_took(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  1 2 3 4 5 6 7 250 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    assert stolen(stat) == pytest.approx(250 / os.sysconf("SC_CLK_TCK"))


def test_a_storm_rages_elsewhere(tmp_path: Path) -> None:
    with served_pf(tmp_path) as served:
        victim = RawClient(served.paths[1])
        with storm_elsewhere("FLR", served.paths[0]):
            assert victim.read32(RSTAT) in (0, 2)
            assert served.control("info")["vfs"][0]["connected"]
        victim.close()


def test_a_storm_that_cannot_begin_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="did not begin"), storm_elsewhere("FLR", tmp_path):
        pass


@pytest.mark.parametrize("error", [RuntimeError, ConnectionResetError])
def test_a_storm_that_does_not_last_is_told(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that ends it is what a test may want to see; any other end shows nothing."""

    def step() -> None:
        raise error

    monkeypatch.setattr("tests.hostile.storms.STORMS", {"one": lambda _: (step, lambda: None)})
    ends = pytest.raises(RuntimeError, match="did not last")
    how = contextlib.nullcontext() if error is ConnectionResetError else ends
    with how, storm("one", tmp_path) as over:
        assert over.wait(20)
