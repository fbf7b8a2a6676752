# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio ndr` from end to end on a private software VF, and how it ends otherwise."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from iavfio.bench.ndr_report import NOT_A_CARD
from iavfio.bench.records import NdrRecord

NDR = [sys.executable, "-m", "iavfio.cli", "ndr"]
SLOW = ("--max-rate", "2000")  # what a busy machine sends as well
SHORT = ("--duration", "0.1", "--precision", "0.3")


def ndr(*arguments: str) -> subprocess.CompletedProcess[str]:
    told = subprocess.run(
        [*NDR, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in told.stderr
    return told


def test_a_search_with_all_its_reports(tmp_path: Path) -> None:
    table, page = tmp_path / "ndr.csv", tmp_path / "ndr.html"
    files = ("--csv", str(table), "--html", str(page))
    told = ndr(
        "softvf", "softvf", "--size", "64,1518,64", *SHORT, *SLOW, "--curve", *files, "--json"
    )
    assert told.returncode == 0, told.stderr
    record = msgspec.json.decode(told.stdout, type=NdrRecord)
    assert [each.size for each in record.sizes] == [64, 1518]
    assert (record.software_device, record.interrupted, len(record.ports)) == (True, False, 2)
    for each in record.sizes:
        best = each.throughput
        assert best is not None and (best.lost, best.failed) == (0, "")
        assert 0 < best.latency.packets <= best.sent
        assert each.limit and 2 <= len(each.curve) <= 10
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["size"] for row in rows] == ["64", "1518"]
    assert NOT_A_CARD in page.read_text() and page.read_text().rstrip().endswith("</html>")


def test_goals_bursts_and_ipv6_in_one_record() -> None:
    told = ndr(
        *("softvf", "--ipv6", "--size", "82", *SHORT, "--max-rate", "1000"),
        *("--goal-loss-ratio", "0,0.5", "--trials", "1"),
        *("--back-to-back", "--searches", "2", "--json"),
    )
    assert told.returncode == 0, told.stderr
    record = msgspec.json.decode(told.stdout, type=NdrRecord)
    assert (record.ip_version, record.confirming_trials, record.max_loss) == (6, 1, 0)
    (size,) = record.sizes
    assert [goal.max_loss for goal in size.goals] == [0, 0.5]
    assert all(goal.decided and goal.throughput for goal in size.goals)
    burst = size.back_to_back
    assert burst is not None and len(burst.frames) == 2
    assert 0 < burst.least <= burst.average <= burst.most <= burst.tried <= 101
    assert burst.trials >= 2


def test_a_report_that_a_disk_does_not_take_is_told_beside_the_record() -> None:
    told = ndr(
        "softvf", "--size", "64", *SHORT, "--max-rate", "1000", "--html", "/dev/full", "--json"
    )
    assert told.returncode == 1
    assert msgspec.json.decode(told.stdout, type=NdrRecord).sizes[0].throughput
    assert "/dev/full is not written whole: No space left" in told.stderr


def test_the_table_is_marked_as_a_software_vf_s() -> None:
    told = ndr("softvf", "--size", "128", *SHORT, "--max-rate", "1000")
    assert told.returncode == 0, told.stderr
    assert told.stdout.rstrip().endswith(NOT_A_CARD)
    assert "128 bytes" in told.stderr and "1000 packets a second" in told.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "0 VFs were named and ndr takes one or two"),
        (("softvf", "--precision", "0"), "precision"),
        (("softvf", "--precision", "nan"), "precision"),
        (("softvf", "--max-loss", "2"), "max-loss"),
        (("softvf", "--max-loss", "0,x"), "'x' is not a number"),
        (("softvf", "--exceed-ratio", "1"), "exceed-ratio"),
        (("softvf", "--trials", "0"), "use --trials 1"),
        (("softvf", "--ipv6", "--size", "81"), "frames of 81 bytes cannot be sent"),
        (("softvf", "--duration", "0"), "duration"),
        (("softvf", "--html", "/nowhere/ndr.html"), "/nowhere/ndr.html"),
        (("softvf", "--csv", "/"), "/"),
    ],
)
def test_wrong_use_is_told_before_anything_is_measured(
    arguments: tuple[str, ...], why: str
) -> None:
    told = ndr(*arguments)
    assert told.returncode == 2
    assert why in told.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_what_was_found(number: signal.Signals, status: int) -> None:
    with subprocess.Popen(
        [*NDR, "softvf", "--duration", "0.2", "--precision", "0.0001", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "64 bytes" in process.stderr.readline()
        process.send_signal(number)
        out, error = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in error and "ended early" in error
    record = msgspec.json.decode(out, type=NdrRecord)
    assert record.interrupted
