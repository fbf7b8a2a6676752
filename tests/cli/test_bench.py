# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio bench` cannot flatter: what it measures, what it refuses, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import iavfio
from iavfio.bench.plan import Mode, Plan
from iavfio.bench.preflight import preflight
from iavfio.errors import IavfioError
from iavfio.stats import read

BENCH = [sys.executable, "-m", "iavfio.cli", "bench"]


def bench(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, JSON (empty where there is none) and stderr."""
    told = subprocess.run(
        [*BENCH, *arguments, "--json"], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in told.stderr
    return told.returncode, json.loads(told.stdout or "{}"), told.stderr


def test_forward_between_two_vfs_arrives() -> None:
    """The source is the sending VF's own: its spoof check lets no other pass."""
    status, result, _ = bench("softvf", "softvf", "--mode", "forward", "--duration", "0.3")
    assert status == 0 and result["sound"]
    assert result["delivered"] + result["in_flight"] == result["offered"] > 0
    assert not result["drops"]


def test_a_foreign_source_is_told_before_the_first_packet() -> None:
    status, result, error = bench("softvf", "--src", "02:00:00:00:00:09", "--duration", "0.2")
    assert (status, result["schema"], result["status"]) == (1, "iavfio.failure/1", 1)
    assert "02:00:00:00:00:09 vanish" in result["error"] and "spoof check" in result["cause"]
    assert "02:00:00:00:00:09" in error and "spoof check" in error and "spoofchk off" in error


@pytest.mark.parametrize("mode", ["loopback", "txonly", "forward"])
def test_without_preflight_nothing_delivered_is_not_sound(mode: str) -> None:
    status, result, error = bench(
        "softvf", "--src", "02:00:00:00:00:09", "--mode", mode, "--duration", "0.2",
        "--no-preflight",
    )  # fmt: skip
    assert status == 1
    assert not result["sound"] and result["delivered"] == 0 and result["mpps"] == 0
    assert "was delivered" in error and "tx_errors" in error


def test_a_destination_that_nobody_has_is_told() -> None:
    status, _, error = bench("softvf", "--dst", "02:00:00:00:00:77", "--duration", "0.2")
    assert status == 1
    assert "02:00:00:00:00:77 do not reach vf0" in error and "leave --dst out" in error


@pytest.mark.parametrize("mode", ["rxdrop", "forward", "loopback", "txonly"])
def test_what_is_measured_is_the_window_asked_for(mode: str) -> None:
    """Also behind a generator that never stops: draining is outside of it."""
    status, result, _ = bench("softvf", "--mode", mode, "--duration", "0.4")
    assert status == 0
    assert 0.4 <= result["duration_s"] < 0.9


def test_a_link_that_is_down_is_told() -> None:
    with iavfio.softvf(vfs=1) as pf, pf.open(0) as port:
        port.start(wait_link=5)
        preflight(Plan(mode="txonly"), [port])
        pf.control("link", vf=0, state="disable")
        until_down(port)
        for mode in ("rxdrop", "txonly", "loopback", "forward"):
            with pytest.raises(IavfioError, match=r"(?s)link of .* is down.*state auto"):
                preflight(Plan(mode=mode), [port])


@pytest.mark.parametrize(
    ("personality", "vlans", "cause"),
    [("e810", (7, 0), "is in a port VLAN"), ("x710", (7, 8), "both are in port VLANs")],
)
def test_vfs_in_different_vlans_are_told_that_they_do_not_meet(
    personality: str, vlans: tuple[int, int], cause: str
) -> None:
    with iavfio.softvf(vfs=2, personality=personality) as pf:
        for vf, vlan in enumerate(vlans):
            pf.control("vlan", vf=vf, vlan=vlan)
        with pf.open(0) as a, pf.open(1) as b:
            a.start(wait_link=5)
            b.start(wait_link=5)
            told_as: dict[Mode, str] = {"loopback": "did not reach", "forward": "do not reach"}
            for mode, what in told_as.items():
                with pytest.raises(IavfioError, match=what) as told:
                    preflight(Plan(mode=mode), [a, b])
                assert cause in str(told.value.cause) and "network" not in str(told.value)
                assert "vlan 0" in str(told.value.remedy)


def test_vfs_in_one_vlan_meet() -> None:
    with iavfio.softvf(vfs=2) as pf:
        for vf in (0, 1):
            pf.control("vlan", vf=vf, vlan=7)
        with pf.open(0) as a, pf.open(1) as b:
            a.start(wait_link=5)
            b.start(wait_link=5)
            preflight(Plan(mode="loopback"), [a, b])
            preflight(Plan(mode="forward"), [a, b])


def until_down(port: iavfio.Port) -> None:
    """Waits until the port has heard of it."""
    end = time.monotonic() + 5
    while port.link.up:
        assert time.monotonic() < end
        time.sleep(0.01)


def until_traffic(name: str) -> None:
    """Waits until a port of another process has received a thousand packets."""
    end = time.monotonic() + 20
    while True:
        try:
            if sum(queue["packets"] for queue in read(name).rq) > 1000:
                return
        except IavfioError:
            pass
        assert time.monotonic() < end
        time.sleep(0.01)


def test_interrupted_runs_have_accounts_that_hold() -> None:
    """What is on its way counts as in flight, whenever Ctrl-C comes."""
    for pause in (0.05, 0.2, 0.3):
        child = subprocess.Popen(
            [
                *BENCH,
                "softvf",
                "softvf",
                "--duration",
                "60",
                "--json",
                "--name",
                f"int{os.getpid()}",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with child:
            until_traffic(f"int{os.getpid()}")
            time.sleep(pause)
            child.send_signal(signal.SIGINT)
            out, error = child.communicate(timeout=20)
        assert child.returncode == 130, error
        result = json.loads(out)
        assert result["interrupted"] and result["sound"] and "missing" not in error
        assert result["sent"] == result["received"] + result["in_flight"]


def test_repeated_runs_tell_their_spread() -> None:
    status, result, _ = bench("softvf", "--duration", "0.1", "--repeat", "3", "--rate", "20000")
    assert status == 0
    runs = result["runs"]
    assert len(runs["mpps"]) == 3 and all(runs["sound"])
    assert runs["mpps_least"] <= runs["mpps_median"] <= runs["mpps_most"]


def test_rows_for_each_vf_and_queue_add_up() -> None:
    status, result, _ = bench(
        "softvf", "softvf", "--queues", "2", "--duration", "0.2", "--rate", "20000"
    )
    assert status == 0
    assert [(row["port"], row["queue"]) for row in result["rows"]] == [
        ("vf0", 0), ("vf0", 1), ("vf1", 0), ("vf1", 1),
    ]  # fmt: skip
    assert sum(row["packets"] for row in result["rows"]) == result["received"]
    assert sum(row["mpps"] for row in result["rows"]) == pytest.approx(result["mpps"], rel=1e-4)


@pytest.mark.parametrize("columns", [40, 60, 120])
def test_the_table_is_as_wide_as_the_terminal(columns: int) -> None:
    told = subprocess.run(
        [*BENCH, "softvf", "--duration", "0.1", "--rate", "10000"],
        capture_output=True, text=True, timeout=60, check=True,
        env=os.environ | {"COLUMNS": str(columns)},
    )  # fmt: skip
    table = [line for line in told.stdout.splitlines() if line and line[0] in "┏┃┡│├└"]
    assert table and max(map(len, table)) <= columns
    assert "Mpps" in told.stdout


def test_latency_of_every_packet_and_its_distribution(tmp_path: Path) -> None:
    file = tmp_path / "latency.hgrm"
    status, result, _ = bench("softvf", "softvf", "--count", "3000", "--hgrm", str(file))
    assert (status, result["sound"]) == (0, True)
    found = result["latency"]
    assert (found["packets"], found["missed"]) == (result["received"], 0)
    assert 0 < found["least_ns"] <= found["percentiles_ns"]["50"] <= found["most_ns"]
    rows = file.read_text().splitlines()[2:-3]
    assert int(rows[-1].split()[2]) == found["packets"]


def test_latency_is_told_in_a_line_and_not_where_it_is_not_asked_for() -> None:
    told = subprocess.run(
        [*BENCH, "softvf", "--count", "100", "--latency"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "latency of 100 packets: min " in told.stdout
    assert bench("softvf", "--count", "100")[1]["latency"] is None


def test_latency_that_cannot_be_measured_or_written_is_refused(tmp_path: Path) -> None:
    status, _, error = bench("softvf", "--mode", "rxdrop", "--latency")
    assert status == 2 and "--latency cannot be used with --mode rxdrop" in error
    status, _, error = bench("softvf", "--count", "10", "--hgrm", str(tmp_path / "no" / "file"))
    assert status == 2 and "cannot be written" in error
    status, result, error = bench("softvf", "--count", "10", "--hgrm", "/dev/full")
    assert status == 1 and "/dev/full is not written whole: No space left" in error
    assert result["received"] == 10, "what was measured is told"
