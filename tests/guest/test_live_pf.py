# SPDX-License-Identifier: BSD-3-Clause
"""Linux's iavf in a guest on VFs of Linux's i40e or ice: nobody here wrote either end of virtchnl.

All of test_iavf.py runs on such a PF with IAVFIO_TEST_PF=linux-i40e (docs/guides/judge.md).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from iavfio.linuxpf.build import load
from iavfio.linuxpf.cache import Unavailable
from iavfio.softvf.linux_pf import kernel
from tests.guest.iavf import FIRST, HOST, SECOND, Judge, Setting, bring_up

LIVE = [("linux-i40e", "x710"), pytest.param(("linux-ice", "e810"), marks=pytest.mark.full)]


@pytest.fixture(scope="module", params=LIVE, ids=["i40e", "ice"])
def judge(lab: None, request: pytest.FixtureRequest) -> Iterator[Judge]:
    """One guest for all tests, which build on each other."""
    live, card = request.param
    try:
        load(kernel(live))
    except Unavailable as error:
        if os.environ.get("IAVFIO_JUDGE_REQUIRED"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    with bring_up(Setting("older", card, "shared", pf=live)) as made:
        yield made


def both_ways(judge: Judge) -> None:
    """Through the uplink and the switch, and back."""
    judge.answered()
    judge.ping(HOST)
    judge.ping(SECOND)
    judge.ping(FIRST, where="ip netns exec b")


def test_traffic_and_sums(judge: Judge) -> None:
    both_ways(judge)

    def same() -> bool:
        theirs, ours = judge.traffic(), judge.vsi()
        return all(theirs[f"{way}_packets"] == ours[f"{way}_packets"] for way in ("rx", "tx"))

    judge.until(same, "agreement")
    judge.until(lambda: judge.told("rx_unicast") > 0, "the PF's answer in ethtool -S")


def test_the_interface_goes_down_and_up(judge: Judge) -> None:
    judge.guest.check("ip link set vf0 down")
    judge.until(lambda: not judge.pf.control("stats", vf=0)["pf"]["queues"]["enabled_rx"], "rest")
    judge.guest.check("ip link set vf0 up")
    judge.until(judge.up, "the link")
    both_ways(judge)


def test_a_vlan_between_two_vfs(judge: Judge) -> None:
    for where, name, address in (("", "vf0", 2), ("-n b", "vf1", 3)):
        judge.guest.check(
            f"ip {where} link add link {name} name v5 type vlan id 5 && "
            f"ip {where} addr add 203.0.113.{address}/24 dev v5 && ip {where} link set v5 up"
        )
    ping = "ping -c 1 -W 1 203.0.113.3"
    judge.until(lambda: judge.guest.run(ping).status == 0, "an answer")
    judge.guest.check("ip link del v5 && ip -n b link del v5")
    both_ways(judge)


def test_the_address_changes(judge: Judge) -> None:
    judge.guest.check("ip link set vf0 address 02:00:00:00:00:55")
    judge.until(lambda: judge.mac() == bytes.fromhex("020000000055"), "the MAC")
    both_ways(judge)


def test_the_administrator_resets_the_vf(judge: Judge) -> None:
    seen = judge.guest.check("dmesg").count("NIC Link is Up")
    judge.pf.control("reset", vf=0)
    judge.until(lambda: judge.guest.check("dmesg").count("NIC Link is Up") > seen, "the link")
    judge.until(judge.up, "the link")
    both_ways(judge)


def test_complaints(judge: Judge) -> None:
    judge.no_complaints()
