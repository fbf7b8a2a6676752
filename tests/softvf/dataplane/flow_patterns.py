# SPDX-License-Identifier: BSD-3-Clause
"""Rules of the flow director with frames that fit them and frames that all but do."""

from __future__ import annotations

from typing import Any

from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.sctp import SCTP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from iavfio.softvf._device import lib
from iavfio.softvf.vf_config import FlowAction, FlowRule
from tests.softvf.dataplane.plane_rig import mac

S4, D4, S6, D6 = "10.1.2.3", "10.9.8.7", "2001:db8::3", "2001:db8::7"


def ether(kind: int | None = None) -> Any:
    return (
        Ether(dst=mac(1), src=mac(1)) if kind is None else Ether(dst=mac(1), src=mac(1), type=kind)
    )


def ip4(**fields: Any) -> Any:
    return ether() / IP(**({"src": S4, "dst": D4} | fields))


def ip6(**fields: Any) -> Any:
    return ether() / IPv6(**({"src": S6, "dst": D6} | fields))


def udp(sport: int = 4000, dport: int = 53) -> Any:
    return UDP(sport=sport, dport=dport) / Raw(bytes(8))


def gtpu(teid: int = 0x0A0B0C0D, qfi: int | None = 9, **outer: Any) -> Any:
    header = GTP_U_Header(teid=teid)
    if qfi is not None:
        header = GTP_U_Header(teid=teid, next_ex=0x85) / GTPPDUSessionContainer(type=1, QFI=qfi)
    inner = IP(src="172.16.0.1", dst="172.16.0.2") / udp(7, 8)
    return ip4(**outer) / UDP(sport=2152, dport=2152) / header / inner


def esp(outer: Any, spi: int = 0x11223344) -> Any:
    return outer / ESP(spi=spi, seq=1, data=bytes(32))


def nat_t(outer: Any, spi: int = 0x11223344, dport: int = 4500) -> Any:
    return outer / UDP(sport=4500, dport=dport) / Raw(spi.to_bytes(4) + bytes(36))


def ah(outer: Any, spi: int = 0x11223344) -> Any:
    return outer / AH(spi=spi, seq=1, icv=bytes(12)) / udp()


def l2tp(outer: Any, session: int = 0x1234) -> Any:
    return outer / Raw(session.to_bytes(4) + bytes(40))


def pfcp(outer: Any, flags: int, port: int = 8805) -> Any:
    body = bytes([flags, 50, 0, 20]) + bytes(range(1, 9)) + bytes(12)
    return outer / UDP(sport=8805, dport=port) / Raw(body)


def bits(kind: str, names: str) -> int:
    return sum(int(getattr(lib, f"SOFTVF_{kind}_{name}")) for name in names.split())


def flow(
    headers: str,
    fields: str,
    frame: Any,
    action: FlowAction = FlowAction.QUEUE,
    queue: int = 2,
    **more: Any,
) -> FlowRule:
    """Of the constants' names, as "IPV4 UDP"."""
    return FlowRule(bits("HAS", headers), bits("OF", fields), bytes(frame), action, queue, **more)


IPS, PORTS = "IP_SRC IP_DST", "SRC_PORT DST_PORT"
# By name: headers, fields, a template, more frames that fit it, frames of which one thing differs.
PATTERNS: dict[str, tuple[str, str, Any, list[Any], list[Any]]] = {
    "ipv4": ("IPV4", IPS, ip4() / udp(),
             [ip4() / TCP(), ip4(ttl=9, tos=4) / ICMP(), ip4(frag=9) / udp(), gtpu()],
             [ip4(src="10.1.2.4") / udp(), ip4(dst="10.9.8.6") / udp(), ip6() / udp()]),
    "ipv4-fields": ("IPV4", "IP_PROTO IP_DSCP IP_TTL", ip4(proto=99, tos=0xA0, ttl=9),
             [ip4(src="1.1.1.1", proto=99, tos=0xA3, ttl=9)],  # ECN is no part of it
             [ip4(proto=98, tos=0xA0, ttl=9), ip4(proto=99, tos=0xA4, ttl=9),
              ip4(proto=99, tos=0xA0, ttl=8)]),
    "ipv4-udp": ("IPV4 UDP", f"{IPS} {PORTS}", ip4() / udp(),
             [ip4() / UDP(sport=4000, dport=53) / Raw(bytes(900)),
              ip4(options=[b"\x01" * 4]) / udp()],
             [ip4(src="10.1.2.4") / udp(), ip4(dst="10.9.8.6") / udp(), ip4() / udp(4001),
              ip4() / udp(4000, 54), ip4() / TCP(sport=4000, dport=53), ip4(flags="MF") / udp(),
              ip4() / SCTP(sport=4000, dport=53)]),
    "ipv4-tcp": ("IPV4 TCP", f"IP_SRC {PORTS}", ip4() / TCP(sport=4000, dport=53),
             [ip4(dst="9.9.9.9") / TCP(sport=4000, dport=53, flags="A")],
             [ip4() / TCP(sport=4000, dport=52), ip4() / udp(),
              ip4(src="10.1.2.0") / TCP(sport=4000, dport=53)]),
    "ipv4-sctp": ("IPV4 SCTP", "DST_PORT", ip4() / SCTP(sport=4000, dport=53),
             [ip4(src="9.9.9.9") / SCTP(sport=1, dport=53)],
             [ip4() / SCTP(sport=4000, dport=54), ip4() / udp()]),
    "ipv6": ("IPV6", IPS, ip6() / udp(), [ip6() / TCP(), ip6(hlim=3, tc=3)],
             [ip6(src="2001:db8::4") / udp(), ip6(dst="2001:db8::8") / udp(), ip4() / udp()]),
    "ipv6-fields": ("IPV6", "IP_PROTO IP_DSCP IP_TTL", ip6(nh=99, tc=0xA5, hlim=9),
             [ip6(src="::9", fl=77, nh=99, tc=0xA5, hlim=9)],
             [ip6(nh=98, tc=0xA5, hlim=9), ip6(nh=99, tc=0xA4, hlim=9),
              ip6(nh=99, tc=0xB5, hlim=9), ip6(nh=99, tc=0xA5, hlim=8)]),
    "ipv6-udp": ("IPV6 UDP", f"{IPS} {PORTS}", ip6() / udp(), [],
             [ip6(src="2001:db8::4") / udp(), ip6() / udp(4000, 54),
              ip6() / TCP(sport=4000, dport=53)]),
    "ipv6-tcp": ("IPV6 TCP", PORTS, ip6() / TCP(sport=4000, dport=53),
             [ip6(dst="::1") / TCP(sport=4000, dport=53)], [ip6() / TCP(sport=1, dport=53)]),
    "ipv6-sctp": ("IPV6 SCTP", f"{IPS} {PORTS}", ip6() / SCTP(sport=4000, dport=53), [],
             [ip6() / SCTP(sport=4000, dport=3), ip4() / SCTP(sport=4000, dport=53)]),
    "vlan": ("ETH VLAN IPV4 UDP", "C_VLAN DST_PORT", ether() / Dot1Q(vlan=7) / IP() / udp(),
             [ether() / Dot1Q(vlan=7) / IP(src=S4) / udp(9)],
             [ip4() / udp(), ether() / Dot1Q(vlan=8) / IP() / udp(),
              ether() / Dot1Q(vlan=7) / Dot1Q(vlan=9) / IP() / udp()]),
    "q-in-q": ("ETH VLAN", "S_VLAN C_VLAN", ether(0x88A8) / Dot1Q(vlan=7) / Dot1Q(vlan=9) / IP(),
             [ether() / Dot1Q(vlan=7) / Dot1Q(vlan=9) / IPv6() / udp()],
             [ether() / Dot1Q(vlan=9) / Dot1Q(vlan=7) / IP(), ether() / Dot1Q(vlan=9) / IP()]),
    "addresses": ("ETH", "ETH_SRC ETH_DST", ether() / IP(), [ether(0x88B5) / Raw(bytes(50))],
             [Ether(dst="ff:ff:ff:ff:ff:ff", src=mac(1)) / IP()]),
    "eth-type": ("ETH NON_IP", "ETH_TYPE", ether(0x88B5) / Raw(bytes(50)),
             [ether() / Dot1Q(vlan=7, type=0x88B5) / Raw(bytes(50))],
             [ether(0x88B6) / Raw(bytes(50)), ip4() / udp()]),
    "eth-type-pppoe": ("ETH NON_IP", "ETH_TYPE", ether(0x8864) / PPPoE() / PPP(proto=0x21) / IP(),
             [ether(0x8864) / PPPoE(sessionid=9) / PPP(proto=0xC021) / Raw(bytes(40))],
             [ether(0x8863) / Raw(bytes(50))]),
    "non-ip": ("NON_IP", "", ether(0x88B5) / Raw(bytes(4)),
             [ether(0x88B6) / Raw(bytes(50)), ether(0x0806) / Raw(bytes(50))],
             [ip4() / udp(), ip6() / udp(), ether() / Dot1Q(vlan=7) / IP()]),
    "pppoe": ("PPPOE IPV4", "PPPOE_SESSION",
             ether(0x8864) / PPPoE(sessionid=5) / PPP(proto=0x21) / IP(),
             [ether(0x8864) / PPPoE(sessionid=5) / PPP(proto=0x21) / IP(src=S4) / udp()],
             [ether(0x8864) / PPPoE(sessionid=6) / PPP(proto=0x21) / IP(),
              ether(0x8864) / PPPoE(sessionid=5) / PPP(proto=0x57) / IPv6()]),
    "gtpu": ("IPV4 GTPU", f"{IPS} GTPU_TEID", gtpu(qfi=None), [],
             [gtpu(teid=1, qfi=None), gtpu(src="10.1.2.4", qfi=None), gtpu(), ip4() / udp()]),
    "gtpu-eh": ("IPV4 GTPU GTPU_EH", "GTPU_TEID GTPU_QFI", gtpu(), [gtpu(src="9.9.9.9")],
             [gtpu(qfi=8), gtpu(teid=1), gtpu(qfi=None)]),
    "gtpu-inner": ("IPV4 GTPU_EH UDP", PORTS, gtpu(), [gtpu(teid=2)], [ip4() / udp(7, 8)]),
    "l2tpv3": ("IPV4 L2TPV3", "L2TPV3_SESSION", l2tp(ip4(proto=115)),
             [l2tp(ip4(proto=115, dst="9.9.9.9"))],
             [l2tp(ip4(proto=115), 0x1235), l2tp(ip4(proto=114))]),
    "l2tpv3-v6": ("IPV6 L2TPV3", "L2TPV3_SESSION", l2tp(ip6(nh=115)), [],
             [l2tp(ip6(nh=115), 0x1235), l2tp(ip4(proto=115))]),
    "esp": ("IPV4 ESP", f"{IPS} ESP_SPI", esp(ip4()), [],
             [esp(ip4(), 1), esp(ip4(src="10.1.2.4")), nat_t(ip4()), ah(ip4())]),
    "esp-v6": ("IPV6 ESP", "ESP_SPI", esp(ip6()), [esp(ip6(src="::9"))],
             [esp(ip6(), 1), esp(ip4())]),
    "nat-t": ("IPV4 NAT_T_ESP", f"{IPS} ESP_SPI", nat_t(ip4()), [],
             [nat_t(ip4(), 1), nat_t(ip4(), dport=4501), nat_t(ip4(), 0), esp(ip4())]),
    "nat-t-v6": ("IPV6 NAT_T_ESP", "ESP_SPI", nat_t(ip6()), [nat_t(ip6(dst="::9"))],
             [nat_t(ip6(), 1)]),
    "ah": ("IPV4 AH", "AH_SPI", ah(ip4()), [ah(ip4(dst="9.9.9.9"))], [ah(ip4(), 1), esp(ip4())]),
    "ah-v6": ("IPV6 AH", "AH_SPI", ah(ip6()), [], [ah(ip6(), 1), ah(ip4())]),
    "pfcp-node": ("IPV4 PFCP_NODE", "DST_PORT", pfcp(ip4(), 0x20), [pfcp(ip4(src="9.9.9.9"), 0x20)],
             [pfcp(ip4(), 0x21), pfcp(ip4(), 0x20, 8806), pfcp(ip6(), 0x20)]),
    "pfcp-session": ("IPV6 PFCP", "DST_PORT", pfcp(ip6(), 0x21), [pfcp(ip6(src="::9"), 0x21)],
             [pfcp(ip6(), 0x20), pfcp(ip4(), 0x21)]),
    "pfcp-seid": ("IPV4 PFCP", "PFCP_SEID", pfcp(ip4(), 0x21), [],
             [ip4() / UDP(sport=8805, dport=8805) / Raw(b"\x21\x32\0\x14" + bytes(20))]),
    "vxlan": ("IPV4 UDP", PORTS, ip4() / UDP(dport=4789) / VXLAN(vni=1) / ether() / IP() / udp(),
             [ip4() / udp()],
             [ip4() / UDP(dport=4789) / VXLAN(vni=1) / ether() / IP() / udp(4001)]),
}  # fmt: skip
