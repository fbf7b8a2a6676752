# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's net_iavf without a guest, by `iavfio preload`: what takes too long for each commit.

What DPDK loses before 23.11. A Tx queue that is stopped gives back what it still holds: the slots
from the oldest one that was not freed to the tail. iavf_tx_queue_release_mbufs_avx512(), and
_iavf_tx_queue_release_mbufs_vec() for AVX2 and SSE, go from there to the ring's end if the tail is
below, and end: the loop from slot 0 to the tail is missing, and where the tail is not below, they
give nothing back. reset_tx_queue() then forgets the slots. So a stop after traffic loses buffers,
on any card, at most as many as there are slots below the tail. The device has no part in it: the
scalar path, on the same descriptors, loses none.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise

import pytest

import iavfio
from iavfio.preload import prepare
from iavfio.softvf.personality import Value
from tests.guest.test_dpdk import MAC, SCRIPT
from tests.preload import testpmd as native

pytestmark = [*native.NEEDED, pytest.mark.full]
TIMES = 100
RING = 512
COUNT, SENT = "dump_mempool mb_pool_0", "show port xstats 0"


@dataclass(frozen=True)
class Run:
    """What testpmd said to each command, in turn."""

    said: list[tuple[str, str]]
    violations: list[object]

    def after(self, command: str) -> list[str]:
        """Its answers to one command."""
        return [text for name, text in self.said if name == command]

    def received(self) -> list[int]:
        """RX-packets of each `stop`."""
        last = [text.rpartition("Forward statistics for port 0")[2] for text in self.after("stop")]
        return [int(n) for text in last for n in re.findall(r"RX-packets: (\d+)", text)[:1]]

    def sent(self) -> list[int]:
        """Packets sent so far, each time that they were counted: `stop` itself counts too early."""
        return [int(n) for t in self.after(SENT) for n in re.findall(r"tx_unicast_\w+: (\d+)", t)]

    def available(self) -> list[int]:
        """Buffers in the pool and in the threads' caches, each time that they were counted."""
        found = []
        for text in self.after(COUNT):
            counts = re.findall(r"(?:common_pool|total_cache)_count=(\d+)", text)
            assert len(counts) == 2, text
            found.append(sum(map(int, counts)))
        return found


def steps(counts: list[int]) -> list[int]:
    """From each count to the next."""
    return [after - before for before, after in pairwise(counts)]


def run_testpmd(
    commands: list[str | float], personality: str, bits: int, options: str, **twists: Value
) -> Run:
    """testpmd with SIMD of so many bits at most; its frames come back to it."""
    with (
        iavfio.softvf(personality=personality, options=native.TRUSTED | twists) as pf,
        prepare(pf.sockets) as preload,
    ):
        # Without it net_iavf adds a random address at each reset of the port: the table fills.
        pf.control("mac", vf=0, mac=MAC)
        allowed = " ".join(f"-a {bdf}" for bdf in preload.bdfs)
        eal = f"{native.EAL} -m 256 --force-max-simd-bitwidth={bits} {allowed}"
        words = f"{eal} -- -i --no-mlockall --eth-peer=0,{MAC} {options}"
        done = subprocess.run(
            [sys.executable, str(SCRIPT), "15", words, json.dumps(commands)],
            env=preload.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        violations: list[object] = list(pf.violations())
    facts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert facts and facts[-1] == {"fact": "end", "status": 0, "alive": True}, done.stdout[-2000:]
    said = [(fact["command"], fact["text"]) for fact in facts if fact["fact"] == "command"]
    return Run(said, violations)


@pytest.mark.parametrize(("personality", "bits"), [("e810", 64), ("e810", 512), ("x710", 256)])
def test_a_hundred_stops_starts_and_resets(personality: str, bits: int) -> None:
    """With traffic after each start; no rule is broken, no mapping runs out, and of the buffers no
    more than what DPDK itself loses.

    DPDK 22.11 resets a port without resetting the VF, which an i40e PF suffers up to Linux 6.16.
    """
    traffic: list[str | float] = ["start tx_first 1", 0.05, "stop", 0.02, SENT]
    again = ["port stop 0", COUNT, "port start 0", *traffic]
    reset: list[str | float] = ["port stop 0", "port reset 0", "port start 0"]
    commands = [SENT, *again * TIMES, "port stop 0", COUNT, *reset * TIMES, *traffic]
    buffers = 4096 + TIMES * RING
    options = f"--total-num-mbufs={buffers} --txd={RING}"
    suffers: dict[str, Value] = {"resources_once": False} if personality == "x710" else {}
    run = run_testpmd(commands, personality, bits, options, **suffers)
    received = run.received()
    assert len(received) == TIMES + 1
    assert min(received) >= 32
    assert not [text for text in run.after("stop") if "RX-nombufs" in text]
    assert not [text for text in run.after("port reset 0") if "Failed" in text]
    assert run.violations == []
    sent = steps(run.sent()[: TIMES + 1])
    lost = [-n for n in steps(run.available())]
    assert min(sent) >= 32
    assert len(lost) == TIMES
    for tail, gone in zip([n % RING for n in sent], lost, strict=True):
        assert 0 <= gone <= (tail if bits > 64 else 0)


@pytest.mark.parametrize("ring", [256, RING])
@pytest.mark.parametrize(("personality", "bits"), [("e810", 64), ("e810", 512), ("x710", 256)])
def test_what_a_stop_loses_is_the_slots_below_the_tail(
    personality: str, bits: int, ring: int
) -> None:
    """In bursts of 32, the size in which slots are freed, the oldest slot that was not freed is 0
    or above the tail; so exactly the tail is lost, the number of packets modulo the ring."""
    commands: list[str | float] = ["set fwd rxonly", "port stop 0", COUNT, SENT]
    for bursts in (1, 5, 7, 8, 9, 15, 16, 17, 20, 33):
        traffic: list[str | float] = ["port start 0", f"start tx_first {bursts}", 0.1, "stop", SENT]
        commands += [*traffic, "port stop 0", COUNT]
    run = run_testpmd(commands, personality, bits, f"--total-num-mbufs=16384 --txd={ring}")
    tails = [n % ring for n in steps(run.sent())]
    lost = [-n for n in steps(run.available())]
    assert len(set(tails)) > 3
    assert run.violations == []
    assert lost == [0] * len(tails) or (bits > 64 and lost == tails)
