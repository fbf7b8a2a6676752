# SPDX-License-Identifier: BSD-3-Clause
"""Header columns: each packet's fields, and which packets have none; scapy makes the packets."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, LLC, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Raw

import iavfio
from tests.port.rig import until

SRC, DST = "02:00:00:00:0a:01", "02:00:00:00:0b:02"
ETHER = Ether(src=SRC, dst=DST)
FOUR = IP(src="198.18.0.1", dst="198.18.255.254")
SIX = IPv6(src="2001:db8::1", dst="2001:db8::ffff:2")
UDP_PORTS, TCP_PORTS = UDP(sport=1111, dport=53), TCP(sport=65535, dport=1)
DATA = Raw(bytes(range(64)))
COLUMNS = ("eth_type", "vlan_id", "vlan_inner", "ip_proto", "l4_src", "l4_dst")
CASES: list[tuple[str, Any, tuple[int | None, ...]]] = [  # the columns' values, None: masked
    ("udp", FOUR / UDP_PORTS / DATA, (0x0800, None, None, 17, 1111, 53)),
    ("tcp", FOUR / TCP_PORTS, (0x0800, None, None, 6, 65535, 1)),
    ("sctp", FOUR / SCTP(sport=7, dport=8), (0x0800, None, None, 132, 7, 8)),
    ("icmp", FOUR.copy() / Raw(b"\x08\0" + bytes(40)), (0x0800, None, None, 0, None, None)),
    ("tag", Dot1Q(vlan=5, prio=7) / FOUR / UDP_PORTS, (0x0800, 5, None, 17, 1111, 53)),
    ("QinQ", Dot1AD(vlan=4094) / Dot1Q(vlan=1) / FOUR / UDP_PORTS, (0x0800, 4094, 1, 17, 1111, 53)),
    ("3 tags", Dot1Q(vlan=1) / Dot1Q(vlan=2) / Dot1Q(vlan=3) / SIX / UDP_PORTS,
     (0x86DD, 1, 2, 17, 1111, 53)),
    ("options", FOUR.__class__(options=[IPOption_NOP()] * 12) / TCP_PORTS,
     (0x0800, None, None, 6, 65535, 1)),
    ("40 options", Dot1Q(vlan=9) / FOUR.__class__(options=[IPOption_NOP()] * 40) / UDP_PORTS,
     (0x0800, 9, None, 17, 1111, 53)),
    ("first fragment", IP(flags="MF") / UDP_PORTS / DATA, (0x0800, None, None, 17, None, None)),
    ("last fragment", IP(frag=5, proto=17) / DATA, (0x0800, None, None, 17, None, None)),
    ("don't fragment", IP(flags="DF") / UDP_PORTS / DATA, (0x0800, None, None, 17, 1111, 53)),
    ("6", SIX / UDP_PORTS / DATA, (0x86DD, None, None, 17, 1111, 53)),
    ("6 extensions", SIX / IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt()
     / TCP_PORTS, (0x86DD, None, None, 6, 65535, 1)),
    ("6 fragment", SIX / IPv6ExtHdrFragment(offset=3, nh=17) / DATA,
     (0x86DD, None, None, 17, None, None)),
    ("6 first fragment", SIX / IPv6ExtHdrFragment(m=1) / UDP_PORTS / DATA,
     (0x86DD, None, None, 17, None, None)),
    ("6 atomic fragment", SIX / IPv6ExtHdrFragment() / UDP_PORTS / DATA,
     (0x86DD, None, None, 17, 1111, 53)),
    ("6 no next", IPv6(nh=59) / DATA, (0x86DD, None, None, 59, None, None)),
    ("arp", ARP(), (0x0806, None, None, None, None, None)),
    ("version 6 in 4's type", Raw(b"\x65" + bytes(50)), (0x9000, None, None, None, None, None)),
    ("headers of 16 bytes", IP(ihl=4) / UDP_PORTS / DATA, (0x0800, None, None, None, None, None)),
    ("udp behind its end", IP(len=22, proto=17) / DATA, (0x0800, None, None, 17, None, None)),
    ("length left open", IP(len=0) / UDP_PORTS, (0x0800, None, None, 17, 1111, 53)),
]  # fmt: skip


@pytest.fixture(scope="module")
def queue() -> Iterator[Any]:
    with iavfio.open("softvf") as port:
        port.start()
        yield port.tx[0]


def values(column: Any) -> list[Any]:
    found: list[Any] = column.tolist()
    return found


def test_every_column_of_every_case(queue: Any) -> None:
    """All cases are in one burst: the walks of different packets do not disturb each other."""
    with queue.build([ETHER / packet for _, packet, _ in CASES]) as burst:
        found = zip(*(values(getattr(burst, name)) for name in COLUMNS), strict=True)
        for (name, _, wanted), row in zip(CASES, found, strict=True):
            assert row == wanted, name


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case[0] for case in CASES])
def test_each_case_alone(queue: Any, number: int) -> None:
    name, packet, wanted = CASES[number]
    with queue.build([ETHER / packet]) as burst:
        assert tuple(values(getattr(burst, name))[0] for name in COLUMNS) == wanted, name


def test_addresses(queue: Any) -> None:
    packets = [ETHER / FOUR / UDP_PORTS, ETHER / Dot1Q(vlan=2) / SIX / UDP_PORTS, ETHER / ARP()]
    with queue.build(packets) as burst:
        assert values(burst.eth_src) == [int(SRC.replace(":", ""), 16)] * 3
        assert values(burst.eth_dst) == [int.from_bytes(bytes.fromhex(DST.replace(":", "")))] * 3
        assert values(burst.ip4_src) == [int(ipaddress.ip_address(FOUR.src)), None, None]
        assert values(burst.ip4_dst) == [int(ipaddress.ip_address(FOUR.dst)), None, None]
        assert burst.ip6_src.shape == (3, 16)
        assert str(ipaddress.ip_address(bytes(burst.ip6_src[1]))) == SIX.src
        assert str(ipaddress.ip_address(bytes(burst.ip6_dst[1]))) == SIX.dst
        assert burst.ip6_dst.mask.all(axis=1).tolist() == [True, False, True]


def test_a_masked_packet_is_not_chosen(queue: Any) -> None:
    packets = [ETHER / ARP(), ETHER / FOUR / UDP_PORTS, ETHER / FOUR / TCP_PORTS]
    with queue.build(packets) as burst:
        assert burst[burst.l4_dst == 53].indices.tolist() == [1]
        assert burst[burst.l4_dst != 53].indices.tolist() == [2]
        assert burst[(burst.l4_dst != 53) & (burst.ip_proto == 17)].indices.tolist() == []
        assert burst[burst.l4_dst < 9999][::-1].l4_src.tolist() == [65535, 1111]


def test_802_3_lengths_are_no_types(queue: Any) -> None:
    with queue.build([Dot3(src=SRC, dst=DST) / LLC() / DATA]) as burst:
        assert values(burst.eth_type) == [None]
        assert values(burst.eth_src) == [int(SRC.replace(":", ""), 16)]


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case[0] for case in CASES])
def test_cut_packets_have_what_is_whole(queue: Any, number: int) -> None:
    """Of a packet that ends early a column is masked or right, and what was whole stays."""
    whole = bytes(ETHER / CASES[number][1])
    wanted = dict(zip(COLUMNS, CASES[number][2], strict=True))
    cuts = list(range(17, len(whole)))
    with queue.build([whole[:cut] for cut in cuts] or [whole]) as burst:
        for name in ("eth_dst", "ip4_src", "ip6_dst", "flow_hash"):
            getattr(burst, name)
        for name in ("l4_src", "l4_dst"):
            seen = values(getattr(burst, name))
            assert set(seen) <= {wanted[name], None}
            assert seen == sorted(seen, key=lambda value: value is not None), "longer has more"


def test_noise_is_read_without_complaint(queue: Any) -> None:
    noise = random.Random(3)
    starts = [bytes(ETHER / packet)[: noise.randrange(12, 60)] for _, packet, _ in CASES] * 8
    frames = [start + noise.randbytes(noise.randrange(17, 200)) for start in starts]
    with queue.build(frames) as burst, np.errstate(all="raise"):
        for name in (*COLUMNS, "ip4_dst", "ip6_src", "flow_hash", "biflow_hash"):
            assert len(getattr(burst, name)) == len(frames)


def test_flow_hashes(queue: Any) -> None:
    """One number a flow and direction; the tag, the payload and the MAC do not matter."""
    there = [FOUR / UDP_PORTS, SIX / UDP_PORTS, SIX / TCP_PORTS]
    back = [
        IP(src=FOUR.dst, dst=FOUR.src) / UDP(sport=53, dport=1111),
        IPv6(src=SIX.dst, dst=SIX.src) / UDP(sport=53, dport=1111),
        IPv6(src=SIX.dst, dst=SIX.src) / TCP(sport=1, dport=65535),
    ]
    again = [Ether() / Dot1Q(vlan=7) / packet / DATA for packet in there]
    with queue.build([*(ETHER / p for p in there + back), *again, ETHER / ARP()]) as burst:
        one, both = values(burst.flow_hash), values(burst.biflow_hash)
        assert one[:3] == one[6:9] and len(set(one[:6])) == 6
        assert both[:3] == both[3:6] == both[6:9] and len(set(both[:3])) == 3
        assert one[9] is both[9] is None
        assert one[0] == 0xD5F3450E5FB64151, "files may hold these numbers: they stay"


def test_flow_hashes_spread(queue: Any) -> None:
    packets = [ETHER / FOUR / UDP(sport=1024 + k, dport=53) for k in range(256)]
    with queue.build(packets) as burst:
        assert len(set(values(burst.flow_hash))) == 256
        busiest = max(np.bincount((burst.flow_hash.data % 8).astype(np.intp)))
        assert busiest < 64, "eight buckets of 32 are not far from even"


@pytest.mark.parametrize("metadata", [set(), {"vlan"}])
def test_a_stripped_tag_is_the_outermost(metadata: set[str]) -> None:
    with iavfio.open("softvf") as port:
        port.configure(metadata=metadata)
        port.start(wait_link=5)
        mac = port.mac.hex(":")
        ether = Ether(src=mac, dst=mac)
        tagged = ether / Dot1Q(vlan=11) / Dot1Q(vlan=12) / FOUR / UDP_PORTS
        assert port.tx[0].send([tagged, ether / FOUR / UDP_PORTS]) == 2
        assert until(lambda: port.rx[0].waiting == 2, 20)
        with port.rx[0].recv() as burst:
            assert values(burst.l4_dst) == [53, 53]
            stripped = len(tagged) - int(burst.lengths[0])
            if metadata:
                assert values(burst.vlan_id) == [11, None]
                assert values(burst.vlan_inner) == [12, None]
            else:
                assert values(burst.vlan_id) == [12 if stripped == 4 else 11, None]


def test_released_bursts_have_no_columns(queue: Any) -> None:
    burst = queue.build([ETHER / FOUR / UDP_PORTS])
    layers = burst.layers()
    burst.release()
    for look in (lambda: burst.ip4_src, lambda: layers.ip4_src, burst.layers):
        with pytest.raises(iavfio.StateError, match="released"):
            look()


def test_an_empty_burst_has_empty_columns(queue: Any) -> None:
    with queue.build([]) as burst:
        assert len(burst.l4_dst) == len(burst.flow_hash) == 0 and burst.ip6_src.shape == (0, 16)
