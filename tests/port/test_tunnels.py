# SPDX-License-Identifier: BSD-3-Clause
"""Tunnels that RSS spreads by rules: what arrives where, what the PF refuses, what is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import GRE, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.packet import Raw

import iavfio
from iavfio._driver import lib
from iavfio.datapath.pool import Pool
from iavfio.errors import ConfigError, PfRefused
from iavfio.port.port import Port
from iavfio.port.tunnels import TUNNELS
from iavfio.softvf.launch import SoftPf
from iavfio.virtchnl.messages.rss_rules import Header
from tests.port.expected import expected, held
from tests.port.rig import send_all, until

FLOWS, QUEUES = 256, 8
OUT4, OUT6 = IP(src="192.0.2.1", dst="192.0.2.2"), IPv6(src="2001:db8::1", dst="2001:db8::2")
Make = Callable[[int], Any]


def inner(i: int) -> Any:
    return IP(src=f"10.0.{i >> 8}.{i & 255}", dst="10.9.9.9") / UDP(sport=1024 + i, dport=53)


def gtpu(i: int) -> Any:
    return UDP(sport=2152, dport=2152) / GTP_U_Header(teid=1 + i) / inner(i)


def session(i: int) -> Any:
    pdu = GTPPDUSessionContainer(type=1, QFI=9)
    header = GTP_U_Header(teid=1 + i, next_ex=0x85)
    return UDP(sport=2152, dport=2152) / header / pdu / inner(i)


def pfcp(i: int) -> Any:
    seid = i.to_bytes(8, "big")
    return UDP(sport=8805, dport=8805) / Raw(bytes([0x21, 50, 0, 20]) + seid + bytes(12))


def esp(i: int) -> Any:
    return ESP(spi=256 + i, seq=1, data=b"x" * 32)


def l2tpv3(i: int) -> Any:
    return IP(src="192.0.2.1", dst="192.0.2.2", proto=115) / Raw(i.to_bytes(4, "big") + bytes(40))


# Behind one outer flow each: the tunnel's name, and its i-th frame without the MAC addresses.
COVERED: dict[str, tuple[str, int, Make]] = {
    "GTP-U": ("gtpu", 0x0800, lambda i: OUT4 / gtpu(i)),
    "GTP-U over IPv6": ("gtpu", 0x86DD, lambda i: OUT6 / gtpu(i)),
    "GTP-U with a PDU session": ("gtpu", 0x0800, lambda i: OUT4 / session(i)),
    "PPPoE": ("pppoe", 0x8864, lambda i: PPPoE(sessionid=5) / PPP(proto=0x21) / inner(i)),
    "PPPoE sessions": (
        "pppoe",
        0x8864,
        lambda i: PPPoE(sessionid=1 + i) / PPP(proto=0x21) / inner(0),
    ),
    "ESP": ("esp", 0x0800, lambda i: OUT4 / esp(i)),
    "ESP over IPv6": ("esp", 0x86DD, lambda i: OUT6 / esp(i)),
    "AH": ("ah", 0x0800, lambda i: OUT4 / AH(spi=256 + i, seq=1, icv=bytes(12)) / inner(0)),
    "L2TPv3": ("l2tpv3", 0x0800, l2tpv3),
    "PFCP": ("pfcp", 0x0800, lambda i: OUT4 / pfcp(i)),
}
NEVER: dict[str, tuple[int, Make]] = {
    "MPLS": (0x8847, lambda i: MPLS(label=100, s=1) / inner(i)),
}


@cache
def without_addresses(kind: int, make: Make) -> list[bytes]:
    head = Ether(dst=bytes(6), src=bytes(6), type=kind)
    return [bytes(head / make(i)).ljust(60, b"\0")[12:] for i in range(FLOWS)]


def frames(port: Port, kind: int, make: Make) -> list[bytes]:
    return [port.mac + port.mac + rest for rest in without_addresses(kind, make)]


def spread(port: Port, sent: list[bytes]) -> Counter[int]:
    """How many of these frames each queue gets; all of them arrive."""
    send_all(port, sent)
    got: Counter[int] = Counter()
    here: list[bytes] = []

    def all_here() -> bool:
        for queue in port.rx:
            with queue.recv() as burst:
                got[queue.index] += len(burst)
                here.extend(bytes(burst.bytes(i)) for i in range(len(burst)))
        return len(here) >= len(sent)

    assert until(all_here)
    assert sorted(here) == sorted(sent)
    return +got


@pytest.fixture(scope="module")
def comms() -> Iterator[SoftPf]:
    options: dict[str, Any] = {"reset_ms": 1, "ddp": "comms", "spoof_check": "off"}
    with iavfio.softvf(personality="e810", uplink="loopback", options=options) as pf:
        yield pf


@pytest.fixture(scope="module")
def plain() -> Iterator[SoftPf]:
    """The package of linux-firmware."""
    options: dict[str, Any] = {"reset_ms": 1, "spoof_check": "off"}
    with iavfio.softvf(personality="e810", uplink="loopback", options=options) as pf:
        yield pf


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool(16384, huge="never")


def started(pf: SoftPf, pool: Pool, *tunnels: str, **more: Any) -> Port:
    port = pf.open(0, pool=pool)
    try:
        rss = iavfio.Rss.make(tunnels=tunnels, **more)
        port.configure(queues=QUEUES, ring=1024, rss=rss)
        port.start(wait_link=10)
    except BaseException:
        port.close()
        raise
    return port


@pytest.mark.parametrize("name", COVERED)
def test_a_rule_spreads_its_tunnel_and_without_it_all_is_in_one_queue(
    comms: SoftPf, pool: Pool, name: str
) -> None:
    tunnel, kind, make = COVERED[name]
    with started(comms, pool) as port:
        assert len(spread(port, frames(port, kind, make))) == 1
    with started(comms, pool, tunnel) as port:
        queues = spread(port, frames(port, kind, make))
        assert len(queues) == QUEUES and max(queues.values()) < FLOWS // 2
        port.reset()
        port.wait_link(10)
        assert spread(port, frames(port, kind, make)) == queues
        assert comms.violations() == [] and port.notes == []


def test_all_rules_together_leave_plain_traffic_as_it_was(comms: SoftPf, pool: Pool) -> None:
    with started(comms, pool) as port:
        before = spread(port, frames(port, 0x0800, inner))
        mpls = spread(port, frames(port, *NEVER["MPLS"]))
        assert len(mpls) == 1
    with started(comms, pool, *TUNNELS) as port:
        assert spread(port, frames(port, 0x0800, inner)) == before
        assert spread(port, frames(port, *NEVER["MPLS"])) == mpls
        for kind, make in ((kind, make) for _, kind, make in COVERED.values()):
            assert max(spread(port, frames(port, kind, make)).values()) < FLOWS // 2


def test_rules_come_and_go_with_the_settings(comms: SoftPf, pool: Pool) -> None:
    with comms.open(0, pool=pool) as port:
        for tunnels in (["gtpu"], ["gtpu", "esp"], ["esp"], [], ["pppoe"]):
            for more in ({}, {"symmetric": True}, {"fields": ["ipv4-tcp"]}, {}):
                port.configure(queues=2, rss=iavfio.Rss.make(tunnels=tunnels, **more))
                port.start()
                assert held(comms) == expected(port, comms), (tunnels, more)
                port.stop()


def test_a_start_that_changes_nothing_says_nothing(comms: SoftPf, pool: Pool) -> None:
    with started(comms, pool, "gtpu", "pfcp") as port:
        port.stop()
        since = len(list(port.journal))
        port.start()
        said = [entry.opcode for entry in list(port.journal)[since:] if entry.direction == "out"]
        assert not {lib.VC_OP_ADD_RSS_CFG, lib.VC_OP_DEL_RSS_CFG} & set(said)


def test_a_package_that_does_not_know_the_tunnel(plain: SoftPf, pool: Pool) -> None:
    with pytest.raises(PfRefused) as caught:
        started(plain, pool, "gtpu")
    for words in ("ADD_RSS_CFG", "gtpu(teid)", "DDP package", "comms package", "tunnels"):
        assert words in str(caught.value)
    with plain.open(0, pool=pool) as port:
        port.configure(queues=1, rss=iavfio.Rss.make(tunnels=["gtpu", "l2tpv3"]))
        port.start()  # with one queue there is nothing to spread
        assert [note.partition(":")[0] for note in port.notes] == [
            "the RSS rule of gtpu is not in force",
            "the RSS rule of l2tpv3 is not in force",
        ]


def test_a_tunnel_has_all_of_its_rules_or_none(comms: SoftPf, pool: Pool) -> None:
    """Rules with ports come after those without, or the card takes the wrong ones for good."""

    def rules() -> list[object]:
        return list(comms.control("stats", vf=0)["pf"]["rss"]["rules"])

    with comms.open(0, pool=pool) as port:
        port.configure(queues=1, rss=iavfio.Rss.make(tunnels=["pppoe"]))
        refuse = {"kind": "retval", "opcode": lib.VC_OP_ADD_RSS_CFG, "value": -5, "count": 1}
        comms.control("fault", vf=0, **refuse)
        port.start()
        assert len(rules()) == 1  # the one that this PF made and called refused
        assert any("the RSS rule of pppoe is not in force" in note for note in port.notes)
        port.stop()
        port.configure(queues=4)
        port.start(wait_link=5)
        assert len(rules()) == 6
        sent = frames(port, *COVERED["PPPoE"][1:])
        assert len(spread(port, sent)) == 4


def test_a_tunnel_that_is_refused_half_way_is_taken_back(
    comms: SoftPf, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may go on without it has none of its rules, and the note is right."""
    third = TUNNELS["pppoe"][2]
    unknown = (*third[:-1], Header(16383, 1))  # a header that no PF knows
    patterns = dict(TUNNELS) | {"pppoe": (*TUNNELS["pppoe"][:2], unknown)}
    monkeypatch.setattr("iavfio.port.rss_rules.TUNNELS", patterns)
    with comms.open(0, pool=pool) as port:
        port.configure(queues=1, rss=iavfio.Rss.make(tunnels=["esp", "pppoe"]))
        port.start()
        held = comms.control("stats", vf=0)["pf"]["rss"]["rules"]
        assert [rule["headers"] for rule in held] == [["ipv6", "esp"], ["ipv4", "esp"]]
        (note,) = port.notes
        assert note.startswith("the RSS rule of pppoe is not in force")


def test_a_rule_that_is_taken_and_spreads_nothing_is_said(plain: SoftPf, pool: Pool) -> None:
    """ice asks no package about PPPoE, and no card parses it without one."""
    with started(plain, pool, "pppoe") as port:
        for _ in range(3):
            assert len(spread(port, frames(port, *COVERED["PPPoE"][1:]))) == 1
        (finding,) = port.why()
        assert "the PF has taken the RSS rule of PPPoE, but the card does not" in finding.remedy


@pytest.mark.parametrize("card", ["x710", "x722"])
def test_pfs_without_such_rules(card: str) -> None:
    with iavfio.softvf(personality=card) as pf, pf.open() as port:
        with pytest.raises(ConfigError, match=r"ADV_RSS_PF.* E810.* X710") as caught:
            port.configure(rss=iavfio.Rss.make(tunnels=["gtpu"]))
        assert "RSS cannot spread gtpu" in str(caught.value)
        assert port.settings.rss.tunnels == frozenset()


def test_names() -> None:
    assert iavfio.Rss.make(tunnels="esp").tunnels == {"esp"}
    with pytest.raises(ConfigError, match="gtpu"):
        iavfio.Rss.make(tunnels=["gtp-u"])


@pytest.mark.parametrize("name", ["GTP-U", "PPPoE", "L2TPv3", "ESP", "AH", "PFCP"])
def test_the_note_names_the_setting(plain: SoftPf, pool: Pool, name: str) -> None:
    tunnel, kind, make = COVERED[name]
    with started(plain, pool) as port:
        for _ in range(3):
            spread(port, frames(port, kind, make))
            port.control.sampling.look(again=True)
        (finding,) = port.why()
        assert f"configure(rss=iavfio.Rss.make(tunnels=['{tunnel}']))" in finding.remedy
        assert "comms DDP package" in finding.remedy


def test_the_note_says_what_has_no_rule(plain: SoftPf, pool: Pool) -> None:
    with started(plain, pool) as port:
        for _ in range(3):
            spread(port, frames(port, *NEVER["MPLS"]))
            spread(port, frames(port, *COVERED["ESP"][1:]))
            spread(port, frames(port, *COVERED["GTP-U"][1:]))
            spread(port, frames(port, 0x0800, lambda i: OUT4 / GRE(proto=0x88BE) / Raw(bytes(40))))
            port.control.sampling.look(again=True)
        (finding,) = port.why()
        assert "tunnels=['esp', 'gtpu']" in finding.remedy
        assert "there is no RSS rule for " in finding.remedy
        for kind in ("MPLS", "GRE"):
            assert kind in finding.remedy.partition("there is no RSS rule for ")[2]


def test_tunnels_that_are_spread_are_no_cause(comms: SoftPf, pool: Pool) -> None:
    with started(comms, pool, "gtpu", "esp") as port:
        for _ in range(4):
            spread(port, frames(port, *COVERED["GTP-U"][1:]))
            spread(port, frames(port, *COVERED["ESP"][1:]))
            port.control.sampling.look(again=True)
        assert port.why() == []
        assert port.notes == []
