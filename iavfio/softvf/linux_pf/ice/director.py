# SPDX-License-Identifier: BSD-3-Clause
"""The filters of the flow director that ice has programmed, as what the data plane does by them.

ice sends the card a descriptor that says what becomes of packets, and a packet to look for, seen
from its sender: what the VF receives has its addresses and ports the other way round. The card's
parser finds the profile of the VF's that this packet is of, and with it the fields that count:
`Director` does so here. The descriptor's fields are those of the E810's datasheet (section
"Flow Director Programming Descriptor"); the frames that carry both are those of
iavfio/linuxpf/kernel/judge_ice_director.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from iavfio.softvf._device import lib
from iavfio.softvf.linux_pf.ice.flows import PLANE_FIELDS, PLANE_HEADERS, Profile, combined
from iavfio.softvf.linux_pf.ice.switch import FIRST, NUMBER
from iavfio.softvf.vf_config import FlowAction, FlowRule

PROGRAMS, FORGETS = 0x10000, 0x10001  # what the judge tells beside the firmware's commands
DESCRIPTOR = struct.Struct("<2Q")
UDP, TCP, SCTP, L2TPV3, ESP, AH = 17, 6, 132, 115, 50, 51
GTPU, PFCP, NAT_T = 2152, 8805, 4500  # ports
PORTS = lib.SOFTVF_OF_SRC_PORT | lib.SOFTVF_OF_DST_PORT
SESSION = 0x85  # GTP-U's extension header that makes it GTPU_EH

HEADERS: Mapping[str, int] = MappingProxyType(
    {
        **PLANE_HEADERS,
        "pfcp-node": lib.SOFTVF_HAS_PFCP_NODE,
        "nat-t-esp": lib.SOFTVF_HAS_NAT_T_ESP,
        "eth-non-ip": lib.SOFTVF_HAS_NON_IP,
    }
)
FIELDS: Mapping[str, int] = MappingProxyType(
    {
        **PLANE_FIELDS,
        "ipv4-dscp": lib.SOFTVF_OF_IP_DSCP,
        "ipv4-ttl": lib.SOFTVF_OF_IP_TTL,
        "ipv6-tc": lib.SOFTVF_OF_IP_DSCP,
        "ipv6-hops": lib.SOFTVF_OF_IP_TTL,
        "gtpu-eh-qfi": lib.SOFTVF_OF_GTPU_QFI,
        "nat-t-esp-spi": lib.SOFTVF_OF_ESP_SPI,
    }
)


@dataclass(frozen=True)
class Filter:
    """What becomes of packets, and what the receive descriptor shows."""

    vf: int
    removes: bool  # it takes the filter of this packet back
    action: FlowAction
    queue: int = 0
    queues: int = 1
    mark: int | None = None


def decode(descriptor: bytes) -> Filter:
    """Decodes a programming descriptor of 16 bytes."""
    how, whom = DESCRIPTOR.unpack(descriptor)
    region = 1 << (how >> 32 & 7)
    if how >> 40 & 1:
        action = FlowAction.DROP
    elif not how >> 35 & 7:  # the director's queue has no priority over that of RSS
        action = FlowAction.PASS
    else:
        action = FlowAction.QUEUES if region > 1 else FlowAction.QUEUE
    return Filter(
        vf=(whom >> 14 & NUMBER) - FIRST,
        removes=bool(whom >> 4 & 1),
        action=action,
        queue=how & 0x7FF,
        queues=region,
        mark=whom >> 32 if whom >> 25 & 7 else None,
    )


class Director:
    """The filters of all VFs."""

    def __init__(self) -> None:
        self._filters: dict[int, dict[bytes, Filter]] = {}  # by VF and packet

    def command(self, opcode: int, data: bytes) -> set[int]:
        """Takes over what the judge tells; the VFs that it was about."""
        if opcode == FORGETS:
            vf = int.from_bytes(data, "little") - FIRST
            return {vf} if self._filters.pop(vf, None) else set()
        if opcode != PROGRAMS:
            return set()
        descriptor, packet = data[: DESCRIPTOR.size], data[DESCRIPTOR.size :]
        found = decode(descriptor)
        held = self._filters.setdefault(found.vf, {})
        held.pop(packet, None)
        if not found.removes:
            held[packet] = found
        return {found.vf}

    def flows(
        self, vf: int, profiles: Sequence[Profile]
    ) -> tuple[tuple[FlowRule, ...], tuple[str, ...]]:
        """What the data plane does by a VF's filters, and what it cannot do, in words.

        A filter counts as long as its packets have a profile.
        """
        rules, left_out = [], []
        for packet, each in self._filters.get(vf, {}).items():
            profile = profile_of(packet, profiles)
            if profile is None:
                if profiles:  # otherwise they are made next, or were just taken back
                    kind = ", ".join(sorted(headers_of(packet)))
                    left_out.append(f"a filter does nothing: no profile is of its packet ({kind})")
                continue
            headers, fields, strange = combined(profile, HEADERS, FIELDS)
            if strange:
                left_out.append(f"{profile}: the data plane does not know {', '.join(strange)}")
                continue
            template = received(packet, ports=bool(fields & PORTS))
            rules.append(
                FlowRule(headers, fields, template, each.action, each.queue, each.queues, each.mark)
            )
        return tuple(rules), tuple(dict.fromkeys(left_out))


def received(packet: bytes, ports: bool) -> bytes:
    """A packet as its receiver sees it: addresses change places, and `ports` where they count.

    A tunnel's packet has the tunnel's port at the wrong side then, and is one of no tunnel.
    """
    at, size, behind = (26, 4, 34) if packet[12:14] == b"\x08\x00" else (22, 16, 54)
    if "eth-non-ip" in headers_of(packet):
        return packet
    packet = _exchanged(packet, at, size)
    return _exchanged(packet, behind, 2) if ports else packet


def _exchanged(packet: bytes, at: int, size: int) -> bytes:
    """Two fields of `size` bytes one behind the other change places."""
    middle, end = at + size, at + 2 * size
    return packet[:at] + packet[middle:end] + packet[at:middle] + packet[end:]


def name_of(flow: FlowRule) -> str:
    """The headers and fields of a flow."""
    headers = [name for name, bit in HEADERS.items() if flow.headers & bit]
    fields = dict.fromkeys(name for name, bit in FIELDS.items() if flow.fields & bit)
    return f"{' / '.join(headers)} ({', '.join(fields)})"


def profile_of(packet: bytes, profiles: Iterable[Profile]) -> Profile | None:
    """The newest profile of those that are of such packets; None without one."""
    found = headers_of(packet) | {"any-ip"}
    for profile in profiles:
        if frozenset().union(*(segment.headers for segment in profile.segments)) <= found:
            return profile
    return None


def headers_of(packet: bytes) -> frozenset[str]:
    """What a card's parser makes of a packet without VLAN tags."""
    kind = int.from_bytes(packet[12:14], "big")
    if kind == 0x0800:
        return frozenset({"eth", "ipv4"} | _behind_ip(packet[23], packet[34:]))
    if kind == 0x86DD:
        return frozenset({"eth", "ipv6"} | _behind_ip(packet[20], packet[54:]))
    return frozenset({"eth", "eth-non-ip"})


def _behind_ip(protocol: int, rest: bytes) -> set[str]:
    names = {TCP: "tcp", SCTP: "sctp", L2TPV3: "l2tpv3", ESP: "esp", AH: "ah"}
    if protocol != UDP:
        return {names[protocol]} if protocol in names else set()
    port, inside = int.from_bytes(rest[2:4], "big"), rest[8:]
    if port == GTPU:
        extended = inside[0] & 4 and inside[11] == SESSION
        return {"udp", "gtpu", *(["gtpu-eh"] if extended else [])}
    if port == PFCP:
        return {"udp", "pfcp" if inside[0] & 1 else "pfcp-node"}
    return {"udp", "nat-t-esp"} if port == NAT_T else {"udp"}
