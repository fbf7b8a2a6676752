# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's testpmd over `iavfio preload`, on the VF of any PF: commands, waits, what came of them."""

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
PROMPT = "testpmd> "
DEADLINE = 90.0
PATIENCE = 5.0
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

NEEDED = [
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
        """What the last `show port xstats` printed."""
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


def sent(frames: int) -> Callable[[Counters, Counters], bool]:
    """So many frames went out, and nothing moves any more."""
    return lambda before, now: now["tx_unicast"] >= frames and settled(before, now)


def flowed(before: Counters, now: Counters) -> bool:
    """More came back than was sent at first, or all that went round was lost in the end."""
    return now["rx_unicast"] > 2048 or (now["rx_unicast"] > 0 and settled(before, now))


def _until(true: Callable[[], bool], child: subprocess.Popen[str], seconds: float) -> bool:
    """Waits for what testpmd prints, but not for one that ended; whether it came."""
    deadline = time.monotonic() + seconds
    while not true() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


def _tell(command: str, child: subprocess.Popen[str], output: Path) -> None:
    """One command, and a wait for the next prompt, which drops what comes while it works.

    A core that prints frames writes between the letters of a prompt: that one is not waited for
    any longer than the slowest command takes.
    """
    assert child.stdin is not None
    prompts = output.read_text().count(PROMPT)
    child.stdin.write(command + "\n")
    child.stdin.flush()
    _until(lambda: output.read_text().count(PROMPT) > prompts, child, PATIENCE)


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
            _until(lambda: PROMPT in output.read_text().partition(READY)[2], child, DEADLINE)
            assert READY in output.read_text(), output.read_text()
            assert child.stdin is not None
            for command in commands:
                if isinstance(command, str):
                    _tell(command, child, output)
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
VLAN: list[Step] = [
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


def check(run: Run) -> None:
    """DPDK and the PF count the same; nothing is held against the driver."""
    assert run.violations == []
    assert "Bye..." in run.text
    assert run.status == 0, run.text
    assert run.counters["tx_unicast"] > 0
    for theirs, ours in SAME.items():
        assert run.xstats[theirs] == run.counters[ours], (theirs, run.text)


def check_vlan(run: Run) -> None:
    """Each frame of VLAN went out with its tag, and came back without it but with its number."""
    check(run)
    assert len(re.findall(r"length=64 .* VLAN tci=0x64 ", run.text)) == 32
    assert run.text.count("RTE_MBUF_F_RX_VLAN_STRIPPED") == 32
    assert "IP_CKSUM_BAD" not in run.text
