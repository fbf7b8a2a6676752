# SPDX-License-Identifier: BSD-3-Clause
"""The frames of a stream, decoded by scapy: every field, length and checksum."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether

from iavfio.errors import ConfigError
from iavfio.generator import Stream, signature
from iavfio.generator.crafting import CHUNK, Crafted, craft
from tests.capture.files import write_pcap

OWN, PEER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
RUN, NUMBER = 0xBEEF, 3
LAYERS: dict[tuple[str, int], Any] = {
    ("udp", 4): UDP,
    ("udp", 6): UDP,
    ("tcp", 4): TCP,
    ("tcp", 6): TCP,
    ("icmp", 4): ICMP,
    ("icmp", 6): ICMPv6EchoRequest,
}
ENDS = {4: ("10.1.0.1-10.1.0.7", "198.19.0.0/30"), 6: ("2001:db8::1-2001:db8::3", "fe80::/125")}


def made(**keys: Any) -> Crafted:
    return craft(Stream(**keys), NUMBER, RUN, OWN, PEER)


def with_checksums_by_scapy(frame: bytes) -> bytes:
    """The frame with every length and checksum left to scapy."""
    packet: Any = Ether(frame)
    layer = packet
    while layer:
        for name in ("chksum", "cksum", "len", "plen"):
            if name in layer.fields:
                delattr(layer, name)
        layer = layer.payload
    return bytes(packet)


@pytest.mark.parametrize(("proto", "version"), LAYERS, ids=str)
@pytest.mark.parametrize("tags", [{}, {"vlan": "10-12"}, {"vlan": 7, "qinq": [100, 200]}])
@settings(max_examples=3, deadline=None)
@given(
    size=st.integers(110, 1600),
    sport=st.integers(0, 65535),
    ttl=st.integers(1, 255),
    dscp=st.integers(0, 63),
    pcp=st.integers(0, 7),
    numbers=st.lists(st.integers(0, 0xFFFFFFFF), min_size=3, max_size=3),
)
def test_scapy_agrees_with_every_field_and_checksum(
    proto: str,
    version: int,
    tags: dict[str, Any],
    size: int,
    sport: int,
    ttl: int,
    dscp: int,
    pcp: int,
    numbers: list[int],
) -> None:
    src, dst = ENDS[version]
    crafted = made(
        proto=proto, src_ip=src, dst_ip=dst, sport=sport, dport="80,443", size=[size, size + 1],
        ttl=ttl, dscp=dscp, pcp=pcp, flags="PA", **tags,
    )  # fmt: skip
    sources = [ip_address("10.1.0.1" if version == 4 else "2001:db8::1") + i for i in range(7)]
    assert crafted.signatures is not None
    chosen = np.array([0, 1, len(crafted) - 1])
    signature.renumber(crafted.data, crafted.signatures[chosen], np.array(numbers))
    for index, number in zip(chosen.tolist(), numbers, strict=True):
        frame = crafted[index]
        assert with_checksums_by_scapy(frame) == frame
        packet: Any = Ether(frame)
        assert len(frame) == size + index % 2 - 4
        assert (packet.dst, packet.src) == (PEER.hex(":"), OWN.hex(":"))
        if "qinq" in tags:
            assert (packet[Dot1AD].vlan, packet[Dot1AD].prio) == ((100, 200)[index % 2], pcp)
        if tags:
            assert packet[Dot1Q].vlan == (7 if "qinq" in tags else 10 + index % 3)
            assert packet[Dot1Q].prio == pcp
        ip = packet[IP if version == 4 else IPv6]
        assert ip_address(ip.src) == sources[index % (7 if version == 4 else 3)]
        assert (ip.tos if version == 4 else ip.tc) == dscp << 2
        assert (ip.ttl if version == 4 else ip.hlim) == ttl
        l4 = packet[LAYERS[proto, version]]
        if proto == "icmp":
            assert l4.id == sport and l4.type == (8 if version == 4 else 128)
        else:
            assert (l4.sport, l4.dport) == (sport, (80, 443)[index % 2])
        if proto == "tcp":
            assert l4.flags == "PA"
        signed = signature.read(np.frombuffer(frame[-12:], np.uint8)[None], RUN)
        assert (signed.streams.tolist(), signed.numbers.tolist()) == ([NUMBER], [number])


def test_ethernet_alone() -> None:
    crafted = made(proto="ethernet", ethertype=0x88B6, size=64, vlan=1, dst_mac="ff:ff:ff:ff:ff:ff")
    packet: Any = Ether(crafted[5])
    assert packet.dst == "ff:ff:ff:ff:ff:ff" and packet[Dot1Q].type == 0x88B6
    assert len(crafted[5]) == 60


def test_fields_walk_together_and_repeat_after_their_period() -> None:
    crafted = made(src_ip="10.0.0.0-10.0.0.8+4", dport="1-5", size="imix")
    packets: list[Any] = [Ether(crafted[i]) for i in range(180)]
    assert len(crafted) % 60 == 0 and len(crafted) >= CHUNK
    assert [p[IP].src for p in packets[:4]] == ["10.0.0.0", "10.0.0.4", "10.0.0.8", "10.0.0.0"]
    assert [p[UDP].dport for p in packets[:6]] == [1, 2, 3, 4, 5, 1]
    assert [len(crafted[i]) + 4 for i in range(12)] == [64] * 7 + [594] * 4 + [1518]


def test_random_values_are_those_of_the_seed() -> None:
    first, again = (made(dst_ip="random:10.0.0.0/8", seed=5) for _ in range(2))
    other = made(dst_ip="random:10.0.0.0/8", seed=6)
    assert (first.data == again.data).all() and (first.data != other.data).any()
    found = {Ether(first[i])[IP].dst for i in range(200)}
    assert len(found) > 190 and all(each.startswith("10.") for each in found)


def test_templates_are_sent_as_they_are_but_for_the_addresses(tmp_path: Path) -> None:
    frames = [bytes(Ether() / IP(dst="192.0.2.1") / UDP(dport=i) / bytes(i)) for i in range(30, 40)]
    write_pcap(tmp_path / "a", frames)
    packets = [Ether(frame) for frame in frames]
    for keys in ({"frames": frames}, {"frames": packets}, {"pcap": tmp_path / "a"}):
        crafted = made(**keys, dst_mac="02:00:00:00:00:09")
        assert [crafted[i] for i in range(len(crafted))] == [
            bytes.fromhex("020000000009") + OWN + frame[12:] for frame in frames
        ]
        kept = made(**keys, src_mac="keep")
        assert [kept[i] for i in range(len(kept))] == frames


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"proto": "sctp"}, "there is no protocol"),
    ({"src_ip": "10.0.0.300"}, "takes IPv4 or IPv6"),
    ({"src_ip": "10.0.0.9-10.0.0.1"}, "end is below its beginning"),
    ({"src_ip": "10.0.0.1/8"}, "host bits set"),
    ({"src_ip": "10.0.0.1", "dst_ip": "2001:db8::1"}, "different versions"),
    ({"src_ip": "10.0.0.1,::1"}, "mixes IPv4 and IPv6"),
    ({"dst_ip": ""}, "takes IPv4 or IPv6"),
    ({"sport": 65536}, "0 to 65535"),
    ({"sport": "80,"}, "0 to 65535"),
    ({"dport": "1-9+0"}, "a step is 1 or more"),
    ({"dport": "9+2"}, "a step needs a range"),
    ({"dport": True}, "True or False"),
    ({"dport": []}, "1 to 4096 items"),
    ({"vlan": 4095}, "0 to 4094"),
    ({"qinq": 5}, "qinq without vlan"),
    ({"size": 63}, "size=64"),
    ({"size": 9729}, "0 to 9728"),
    ({"size": 80, "proto": "tcp", "src_ip": "::1"}, "size=90"),
    ({"rate": "fast"}, "10% of line rate"),
    ({"rate": "0%"}, "up to 100%"),
    ({"rate": "101%"}, "up to 100%"),
    ({"rate": -1}, "rate=-1"),
    ({"burst": 0}, "burst=1"),
    ({"count": -1}, "0 to"),
    ({"flags": "X"}, "FSRPAUEC"),
    ({"name": "a b"}, "1 to 32 letters"),
    ({"src_mac": "01:00:00:00:00:01"}, "group address"),
    ({"src_mac": "keep"}, "templates"),
    ({"dst_mac": "zz"}, "no MAC address"),
    ({"proto": "ethernet", "dst_ip": "::1"}, "no IP header"),
    ({"frames": []}, "template is empty"),
    ({"frames": [b"short"]}, "17 or more"),
    ({"frames": ["text"]}, "__bytes__"),
    ({"frames": [bytes(60)], "size": 100}, "cannot be given with a template"),
    ({"frames": [bytes(60)], "pcap": "a"}, "both are templates"),
    ({"pcap": "/nowhere.pcap"}, "cannot be read"),
]


@pytest.mark.parametrize(("keys", "words"), WRONG, ids=str)
def test_what_cannot_be_is_refused_with_the_reason(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match=f"(?s){re.escape(words)}") as caught:
        Stream(**keys)
    assert type(caught.value).__module__ == "iavfio.errors"


def test_more_different_frames_than_there_is_room_for() -> None:
    with pytest.raises(ConfigError, match="has 997002 different frames"):
        made(sport="1-998", dport="1-999")
    with pytest.raises(ConfigError, match=r"take \d+ bytes"):
        made(dst_ip="10.0.0.0/16", size=9000)
