# SPDX-License-Identifier: BSD-3-Clause
"""What a host says on its link: ARP (RFC 826), neighbour discovery (RFC 4861) and echo replies.

Frames in, frames out: nothing here knows of ports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from iavfio.port.probe import internet_checksum

Address = IPv4Address | IPv6Address
Known = Callable[[Address], bool]

TAGS = (0x8100, 0x88A8, 0x9100)
MOST_TAGS = 2
ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
ARP_ETHERNET = bytes.fromhex("000108000604")  # Ethernet, IPv4, their lengths
REQUEST, REPLY = 1, 2
ICMP, ICMP6 = 1, 58
ECHO_REQUEST, ECHO_REPLY = {4: 8, 6: 128}, {4: 0, 6: 129}
SOLICITATION, ADVERTISEMENT = 135, 136
SOURCE_OPTION, TARGET_OPTION = b"\x01\x01", b"\x02\x01"  # link-layer addresses
SOLICITED, OVERRIDE = 0x40, 0x20
ND_HOPS = 255  # what has come over a router has fewer
HOPS = 64
SHORTEST = 60  # of a frame, without FCS
BROADCAST = b"\xff" * 6
ALL_NODES = IPv6Address("ff02::1")


@dataclass(frozen=True)
class Reply:
    """An answer: `kind` is "arp", "nd" or "echo"."""

    kind: str
    frame: bytes


@dataclass(frozen=True)
class _Link:
    """The start of a frame: addresses, tags with their EtherTypes, the payload's EtherType."""

    dst: bytes
    src: bytes
    tags: bytes
    ethertype: int
    payload: bytes

    @classmethod
    def of(cls, frame: bytes) -> _Link:
        at = 12
        for _ in range(MOST_TAGS):
            if int.from_bytes(frame[at : at + 2], "big") in TAGS:
                at += 4
        kind = int.from_bytes(frame[at : at + 2], "big")
        return cls(frame[:6], frame[6:12], frame[12:at], kind, frame[at + 2 :])


def reply_to(frame: bytes, mac: bytes, known: Known) -> Reply | None:
    """What a host with this MAC address answers, if `known` has the address that is asked for.

    None for all that is no whole, right request. An answer carries the tags of its request.
    """
    link = _Link.of(frame)
    if link.src[:1] and link.src[0] & 1:
        return None  # a group sends nothing
    if link.ethertype == ARP:
        return _arp_reply(link, mac, known)
    if link.ethertype == IPV4:
        return _echo_reply4(link, mac, known)
    if link.ethertype == IPV6:
        return _icmp6_reply(link, mac, known)
    return None


def request_for(target: Address, source: Address, mac: bytes, tags: bytes = b"") -> bytes:
    """The frame that asks for the MAC address of `target`: an ARP request or a solicitation."""
    if isinstance(target, IPv4Address):
        body = ARP_ETHERNET + REQUEST.to_bytes(2, "big") + mac + source.packed
        return _frame(BROADCAST, mac, tags, ARP, body + bytes(6) + target.packed)
    assert isinstance(source, IPv6Address)
    group = solicited_node(target)
    body = bytes((SOLICITATION, 0)) + bytes(6) + target.packed + SOURCE_OPTION + mac
    return _frame(group_mac(group), mac, tags, IPV6, _icmp6(source, group, body, ND_HOPS))


def mac_in(frame: bytes, target: Address) -> bytes | None:
    """The MAC address that a frame tells of `target`; None when it tells none."""
    link = _Link.of(frame)
    body = link.payload
    if isinstance(target, IPv4Address):
        right = link.ethertype == ARP and len(body) >= 28 and body[:6] == ARP_ETHERNET
        if right and body[6:8] == REPLY.to_bytes(2, "big") and body[14:18] == target.packed:
            return body[8:14]
        return None
    message = _icmp6_message(link)
    if message is None or message.hops != ND_HOPS or len(message.body) < 24:
        return None
    if message.body[0] != ADVERTISEMENT or message.body[8:24] != target.packed:
        return None
    return _option(message.body[24:], TARGET_OPTION) or link.src


def solicited_node(address: IPv6Address) -> IPv6Address:
    """The group in which the holder of an address is asked for (RFC 4291, 2.7.1)."""
    return IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | int(address) & 0xFFFFFF)


def group_mac(group: IPv6Address) -> bytes:
    """The MAC address of an IPv6 group (RFC 2464, 7)."""
    return b"\x33\x33" + group.packed[-4:]


def _frame(dst: bytes, src: bytes, tags: bytes, ethertype: int, payload: bytes) -> bytes:
    frame = dst + src + tags + ethertype.to_bytes(2, "big") + payload
    return frame + bytes(max(SHORTEST - len(frame), 0))


def _arp_reply(link: _Link, mac: bytes, known: Known) -> Reply | None:
    body = link.payload
    if len(body) < 28 or body[:6] != ARP_ETHERNET or body[6:8] != REQUEST.to_bytes(2, "big"):
        return None
    asker, source, target = body[8:14], body[14:18], body[24:28]
    if source == target or not known(IPv4Address(target)):  # it tells of itself and asks nothing
        return None
    answer = ARP_ETHERNET + REPLY.to_bytes(2, "big") + mac + target + asker + source
    return Reply("arp", _frame(link.src, mac, link.tags, ARP, answer))


def _echo_reply4(link: _Link, mac: bytes, known: Known) -> Reply | None:
    packet = link.payload
    header = (packet[0] & 0xF) * 4 if packet else 0
    total = int.from_bytes(packet[2:4], "big")
    if header < 20 or packet[0] >> 4 != 4 or not header + 8 <= total <= len(packet):
        return None
    fragment = int.from_bytes(packet[6:8], "big") & 0x3FFF
    body = packet[header:total]
    if packet[9] != ICMP or fragment or body[0] != ECHO_REQUEST[4] or internet_checksum(body):
        return None
    if not known(IPv4Address(packet[16:20])):
        return None
    start = bytes((0x45, packet[1])) + (20 + len(body)).to_bytes(2, "big") + packet[4:6] + bytes(2)
    start += bytes((HOPS, ICMP))
    ends = packet[16:20] + packet[12:16]
    check = internet_checksum(start + bytes(2) + ends).to_bytes(2, "big")
    answer = bytes((ECHO_REPLY[4], 0)) + bytes(2) + body[4:]
    answer = answer[:2] + internet_checksum(answer).to_bytes(2, "big") + answer[4:]
    return Reply("echo", _frame(link.src, mac, link.tags, IPV4, start + check + ends + answer))


@dataclass(frozen=True)
class _Message:
    """An ICMPv6 message that is whole and right."""

    src: IPv6Address
    dst: IPv6Address
    hops: int
    body: bytes


def _icmp6_message(link: _Link) -> _Message | None:
    packet = link.payload
    length = int.from_bytes(packet[4:6], "big")
    if link.ethertype != IPV6 or len(packet) < 40 + length or length < 8 or packet[6] != ICMP6:
        return None
    body = packet[40 : 40 + length]
    if packet[0] >> 4 != 6 or internet_checksum(_pseudo(packet[8:40], length) + body):
        return None
    return _Message(IPv6Address(packet[8:24]), IPv6Address(packet[24:40]), packet[7], body)


def _icmp6_reply(link: _Link, mac: bytes, known: Known) -> Reply | None:
    message = _icmp6_message(link)
    if message is None or message.body[1]:
        return None
    body, dst = message.body, message.src
    if body[0] == ECHO_REQUEST[6] and known(message.dst):
        answer = bytes((ECHO_REPLY[6], 0)) + bytes(2) + body[4:]
        packet = _icmp6(message.dst, dst, answer, HOPS)
        return Reply("echo", _frame(link.src, mac, link.tags, IPV6, packet))
    if body[0] != SOLICITATION or message.hops != ND_HOPS or len(body) < 24:
        return None
    target = IPv6Address(body[8:24])
    if target.is_multicast or not known(target):
        return None
    flags, to = SOLICITED | OVERRIDE, link.src
    if dst.is_unspecified:  # somebody is about to take the address: everybody is told
        flags, to, dst = OVERRIDE, group_mac(ALL_NODES), ALL_NODES
    answer = bytes((ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0)) + target.packed + TARGET_OPTION + mac
    packet = _icmp6(target, dst, answer, ND_HOPS)
    return Reply("nd", _frame(to, mac, link.tags, IPV6, packet))


def _icmp6(src: IPv6Address, dst: IPv6Address, body: bytes, hops: int) -> bytes:
    """An IPv6 packet with this message, whose checksum is filled in."""
    body = body[:2] + bytes(2) + body[4:]
    ends = src.packed + dst.packed
    check = internet_checksum(_pseudo(ends, len(body)) + body).to_bytes(2, "big")
    start = bytes.fromhex("60000000") + len(body).to_bytes(2, "big") + bytes((ICMP6, hops))
    return start + ends + body[:2] + check + body[4:]


def _pseudo(ends: bytes, length: int) -> bytes:
    """What the checksum covers besides the message (RFC 8200, 8.1)."""
    return ends + length.to_bytes(4, "big") + bytes((0, 0, 0, ICMP6))


def _option(options: bytes, kind: bytes) -> bytes | None:
    """The MAC address in the first option of a kind."""
    while len(options) >= 8 and options[1]:
        if options[:2] == kind:
            return options[2:8]
        options = options[8 * options[1] :]
    return None


def tag_bytes(tags: Sequence[tuple[int, int]]) -> bytes:
    """Tags as they stand in a frame: of each its EtherType and its control word."""
    return b"".join(kind.to_bytes(2, "big") + word.to_bytes(2, "big") for kind, word in tags)
