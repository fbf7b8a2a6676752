# SPDX-License-Identifier: BSD-3-Clause
"""Toeplitz hash, look-up table and packet types (docs/spec/descriptors.md 12, 13)."""

from __future__ import annotations

import ipaddress
import random
import struct
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, GRE, Dot1Q, Ether
from scapy.layers.sctp import SCTP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from iavfio.softvf.personality import Tunnel
from tests.softvf.dataplane.plane_rig import Received, Rig, Vf, mac, rig

KEY = bytes.fromhex(
    "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa"
)
# The published verification suite: destination and source address : port, hash with ports, without.
V4 = [
    ("161.142.100.80", 1766, "66.9.149.187", 2794, 0x51CCC178, 0x323E8FC2),
    ("65.69.140.83", 4739, "199.92.111.2", 14230, 0xC626B0EA, 0xD718262A),
    ("12.22.207.184", 38024, "24.19.198.95", 12898, 0x5C2B394A, 0xD2D0A5DE),
    ("209.142.163.6", 2217, "38.27.205.30", 48228, 0xAFC7327F, 0x82989176),
    ("202.188.127.2", 1303, "153.39.163.191", 44251, 0x10E828A2, 0x5D1809C5),
]
V6 = [
    ("3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x40207D3D, 0x2CC18CD5),
    ("ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0xDDE51BBF, 0x0F0C461C),
    (
        "fe80::200:f8ff:fe21:67cf",
        38024,
        "3ffe:1900:4545:3:200:f8ff:fe21:67cf",
        44251,
        0x02D1FEEF,
        0x4B61E985,
    ),
]
HEAD = Ether(dst=mac(1), src=mac(1))
INNER = Ether(dst=mac(8), src=mac(9))  # scapy asks the network for addresses that are not given


def toeplitz(key: bytes, data: bytes) -> int:
    """The definition: for each set bit of the input the key's 32 bits from there on."""
    bits = int.from_bytes(key, "big")
    size, out = len(key) * 8, 0
    for i in range(len(data) * 8):
        if data[i // 8] >> (7 - i % 8) & 1:
            out ^= bits >> (size - 32 - i) & 0xFFFFFFFF
    return out


def one(r: Rig, packet: Any) -> Received:
    frame = bytes(packet)
    vf = r.vfs[0]
    (got,) = vf.exchange(frame)
    assert got.data == frame.ljust(60, b"\0")
    return got


def opened(r: Rig, **changes: Any) -> Vf:
    vf = r.vfs[0]
    vf.open(**({"rss_key": KEY + bytes(12)} | changes))
    return vf


@pytest.mark.parametrize("rxdid", [1, 2, 22])
def test_published_vectors(rxdid: int) -> None:
    with rig(rxdid=rxdid) as r:
        opened(r)
        for dst, dport, src, sport, ports, addresses in V4:
            ip = HEAD / IP(src=src, dst=dst)
            assert one(r, ip / TCP(sport=sport, dport=dport)).hash == ports
            assert one(r, ip / UDP(sport=sport, dport=dport)).hash == ports
            assert one(r, ip / ICMP()).hash == addresses
        for dst, dport, src, sport, ports, addresses in V6:
            ip = HEAD / IPv6(src=src, dst=dst)
            assert one(r, ip / TCP(sport=sport, dport=dport)).hash == ports
            assert one(r, ip / ICMPv6EchoRequest()).hash == addresses


def test_against_the_definition_with_a_long_key() -> None:
    rng = random.Random(7)
    key = rng.randbytes(52)
    with rig() as r:
        opened(r, rss_key=key)
        for _ in range(40):
            src, dst = rng.randbytes(16), rng.randbytes(16)
            sport, dport = rng.randrange(1, 4000), rng.randrange(1, 4000)
            ports = sport.to_bytes(2, "big") + dport.to_bytes(2, "big")
            v6 = IPv6(src=str(ipaddress.IPv6Address(src)), dst=str(ipaddress.IPv6Address(dst)))
            got = one(r, HEAD / v6 / UDP(sport=sport, dport=dport))
            assert got.hash == toeplitz(key, src + dst + ports)
            v4 = IP(
                src=str(ipaddress.IPv4Address(src[:4])), dst=str(ipaddress.IPv4Address(dst[:4]))
            )
            got = one(r, HEAD / v4 / SCTP(sport=sport, dport=dport) / Raw(bytes(8)))
            assert got.hash == toeplitz(key, src[:4] + dst[:4] + ports)
            options = v4.copy()
            options.options = [b"\x01" * 4]
            got = one(r, HEAD / options / TCP(sport=sport, dport=dport))
            assert got.hash == toeplitz(key, src[:4] + dst[:4] + ports)


def test_hash_fields_that_are_off() -> None:
    with rig() as r:
        vf = opened(r, hashcfg=1 << 33)
        assert one(r, HEAD / IP() / TCP()).hash is not None
        assert one(r, HEAD / IP() / UDP()).hash is None
        vf.publish(hashcfg=1 << 36, rss_key=KEY)
        src, dst = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
        fragment = HEAD / IP(src="10.0.0.1", dst="10.0.0.2", flags="MF") / UDP()
        assert one(r, fragment).hash == toeplitz(KEY, src + dst), "fragments: addresses only"


GROUP, ALL, EVERYBODY = "224.0.0.251", "255.255.255.255", "ff02::fb"
UDP4, UDP6 = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(), IPv6(src="fe80::1", dst="fe80::2") / UDP()
OUTER = HEAD / IP(src="10.0.0.9", dst="10.0.0.8") / UDP(sport=1, dport=4789) / VXLAN()
# What X722 tells apart, and the class that it finds (docs/spec/descriptors.md 12.1).
X722 = [
    (HEAD / UDP4, 29),
    (HEAD / IP(dst="223.255.255.255") / UDP(), 29),
    (HEAD / IP(dst="240.0.0.1") / UDP(), 29),
    (HEAD / IP(dst=GROUP) / UDP(), 30),
    (HEAD / IP(dst="239.255.255.255", options=[b"\x01" * 4]) / UDP(), 30),
    (HEAD / IP(dst=ALL) / UDP(), 31),
    (HEAD / IP() / TCP(flags="S"), 32),
    (HEAD / IP() / TCP(flags="SEC"), 32),
    (HEAD / IP() / TCP(flags="SA"), 33),
    (HEAD / IP() / TCP(flags="A"), 33),
    (HEAD / IP() / TCP(flags="R"), 33),
    (HEAD / IP() / SCTP(), 34),
    (HEAD / IP() / ICMP(), 35),
    (HEAD / IP(dst=GROUP, flags="MF") / UDP(), 36),
    (HEAD / UDP6, 39),
    (HEAD / IPv6(src="fe80::1", dst=EVERYBODY) / UDP(), 40),
    (HEAD / IPv6(src="fe80::1", dst="fe80::2") / IPv6ExtHdrDestOpt() / TCP(flags="S"), 42),
    (HEAD / IPv6(src="fe80::1", dst="fe80::2") / TCP(flags="SA"), 43),
    (OUTER / INNER / IP(dst=GROUP) / UDP(), 30),
    (OUTER / INNER / IP() / TCP(flags="S"), 32),
]


@pytest.mark.parametrize("symmetric", [False, True])
def test_classes_of_x722(symmetric: bool) -> None:
    """Each frame is hashed by its own class's bit, whatever the others of the family say."""
    with rig(rxdid=1) as r:
        vf = opened(r, x722_classes=True, symmetric=symmetric)
        whole = [one(r, packet).hash for packet, _ in X722]
        assert None not in whole
        wrong = []
        for number, (packet, wanted) in enumerate(X722):
            for hashcfg, hashed in ((1 << wanted, True), (~(1 << wanted), False)):
                vf.publish(
                    hashcfg=hashcfg & (1 << 64) - 1,
                    rss_key=KEY + bytes(12),
                    x722_classes=True,
                    symmetric=symmetric,
                )
                got = one(r, packet).hash
                if got != (whole[number] if hashed else None):
                    wrong.append((packet.summary(), wanted, hashed, got))
        assert wrong == []


def test_other_cards_know_one_class_of_udp_and_one_of_tcp() -> None:
    with rig() as r:
        vf = opened(r)
        for common, finer in ((31, (29, 30)), (33, (32,)), (41, (39, 40)), (43, (42,))):
            packets = [packet for packet, found in X722 if found in (common, *finer)]
            vf.publish(hashcfg=1 << common, rss_key=KEY)
            assert all(one(r, packet).hash is not None for packet in packets)
            vf.publish(hashcfg=sum(1 << bit for bit in finer), rss_key=KEY)
            assert all(one(r, packet).hash is None for packet in packets)


def test_a_family_that_is_split_still_spreads_over_queues() -> None:
    """Plain frames to such a VF: SYNs go where RSS sends them, the rest to queue 0."""
    with rig(rxdid=1) as r:
        vf = r.vfs[0]
        lut = bytes([1]) * 64
        vf.open(queues=2, rss_lut=lut, rss_key=KEY, hashcfg=1 << 32, x722_classes=True)
        for flags, queue in (("S", 1), ("A", 0), ("S", 1)):
            vf.send(bytes(HEAD / IP() / TCP(flags=flags)))
            assert (vf.take(queue).hash is not None) is (queue == 1)


def test_symmetric_hash() -> None:
    with rig() as r:
        opened(r, symmetric=True)
        for layer in (IP(src="10.1.2.3", dst="10.9.8.7"), IPv6(src="fe80::1", dst="fe80::2")):
            back = layer.copy()
            back.src, back.dst = layer.dst, layer.src
            there = one(r, HEAD / layer / UDP(sport=5, dport=6)).hash
            assert there == one(r, HEAD / back / UDP(sport=6, dport=5)).hash
            assert there != one(r, HEAD / layer / UDP(sport=5, dport=7)).hash


@pytest.mark.parametrize("size", [64, 512, 48])
def test_look_up_table_chooses_the_queue(size: int) -> None:
    with rig() as r:
        vf = r.vfs[0]
        lut = bytes(i % 3 for i in range(size))
        vf.open(queues=3, rss_lut=lut, rss_key=KEY)
        seen = set()
        for number in range(24):
            packet = HEAD / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=number, dport=9)
            ports = number.to_bytes(2, "big") + b"\0\x09"
            value = toeplitz(KEY, bytes([10, 0, 0, 1, 10, 0, 0, 2]) + ports)
            vf.send(bytes(packet))
            got = vf.take(lut[value % size])
            assert got.hash == value
            seen.add(lut[value % size])
        assert seen == {0, 1, 2}


BAD4 = IP(src="1.2.3.4", dst="5.6.7.8")
SIX = IPv6(src="fe80::1", dst="fe80::2")
VX = HEAD / IP() / UDP(sport=1, dport=4789) / VXLAN(vni=5)
PTYPES = [
    (HEAD / ARP(), 11),
    (Ether(dst=mac(1), src=mac(1), type=0x88CC) / Raw(bytes(50)), 6),
    (Ether(dst=mac(1), src=mac(1), type=0x888E) / Raw(bytes(50)), 10),
    (Ether(dst=mac(1), src=mac(1), type=0x88F7) / Raw(bytes(50)), 2),
    (HEAD / Raw(bytes(50)), 1),
    (HEAD / IP(flags="MF") / UDP(), 22),
    (HEAD / IP(frag=9) / UDP(), 22),
    (HEAD / IP(proto=99) / Raw(bytes(30)), 23),
    (HEAD / IP() / UDP(), 24),
    (HEAD / IP() / TCP(), 26),
    (HEAD / IP() / SCTP(), 27),
    (HEAD / IP() / ICMP(), 28),
    (HEAD / SIX / IPv6ExtHdrFragment() / UDP(), 88),
    (HEAD / SIX / Raw(bytes(30)), 89),
    (HEAD / SIX / UDP(), 90),
    (HEAD / SIX / TCP(), 92),
    (HEAD / SIX / SCTP(), 93),
    (HEAD / SIX / ICMPv6EchoRequest(), 94),
    (HEAD / SIX / IPv6ExtHdrDestOpt() / TCP(), 92),
    (HEAD / Dot1Q(vlan=5) / IP() / UDP(), 24),
    (HEAD / IP() / IP() / UDP(), 22 + 9),
    (HEAD / IP() / SIX / TCP(), 22 + 18),
    (HEAD / SIX / IP() / TCP(), 88 + 11),
    (HEAD / SIX / SIX / UDP(), 88 + 16),
    (HEAD / IP() / GRE() / IP() / TCP(), 22 + 26),
    (HEAD / IP() / GRE() / SIX / TCP(), 22 + 33),
    (HEAD / IP() / GRE(proto=0x1234) / Raw(b"\x45" + bytes(40)), 22 + 21),
    (HEAD / IP() / GRE() / INNER / IP() / UDP(), 22 + 39),
    (VX / INNER / IP() / TCP(), 22 + 41),
    (VX / INNER / SIX / UDP(), 22 + 46),
    (VX / INNER / ARP(), 22 + 36),
    (VX / INNER / Dot1Q(vlan=7) / IP() / TCP(), 22 + 56),
    (VX / INNER / Dot1Q(vlan=7) / SIX / TCP(), 22 + 63),
    (HEAD / SIX / UDP(dport=4789, sport=1) / VXLAN() / INNER / IP() / UDP(), 88 + 39),
    (HEAD / IP(ihl=15, len=20) / Raw(bytes(10)), 1),
    (HEAD / IP(len=10) / UDP(), 1),
    (HEAD / IP(len=28) / TCP(), 23),
]


@pytest.mark.parametrize("rxdid", [1, 22])
def test_packet_types(rxdid: int) -> None:
    with rig(rxdid=rxdid) as r:
        opened(r)
        wrong = [
            (packet.summary(), want, got)
            for packet, want in PTYPES
            if (got := one(r, packet).ptype) != want
        ]
        assert wrong == []


UDP_TUNNELS: list[tuple[Tunnel, int, Any, int, int]] = [
    ("vxlan", 4789, VXLAN(vni=5) / INNER / IP() / TCP(), 24, 22 + 41),
    ("vxlan", 8472, VXLAN(vni=5) / INNER / IP() / TCP(), 24, 22 + 41),
    ("geneve", 6081, Raw(b"\1\0\x65\x58" + bytes(8)) / INNER / IP() / TCP(), 24, 22 + 41),
    ("geneve", 9999, Raw(b"\1\0\x65\x58" + bytes(8)) / INNER / IP() / TCP(), 24, 22 + 41),
]


@pytest.mark.parametrize("rxdid", [1, 22])
@pytest.mark.parametrize(("kind", "port", "payload", "plain", "tunnelled"), UDP_TUNNELS)
def test_a_udp_tunnel_is_one_only_on_a_registered_port(
    rxdid: int, kind: Tunnel, port: int, payload: Any, plain: int, tunnelled: int
) -> None:
    """Otherwise the packet is plain UDP, with the checksum and hash of its outer headers."""
    with rig(rxdid=rxdid, tunnels={}) as r:
        opened(r)
        outer = IP(src="10.0.0.9", dst="10.0.0.8") / UDP(sport=1, dport=port)
        packet = HEAD / outer / payload
        flow = bytes([10, 0, 0, 9, 10, 0, 0, 8]) + struct.pack(">HH", 1, port)
        before = one(r, packet)
        assert (before.ptype, before.hash) == (plain, toeplitz(KEY, flow))
        r.plane.add_tunnel(kind, port)
        inside = one(r, packet)
        assert inside.ptype == tunnelled
        assert inside.hash != before.hash
        r.plane.add_tunnel("vxlan" if kind == "geneve" else "geneve", port)
        assert one(r, packet).ptype not in (plain, tunnelled), "the other kind's header"
        r.plane.remove_tunnel(port)
        r.plane.remove_tunnel(port)
        assert one(r, packet) == before


def test_sixteen_tunnels_have_room() -> None:
    with rig(tunnels={}) as r:
        for port in range(1, 17):
            r.plane.add_tunnel("vxlan", port)
        with pytest.raises(OSError, match="No space"):
            r.plane.add_tunnel("vxlan", 17)
        r.plane.remove_tunnel(3)
        r.plane.add_tunnel("geneve", 17)


def test_ipv6_extension_bit() -> None:
    with rig() as r:
        opened(r)
        for packet, want in (
            (HEAD / SIX / UDP(), False),
            (HEAD / SIX / IPv6ExtHdrDestOpt() / UDP(), True),
            (HEAD / SIX / IPv6ExtHdrRouting() / UDP(), True),
        ):
            assert one(r, packet).bit(15, 9) is want


def test_frames_of_random_bytes_never_hurt() -> None:
    rng = random.Random(3)
    types = [b"\x08\x00", b"\x86\xdd", b"\x81\x00", b"\x88\xa8"]
    with rig() as r:
        vf = opened(r)
        for _ in range(60):
            frames = []
            for _ in range(20):
                body = rng.randbytes(rng.randrange(3, 200))
                start = bytes([rng.choice([0x45, 0x46, 0x60, 0x4F])])
                frames.append(mac(1) + mac(1) + rng.choice(types) + start + body)
            got = vf.exchange(*frames)
            assert [g.data for g in got] == [f.ljust(60, b"\0") for f in frames]
