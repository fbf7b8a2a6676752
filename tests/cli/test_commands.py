# SPDX-License-Identifier: BSD-3-Clause
"""The command line: what it prints, its exit status, and that bad input never gives a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import iavfio
from tests.port.rig import until


def run(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "iavfio.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def test_help_lists_every_command() -> None:
    shown = run("--help").stdout
    for name in ("bench", "bind", "info", "list", "softvf", "stats", "unbind"):
        assert f"\n  {name}" in shown


@pytest.mark.parametrize("name", ["bench", "bind", "info", "list", "softvf", "stats", "unbind"])
def test_every_command_has_help(name: str) -> None:
    shown = run(name, "--help")
    assert shown.returncode == 0
    assert "Usage: iavfio" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["info", "0000:ff:1f.7"], "iavfio list"),
        (["info", "nonsense"], "vfio-user:/path"),
        (["info", "vfio-user:/nowhere/vf0.sock"], "iavfio softvf"),
        (["bench"], "iavfio bench softvf"),
        (["bench", "softvf", "softvf", "softvf"], "one or two"),
        (["bench", "softvf", "--ring", "100"], "--ring 128"),
        (["bench", "softvf", "--queues", "17"], "--queues 16"),
        (["bench", "softvf", "--size", "63"], "64 to"),
        (["bench", "softvf", "--size", "20000"], "64 to 9728"),
        (["bench", "softvf", "--size", "big"], "imix"),
        (["bench", "softvf", "--cpus", "4095"], "may run on"),
        (["bench", "softvf", "--cpus", "x"], "--cpus 2,3"),
        (["bench", "softvf", "--burst", "500"], "--burst 256"),
        (["bench", "softvf", "--dst", "zz"], "02:00:00:00:00:01"),
        (["bench", "softvf", "--isa", "mmx"], "scalar"),
        (["bench", "softvf", "--personality", "e1000"], "e810"),
        (["bench", "softvf", "--duration", "0"], "more than 0"),
        (["stats", "no-such-port"], "port"),
        (["stats", "../../etc/passwd"], "no port name"),
        (["softvf", "--vfs", "0"], "1 to 64"),
        (["softvf", "--uplink", "carrier-pigeon"], "loopback"),
        (["softvf", "--option", "colour=red"], "known are pf_kernel"),
        (["bind", "0000:ff:1f.7"], "iavfio list"),
    ],
)
def test_bad_input_is_told_in_two_lines(arguments: list[str], words: str) -> None:
    told = run(*arguments)
    assert told.returncode in (1, 2)
    assert "Traceback" not in told.stderr
    error = [line for line in told.stderr.splitlines() if line.strip()]
    assert words in told.stderr
    assert len([line for line in error if not line.startswith("loopback on")]) <= 3


def test_bench_json_has_what_scripts_read() -> None:
    told = run(
        "bench",
        "softvf",
        "--duration",
        "0.3",
        "--queues",
        "2",
        "--verify",
        "--rate",
        "20000",
        "--json",
    )
    assert told.returncode == 0, told.stderr
    result = json.loads(told.stdout)
    for key in ("mode", "isa", "duration_s", "mpps", "gbps", "sent", "received", "lost", "drops"):
        assert key in result
    assert result["mode"] == "loopback"
    assert result["lost"] == 0
    assert result["sent"] == result["received"] + sum(result["drops"].values()) > 0
    (counters,) = result["ports"].values()
    names = list(counters)
    assert names[:2] == ["rx_bytes", "rx_unicast"]
    assert names[12:18] == [
        "rq0_packets",
        "rq0_bytes",
        "rq0_fragments",
        "rq0_alloc_page_fail",
        "rq0_build_skb_fail",
        "sq0_packets",
    ]
    assert counters["sq0_packets"] + counters["sq1_packets"] == result["sent"]
    assert result["provenance"]["software_device"] is True


@pytest.mark.parametrize("mode", ["rxdrop", "txonly", "forward"])
def test_every_mode_moves_packets(mode: str) -> None:
    told = run("bench", "softvf", "--mode", mode, "--duration", "0.3", "--json")
    assert told.returncode == 0, told.stderr
    result = json.loads(told.stdout)
    assert result["mpps"] > 0
    (counters,) = result["ports"].values()
    assert counters["rq0_packets" if mode != "txonly" else "sq0_packets"] > 0


def test_two_vfs_through_the_switch_lose_nothing() -> None:
    told = run(
        "bench", "softvf", "softvf", "--duration", "0.3", "--rate", "20000", "--verify", "--json"
    )
    assert told.returncode == 0, told.stderr
    result = json.loads(told.stdout)
    assert len(result["ports"]) == 2
    assert result["received"] == result["sent"] > 0


def test_table_ends_with_the_stats_of_each_port() -> None:
    told = run("bench", "softvf", "--duration", "0.2", "--rate", "10000")
    assert told.returncode == 0, told.stderr
    assert "Mpps" in told.stdout
    assert "software VF (not a NIC)" in told.stdout
    assert "NIC statistics:\n     rx_bytes: " in told.stdout
    assert "     sq0_linearized: 0" in told.stdout


def test_interrupt_ends_a_bench_with_its_summary() -> None:
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "iavfio.cli",
            "bench",
            "softvf",
            "--duration",
            "60",
            "--rate",
            "1000",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    assert child.stderr.readline().startswith("loopback on")
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    out, error = child.communicate(timeout=20)
    assert child.returncode == 130
    assert "NIC statistics:" in out
    assert "Traceback" not in error


def test_softvf_command_serves_and_ends_on_interrupt(tmp_path: Path) -> None:
    directory = tmp_path / "s"
    child = subprocess.Popen(
        [sys.executable, "-m", "iavfio.cli", "softvf", "--socket", str(directory), "--vfs", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert until(lambda: (directory / "vf1.sock").exists())
    told = run("info", f"vfio-user:{directory}/vf1.sock", "--json")
    assert told.returncode == 0, told.stderr
    facts = json.loads(told.stdout)
    assert facts["queue_pairs"] == 16
    assert "L2" in facts["capabilities"]["granted"]
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=20)
    assert "Traceback" not in out
    assert not (directory / "vf0.sock").exists()


def test_stats_without_a_port_lists_the_running_ones() -> None:
    with iavfio.open("softvf", name="listed") as port:
        assert port.name == "listed"
        assert "listed" in run("stats").stdout.split()
        told = run("stats", "listed", "--pool", "--all", "--json")
        assert told.returncode == 0
        counters = json.loads(told.stdout)["counters"]
        assert "rq0_pp_alloc_fast" in counters
        assert "sq0_doorbells" in counters


def test_unreadable_socket_names_the_user(tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may read everything")
    path = tmp_path / "vf.sock"
    path.touch(mode=0)
    told = run("info", f"vfio-user:{path}")
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
