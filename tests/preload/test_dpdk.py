# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's net_iavf, unmodified, on the software VF: a driver that nobody here wrote.

It runs without huge pages and without root; where dpdk-testpmd is not installed, this is skipped.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from iavfio.softvf.personality import Value
from tests.preload.testpmd import FORWARD, NEEDED, VLAN, Step, check, check_vlan, run_testpmd

pytestmark = NEEDED


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
    check_vlan(run_testpmd(tmp_path, VLAN))


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
