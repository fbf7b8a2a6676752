# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's net_iavf on a VF whose PF is Linux's own i40e or ice: nobody here wrote any of them."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import pytest

from iavfio.linuxpf.process import JudgeProcess
from iavfio.softvf._device import lib
from tests.judge.conftest import LIVE, kernel_of, live_pf
from tests.preload.testpmd import (
    FORWARD,
    NEEDED,
    VLAN,
    Run,
    Step,
    check,
    check_vlan,
    run_testpmd,
    sent,
)

pytestmark = NEEDED
ICE = pytest.mark.parametrize(
    "live", [name for name in LIVE if name.startswith("linux-ice")], indirect=True
)
SCALAR = "--force-max-simd-bitwidth=64"
BURST = 32  # frames of `start tx_first 1`


@pytest.fixture(scope="module", params=LIVE)
def live(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings of a software VF whose PF is Linux's."""
    return live_pf(request.param)


def nothing_lost(run: Run) -> None:
    """The wire is looped back: DPDK, Linux and the card count the same frames both ways."""
    check(run)
    sent, lost = run.counters["tx_unicast"], run.counters["rx_discards"]
    assert run.counters["rx_unicast"] == sent
    assert run.xstats["rx_good_packets"] == sent - lost > 256


@pytest.mark.parametrize("bits", [64, 256])
def test_forwards_with_scalar_and_vector_code(
    tmp_path: Path, live: dict[str, Any], bits: int
) -> None:
    nothing_lost(run_testpmd(tmp_path, FORWARD, eal=f"--force-max-simd-bitwidth={bits}", **live))


def test_four_queues(tmp_path: Path, live: dict[str, Any]) -> None:
    run = run_testpmd(tmp_path, ["set fwd mac", *FORWARD], options="--rxq=4 --txq=4", **live)
    check(run)
    assert "RX queue number: 4 Tx queue number: 4" in run.text


def printed(run: Run) -> str:
    """What testpmd printed, without its prompts, which come between the letters of the rest."""
    return re.sub(r"testpmd> .*\n", "", run.text)


def by_queue(run: Run) -> list[list[int]]:
    """Packets that testpmd received from each of 4 queues, at each `stop`."""
    found = re.findall(r"RX Port= 0/Queue= ?\d+ .*\n +RX-packets: (\d+)", printed(run))
    return [[int(packets) for packets in found[at : at + 4]] for at in range(0, len(found), 4)]


RSS_RULE = (
    "flow create 0 ingress pattern eth / ipv4 / udp / end actions rss types ipv4-udp "
    "l3-dst-only end queues end func default / end"
)
FILTER = (
    "flow create 0 ingress pattern eth / ipv4 dst is 198.18.0.2 / udp dst is 9 / end "
    "actions queue index 1 / mark id 7 / end"
)


@ICE
@pytest.mark.parametrize("rule", [RSS_RULE, FILTER], ids=["rss", "filter"])
def test_rules_of_dpdk_decide_where_packets_go(
    tmp_path: Path, live: dict[str, Any], rule: str
) -> None:
    """The flows of tx_first differ in their source addresses alone."""
    steps: list[Step] = [*FORWARD, rule, *FORWARD, "flow destroy 0 rule 0", *FORWARD]
    run = run_testpmd(tmp_path, steps, options="--rxq=4 --txq=4 --txonly-multi-flow", **live)
    check(run)
    text = printed(run)
    assert "Flow rule #0 created" in text and "Flow rule #0 destroyed" in text
    before, during, after = by_queue(run)
    assert sum(map(bool, before)) > 1 and sum(map(bool, after)) > 1
    assert sum(map(bool, during)) == 1
    assert rule == RSS_RULE or during[1]


@ICE
def test_dpdk_sees_the_mark_of_a_filter_and_nothing_of_what_is_dropped(
    tmp_path: Path, live: dict[str, Any]
) -> None:
    dropping = "flow create 0 ingress pattern eth / ipv4 / udp dst is 9 / end actions drop / end"
    steps: list[Step] = ["set fwd rxonly", "set verbose 1", FILTER, "start tx_first 1"]
    steps += [sent(4 * BURST), 1.0, "stop", "flow destroy 0 rule 0", dropping, "start tx_first 1"]
    steps += [sent(8 * BURST), 1.0, "stop"]
    run = run_testpmd(tmp_path, steps, eal=SCALAR, options="--rxq=4 --txq=4", **live)
    assert run.violations == [] and run.status == 0, run.text
    assert printed(run).count("Flow rule #0 created") == 2, run.text
    assert printed(run).count("FDIR matched ID=0x7") == 4 * BURST


def test_scattered_frames(tmp_path: Path, live: dict[str, Any]) -> None:
    options = "--max-pkt-len=9018 --enable-scatter --tx-offloads=0x8000 --mbuf-size=2176"
    commands = ["set txpkts 2000,2000,2000,2000,1000", *FORWARD]
    run = run_testpmd(tmp_path, commands, options=options, **live)
    check(run)
    assert run.counters["tx_bytes"] == 9000 * run.counters["tx_unicast"]


def test_promiscuity_and_addresses_let_frames_in(tmp_path: Path, live: dict[str, Any]) -> None:
    """Frames to a stranger arrive while the port is promiscuous, or has the stranger's address."""
    stranger = "02:00:00:00:00:77"
    commands: list[Step] = ["set fwd rxonly", f"set eth-peer 0 {stranger}"]
    changes = [
        "set promisc all off",
        "set promisc all on",
        "set promisc all off",
        f"mac_addr add 0 {stranger}",
        f"mac_addr remove 0 {stranger}",
    ]
    for number, change in enumerate(changes, 1):
        commands += [change, "start tx_first 1", sent(number * BURST), "stop", "show port stats 0"]
    run = run_testpmd(tmp_path, commands, **live)
    assert run.violations == []
    assert run.status == 0, run.text
    shown = re.findall(r"NIC statistics for port 0 .*?RX-packets: (\d+)", run.text, re.S)
    assert [int(count) for count in shown] == [0, BURST, BURST, 2 * BURST, 2 * BURST]
    assert run.counters["tx_unicast"] == len(changes) * BURST


def test_vlan_is_inserted_and_stripped(tmp_path: Path, live: dict[str, Any]) -> None:
    check_vlan(run_testpmd(tmp_path, VLAN, **live))


def test_port_is_stopped_and_started_again(tmp_path: Path, live: dict[str, Any]) -> None:
    commands: list[Step] = ["set fwd rxonly"]
    for number in range(1, 4):
        commands += ["port stop 0", "port start 0", "start tx_first 1", sent(number * BURST)]
        commands += ["stop"]
    run = run_testpmd(tmp_path, commands, **live)
    assert run.violations == []
    assert run.status == 0, run.text
    assert run.counters["rx_unicast"] == run.counters["tx_unicast"] == 3 * BURST


def test_port_reset_is_what_this_kernel_lets_it_be(tmp_path: Path, live: dict[str, Any]) -> None:
    """DPDK 22.11 resets without RESET_VF, and asks for resources that it has.

    A kernel whose i40e knows I40E_VF_STATE_RESOURCES_LOADED (Debian's 6.12, i40e_virtchnl_pf.c
    line 2140) refuses the second GET_VF_RESOURCES, and so DPDK's reset fails there.
    """
    with JudgeProcess(kernel_of(*live["pf"].split("-")[1:])) as judge:
        judge.say(lib.VC_OP_VERSION, struct.pack("<II", 1, 1))
        asked = struct.pack("<I", lib.VC_CAP_L2)
        replies = [judge.say(lib.VC_OP_GET_VF_RESOURCES, asked) for _ in range(2)]
    first, second = (
        next(status for op, status, _ in each if op == lib.VC_OP_GET_VF_RESOURCES)
        for each in replies
    )
    assert first == 0
    commands: list[Step] = ["port stop 0", "port reset 0", "port start 0"]
    run = run_testpmd(tmp_path, commands if second else [*commands, *FORWARD], **live)
    assert run.violations == []
    assert ("Failed to reset port 0" in run.text) == (second != 0)
    assert second or run.counters["rx_unicast"] > 256
