# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio fleet` where there is no dask, no plan or no scheduler, and on a made-up fleet."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import pytest

from iavfio.cli import run
from iavfio.fleet import fleet as fleets
from iavfio.fleet.plan import FleetPlan
from iavfio.fleet.read import EXAMPLE
from iavfio.fleet.records import FleetBenchRecord, FleetNdrRecord
from tests.fleet.fake import FakeEngine, Way, lost

Capture = pytest.CaptureFixture[str]
QUICK = "rejoin = 0.01\ngrace = 0.05\n"
GOALS = "[goals]\nmax_rate = 1000\ntrials = 1\nprecision = 0.5\n"


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "plan.toml"
    file.write_text(EXAMPLE.replace("[traffic]", GOALS + "[traffic]\n" + QUICK), encoding="utf-8")
    return str(file)


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Way:
    """The fleet of the command is made up."""
    made = Way()

    def engine(plan: FleetPlan) -> FakeEngine:
        return FakeEngine(made)

    monkeypatch.setattr(fleets, "engine_of", engine)
    for name in ("PATIENCE", "STEP", "JOINING", "LEAD_NS"):
        monkeypatch.setattr(fleets, name, 0)
    return made


@pytest.mark.parametrize("command", ["bench", "ndr"])
def test_without_dask_the_error_has_the_command_that_mends_it(
    command: str, path: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "iavfio.fleet.dask_engine", raising=False)
    assert run(["fleet", command, path]) == 1
    told = capsys.readouterr().err
    assert "pip install 'iavfio[fleet]'" in told and "Traceback" not in told


@pytest.mark.parametrize("command", ["bench", "ndr"])
def test_a_wrong_plan_is_wrong_use(command: str, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "plan.toml"
    file.write_text("[engin]\n", encoding="utf-8")
    assert run(["fleet", command, str(file)]) == 2
    assert "did you mean engine?" in capsys.readouterr().err
    assert run(["fleet", command, str(tmp_path / "nosuch")]) == 2


def test_bench_ends_with_its_account(way: Way, path: str, capsys: Capture) -> None:
    assert run(["fleet", "bench", path]) == 0
    assert "sent 10000000 = received 10000000 + lost 0" in capsys.readouterr().out
    way.carries = 1000
    assert run(["fleet", "bench", path, "--json"]) == 1
    told = capsys.readouterr()
    record = msgspec.json.decode(told.out, type=FleetBenchRecord)
    assert not record.sound and "between the hosts" in told.err


def test_ndr_writes_its_reports(way: Way, path: str, tmp_path: Path) -> None:
    page, rows = tmp_path / "ndr.html", tmp_path / "ndr.csv"
    words = ["fleet", "ndr", path, "--html", str(page), "--csv", str(rows), "--no-preflight"]
    assert run(words) == 0
    assert "1,000" in page.read_text(encoding="utf-8") and rows.read_text().count("\n") == 2


def test_ndr_ends_with_a_report_when_a_host_stays_away(
    way: Way, path: str, capsys: Capture
) -> None:
    def dies() -> Exception:
        way.gone.add("west")
        return lost("west")

    way.script["west send"] = [dies]
    assert run(["fleet", "ndr", path, "--json", "--no-preflight"]) == 1
    told = capsys.readouterr()
    record = msgspec.convert(json.loads(told.out), FleetNdrRecord)
    assert [each.host for each in record.failures] == ["west"] and record.ended_early
    assert "west did not come back" in told.err
