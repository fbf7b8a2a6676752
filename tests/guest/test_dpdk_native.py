# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's net_iavf without a guest, by `iavfio preload`: what takes too long for each commit."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

import iavfio
from iavfio.preload import prepare
from tests.guest.test_dpdk import MAC, SCRIPT
from tests.softvf import test_preload_dpdk as native

pytestmark = [*native.pytestmark, pytest.mark.full]
TIMES = 100
# The vector paths of DPDK 22.11 lose a few hundred buffers at each stop with traffic, so that some
# twenty starts empty the pool; the scalar one loses none.
SCALAR = "--force-max-simd-bitwidth=64"


@pytest.mark.parametrize("personality", ["e810", "x710"])
def test_a_hundred_stops_starts_and_resets(personality: str) -> None:
    """With traffic after each start; no rule is broken, no buffer or mapping runs out.

    DPDK 22.11 resets a port without resetting the VF: an i40e PF then refuses GET_VF_RESOURCES.
    """
    again = ["port stop 0", "port start 0", "start tx_first 1", 0.05, "stop"]
    reset = ["port stop 0", "port reset 0", "port start 0"]
    commands = [
        *again * TIMES,
        *reset * (TIMES if personality == "e810" else 0),
        "start tx_first 1",
        0.2,
        "stop",
    ]
    with (
        iavfio.softvf(personality=personality, options=native.TRUSTED) as pf,
        prepare(pf.sockets) as preload,
    ):
        # Without it net_iavf adds a random address at each reset of the port: the table fills.
        pf.control("mac", vf=0, mac=MAC)
        allowed = " ".join(f"-a {bdf}" for bdf in preload.bdfs)
        words = f"{native.EAL} {SCALAR} {allowed} -- -i --no-mlockall --total-num-mbufs=4096"
        done = subprocess.run(
            [sys.executable, str(SCRIPT), "15", words, json.dumps(commands)],
            env=preload.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        violations = pf.violations()
    facts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert facts and facts[-1] == {"fact": "end", "status": 0, "alive": True}, done.stdout[-2000:]
    stops = [fact["text"] for fact in facts if fact.get("command") == "stop"]
    assert len(stops) == TIMES + 1
    for text in stops:
        last = text.rpartition("Forward statistics for port 0")[2]
        found = re.search(r"RX-packets: (\d+)", last)
        assert found and int(found[1]) >= 32, text
        assert "RX-nombufs" not in text
    assert violations == []
