# SPDX-License-Identifier: BSD-3-Clause
"""Checksum verdicts and insertion; scapy is the oracle (docs/spec/descriptors.md 1, 2, 8)."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from tests.softvf.dataplane.plane_rig import (
    IIPT4,
    IIPT4_CSUM,
    IIPT6,
    context,
    mac,
    rig,
)
from tests.softvf.dataplane.plane_rig import SCTP as L4T_SCTP
from tests.softvf.dataplane.plane_rig import TCP as L4T_TCP
from tests.softvf.dataplane.plane_rig import UDP as L4T_UDP

HEAD = Ether(dst=mac(1), src=mac(1))
INNER = Ether(dst=mac(8), src=mac(9))  # scapy asks the network for addresses that are not given
V4 = IP(src="10.0.0.1", dst="10.0.0.2")
V6 = IPv6(src="fe80::1", dst="fe80::2")
DATA = Raw(bytes(range(101)))
L4 = {
    "tcp": TCP(sport=5, dport=6, seq=7) / DATA,
    "udp": UDP(sport=5, dport=6) / DATA,
    "sctp": SCTP(sport=5, dport=6) / SCTPChunkData(data=bytes(range(40))),
}
TUNNELS = {
    "vxlan": UDP(sport=9, dport=4789) / VXLAN(vni=1) / INNER,
    "gre": GRE(),
    "gre-mac": GRE(proto=0x6558) / INNER,
    "ipip": None,
}


def inner(outer: Any, tunnel: str) -> Any:
    return HEAD / outer / TUNNELS[tunnel] if TUNNELS[tunnel] else HEAD / outer


def flip(frame: bytes, at: int) -> bytes:
    return frame[:at] + bytes([frame[at] ^ 0x10]) + frame[at + 1 :]


@pytest.mark.parametrize("rxdid", [1, 2, 22])
def test_plain_verdicts(rxdid: int) -> None:
    with rig(rxdid=rxdid) as r:
        vf = r.vfs[0]
        vf.open()

        def verdict(frame: bytes) -> str:
            return vf.exchange(frame)[0].verdict

        for name, l4 in L4.items():
            four, six = bytes(HEAD / V4 / l4), bytes(HEAD / V6 / l4)
            tagged = bytes(HEAD / Dot1Q(vlan=3) / V4 / l4)
            assert verdict(four) == verdict(six) == verdict(tagged) == "l3l4p", name
            assert verdict(flip(four, len(four) - 1)) == "l3l4p l4e", name
            assert verdict(flip(six, len(six) - 1)) == "l3l4p l4e", name
            assert verdict(flip(six, 30)) == "l3l4p" + (" l4e" if name != "sctp" else ""), name
            assert verdict(flip(tagged, len(tagged) - 1)) == "l3l4p l4e", name
            assert verdict(flip(four, 18)) == "l3l4p ipe", name
        options = HEAD / IP(src="1.2.3.4", dst="4.3.2.1", options=[b"\x01" * 8]) / L4["tcp"]
        assert verdict(bytes(options)) == "l3l4p"
        assert verdict(bytes(HEAD / V6 / IPv6ExtHdrDestOpt() / L4["udp"])) == "l3l4p"
        no_sum = bytes(HEAD / V4 / UDP(sport=5, dport=6, chksum=0) / DATA)
        assert verdict(no_sum) == "l3l4p", "UDP without a checksum is no error"
        assert verdict(bytes(HEAD / V4 / ICMP())) == "l3l4p"
        fragment = bytes(HEAD / IP(flags="MF") / UDP(chksum=1) / DATA)
        assert verdict(fragment) == "l3l4p", "of a fragment only the IP header can be checked"
        short = bytes(HEAD / V4 / UDP(sport=5, dport=6, len=7) / DATA)
        assert verdict(short) == "l3l4p l4e"
        padded = bytes(HEAD / V4 / UDP(sport=5, dport=6) / Raw(b"x"))
        assert verdict(padded + b"trailer behind the IP packet") == "l3l4p"


@pytest.mark.parametrize("tunnel", TUNNELS)
@pytest.mark.parametrize("outer", ["v4", "v6"])
def test_tunnel_verdicts(outer: str, tunnel: str) -> None:
    head = inner(V4 if outer == "v4" else V6, tunnel)
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        for name, l4 in L4.items():
            for ip in (V4, V6):
                frame = bytes(head / ip / l4)
                start = len(bytes(head / ip / l4)) - len(bytes(ip / l4))
                assert vf.exchange(frame)[0].verdict == "l3l4p", (name, ip)
                bad = flip(frame, len(frame) - 1)
                udp = " eudpe" if tunnel == "vxlan" else ""
                assert vf.exchange(bad)[0].verdict == "l3l4p l4e" + udp, (name, ip)
                if ip is V4:
                    got = vf.exchange(flip(frame, start + 8))[0]
                    assert got.verdict == "l3l4p ipe" + udp
                if outer == "v4":
                    got = vf.exchange(flip(frame, 18))[0]
                    assert got.verdict == "l3l4p eipe"
        if tunnel == "vxlan":
            assert vf.exchange(bytes(head / V4 / L4["udp"]))[0].words[2] & 0x10, "NAT bit"


def pseudo(packet: Any, proto: int, length: int) -> int:
    """One's complement sum of the pseudo header, not inverted, as a driver leaves it."""
    ip = packet.getlayer(IP) or packet.getlayer(IPv6)
    raw = bytes(ip)
    addresses = raw[12:20] if ip.version == 4 else raw[8:40]
    total = sum(int.from_bytes(addresses[i : i + 2], "big") for i in range(0, len(addresses), 2))
    total += proto + length
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def prepared(packet: Any, name: str) -> bytes:
    """The packet with its L4 field as the driver must leave it (docs/spec/descriptors.md 1)."""
    whole = packet.copy()
    layer = whole.getlayer({"tcp": TCP, "udp": UDP, "sctp": SCTP}[name])
    if name == "sctp":
        layer.chksum = 0xDEADBEEF
    else:
        layer.chksum = pseudo(whole, 6 if name == "tcp" else 17, len(bytes(layer)))
    return bytes(whole)


CMDS = {"tcp": (L4T_TCP, 20), "udp": (L4T_UDP, 8), "sctp": (L4T_SCTP, 12)}


@pytest.mark.parametrize("name", L4)
def test_insertion(name: str) -> None:
    command, l4len = CMDS[name]
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        for head, maclen in ((HEAD, 14), (HEAD / Dot1Q(vlan=2), 18)):
            for ip, iplen, iipt in ((V4, 20, IIPT4), (V4, 20, IIPT4_CSUM), (V6, 40, IIPT6)):
                right = bytes(head / ip / L4[name])
                frame = bytearray(prepared(head / ip / L4[name], name))
                if iipt == IIPT4_CSUM:
                    frame[maclen + 10 : maclen + 12] = b"\0\0"
                lengths = {"maclen": maclen, "iplen": iplen, "l4len": l4len}
                vf.post([vf.frame(bytes(frame), iipt | command, **lengths)])
                got = vf.take()
                assert got.data == right, (iipt, maclen)
                assert got.verdict == "l3l4p"


def test_ip_checksum_alone() -> None:
    right = bytes(HEAD / V4 / ICMP() / DATA)
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        frame = right[:24] + b"\0\0" + right[26:]
        vf.post([vf.frame(frame, IIPT4_CSUM, maclen=14, iplen=20)])
        assert vf.take().data == right
        vf.post([vf.frame(frame, IIPT4, maclen=14, iplen=20)])
        assert vf.take().data == frame, "IIPT 2 leaves the IP checksum alone"


def test_udp_checksum_of_zero_becomes_ffff() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        packet = HEAD / V4 / UDP(sport=5, dport=6) / Raw(b"\0\0")
        sum_now = (HEAD / V4 / UDP(sport=5, dport=6) / Raw(b"\0\0")).copy()
        value = UDP(bytes(Ether(bytes(sum_now))[UDP])).chksum
        packet[Raw].load = value.to_bytes(2, "big")
        vf.post([vf.frame(prepared(packet, "udp"), IIPT4 | L4T_UDP, maclen=14, iplen=20, l4len=8)])
        assert vf.take().data[40:42] == b"\xff\xff"


@pytest.mark.parametrize("outer", ["v4", "v6"])
def test_tunnel_insertion(outer: str) -> None:
    ip = V4 if outer == "v4" else V6
    eipt, eiplen = (3, 20) if outer == "v4" else (1, 40)
    packet = HEAD / ip / TUNNELS["vxlan"] / V4 / L4["tcp"]
    right = bytes(packet)
    frame = bytearray(right)
    at = 14 + eiplen
    start = at + 8 + 8 + 14
    frame[start + 10 : start + 12] = b"\0\0"
    l4 = start + 20
    inner_packet = V4 / L4["tcp"]
    frame[l4 + 16 : l4 + 18] = pseudo(inner_packet, 6, len(right) - l4).to_bytes(2, "big")
    if outer == "v4":
        frame[24:26] = b"\0\0"
    udp_len = len(right) - at
    frame[at + 6 : at + 8] = pseudo(HEAD / ip / UDP(), 17, udp_len).to_bytes(2, "big")
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        tunnel = context(eipt=eipt, eiplen=eiplen, l4tunt=1, l4tunlen=30, outer_checksum=True)
        lengths = {"maclen": 14, "iplen": 20, "l4len": 20}
        vf.post([tunnel, vf.frame(bytes(frame), IIPT4_CSUM | L4T_TCP, **lengths)])
        got = vf.take()
        assert got.data == right
        assert got.verdict == "l3l4p"
