# SPDX-License-Identifier: BSD-3-Clause
"""Requests that scapy makes, and what is answered, as scapy reads it; ports that answer and ask."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether

import iavfio
from iavfio.datapath.burst import Burst
from iavfio.errors import ConfigError, IavfioError
from iavfio.generator import Generator, Stream
from iavfio.generator.answers import Answers, ends_of, groups, resolve
from iavfio.generator.field import numbers
from iavfio.generator.neighbours import Reply, group_mac, mac_in, reply_to, request_for
from iavfio.port.port import Port
from tests.capture.test_command import CLI
from tests.port.rig import until

OWN, THEIRS = "02:00:00:00:00:01", "02:00:00:00:00:02"
OWN_MAC = bytes.fromhex(OWN.replace(":", ""))
FOUR, SIX = "198.18.0.1", "2001:2::1"
THEIR_FOUR, THEIR_SIX = "198.18.0.9", "2001:2::9"
GROUP = "ff02::1:ff00:1"


def known(address: Any) -> bool:
    return str(address) in (FOUR, SIX)


def answered(request: Any) -> Reply | None:
    return reply_to(bytes(request), OWN_MAC, known)


def read(frame: bytes) -> Any:
    """The frame as scapy reads it, with lengths and checksums that scapy makes as well."""
    assert len(frame) >= 60
    packet: Any = Ether(frame)
    again = Ether(frame)
    for layer, names in ((IP, ("chksum",)), (ICMP, ("chksum",)), (IPv6, ("plen",)),
                         (ICMPv6ND_NA, ("cksum",)), (ICMPv6ND_NS, ("cksum",)),
                         (ICMPv6EchoReply, ("cksum",))):  # fmt: skip
        if layer in again:
            for name in names:
                delattr(again[layer], name)
    assert bytes(again) == frame
    return packet


TAGGED = [
    Ether(src=THEIRS, dst=OWN),
    Ether(src=THEIRS, dst=OWN) / Dot1Q(vlan=7, prio=3),
    Ether(src=THEIRS, dst=OWN) / Dot1AD(vlan=9) / Dot1Q(vlan=7),
]
ARP_REQUEST = ARP(op=1, hwsrc=THEIRS, psrc=THEIR_FOUR, pdst=FOUR)
NS = IPv6(src=THEIR_SIX, dst=GROUP, hlim=255) / ICMPv6ND_NS(tgt=SIX)
PING4 = IP(src=THEIR_FOUR, dst=FOUR, tos=0x20, id=77) / ICMP(type=8, id=5, seq=6) / (b"x" * 33)
PING6 = IPv6(src=THEIR_SIX, dst=SIX) / ICMPv6EchoRequest(id=5, seq=6, data=b"y" * 33)


@pytest.mark.parametrize("start", TAGGED, ids=["plain", "tag", "two tags"])
def test_each_request_is_answered_in_its_vlan(start: Any) -> None:
    arp = answered(start / ARP_REQUEST)
    assert arp is not None and arp.kind == "arp"
    packet = read(arp.frame)
    assert (packet.src, packet.dst) == (OWN, THEIRS)
    assert (packet[ARP].op, packet[ARP].hwsrc, packet[ARP].psrc) == (2, OWN, FOUR)
    assert (packet[ARP].hwdst, packet[ARP].pdst) == (THEIRS, THEIR_FOUR)

    nd = answered(start / NS / ICMPv6NDOptSrcLLAddr(lladdr=THEIRS))
    assert nd is not None and nd.kind == "nd"
    packet = read(nd.frame)
    told = packet[ICMPv6ND_NA]
    assert (packet[IPv6].src, packet[IPv6].dst, packet[IPv6].hlim) == (SIX, THEIR_SIX, 255)
    assert (told.tgt, told.S, told.O, told.R) == (SIX, 1, 1, 0)
    assert packet[ICMPv6NDOptDstLLAddr].lladdr == OWN

    for ping, version in ((PING4, 4), (PING6, 6)):
        echo = answered(start / ping)
        assert echo is not None and echo.kind == "echo"
        packet = read(echo.frame)
        layer, ip = (ICMP, IP) if version == 4 else (ICMPv6EchoReply, IPv6)
        assert packet[layer].type == (0 if version == 4 else 129)
        assert (packet[layer].id, packet[layer].seq) == (5, 6)
        assert (packet[ip].src, packet[ip].dst) == (ping.dst, ping.src)
        assert bytes(ping)[-33:] in bytes(packet)
    until_type = len(bytes(start)) - 2
    assert arp.frame[12:until_type] == nd.frame[12:until_type] == bytes(start)[12:until_type]


def test_who_is_about_to_take_an_address_is_told_in_public() -> None:
    reply = answered(TAGGED[0] / IPv6(src="::", dst=GROUP, hlim=255) / ICMPv6ND_NS(tgt=SIX))
    assert reply is not None
    packet = read(reply.frame)
    assert (packet.dst, packet[IPv6].dst) == ("33:33:00:00:00:01", "ff02::1")
    assert (packet[ICMPv6ND_NA].S, packet[ICMPv6ND_NA].O) == (0, 1)
    probe = answered(TAGGED[0] / ARP(op=1, hwsrc=THEIRS, psrc="0.0.0.0", pdst=FOUR))
    assert probe is not None and read(probe.frame)[ARP].pdst == "0.0.0.0"


L = TAGGED[0]
SILENT = {
    "another's address": L / ARP(op=1, hwsrc=THEIRS, psrc=THEIR_FOUR, pdst="198.18.0.2"),
    "an ARP reply": L / ARP(op=2, hwsrc=THEIRS, psrc=THEIR_FOUR, pdst=FOUR),
    "gratuitous ARP": L / ARP(op=1, hwsrc=THEIRS, psrc=FOUR, pdst=FOUR),
    "ARP of another link": L / ARP(op=1, hwtype=6, psrc=THEIR_FOUR, pdst=FOUR),
    "a short ARP": bytes(L / ARP_REQUEST)[:41],
    "over a router": L / IPv6(src=THEIR_SIX, dst=GROUP, hlim=254) / ICMPv6ND_NS(tgt=SIX),
    "another's address, IPv6": L
    / IPv6(src=THEIR_SIX, dst=GROUP, hlim=255)
    / ICMPv6ND_NS(tgt="2001:2::3"),
    "a wrong checksum": L
    / IPv6(src=THEIR_SIX, dst=GROUP, hlim=255)
    / ICMPv6ND_NS(tgt=SIX, cksum=7),
    "a wrong checksum, ping": L / IP(src=THEIR_FOUR, dst=FOUR) / ICMP(type=8, chksum=7),
    "a fragment": L / IP(src=THEIR_FOUR, dst=FOUR, frag=8) / ICMP(type=8),
    "an echo reply": L / IP(src=THEIR_FOUR, dst=FOUR) / ICMP(type=0),
    "a ping elsewhere": L / IP(src=THEIR_FOUR, dst="198.18.0.2") / ICMP(type=8),
    "a ping elsewhere, IPv6": L / IPv6(src=THEIR_SIX, dst="2001:2::3") / ICMPv6EchoRequest(),
    "from a group": Ether(src="03:00:00:00:00:00", dst=OWN) / ARP_REQUEST,
    "nothing": b"",
    "an empty IPv4": bytes(L)[:12] + b"\x08\x00",
}


@pytest.mark.parametrize("request_", SILENT.values(), ids=SILENT)
def test_nothing_else_is_answered(request_: Any) -> None:
    assert answered(request_) is None


@given(st.binary(max_size=90), st.sampled_from([ARP_REQUEST, NS, PING4, PING6]), st.integers(0, 80))
def test_garbage_is_passed_over(garbage: bytes, good: Any, at: int) -> None:
    frame = bytearray(bytes(L / good))
    frame[14 + at : 14 + at + len(garbage)] = garbage
    for data in (bytes(frame), bytes(frame[: 14 + at]), garbage):
        reply = reply_to(data, OWN_MAC, known)
        assert reply is None or len(reply.frame) >= 60
        for target in (FOUR, SIX):
            mac_in(data, ip_address(target))


@pytest.mark.parametrize(("target", "source"), [(FOUR, THEIR_FOUR), (SIX, THEIR_SIX)])
def test_what_is_asked_is_understood_and_its_answer_too(target: str, source: str) -> None:
    asker = bytes.fromhex(THEIRS.replace(":", ""))
    tags = bytes.fromhex("8100000a")
    request = request_for(ip_address(target), ip_address(source), asker, tags)
    packet = read(request)
    assert packet[Dot1Q].vlan == 10 and packet.src == THEIRS
    if target == SIX:
        assert packet.dst == "33:33:ff:00:00:01" and packet[IPv6].dst == GROUP
        assert packet[ICMPv6NDOptSrcLLAddr].lladdr == THEIRS
    reply = answered(packet)
    assert reply is not None
    assert mac_in(reply.frame, ip_address(target)) == OWN_MAC
    assert mac_in(reply.frame, ip_address(source)) is None
    assert mac_in(request, ip_address(target)) is None


def test_a_field_has_the_values_that_it_gives() -> None:
    field = numbers("dport", "5,10-19+3", 100)
    values = {field[i] for i in range(field.count)}
    assert {value for value in range(100) if value in field} == values == {5, 10, 13, 16, 19}


def test_groups_are_joined_one_by_one_or_all() -> None:
    few = ends_of([Stream(src_ip="2001:2::1-2001:2::3"), Stream()], "src_ip")
    assert groups(few) == tuple(group_mac(IPv6Address(f"ff02::1:ff00:{i}")) for i in range(1, 4))
    assert groups(ends_of([Stream(src_ip="2001:2::/64")], "src_ip")) is None
    assert groups(ends_of([Stream(proto="ethernet")], "src_ip")) == ()


@pytest.fixture
def pair() -> Iterator[tuple[Port, Port]]:
    joined = [group_mac(IPv6Address(f"ff02::1:ff00:{last}")) for last in ("1", "77", "fe")]
    with iavfio.softvf(vfs=2, uplink="none") as pf, pf.open(0) as one, pf.open(1) as two:
        for port in (one, two):
            port.configure(ring=512, extra_macs=joined)
            port.start(wait_link=60)
        yield one, two


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> dict[Port, list[Any]]:
    """What a run receives at each port that answers: it looks again while a reply is under way."""
    frames: dict[Port, list[Any]] = {}
    take = Answers.take

    def spied(self: Answers, burst: Burst, which: NDArray[np.bool_] | None = None) -> int:
        frames.setdefault(self.port, []).extend(Ether(bytes(data)) for data in burst)
        return take(self, burst, which)

    monkeypatch.setattr(Answers, "take", spied)
    return frames


def received(port: Port, count: int, before: Sequence[Any] = ()) -> list[Any]:
    """So many frames of a port, those `before` included, as soon as it has them all."""
    frames = list(before)

    def taken() -> bool:
        with port.rx[0].recv() as burst:
            frames.extend(Ether(bytes(data)) for data in burst)
        return len(frames) >= count

    assert until(taken, 60)
    return frames


def asking(port: Port, to: Port, four: str, six: str) -> list[bytes]:
    """An ARP request, a solicitation and two pings from one port to another."""
    start = Ether(src=port.mac.hex(":"), dst=to.mac.hex(":"))
    ns = IPv6(src=THEIR_SIX, dst=GROUP, hlim=255) / ICMPv6ND_NS(tgt=six)
    return [
        bytes(start / layers)
        for layers in (
            ARP(op=1, hwsrc=port.mac.hex(":"), psrc=THEIR_FOUR, pdst=four),
            ns,
            IP(src=THEIR_FOUR, dst=four) / ICMP(type=8) / b"abc",
            IPv6(src=THEIR_SIX, dst=six) / ICMPv6EchoRequest(data=b"abc"),
            IP(src=THEIR_FOUR, dst="198.18.7.7") / ICMP(type=8),
        )
    ]


STREAMS = [
    Stream(name="a", src_ip=f"{FOUR}-198.18.0.4", count=200),
    Stream(name="b", proto="icmp", src_ip=SIX, dst_ip="2001:2::77", count=100, vlan=3),
]


def test_a_run_answers_at_both_ends_and_counts_no_answer_as_traffic(
    pair: tuple[Port, Port], heard: dict[Port, list[Any]]
) -> None:
    """The requests wait in the receive rings when the run begins, so that it sees them surely."""
    one, two = pair
    generator = Generator(one, STREAMS, expect=two, answer=True)
    assert one.tx[0].send(asking(one, two, "198.19.0.1", "2001:2::77")) == 5
    assert two.tx[0].send(asking(two, one, "198.18.0.3", SIX)) == 5
    assert until(lambda: one.rx[0].waiting == 5 and two.rx[0].waiting == 5, 60)
    done = generator.run()
    assert [(s.name, s.sent, s.received) for s in done.streams] == [
        ("a", 200, 200), ("b", 100, 100)
    ]  # fmt: skip
    assert (done.on_wire, done.sound, done.reasons) == (300, True, [])
    for port in pair:
        counts = done.answered[port.name]
        assert (counts.arp, counts.nd, counts.echo, counts.unsent) == (1, 1, 2, 0)
    assert done.others == 5  # the ping to somebody else, and four replies
    replies = received(one, 9, heard[one])[5:]
    assert [packet.src for packet in replies] == [two.mac.hex(":")] * 4
    assert {packet[ARP].psrc for packet in replies if ARP in packet} == {"198.19.0.1"}


def test_who_does_not_hear_solicitations_cannot_answer(pair: tuple[Port, Port]) -> None:
    one, _ = pair
    Generator(one, STREAMS, answer=True)
    elsewhere = [Stream(src_ip="2001:2::5")]
    with pytest.raises(ConfigError, match="does not receive neighbour solicitations"):
        Generator(one, elsewhere, answer=True)
    one.stop()
    one.configure(all_multicast=True)
    one.start(wait_link=60)
    Generator(one, elsewhere, answer=True)
    with pytest.raises(ConfigError, match="receives its own frames cannot answer"):
        Generator(one, STREAMS, expect=one, answer=True)
    with pytest.raises(ConfigError, match="no address to answer for"):
        Generator(one, [Stream(proto="ethernet")], answer=True)


def test_a_gateway_is_asked_for_its_address(pair: tuple[Port, Port]) -> None:
    one, two = pair
    router = Answers(two, [(4, Stream(src_ip="198.18.0.254").recipe.src_ip),
                           (6, Stream(src_ip="2001:2::fe").recipe.src_ip)])  # fmt: skip
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.002):
            router.poll()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        streams = [*STREAMS, Stream(name="c", dst_mac="02:00:00:00:00:55")]
        generator = Generator(
            one, streams, gateways=["198.18.0.254", "2001:2::fe"], gateway_seconds=60
        )
    finally:
        over.set()
        thread.join()
    targets = [crafted[0][:6] for crafted in generator.crafted]
    assert targets == [two.mac, two.mac, bytes.fromhex("020000000055")]
    assert (router.counts.arp, router.counts.nd) >= (1, 1)


def test_a_gateway_that_does_not_answer_or_is_of_no_use_is_told(pair: tuple[Port, Port]) -> None:
    one, _ = pair
    with pytest.raises(IavfioError, match=r"198\.18\.0\.254 does not answer on") as told:
        resolve(one, ip_address("198.18.0.254"), ip_address(FOUR), seconds=0.05)
    assert "1 ARP request from 198.18.0.1 had no reply in 0.05 s" in told.value.cause
    for gateways, why in (
        (["198.18.0.254", "198.18.0.253"], "two gateways"),
        (["2001:2::fe"], "is of no use"),
        (["x"], "is not possible"),
        (["224.0.0.1"], "is not possible"),
    ):
        with pytest.raises(ConfigError, match=why):
            Generator(one, STREAMS[:1], gateways=gateways)


def test_the_command_says_that_the_gateway_is_silent() -> None:
    done = subprocess.run(
        [*CLI, "gen", "softvf", "--answer", "--gateway", "198.18.0.254",
         "--gateway-timeout", "0.1", "--count", "9"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "the gateway 198.18.0.254 does not answer" in done.stderr
    wrong = subprocess.run(
        [*CLI, "gen", "softvf", "--gateway", "x"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert wrong.returncode == 2 and "gateway 'x' is not possible" in wrong.stderr
