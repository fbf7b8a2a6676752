# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's net_iavf, unmodified, on the software VF: a driver that nobody here wrote.

It runs without huge pages and without root; where dpdk-testpmd is not installed, this is skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import iavfio
from iavfio.preload import prepare
from iavfio.softvf.launch import SoftPf
from iavfio.softvf.personality import Value
from tests.sanitizer import no_preload

TESTPMD = shutil.which("dpdk-testpmd")
EAL = "--no-huge -m 160 --no-shconf --no-telemetry --iova-mode=va -l 0,1"
READY = "Checking link statuses"
DEADLINE = 40.0
TRUSTED: dict[str, Value] = {
    "trusted": True
}  # net_iavf's peer address is not its own: promiscuous mode must work
SAME = {  # DPDK's extended statistics and the PF's counters
    "rx_bytes": "rx_bytes",
    "rx_unicast_packets": "rx_unicast",
    "rx_dropped_packets": "rx_discards",
    "tx_bytes": "tx_bytes",
    "tx_unicast_packets": "tx_unicast",
    "tx_error_packets": "tx_errors",
}

Counters = dict[str, int]
# A command, seconds to wait, or what the VF's counters of then and of a tenth of a second before
# must look like: how much moves in a given time is a matter of who else wants the CPUs.
Step = str | float | Callable[[Counters, Counters], bool]

pytestmark = [
    pytest.mark.skipif(
        TESTPMD is None, reason="dpdk-testpmd is not installed: apt-get install dpdk-dev"
    ),
    no_preload,
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="testpmd needs two CPUs"),
]


@dataclass(frozen=True)
class Run:
    """What a run of testpmd came to."""

    text: str
    status: int
    counters: dict[str, int]
    violations: list[str]

    @property
    def xstats(self) -> dict[str, int]:
        found = re.findall(r"^(\w+): (\d+)$", self.text.rpartition("NIC extended")[2], re.M)
        return {name: int(value) for name, value in found}


def counters(pf: SoftPf) -> Counters:
    """The VF's, as its PF tells them."""
    told: Counters = pf.control("stats", vf=0)["stats"]
    return told


def wait_for(pf: SoftPf, condition: Callable[[Counters, Counters], bool]) -> None:
    """Until the counters are so."""
    deadline, met, now = time.monotonic() + DEADLINE, False, counters(pf)
    while not met:
        assert time.monotonic() < deadline, now
        time.sleep(0.1)
        before, now = now, counters(pf)
        met = condition(before, now)


def settled(before: Counters, now: Counters) -> bool:
    """Nothing moves any more."""
    return before == now


def flowed(before: Counters, now: Counters) -> bool:
    """More came back than was sent at first, or all that went round was lost in the end."""
    return now["rx_unicast"] > 2048 or (now["rx_unicast"] > 0 and settled(before, now))


def run_testpmd(
    tmp_path: Path,
    commands: Sequence[Step],
    *,
    personality: str = "e810",
    eal: str = "",
    options: str = "",
    twists: Mapping[str, Value] = MappingProxyType({}),
    **softvf: Any,
) -> Run:
    """Runs commands of testpmd's prompt and waits in between."""
    output = tmp_path / "testpmd.txt"
    with (
        iavfio.softvf(personality=personality, options={**TRUSTED, **twists}, **softvf) as pf,
        prepare(pf.sockets) as preload,
        output.open("w") as file,
    ):
        allowed = " ".join(f"-a {bdf}" for bdf in preload.bdfs)
        line = f"dpdk-testpmd {EAL} {allowed} {eal} -- -i --no-mlockall --total-num-mbufs=4096"
        child = subprocess.Popen(
            [*line.split(), *options.split()],
            env=preload.environment(),
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            deadline = time.monotonic() + DEADLINE
            while READY not in output.read_text() and child.poll() is None:
                assert time.monotonic() < deadline, output.read_text()
                time.sleep(0.02)
            assert child.stdin is not None
            for command in commands:
                if isinstance(command, str):
                    child.stdin.write(command + "\n")
                    child.stdin.flush()
                    time.sleep(0.1)  # its prompt drops what comes while it works
                elif callable(command):
                    wait_for(pf, command)
                else:
                    time.sleep(command)
            child.stdin.write("quit\n")
            child.stdin.close()
            status = child.wait(DEADLINE)
        finally:
            child.kill()
            child.wait()
        told = counters(pf)
        violations = [str(entry) for entry in pf.violations()]
    return Run(output.read_text(), status, told, violations)


FORWARD: list[Step] = [
    "set burst 64",
    "start tx_first 4",
    flowed,
    "stop",
    settled,
    "show port xstats 0",
]


def check(run: Run) -> None:
    assert run.violations == []
    assert "Bye..." in run.text
    assert run.status == 0, run.text
    assert run.counters["tx_unicast"] > 0
    for theirs, ours in SAME.items():
        assert run.xstats[theirs] == run.counters[ours], (theirs, run.text)


@pytest.mark.parametrize(
    ("personality", "bits"),
    [("e810", 64), ("e810", 512), ("x710", 64), ("x710", 256), ("x722", 256)],
)
def test_forwards_with_scalar_and_vector_code(tmp_path: Path, personality: str, bits: int) -> None:
    eal = f"--force-max-simd-bitwidth={bits}"
    run = run_testpmd(tmp_path, FORWARD, personality=personality, eal=eal)
    check(run)
    sent, lost = run.counters["tx_unicast"], run.counters["rx_discards"]
    assert run.counters["rx_unicast"] == sent  # the wire is looped back: all of it reaches the VSI
    assert run.xstats["rx_good_packets"] == sent - lost > 256  # as net_iavf computes it


def test_four_queues(tmp_path: Path) -> None:
    run = run_testpmd(tmp_path, ["set fwd mac", *FORWARD], options="--rxq=4 --txq=4")
    check(run)
    assert "RX queue number: 4 Tx queue number: 4" in run.text


def test_scattered_frames(tmp_path: Path) -> None:
    options = "--max-pkt-len=9018 --enable-scatter --tx-offloads=0x8000 --mbuf-size=2176"
    commands = ["set txpkts 2000,2000,2000,2000,1000", *FORWARD]
    run = run_testpmd(tmp_path, commands, options=options)
    check(run)
    assert run.counters["tx_bytes"] == 9000 * run.counters["tx_unicast"]
    assert run.counters["rx_unicast"] > 64


def test_vlan_is_inserted_and_stripped(tmp_path: Path) -> None:
    commands: list[Step] = [
        "vlan set strip on 0",
        "vlan set filter on 0",
        "rx_vlan add 100 0",
        "port stop 0",
        "tx_vlan set 0 100",
        "port start 0",
        0.3,
        "set verbose 1",
        "set fwd rxonly",
        "start tx_first 1",
        flowed,
        1.0,  # for testpmd to see and print them
        "stop",
        "show port xstats 0",
    ]
    run = run_testpmd(tmp_path, commands)
    check(run)
    assert len(re.findall(r"length=64 .* VLAN tci=0x64 ", run.text)) == 32
    assert run.text.count("RTE_MBUF_F_RX_VLAN_STRIPPED") == 32
    assert "IP_CKSUM_BAD" not in run.text


def test_port_is_stopped_started_and_reset(tmp_path: Path) -> None:
    again: list[Step] = [
        "port stop 0",
        "port start 0",
        0.1,
        "start tx_first 1",
        0.05,
        "stop",
    ]
    reset: list[Step] = ["port stop 0", "port reset 0", "port start 0", 0.1, *FORWARD]
    run = run_testpmd(tmp_path, [*again, *again, *reset])
    assert run.violations == []
    assert run.status == 0
    assert run.counters["rx_unicast"] > 256


@pytest.mark.parametrize("once", [False, True])
def test_port_reset_on_i40e(tmp_path: Path, once: bool) -> None:
    """DPDK 22.11 closes and opens the port, without RESET_VF: it asks for resources that it has.

    i40e answered that up to Linux 6.16 and refuses it since; from 24.07 on DPDK resets the VF.
    """
    reset: list[Step] = ["port stop 0", "port reset 0", 0.5, "port start 0", 0.3]
    twists: dict[str, Value] = {"resources_once": once}
    commands = reset if once else [*reset, *FORWARD]
    run = run_testpmd(tmp_path, commands, personality="x710", twists=twists)
    if "Failed to reset port 0" in run.text:
        assert once
        assert len(run.violations) == 1
        assert "GET_VF_RESOURCES was answered already" in run.violations[0]
    else:
        assert run.violations == []
        assert once or run.counters["rx_unicast"] > 256
