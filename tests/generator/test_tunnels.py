# SPDX-License-Identifier: BSD-3-Clause
"""Tunnels around a stream's packets, read and computed again by scapy, and counted on arrival."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.contrib.geneve import GENEVE
from scapy.contrib.gtp import GTP_U_Header
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN

import iavfio
from iavfio.errors import ConfigError
from iavfio.generator import Generator, Stream, parse_stream, signature
from iavfio.generator.answers import ends_of
from iavfio.generator.crafting import Crafted, craft
from tests.port.rig import until

OWN, PEER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
LAYERS: dict[str, Any] = {"vxlan": VXLAN, "geneve": GENEVE, "gre": GRE, "gtpu": GTP_U_Header}
PORTS = {"vxlan": 4789, "geneve": 6081, "gtpu": 2152}
KEYS = {"vxlan": "vni", "geneve": "vni", "gre": "key", "gtpu": "teid"}
OUTER = {4: ("10.1.0.1-10.1.0.5", "10.2.0.1"), 6: ("2001:db8::1-2001:db8::5", "2001:db8:1::1")}
INNER = {4: ("10.9.0.1", "10.8.0.0/30"), 6: ("fd00::1", "fd00:1::/126")}


def made(**keys: Any) -> Crafted:
    return craft(Stream(**keys), 3, 0xBEEF, OWN, PEER)


def by_scapy(frame: bytes) -> bytes:
    """The frame with every length and checksum left to scapy, in all its layers."""
    packet: Any = Ether(frame)
    layer = packet
    while layer:
        for name in ("chksum", "len", "plen", "length"):
            if name in layer.fields and not isinstance(layer, GRE):
                delattr(layer, name)
        layer = layer.payload
    return bytes(packet)


@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("inner", [4, 6])
@pytest.mark.parametrize("tunnel", LAYERS)
@settings(max_examples=4, deadline=None)
@given(
    size=st.integers(180, 1500),
    key=st.integers(0, 0xFFFFF0),
    number=st.integers(0, 0xFFFFFFFF),
    tcp=st.booleans(),
)
def test_scapy_agrees_with_both_sides_of_a_tunnel(
    tunnel: str, inner: int, outer: int, size: int, key: int, number: int, tcp: bool
) -> None:
    keys: dict[str, Any] = {} if tunnel == "gre" else {"outer_sport": "700-702"}
    crafted = made(
        tunnel=tunnel, vni=f"{key}-{key + 2}", proto="tcp" if tcp else "udp", sport=5, dport="7,8",
        src_ip=INNER[inner][0], dst_ip=INNER[inner][1], outer_src_ip=OUTER[outer][0],
        outer_dst_ip=OUTER[outer][1], size=[size, size + 1], dscp=9, ttl=33, vlan=4, **keys,
    )  # fmt: skip
    assert crafted.signatures is not None
    index = 61
    signature.renumber(crafted.data, crafted.signatures[[index]], np.array([number]))
    frame = crafted[index]
    assert by_scapy(frame) == frame and len(frame) == size + 1 - 4
    packet: Any = Ether(frame)
    assert (packet.dst, packet.src, packet[Dot1Q].vlan) == (PEER.hex(":"), OWN.hex(":"), 4)
    ip = packet[Dot1Q].payload
    assert isinstance(ip, IP if outer == 4 else IPv6)
    assert ip_address(ip.src) == ip_address(OUTER[outer][0].split("-")[0]) + index % 5
    assert ip.dst == OUTER[outer][1] and (ip.ttl if outer == 4 else ip.hlim) == 33
    header = packet[LAYERS[tunnel]]
    assert getattr(header, KEYS[tunnel]) == key + index % 3
    if tunnel in PORTS:
        assert (ip.payload.sport, ip.payload.dport) == (700 + index % 3, PORTS[tunnel])
        assert ip.payload.chksum
    rest = header.payload
    if tunnel in ("vxlan", "geneve"):
        assert (rest.src, rest.dst) == ("02:00:00:00:00:03", "02:00:00:00:00:04")
        rest = rest.payload
    assert isinstance(rest, IP if inner == 4 else IPv6) and rest.src == INNER[inner][0]
    last = ip_address(INNER[inner][1].split("/")[0]) + index % 4
    assert ip_address(rest.dst) == last
    l4 = rest[TCP if tcp else UDP]
    assert (l4.sport, l4.dport) == (5, (7, 8)[index % 2])
    signed = signature.read(np.frombuffer(frame[-12:], np.uint8)[None], 0xBEEF)
    assert (signed.streams.tolist(), signed.numbers.tolist()) == ([3], [number])


def test_gre_without_a_key_and_frames_inside() -> None:
    packet: Any = Ether(made(tunnel="gre")[0])
    assert (packet[GRE].key_present, packet[GRE].proto) == (0, 0x0800)
    inside: Any = Ether(
        made(tunnel="geneve", proto="ethernet", ethertype=0x88B6,
             inner_src_mac="02:00:00:00:00:0a", inner_dst_mac="02:00:00:00:00:0b")[0]
    )[GENEVE].payload  # fmt: skip
    assert (inside.type, inside.src, inside.dst) == (
        0x88B6, "02:00:00:00:00:0a", "02:00:00:00:00:0b"
    )  # fmt: skip


@pytest.mark.parametrize("tunnel", LAYERS)
def test_the_shortest_frame_holds_headers_and_signature(tunnel: str) -> None:
    for src in ("10.0.0.1", "fd00::1"):
        stream = Stream(tunnel=tunnel, src_ip=src)
        frame = made(tunnel=tunnel, src_ip=src)[0]
        assert len(frame) == max(60, stream.recipe.headers + signature.BYTES)
        assert by_scapy(frame) == frame
    with pytest.raises(ConfigError, match="are too short"):
        Stream(tunnel=tunnel, size=64)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tunnel=vxlam", "vxlan"),
        ("tunnel=vxlan vni=16777216", "vni takes whole numbers from 0 to 16777215"),
        ("tunnel=gtpu vni=4294967296", "vni takes whole numbers"),
        ("vni=5", "vni without a tunnel"),
        ("outer_src_ip=10.0.0.1", "outer_src_ip without a tunnel"),
        ("tunnel=gre outer_sport=5", "outer_sport with tunnel=gre"),
        ("tunnel=gtpu inner_src_mac=02:00:00:00:00:09", "inner_src_mac with tunnel=gtpu"),
        ("tunnel=gre proto=ethernet", "around proto=ethernet"),
        ("tunnel=vxlan outer_src_ip=10.0.0.1 outer_dst_ip=fd00::1", "of different versions"),
        ("tunnel=vxlan outer_src_ip=x", "outer_src_ip"),
        ("tunnel=vxlan inner_src_mac=ff:ff:ff:ff:ff:ff", "inner_src_mac"),
    ],
)
def test_what_cannot_be_is_told(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_stream(text)


def test_who_answers_answers_for_the_outer_addresses() -> None:
    stream = Stream(tunnel="vxlan", src_ip="fd00::1", outer_src_ip="10.1.0.1-10.1.0.3")
    ((version, field),) = ends_of([stream], "src_ip")
    assert (version, field.count, str(ip_address(field[0]))) == (4, 3, "10.1.0.1")


def test_what_goes_through_tunnels_is_counted_on_arrival() -> None:
    streams = [
        Stream(name=name, tunnel=name, vni="1-50", dst_ip="10.0.0.0/28", count=100, size="imix")
        for name in LAYERS
    ]
    with iavfio.softvf(vfs=2, uplink="none") as pf, pf.open(0) as one, pf.open(1) as two:
        for port in (one, two):
            port.configure(ring=1024)
            port.start(wait_link=60)
        generator = Generator(one, streams, expect=two)
        generator.preflight()
        assert until(lambda: two.rx[0].waiting == 0, 60)
        done = generator.run()
    assert [(s.name, s.sent, s.received) for s in done.streams] == [
        (name, 100, 100) for name in LAYERS
    ]
    assert done.sound and done.on_wire == 400
