# SPDX-License-Identifier: BSD-3-Clause
"""The card's switch, as commands on the firmware admin queue leave it: VSIs, filters, flags.

Commands and fields are those of the X710's datasheet ("Admin Queue: Switch Configuration"). The
firmware that numbers the VSIs is in iavfio/linuxpf/kernel/judge_i40e_firmware.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

ADD_VSI, UPDATE_VSI, DELETE_ELEMENT = 0x210, 0x211, 0x243
ADD_MACVLAN, REMOVE_MACVLAN, PROMISCUOUS = 0x250, 0x251, 0x254
# Where the SEID stands in a command's parameters; in add-VSI the new VSI's, where its uplink's was.
SEID_AT = dict.fromkeys((ADD_VSI, UPDATE_VSI, DELETE_ELEMENT), 0) | {
    ADD_MACVLAN: 2,
    REMOVE_MACVLAN: 2,
    PROMISCUOUS: 4,
}
PARAMETERS = 16  # bytes before the buffer
ELEMENT = struct.Struct("<6sHHHHH")  # MAC, VLAN, flags; the rest is unused
FIRST_SEID, FIRST_NUMBER = 0x200, 10
SEID = 0x3FF  # bits
ANY = -1  # a filter of all VLANs
ADD_ANY, REMOVE_ANY = 1 << 2, 1 << 3  # "ignore VLAN" in the flags of an element
SECURITY, VLAN = 1 << 1, 1 << 2  # valid sections of a VSI's properties
CHECK_MAC = 1 << 2  # of the security flags
STRIP_MODE = 0x18  # of the VLAN flags
STRIP_NOTHING = 0x18
UNICAST, MULTICAST = 1 << 0, 1 << 1
FOR_VLAN = 1 << 15  # of the VLAN in a command about promiscuity
BROADCAST = b"\xff" * 6


@dataclass
class Vsi:
    """A VF's port of the switch, or one of its channels'."""

    vf: int = 0
    filters: set[tuple[bytes, int]] = field(default_factory=set)  # MAC and VLAN
    # Promiscuity, for all frames (ANY) or for those of a VLAN, whose filter lets them in.
    unicast: set[int] = field(default_factory=set)
    multicast: set[int] = field(default_factory=set)
    check_mac: bool = False
    port_vlan: int = 0
    strip: bool = True

    @property
    def macs(self) -> tuple[bytes, ...]:
        """Addresses that are let in, but broadcast, in a steady order."""
        return tuple(sorted({mac for mac, _ in self.filters} - {BROADCAST}))

    @property
    def vlans(self) -> frozenset[int]:
        """VLANs that are let in; none of them when every one is."""
        return frozenset(vid for _, vid in self.filters if vid > 0)

    @property
    def takes_any(self) -> bool:
        """Whether a filter lets every VLAN in."""
        return any(vid == ANY for _, vid in self.filters)


class Switch:
    """The VSIs of all VFs; those of the PF itself are nobody's here."""

    def __init__(self) -> None:
        self._vsis: dict[int, Vsi] = {}

    def vsi(self, vf: int) -> Vsi | None:
        """The VF's first, which has its addresses; None while it has none."""
        return self._vsis.get(FIRST_SEID + FIRST_NUMBER + vf)

    def channels(self, vf: int) -> int:
        """How many VSIs a VF has beside its first."""
        first = self.vsi(vf)
        return sum(vsi.vf == vf and vsi is not first for vsi in self._vsis.values())

    def command(self, opcode: int, data: bytes) -> int | None:
        """Carries out a command; the VF that it was about, None for others."""
        if opcode not in SEID_AT:
            return None
        parameters, buffer = data[:PARAMETERS], data[PARAMETERS:]
        at = SEID_AT[opcode]
        seid = int.from_bytes(parameters[at : at + 2], "little") & SEID
        if opcode == ADD_VSI:
            self._vsis[seid] = Vsi(vf=parameters[4])
        vsi = self._vsis.get(seid)
        if vsi is None:
            return None
        if opcode == DELETE_ELEMENT:
            del self._vsis[seid]
        elif opcode in (ADD_MACVLAN, REMOVE_MACVLAN):
            _filters(vsi, opcode == ADD_MACVLAN, buffer)
        elif opcode == PROMISCUOUS:
            _promiscuous(vsi, parameters)
        else:
            self._properties(vsi, buffer)
        return vsi.vf

    def commands(self, these: Iterable[tuple[int, bytes]]) -> set[int]:
        """Carries out commands; the VFs that they were about."""
        about = {self.command(opcode, data) for opcode, data in these}
        return {vf for vf in about if vf is not None}

    @staticmethod
    def _properties(vsi: Vsi, buffer: bytes) -> None:
        valid, _, _, security, _, pvid, _, flags = struct.unpack_from("<HHHBBHHB", buffer)
        if valid & SECURITY:
            vsi.check_mac = bool(security & CHECK_MAC)
        if valid & VLAN:
            vsi.port_vlan = pvid & 0xFFF
            vsi.strip = flags & STRIP_MODE != STRIP_NOTHING


def _filters(vsi: Vsi, add: bool, buffer: bytes) -> None:
    whole = len(buffer) - len(buffer) % ELEMENT.size
    for mac, vlan, flags, *_ in ELEMENT.iter_unpack(buffer[:whole]):
        anything = ADD_ANY if add else REMOVE_ANY
        entry = mac, ANY if flags & anything else vlan & 0xFFF
        if add:
            vsi.filters.add(entry)
        else:
            vsi.filters.discard(entry)


def _promiscuous(vsi: Vsi, parameters: bytes) -> None:
    flags, valid, _, tag = struct.unpack_from("<4H", parameters)
    vlan = tag & 0xFFF if tag & FOR_VLAN else ANY
    for bit, where in ((UNICAST, vsi.unicast), (MULTICAST, vsi.multicast)):
        if valid & flags & bit:
            where.add(vlan)
        elif valid & bit:
            where.discard(vlan)
