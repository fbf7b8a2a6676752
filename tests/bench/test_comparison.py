# SPDX-License-Identifier: BSD-3-Clause
"""Two reports compared: every kind of figure, its spread, and what was not measured alike."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from iavfio.bench.comparison import METRICS, compare, read_report
from iavfio.bench.comparison_report import ONE_IS_SOFTWARE, lines, table
from iavfio.bench.ndr_report import NOT_A_CARD
from iavfio.bench.records import BenchRecord, ComparisonRecord, NdrRecord
from iavfio.cli import run
from iavfio.errors import ConfigError
from iavfio.fleet.records import FleetBenchRecord, FleetNdrRecord

Json = dict[str, Any]
ORIGIN: Json = {
    "cpu": "a",
    "cpus": 2,
    "kernel": "6.1",
    "iavfio": "0.1",
    "commit": "c1",
    "devices": {"vf0": "E810 VF over vfio-user, software VF (not a NIC)"},
    "software_device": True,
}


def latency(scale: float = 1.0) -> Json:
    percentiles = {name: int(value * scale) for name, value in (("50", 1000), ("99", 6400))}
    return {
        "packets": 10,
        "missed": 0,
        "least_ns": 500,
        "mean_ns": 1200.0,
        "most_ns": int(9000 * scale),
        "percentiles_ns": percentiles,
    }


def trial(pps: float) -> Json:
    return {
        "asked_pps": pps,
        "seconds": 2.0,
        "pps": pps,
        "gbps": 1.0,
        "line_share": None,
        "sent": int(2 * pps),
        "lost": 0,
        "loss_share": 0.0,
        "failed": "",
        "latency": latency(),
    }


def ndr(pps: float = 1e6, burst: tuple[int, int, int] = (400, 500, 600)) -> Json:
    least, average, most = burst
    goals = [
        {
            "max_loss": loss,
            "throughput": trial(rate),
            "conditional_pps": rate,
            "decided": True,
            "limit": "",
        }
        for loss, rate in ((0.0, pps), (0.005, 2 * pps))
    ]
    bursts = {
        "average": average,
        "least": least,
        "most": most,
        "deviation": 50.0,
        "frames": [least, most],
        "tried": 1000,
        "trials": 9,
        "pps": 2e6,
        "line_share": 1.0,
        "buffer_s": 0.001,
        "notes": [],
    }
    size = {
        "size": 64,
        "throughput": trial(pps),
        "limit": "",
        "trials": [],
        "curve": [],
        "goals": goals,
        "notes": [],
        "back_to_back": bursts,
    }
    return {
        "schema": "iavfio.ndr.report/1",
        "software_device": True,
        "ports": ["vf0"],
        "queues": 1,
        "ring": 512,
        "burst": 32,
        "flows": 64,
        "isa": "avx2",
        "trial_seconds": 2.0,
        "max_loss": 0.0,
        "precision": 0.005,
        "sizes": [size],
        "interrupted": False,
        "provenance": ORIGIN,
    }


def bench(mpps: float = 2.0, loss: float = 0.0, runs: tuple[float, float] | None = None) -> Json:
    found: Json = {
        "schema": "iavfio.bench.result/1",
        "mode": "loopback",
        "mpps": mpps,
        "loss_share": loss,
        "sizes": [64],
        "latency": None,
        "provenance": ORIGIN,
        "isa": "avx2",
    }
    if runs is not None:
        found["runs"] = {
            "mpps": [],
            "sound": [],
            "mpps_median": mpps,
            "mpps_least": runs[0],
            "mpps_most": runs[1],
        }
    return found


def fleet_bench(pps: float = 2e6, loss: float = 0.0, hosts: int = 2) -> Json:
    members = [{"name": f"h{n}", "provenance": ORIGIN} for n in range(hosts)]
    return {
        "schema": "iavfio.fleet.bench/1",
        "sizes": [64],
        "asked_pps": 0,
        "verify": True,
        "pps": pps,
        "loss_share": loss,
        "members": members,
    }


def fleet_ndr(pps: float = 1e6) -> Json:
    return {"schema": "iavfio.fleet.ndr/1", "members": [], "failures": [], "report": ndr(pps)}


@pytest.fixture
def compared(tmp_path: Path) -> Any:
    def of(old: Json, new: Json, **keys: Any) -> ComparisonRecord:
        for name, report in (("old", old), ("new", new)):
            (tmp_path / name).write_text(json.dumps(report))
        return compare(read_report(tmp_path / "old"), read_report(tmp_path / "new"), **keys)

    return of


def test_the_reports_of_these_tests_are_what_the_schema_says() -> None:
    msgspec.convert(ndr(), type=NdrRecord)
    assert set(bench(runs=(1, 2))) <= {
        each.encode_name for each in msgspec.structs.fields(BenchRecord)
    } | {"schema"}


def test_the_reports_of_a_fleet_are_what_its_schema_says() -> None:
    for kind, made in ((FleetBenchRecord, fleet_bench()), (FleetNdrRecord, fleet_ndr())):
        names = {each.encode_name for each in msgspec.structs.fields(kind)}
        assert made["schema"] == kind.__struct_config__.tag
        assert set(made) <= names | {"schema"}


def test_reports_of_a_fleet_are_compared(compared: Any) -> None:
    record = compared(fleet_bench(), fleet_bench(1.8e6, 0.01, hosts=3))
    assert [(row.kind, row.verdict) for row in record.metrics] == [
        ("throughput", "worse"),
        ("loss", "worse"),
    ]
    assert (record.kind, record.worse, record.software_device) == ("fleet bench", True, [True] * 2)
    assert [(row.what, row.old, row.new) for row in record.differences] == [("hosts", "2", "3")]
    record = compared(fleet_ndr(), fleet_ndr(0.5e6))
    assert (record.kind, record.worse, record.metrics[0].ratio) == ("fleet ndr", True, 0.5)
    for one, other in ((fleet_bench(), bench()), (fleet_ndr(), ndr()), (fleet_ndr(), bench())):
        with pytest.raises(ConfigError, match="compare two of one command"):
            compared(one, other)


def test_equal_reports_are_the_same_in_every_figure(compared: Any) -> None:
    record = compared(ndr(), ndr(), worse=0.1)
    assert [row.name for row in record.metrics] == [
        "throughput, 0 lost",
        "throughput, 0.005 lost",
        "latency p50",
        "latency p99",
        "latency max",
        "longest burst",
    ]
    assert {row.verdict for row in record.metrics} == {"same"}
    assert {row.ratio for row in record.metrics} == {1.0}
    assert all(row.within_spread for row in record.metrics)
    assert not record.worse and record.differences == [] and record.only_old == []


@pytest.mark.parametrize(
    ("old", "new", "percent", "verdict"),
    [
        (1e6, 0.96e6, 5, "same"),
        (1e6, 0.94e6, 5, "worse"),
        (1e6, 0.94e6, 7, "same"),
        (1e6, 1.06e6, 5, "better"),
    ],
)
def test_less_throughput_is_worse(
    compared: Any, old: float, new: float, percent: float, verdict: str
) -> None:
    record = compared(ndr(old), ndr(new), worse=percent)
    row = record.metrics[0]
    assert (row.verdict, record.worse) == (verdict, verdict == "worse")
    assert row.ratio == pytest.approx(new / old)
    assert (row.ratio_least, row.ratio_most) == (
        pytest.approx(new / old / 1.005),
        pytest.approx(new / old * 1.005),
    )


def test_more_latency_is_worse_and_shorter_bursts_are(compared: Any) -> None:
    new = ndr(burst=(300, 400, 550))
    new["sizes"][0]["throughput"]["latency"] = latency(1.2)
    record = compared(ndr(), new)
    verdicts = {row.name: (row.verdict, row.within_spread) for row in record.metrics}
    assert verdicts["latency p50"] == verdicts["latency max"] == ("worse", False)
    assert verdicts["longest burst"] == ("worse", True)
    assert verdicts["throughput, 0 lost"] == ("same", True)
    assert not compared(ndr(), new, metrics=("throughput",)).worse
    assert [row.kind for row in compared(ndr(), new, metrics=("burst",)).metrics] == ["burst"]


@pytest.mark.parametrize(
    ("old", "new", "verdict"), [(1e6, None, "worse"), (None, 1e6, "better"), (None, None, "same")]
)
def test_no_rate_at_all_has_no_ratio(
    compared: Any, old: float | None, new: float | None, verdict: str
) -> None:
    reports = []
    for pps in (old, new):
        report = ndr(pps or 1.0)
        if pps is None:
            report["sizes"][0]["throughput"] = report["sizes"][0]["goals"][0]["throughput"] = None
        reports.append(report)
    row = compared(*reports).metrics[0]
    assert (row.verdict, row.ratio, row.within_spread) == (verdict, None, False)


def test_runs_of_a_bench_give_its_spread_and_loss_from_0_is_worse(compared: Any) -> None:
    record = compared(bench(2.0, runs=(1.8, 2.4)), bench(1.8, 0.001, runs=(1.5, 2.0)))
    rate, loss = record.metrics
    assert rate.ratio == pytest.approx(0.9) and rate.verdict == "worse" and rate.within_spread
    assert (rate.ratio_least, rate.ratio_most) == (
        pytest.approx(1.5 / 2.4),
        pytest.approx(2.0 / 1.8),
    )
    assert (loss.verdict, loss.ratio) == ("worse", None)
    assert (compared(bench(), bench()).metrics[1].verdict) == "same"


def test_what_was_not_measured_alike_is_told(compared: Any) -> None:
    new = copy.deepcopy(ndr())
    new["isa"], new["queues"] = "avx512", 4
    new["provenance"] |= {
        "commit": "c2",
        "devices": {"p1": "E810 VF over cdev, hardware"},
        "software_device": False,
    }
    new["sizes"].append(copy.deepcopy(new["sizes"][0]) | {"size": 1518})
    new["something_of_a_later_version"] = 1
    record = compared(ndr(), new)
    assert {row.what: (row.old, row.new) for row in record.differences} == {
        "isa": ("avx2", "avx512"),
        "queues": ("1", "4"),
        "commit": ("c1", "c2"),
        "devices": (
            "E810 VF over vfio-user, software VF (not a NIC)",
            "E810 VF over cdev, hardware",
        ),
    }
    assert record.software_device == [True, False]
    assert len(record.only_new) == 6 and record.only_old == []
    said = list(lines(record))
    assert said[-1] == ONE_IS_SOFTWARE
    assert "measured otherwise: code path: avx2 and avx512" in said
    assert list(lines(compared(ndr(), ndr())))[-1] == NOT_A_CARD


def test_a_report_of_before_goals_has_one(compared: Any) -> None:
    old = ndr()
    del old["sizes"][0]["goals"], old["sizes"][0]["back_to_back"]
    record = compared(old, ndr())
    assert record.metrics[0].ratio == 1.0 and len(record.only_new) == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no report"),
        ("{}", "is no report"),
        ("[" * 100_000, "is no report"),
        ('{"schema": "iavfio.gen.summary/1"}', "is no report"),
        ('{"schema": "iavfio.ndr.report/1", "sizes": 3}', "is no report"),
        ('{"schema": "iavfio.bench.nothing/1"}', "ended before its first packet"),
        (json.dumps(bench()), "is of iavfio ndr"),
        (json.dumps(ndr() | {"sizes": []}), "nothing in common"),
    ],
)
def test_what_cannot_be_compared_is_wrong_use(
    text: str, why: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_text(json.dumps(ndr()))
    (tmp_path / "b").write_text(text)
    with pytest.raises(ConfigError):
        compare(read_report(tmp_path / "a"), read_report(tmp_path / "b"))
    assert run(["report", "diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    told = capfd.readouterr()
    assert told.out == "" and why in " ".join(told.err.split())


def test_the_command_prints_a_table_or_a_record(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "a", tmp_path / "b"
    old.write_text(json.dumps(ndr()))
    new.write_text(json.dumps(ndr(0.9e6)))
    assert run(["report", "diff", str(old), str(new)]) == 1
    told = capfd.readouterr().out
    assert "worse by more than 5 %: 2 figures of 6" in told and "0.900" in told
    assert run(["report", "diff", str(old), str(new), "--worse", "11", "--json"]) == 0
    record = msgspec.json.decode(capfd.readouterr().out, type=ComparisonRecord)
    assert (record.worse, record.worse_percent, record.kind) == (False, 11, "ndr")
    assert run(["report", "diff", str(old), str(new), "--only", "latency"]) == 0
    assert run(["report", "diff", str(old), str(new), "--only", "speed"]) == 2


@pytest.mark.parametrize(("width", "columns"), [(40, 4), (100, 7)])
def test_the_table_fits_the_terminal(compared: Any, width: int, columns: int) -> None:
    out = Console(width=width, record=True, file=io.StringIO())
    shown = table(compared(ndr(), ndr(0.5e6)), width)
    out.print(shown)
    assert len(shown.columns) == columns
    text = out.export_text()
    assert "worse" in text and max(map(len, text.splitlines())) <= width


def test_the_kinds_of_the_option_are_those_that_are_compared() -> None:
    from iavfio.cli.report import METRICS as OFFERED

    assert OFFERED == METRICS
