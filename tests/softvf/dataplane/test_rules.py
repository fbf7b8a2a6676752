# SPDX-License-Identifier: BSD-3-Clause
"""Frames hashed by rules, against an oracle of this file (docs/spec/pf-dialects.md 9)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import pytest
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.sctp import SCTP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from iavfio.softvf._device import lib
from iavfio.softvf.vf_config import HashRule
from tests.softvf.dataplane.plane_rig import Rig, mac, rig
from tests.softvf.dataplane.test_rss import toeplitz

KEY = bytes((i * 89 + 7) & 0xFF for i in range(52))
S4, D4, S6, D6 = "10.1.2.3", "10.9.8.7", "2001:db8::3", "2001:db8::7"
V4 = bytes([10, 1, 2, 3, 10, 9, 8, 7])
V6 = bytes.fromhex("20010db8000000000000000000000003" + "20010db8000000000000000000000007")
INNER4, INNER6 = IP(src="172.16.0.1", dst="172.16.0.2"), IPv6(src="fd00::1", dst="fd00::2")
IN4 = bytes([172, 16, 0, 1, 172, 16, 0, 2])
IN6 = bytes.fromhex("fd000000000000000000000000000001" + "fd000000000000000000000000000002")
TEID, PORTS = bytes.fromhex("0a0b0c0d"), struct.pack(">HH", 4000, 53)
L4 = UDP(sport=4000, dport=53) / Raw(bytes(8))


def head(kind: int | None = None) -> Any:
    return (
        Ether(dst=mac(1), src=mac(1)) if kind is None else Ether(dst=mac(1), src=mac(1), type=kind)
    )


OUT4, OUT6 = head() / IP(src=S4, dst=D4), head() / IPv6(src=S6, dst=D6)


def gtpu(outer: Any, inner: Any, pdu: int | None = None, **more: Any) -> Any:
    """pdu 0: downlink, 1: uplink."""
    header = GTP_U_Header(teid=0x0A0B0C0D, **more)
    if pdu is not None:
        header = GTP_U_Header(teid=0x0A0B0C0D, next_ex=0x85) / GTPPDUSessionContainer(
            type=pdu, QFI=9
        )
    return outer / UDP(sport=2152, dport=2152) / header / inner


def pfcp(outer: Any, flags: int = 0x21) -> Any:
    body = bytes([flags, 50, 0, 20]) + bytes(range(1, 9)) + bytes(12)
    return outer / UDP(sport=8805, dport=8805) / Raw(body)


def rule(headers: str, fields: str, symmetric: bool = False) -> HashRule:
    """Of the constants' names, as "IPV4 GTPU"."""
    bits = sum(int(getattr(lib, f"SOFTVF_HAS_{name}")) for name in headers.split())
    of = sum(int(getattr(lib, f"SOFTVF_OF_{name}")) for name in fields.split())
    return HashRule(bits, of, symmetric)


BOTH, PORT = "IP_SRC IP_DST", "SRC_PORT DST_PORT"
L2TPV3 = Raw(bytes.fromhex("00001234") + bytes(40))
TAGGED = Ether(dst=mac(1), src=mac(1)) / Dot1Q(vlan=7, prio=1)
CASES: list[tuple[HashRule, Any, bytes]] = [
    # A rule, a frame that it fits, and the bytes that are hashed.
    (rule("IPV4", BOTH), OUT4 / L4, V4),
    (rule("IPV4", "IP_SRC"), OUT4 / L4, V4[:4]),
    (rule("IPV4", "IP_DST"), OUT4 / ICMP(), V4[4:]),
    (rule("IPV6", "IP_SRC"), OUT6 / L4, V6[:16]),
    (rule("IPV6", "IP_DST"), OUT6 / L4, V6[16:]),
    (rule("IPV4", f"{BOTH} IP_PROTO"), OUT4 / L4, V4 + b"\x11"),
    (rule("IPV4 UDP", f"{BOTH} {PORT}"), OUT4 / L4, V4 + PORTS),
    (rule("IPV4 UDP", "DST_PORT"), OUT4 / L4, PORTS[2:]),
    (rule("IPV4 TCP", "SRC_PORT"), OUT4 / TCP(sport=4000, dport=53), PORTS[:2]),
    (rule("IPV6 SCTP", f"{BOTH} {PORT}"), OUT6 / SCTP(sport=4000, dport=53), V6 + PORTS),
    (rule("IPV6 UDP", PORT), OUT6 / IPv6ExtHdrDestOpt() / L4, PORTS),
    (rule("IPV4 UDP", PORT), head() / IP(options=[b"\x01" * 4], src=S4, dst=D4) / L4, PORTS),
    (rule("IPV4 UDP", f"{BOTH} {PORT}"), OUT4 / UDP(dport=4789) / VXLAN(vni=1) / head() / INNER4
     / L4, V4 + PORTS),
    (rule("IPV4 GTPU", "GTPU_TEID"), gtpu(OUT4, INNER4 / L4), TEID),
    (rule("IPV4 GTPU", "GTPU_TEID"), gtpu(OUT4, INNER4 / L4, S=1, seq=9), TEID),
    (rule("IPV6 GTPU", f"{BOTH} GTPU_TEID"), gtpu(OUT6, INNER4 / L4), V6 + TEID),
    (rule("IPV4 GTPU", "GTPU_TEID"), gtpu(OUT4, INNER6 / L4), TEID),
    (rule("IPV4 GTPU UDP", f"GTPU_TEID {PORT}"), gtpu(OUT4, INNER4 / L4), PORTS + TEID),
    (rule("IPV4 GTPU TCP", PORT), gtpu(OUT4, INNER6 / TCP(sport=4000, dport=53)), PORTS),
    (rule("IPV4 GTPU GTPU_EH", "GTPU_TEID"), gtpu(OUT4, INNER4 / L4, pdu=1), TEID),
    (rule("IPV6 GTPU_EH UDP", PORT), gtpu(OUT6, INNER4 / L4, pdu=0), PORTS),
    (rule("IPV4 GTPU_UP", "GTPU_TEID"), gtpu(OUT4, INNER4 / L4, pdu=1), TEID),
    (rule("IPV4 GTPU_DOWN", "GTPU_TEID"), gtpu(OUT4, INNER4 / L4, pdu=0), TEID),
    (rule("IPV4 L2TPV3", "L2TPV3_SESSION"), head() / IP(src=S4, dst=D4, proto=115) / L2TPV3,
     bytes.fromhex("00001234")),
    (rule("IPV6 L2TPV3", f"{BOTH} L2TPV3_SESSION"), head() / IPv6(src=S6, dst=D6, nh=115) / L2TPV3,
     V6 + bytes.fromhex("00001234")),
    (rule("IPV4 ESP", "ESP_SPI"), OUT4 / ESP(spi=0x11223344, seq=1, data=bytes(32)),
     bytes.fromhex("11223344")),
    (rule("IPV6 ESP", "ESP_SPI"), OUT6 / ESP(spi=0x11223344, seq=1, data=bytes(32)),
     bytes.fromhex("11223344")),
    (rule("IPV4 AH", "AH_SPI"), OUT4 / AH(spi=0x11223344, seq=1, icv=bytes(12)) / L4,
     bytes.fromhex("11223344")),
    (rule("IPV4 PFCP", f"{BOTH} PFCP_SEID"), pfcp(OUT4), V4 + bytes(range(1, 9))),
    (rule("IPV6 PFCP", f"{BOTH} PFCP_SEID"), pfcp(OUT6), V6 + bytes(range(1, 9))),
    (rule("PPPOE IPV4", f"{BOTH} PPPOE_SESSION"), head(0x8864) / PPPoE(sessionid=0x1234)
     / PPP(proto=0x21) / INNER4 / ICMP(), IN4 + b"\x12\x34"),
    (rule("PPPOE IPV6 UDP", f"{BOTH} {PORT} PPPOE_SESSION"), head(0x8864) / PPPoE(sessionid=0x1234)
     / PPP(proto=0x57) / INNER6 / L4, IN6 + PORTS + b"\x12\x34"),
    (rule("ETH VLAN IPV4", "S_VLAN C_VLAN"), TAGGED / Dot1Q(vlan=9) / IP(src=S4, dst=D4) / L4,
     bytes.fromhex("2007 0009")),
    (rule("ETH VLAN", "S_VLAN C_VLAN"), TAGGED / MPLS(label=100, s=1) / INNER4 / L4,
     bytes.fromhex("0000 2007")),
    (rule("ETH", "ETH_SRC ETH_DST ETH_TYPE"), head(0x88B5) / Raw(bytes(50)),
     mac(1) + mac(1) + b"\x88\xb5"),
    # What a key of 52 bytes cannot hash is left out.
    (rule("ETH IPV6 UDP", f"{BOTH} {PORT} ETH_SRC ETH_DST ETH_TYPE"), OUT6 / L4,
     V6 + PORTS + mac(1) + mac(1)),
]  # fmt: skip
MISSED: list[tuple[HashRule, Any]] = [
    (rule("IPV6", BOTH), OUT4 / L4),
    (rule("IPV4", BOTH), head(0x88B5) / Raw(bytes(50))),
    (rule("IPV4 TCP", PORT), OUT4 / L4),
    (rule("IPV4 UDP", PORT), head() / IP(src=S4, dst=D4, flags="MF") / L4),
    (rule("IPV4 UDP", PORT), gtpu(OUT4, INNER4 / TCP())),
    (rule("IPV4 GTPU", "GTPU_TEID"), OUT4 / L4),
    (rule("IPV4 GTPU", "GTPU_TEID"), gtpu(OUT6, INNER4 / L4)),
    (rule("IPV4 GTPU", "GTPU_TEID"), gtpu(OUT4, INNER4 / L4, pdu=1)),
    (rule("IPV4 GTPU GTPU_EH", "GTPU_TEID"), gtpu(OUT4, INNER4 / L4)),
    (rule("IPV4 GTPU_UP", "GTPU_TEID"), gtpu(OUT4, INNER4 / L4, pdu=0)),
    (rule("IPV4 GTPU_DOWN", "GTPU_TEID"), gtpu(OUT4, INNER4 / L4, pdu=1)),
    (rule("IPV4 GTPU", "GTPU_TEID"), gtpu(OUT4, INNER4 / L4, gtp_type=1)),  # an echo
    (rule("IPV4 GTPU", "GTPU_TEID"), gtpu(head() / IP(src=S4, dst=D4, frag=5), INNER4 / L4)),
    (rule("IPV4 ESP", "ESP_SPI"), head() / IP(src=S4, dst=D4, proto=51) / Raw(bytes(40))),
    (rule("IPV4 PFCP", "PFCP_SEID"), pfcp(OUT4, flags=0x20)),  # of a node, without SEID
    (rule("IPV4", BOTH), head(0x8864) / PPPoE(sessionid=5) / PPP(proto=0x21) / INNER4 / L4),
    (rule("PPPOE IPV4", BOTH), OUT4 / L4),
    (rule("PPPOE IPV4", BOTH), head(0x8864) / PPPoE() / PPP(proto=0xC021) / Raw(bytes(40))),
]  # fmt: skip


def hash_of(r: Rig, frame: Any, rules: Iterable[HashRule], **changes: Any) -> int | None:
    """By these rules alone: no packet class is hashed."""
    vf = r.vfs[0]
    vf.publish(**({"rss_key": KEY, "hashcfg": 0, "comms": True} | changes), rules=tuple(rules))
    (got,) = vf.exchange(bytes(frame))
    assert got.data == bytes(frame).ljust(60, b"\0")
    return got.hash


@pytest.fixture
def open_rig() -> Any:
    with rig() as r:
        r.vfs[0].open()
        yield r


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0].headers:#x}-{len(case[2])}")
def test_a_frame_is_hashed_by_the_rule_that_fits(open_rig: Rig, case: Any) -> None:
    one, frame, hashed = case
    assert hash_of(open_rig, frame, [one]) == toeplitz(KEY, hashed)


@pytest.mark.parametrize("case", MISSED, ids=lambda case: f"{case[0].headers:#x}")
def test_a_frame_that_no_rule_fits_is_hashed_by_its_class(open_rig: Rig, case: Any) -> None:
    one, frame = case
    assert hash_of(open_rig, frame, [one]) is None
    by_class = hash_of(open_rig, frame, [], hashcfg=(1 << 64) - 1)
    assert hash_of(open_rig, frame, [one], hashcfg=(1 << 64) - 1) == by_class


def test_the_first_rule_that_fits_decides(open_rig: Rig) -> None:
    wide, narrow = rule("IPV4", "IP_SRC"), rule("IPV4 UDP", "DST_PORT")
    assert hash_of(open_rig, OUT4 / L4, [narrow, wide]) == toeplitz(KEY, PORTS[2:])
    assert hash_of(open_rig, OUT4 / L4, [wide, narrow]) == toeplitz(KEY, V4[:4])
    assert hash_of(open_rig, OUT4 / TCP(), [narrow, wide]) == toeplitz(KEY, V4[:4])


def test_a_symmetric_rule_hashes_both_directions_alike(open_rig: Rig) -> None:
    back = head() / IP(src=D4, dst=S4) / UDP(sport=53, dport=4000) / Raw(bytes(8))
    for symmetric in (True, False):
        for function in (True, False):
            rules = [rule("IPV4 UDP", f"{BOTH} {PORT}", symmetric)]
            there = hash_of(open_rig, OUT4 / L4, rules, symmetric=function)
            again = hash_of(open_rig, back, rules, symmetric=function)
            assert (there == again) is (symmetric and function)


def test_the_other_package_finds_no_tunnels(open_rig: Rig) -> None:
    for one, frame, _ in CASES:
        if one.headers >= lib.SOFTVF_HAS_PPPOE:
            assert hash_of(open_rig, frame, [one], comms=False) is None


@pytest.mark.parametrize("frame", [bytes(case[1]) for case in CASES if case[0].headers >= 0x80])
def test_frames_that_end_anywhere(open_rig: Rig, frame: bytes) -> None:
    vf = open_rig.vfs[0]
    vf.publish(rss_key=KEY, comms=True, rules=tuple(case[0] for case in CASES))
    parts = [frame[:end] for end in range(17, len(frame), 3)]  # a card sends no shorter ones
    got = vf.exchange(*parts)
    assert [each.data for each in got] == [part.ljust(60, b"\0") for part in parts]
