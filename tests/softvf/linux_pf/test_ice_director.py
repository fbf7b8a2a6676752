# SPDX-License-Identifier: BSD-3-Clause
"""What programming descriptors and profiles of ice make of packets: numbers written by hand."""

from __future__ import annotations

import struct

import pytest

from iavfio.softvf._device import lib
from iavfio.softvf.linux_pf.ice.director import (
    FORGETS,
    PROGRAMS,
    Director,
    decode,
    headers_of,
    profile_of,
    received,
)
from iavfio.softvf.linux_pf.ice.flows import Profile, Segment
from iavfio.softvf.vf_config import FlowAction, FlowRule

VSI, VF = 17, 1
PRIORITY = 3 << 35


def ipv4(protocol: int, rest: bytes = b"") -> bytes:
    """A packet as ice makes one to program by: lengths are left out."""
    head = bytes(12) + b"\x08\x00" + bytes([0x45]) + bytes(8) + bytes([protocol]) + bytes(10)
    return (head + rest).ljust(256, b"\0")


def ipv6(protocol: int, rest: bytes = b"") -> bytes:
    head = bytes(12) + b"\x86\xdd" + bytes([0x60]) + bytes(5) + bytes([protocol]) + bytes(33)
    return (head + rest).ljust(256, b"\0")


def udp(port: int, rest: bytes = b"") -> bytes:
    return struct.pack(">4H", 1, port, 8, 0) + rest


def profile(headers: str, fields: str = "") -> Profile:
    return Profile((Segment(frozenset(headers.split()), frozenset(fields.split())),))


def descriptor(how: int, whom: int = 0, vsi: int = VSI) -> bytes:
    return struct.pack("<2Q", how, whom | vsi << 14)


def test_what_becomes_of_a_packet() -> None:
    queue = decode(descriptor(PRIORITY | 5))
    assert (queue.vf, queue.removes, queue.mark) == (VF, False, None)
    assert (queue.action, queue.queue, queue.queues) == (FlowAction.QUEUE, 5, 1)
    region = decode(descriptor(PRIORITY | 2 << 32 | 4, 3 << 25 | 7 << 32))
    assert (region.action, region.queue, region.queues) == (FlowAction.QUEUES, 4, 4)
    assert region.mark == 7
    assert decode(descriptor(PRIORITY | 1 << 40)).action == FlowAction.DROP
    passing = decode(descriptor(0, 1 << 4 | 1 << 25 | 0xFFFFFFFF << 32))
    assert (passing.action, passing.removes, passing.mark) == (FlowAction.PASS, True, 0xFFFFFFFF)


@pytest.mark.parametrize(
    ("packet", "headers"),
    [
        (ipv4(17, udp(53)), "ipv4 udp"),
        (ipv4(6), "ipv4 tcp"),
        (ipv6(132), "ipv6 sctp"),
        (ipv6(50), "ipv6 esp"),
        (ipv4(51), "ipv4 ah"),
        (ipv4(115), "ipv4 l2tpv3"),
        (ipv4(1), "ipv4"),
        (ipv6(17, udp(4500)), "ipv6 udp nat-t-esp"),
        (ipv4(17, udp(8805, b"\x21")), "ipv4 udp pfcp"),
        (ipv4(17, udp(8805, b"\x20")), "ipv4 udp pfcp-node"),
        (ipv4(17, udp(2152, b"\x30")), "ipv4 udp gtpu"),
        (ipv4(17, udp(2152, b"\x34" + bytes(10) + b"\x85")), "ipv4 udp gtpu gtpu-eh"),
        (bytes(12) + b"\x88\xf7" + bytes(242), "eth-non-ip"),
    ],
)
def test_what_the_parser_makes_of_a_packet(packet: bytes, headers: str) -> None:
    assert headers_of(packet) == {"eth", *headers.split()}


def test_the_newest_profile_that_is_of_the_packet() -> None:
    profiles = [profile("ipv4 any-ip udp"), profile("ipv6 any-ip"), profile("ipv4 any-ip")]
    assert profile_of(ipv4(17, udp(53)), profiles) == profiles[0]
    assert profile_of(ipv4(6), profiles) == profiles[2]
    assert profile_of(ipv6(6), profiles) == profiles[1]
    assert profile_of(ipv6(6), profiles[:1]) is None


def test_a_packet_is_seen_from_its_sender() -> None:
    there = bytearray(ipv4(17, struct.pack(">4H", 1000, 2000, 8, 0)))
    there[26:34] = bytes(range(8))
    back = received(bytes(there), ports=True)
    assert back[26:34] == bytes([4, 5, 6, 7, 0, 1, 2, 3])
    assert back[34:42] == struct.pack(">4H", 2000, 1000, 8, 0)
    assert (back[:26], back[42:]) == (bytes(there[:26]), bytes(there[42:]))
    assert received(bytes(there), ports=False)[34:42] == bytes(there[34:42])
    six = ipv6(50)[:22] + bytes(range(32)) + bytes(202)
    assert received(six, ports=False)[22:54] == bytes([*range(16, 32), *range(16)])
    other = bytes(12) + b"\x88\xf7" + bytes(range(242))
    assert received(other, ports=False) == other


def test_filters_come_and_go() -> None:
    director, packet = Director(), ipv4(17, udp(53))
    profiles = [profile("ipv4 any-ip udp", "ipv4-src udp-dst")]
    wanted = FlowRule(
        lib.SOFTVF_HAS_IPV4 | lib.SOFTVF_HAS_UDP,
        lib.SOFTVF_OF_IP_SRC | lib.SOFTVF_OF_DST_PORT,
        packet[:34] + struct.pack(">2H", 53, 1) + packet[38:],
        FlowAction.QUEUE,
        queue=3,
        mark=9,
    )
    add = descriptor(PRIORITY | 3, 3 << 25 | 9 << 32) + packet
    assert director.command(PROGRAMS, add) == {VF}
    assert director.flows(VF, profiles) == ((wanted,), ())
    assert director.flows(VF + 1, profiles) == ((), ())
    assert director.flows(VF, []) == ((), ()), "without a profile the packet is of no filter"
    other = descriptor(PRIORITY | 4) + packet
    director.command(PROGRAMS, other)  # the same packet: the filter is replaced
    ((rule,), _) = director.flows(VF, profiles)
    assert (rule.queue, rule.mark) == (4, None)
    assert director.command(PROGRAMS, descriptor(PRIORITY | 4, 1 << 4) + packet) == {VF}
    assert director.flows(VF, profiles) == ((), ())
    director.command(PROGRAMS, add)
    assert director.command(FORGETS, struct.pack("<H", VSI)) == {VF}
    assert director.command(FORGETS, struct.pack("<H", VSI)) == set()
    assert director.flows(VF, profiles) == ((), ())
    assert director.command(0x210, bytes(144)) == set()


def test_fields_of_the_flow_director_alone() -> None:
    director, packet = Director(), ipv4(17, udp(4500, b"\0\0\0\1"))
    director.command(PROGRAMS, descriptor(PRIORITY) + packet)
    own = [profile("ipv4 any-ip nat-t-esp", "nat-t-esp-spi ipv4-dscp")]
    ((rule,), left_out) = director.flows(VF, own)
    assert rule.headers == lib.SOFTVF_HAS_IPV4 | lib.SOFTVF_HAS_NAT_T_ESP
    assert rule.fields == lib.SOFTVF_OF_ESP_SPI | lib.SOFTVF_OF_IP_DSCP
    assert left_out == ()
    none, told = director.flows(VF, [profile("ipv4 udp", "another")])
    assert none == () and told == ("ipv4 udp by another: the data plane does not know another",)
