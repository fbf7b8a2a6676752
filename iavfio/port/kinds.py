# SPDX-License-Identifier: BSD-3-Clause
"""Kinds of frames that queues received: how many of each, and in how many queues.

A kind is what a card's hash can tell apart, and more: tunnels by their UDP port, fragments, tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iavfio.datapath.flows import flow_hash
from iavfio.datapath.layers import FrameHeaders
from iavfio.datapath.sample import Frames, joined

NAMES_OF_TYPES = {
    0x0806: "ARP",
    0x8847: "MPLS",
    0x8848: "MPLS",
    0x8863: "PPPoE",
    0x8864: "PPPoE",
    0x8809: "LACP",
    0x888E: "802.1X",
    0x88CC: "LLDP",
    0x88E5: "MACsec",
    0x88F7: "PTP",
    0x8906: "FCoE",
}
NAMES_OF_PROTOCOLS = {
    1: "ICMP",
    2: "IGMP",
    4: "IP in IP",
    6: "TCP",
    17: "UDP",
    33: "DCCP",
    41: "IPv6 in IP",
    47: "GRE",
    50: "ESP",
    51: "AH",
    58: "ICMPv6",
    89: "OSPF",
    112: "VRRP",
    115: "L2TPv3",
    132: "SCTP",
    136: "UDP-Lite",
    137: "MPLS in IP",
}
TUNNELS = {  # by UDP port
    1701: "L2TP",
    2152: "GTP-U",
    3544: "Teredo",
    4500: "ESP in UDP",
    4754: "GRE in UDP",
    4789: "VXLAN",
    4790: "VXLAN-GPE",
    6081: "GENEVE",
    6635: "MPLS in UDP",
    8472: "VXLAN",
    8805: "PFCP",
}
CARRIERS = frozenset({4, 41, 47, 50, 51, 115, 137})  # IP protocols that carry flows inside
RULES = {  # for RSS, by kind (iavfio/port/tunnels.py)
    "GTP-U": "gtpu",
    "PPPoE": "pppoe",
    "L2TPv3": "l2tpv3",
    "ESP": "esp",
    "AH": "ah",
    "PFCP": "pfcp",
}
HASHED = {6: "tcp", 17: "udp", 132: "sctp"}  # protocols whose ports are hashed
UDP = 17
MOST_TAGS = 2  # that cards look behind


@dataclass(frozen=True)
class Kind:
    """Frames of one kind: `most` of `packets` are in `queue`.

    `flows`: how many pairs of addresses, protocols and ports they have outside, 0 without IP;
    `of_one`: packets of the most frequent one.
    `field`: the class of packets (iavfio.port.rss) that should hash them, "" where none does;
    `carrier`: they carry other flows inside.
    """

    name: str
    packets: int
    queue: int
    most: int
    flows: int = 0
    of_one: int = 0
    field: str = ""
    carrier: bool = False

    @property
    def tunnel(self) -> str:
        """The name of the rule for RSS that is for them (iavfio.port.tunnels), "" without one."""
        return RULES.get(self.name.partition(" behind ")[0], "")


def kinds_of(received: Mapping[int, Frames], least: int = 1) -> tuple[Kind, ...]:
    """The kinds of what queues received, by their numbers; those of at least so many packets.

    The most frequent kind comes first.
    """
    parts = {queue: frames for queue, frames in received.items() if len(frames)}
    if not parts:
        return ()
    frames = joined(list(parts.values()))
    layers = FrameHeaders(frames.flat, frames.start, frames.length)
    queue = np.repeat(list(parts), [len(each) for each in parts.values()])
    code, rows = np.unique(_codes(layers), return_inverse=True)
    flows = flow_hash(layers)
    found = []
    for i, each in enumerate(code):
        mine = rows == i
        packets = int(mine.sum())
        if packets < least:
            continue
        in_queue = np.bincount(queue[mine])
        most = int(in_queue.argmax())
        of_flow = np.unique(flows[mine].compressed(), return_counts=True)[1]
        kind = _kind(int(each), packets, most, int(in_queue[most]))
        if len(of_flow):
            kind = replace(kind, flows=len(of_flow), of_one=int(of_flow.max()))
        found.append(kind)
    return tuple(sorted(found, key=lambda kind: -kind.packets))


def _codes(layers: FrameHeaders) -> NDArray[np.int64]:
    """A number for each frame that says of which kind it is."""

    def wide(column: Any) -> NDArray[np.int64]:
        return np.ma.filled(column, 0).astype(np.int64)

    source, target = wide(layers.l4_src), wide(layers.l4_dst)
    known = list(TUNNELS)
    port = np.where(np.isin(target, known), target, np.where(np.isin(source, known), source, 0))
    protocol = wide(layers.ip_proto)
    version = np.where(layers.is_ip4, 4, np.where(layers.is_ip6, 6, 0))
    extended = layers.is_ip6 & (wide(layers.l4_offset) - layers.l3_offset > 40)
    code = wide(layers.eth_type)
    for bits, part in (
        (3, version),
        (3, layers.tag_count),
        (1, layers.is_fragment),
        (1, extended),
        (8, protocol),
        (16, np.where(protocol == UDP, port, 0)),
    ):
        code = code << bits | part.astype(np.int64)
    return code


def _kind(code: int, packets: int, queue: int, most: int) -> Kind:
    port, protocol, extended = code & 0xFFFF, code >> 16 & 0xFF, bool(code >> 24 & 1)
    fragment, tags, version = bool(code >> 25 & 1), code >> 26 & 7, code >> 29 & 7
    eth_type = code >> 32
    tail = f" behind {tags} VLAN tags" if tags > MOST_TAGS else ""
    if not version:
        name = NAMES_OF_TYPES.get(eth_type, f"EtherType {eth_type:#06x}")
        return Kind((name if eth_type else "802.3") + tail, packets, queue, most)
    if port:
        name = TUNNELS[port]
    elif fragment:
        name = f"IPv{version} fragments"
    else:
        name = NAMES_OF_PROTOCOLS.get(protocol, f"IP protocol {protocol}")
        name = name if protocol in CARRIERS else f"{name} over IPv{version}"
    name += " behind IPv6 extension headers" if extended and not fragment else ""
    rest = "frag" if fragment else HASHED.get(protocol, "other")
    carrier = bool(port) or protocol in CARRIERS
    field = f"ipv{version}-{rest}"
    return Kind(name + tail, packets, queue, most, field=field, carrier=carrier)
