# SPDX-License-Identifier: BSD-3-Clause
"""What commands on the PF's firmware admin queue leave of an E810: VSIs, rules, send queues.

Commands and fields are those of the E810's datasheet (Intel Ethernet Controller E810, sections
"Admin Queue Commands: Switch Configuration" and "Transmit Scheduler"). The firmware that numbers
VSIs, rules and lists is in iavfio/linuxpf/kernel/judge_ice_firmware.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from iavfio.softvf.linux_pf.queues import UNIT, TxQueue

ALLOCATE = 0x208
ADD_VSI, UPDATE_VSI, FREE_VSI = 0x210, 0x211, 0x213
ADD_RULES, UPDATE_RULES, REMOVE_RULES = 0x2A0, 0x2A1, 0x2A2
SET_KEY, SET_LUT = 0xB02, 0xB03
ADD_TX, DISABLE_TX = 0xC30, 0xC31
PARAMETERS = 16  # bytes before the buffer
NUMBER = 0x3FF  # bits of a VSI or of a list
RESOURCE_TYPE, LISTS = 0x7F, (3, 4)  # bits; those of lists of VSIs, to send to and to prune by
LOOKUPS = (0, 1)  # types of rules that look at a frame, on its way in and on its way out
FILL_LIST, EMPTY_LIST = (3, 5), (4, 6)  # types of elements about a list of VSIs
RULE = struct.Struct("<4H I 2H 6s 6x H H")  # up to the tag of the frame that the rule looks for
TO_LIST = 1 << 14
TX_QUEUE = struct.Struct("<H2xI22s2x16x")  # number, node, context, node's settings
TX_GROUP = 8  # bytes before the queues of a group
FIRST = 16  # the VSI of VF 0
MAC, PROMISCUOUS, VLAN, DEFAULT, PROMISCUOUS_VLAN = 1, 3, 4, 5, 9  # recipes
SWITCH, SECURITY, INNER, OUTER, OPTIONS = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 7  # valid sections
EVERY_SECTION = 0xFFFF  # of a new VSI: only who changes one says which sections are valid
NOTHING = 3  # what is done with a tag: it stays in the frame
MULTICAST = 1 << 0  # of an address's first byte
BROADCAST = b"\xff" * 6
OUTER_TYPES = {0: 0, 1: 0x88A8, 2: 0x8100, 3: 0x9100}


@dataclass
class Vsi:
    """One port of the switch. Modes are those of the VSI's properties."""

    prunes_rx: bool = False
    prunes_tx: bool = False
    check_mac: bool = False
    inner_port_vlan: int = 0
    inner_mode: int = NOTHING
    outer_port_vlan: int = 0
    outer_mode: int = NOTHING
    outer_tpid: int = 0
    outer_blocked: bool = False  # no tag of a descriptor's is inserted
    symmetric: bool = False
    xor: bool = False  # the hash function, in the place of Toeplitz
    key: bytes = b""
    lut: bytes = b""

    def update(self, buffer: bytes, sections: int = 0) -> None:
        """Takes over the sections of properties that are valid, and `sections`."""
        valid, _, _, prune, _, security, _, inner_vlan = struct.unpack_from("<HBBBBBBH", buffer)
        valid |= sections
        outer_vlan, outer_flags = struct.unpack_from("<HB", buffer, 24)
        if valid & SWITCH:
            self.prunes_rx = bool(prune & 1)
        if valid & SECURITY:
            self.check_mac, self.prunes_tx = bool(security & 1 << 2), bool(security & 1 << 4)
        if valid & INNER:
            self.inner_port_vlan, self.inner_mode = inner_vlan & 0xFFF, buffer[12] >> 3 & 3
        if valid & OUTER:
            self.outer_port_vlan, self.outer_mode = outer_vlan & 0xFFF, outer_flags & 3
            self.outer_tpid = OUTER_TYPES[outer_flags >> 2 & 3]
            self.outer_blocked = bool(outer_flags & 1 << 7)
        if valid & OPTIONS:
            self.symmetric, self.xor = buffer[78] >> 6 == 1, buffer[78] >> 6 == 2

    @property
    def port_vlan(self) -> int:
        """The VLAN that the administrator gave, inner or outer; 0 for none."""
        return self.inner_port_vlan or self.outer_port_vlan

    def strip(self, double_vlan: bool) -> str:
        """Where tags of the VF's own VLANs go; the port VLAN's tag is nobody's to see."""
        if double_vlan and self.outer_mode != NOTHING and not self.outer_port_vlan:
            return "l2tag2_2"
        return "l2tag1" if self.inner_mode != NOTHING and not self.inner_port_vlan else "none"


@dataclass(frozen=True)
class Filters:
    """The rules of one VSI. VLANs are types and numbers, without priority tags and port VLAN."""

    macs: frozenset[bytes]
    broadcast: bool
    vlans: frozenset[tuple[int, int]]
    unicast: bool  # all of them
    multicast: bool
    default: bool  # gets what comes from the wire and matches no rule


@dataclass(frozen=True)
class Rule:
    """What a frame must have, and the VSI or list of VSIs that it concerns."""

    recipe: int
    way_in: bool
    mac: bytes
    tpid: int
    vlan: int
    action: int


class Switch:
    """All of the card that commands set up."""

    def __init__(self) -> None:
        self.vsis: dict[int, Vsi] = {}
        self.tx: dict[int, TxQueue] = {}  # queues that run, by their numbers in the card
        self._rules: dict[int, Rule] = {}
        self._lists: dict[int, set[int]] = {}

    def commands(self, these: Iterable[tuple[int, bytes]]) -> set[int]:
        """Carries out commands that the firmware took; the VFs that they were about."""
        about: set[int] = set()
        for opcode, data in these:
            about |= self._command(opcode, data[:PARAMETERS], data[PARAMETERS:])
        return {vsi - FIRST for vsi in about if vsi >= FIRST}

    def filters(self, vsi: int) -> Filters:
        """The rules that concern a VSI."""
        port_vlan = self.vsis[vsi].port_vlan if vsi in self.vsis else 0
        macs = frozenset(rule.mac for rule in self._rules_of(vsi, MAC))
        promiscuous = [rule.mac for rule in self._rules_of(vsi, PROMISCUOUS, PROMISCUOUS_VLAN)]
        return Filters(
            macs=macs - {BROADCAST},
            broadcast=BROADCAST in macs,
            vlans=frozenset(
                (rule.tpid, rule.vlan)
                for rule in self._rules_of(vsi, VLAN)
                if rule.vlan not in (0, port_vlan)
            ),
            unicast=any(not mac[0] & MULTICAST for mac in promiscuous),
            multicast=any(mac[0] & MULTICAST for mac in promiscuous),
            default=bool(self._rules_of(vsi, DEFAULT)),
        )

    def _rules_of(self, vsi: int, *recipes: int) -> list[Rule]:
        found = (rule for rule in self._rules.values() if rule.recipe in recipes)
        return [rule for rule in found if vsi in self._destination(rule.action)]

    def _destination(self, action: int) -> set[int]:
        number = action >> 4 & NUMBER
        return self._lists.get(number, set()) if action & TO_LIST else {number}

    def _command(self, opcode: int, parameters: bytes, buffer: bytes) -> set[int]:
        """Carries out a command; the VSIs that it was about."""
        number = int.from_bytes(parameters[:2], "little") & NUMBER
        if opcode in (ADD_RULES, UPDATE_RULES, REMOVE_RULES):
            return self._rule(opcode, buffer)
        if opcode == ADD_VSI:
            self.vsis[number] = Vsi()
            self.vsis[number].update(buffer, EVERY_SECTION)
        elif opcode == UPDATE_VSI:
            self.vsis[number].update(buffer)
        elif opcode == FREE_VSI:
            self.vsis.pop(number, None)
        elif opcode == SET_KEY:
            self.vsis[number].key = buffer[:52]
        elif opcode == SET_LUT:
            self.vsis[number].lut = buffer
        else:
            self._resource(opcode, parameters, buffer)
            return set()
        return {number}

    def _resource(self, opcode: int, parameters: bytes, buffer: bytes) -> None:
        if opcode == ALLOCATE and buffer[0] & RESOURCE_TYPE in LISTS:
            self._lists[int.from_bytes(buffer[4:6], "little")] = set()
        elif opcode == ADD_TX:
            self.tx.update(_tx_queues(parameters, buffer))
        elif opcode == DISABLE_TX:
            for queue in _disabled(parameters, buffer):
                self.tx.pop(queue, None)

    def _rule(self, opcode: int, buffer: bytes) -> set[int]:
        """Sets up or removes a rule, or changes a list; the VSIs that it was and is about."""
        kind, _, at, count = struct.unpack_from("<4H", buffer)
        if kind in FILL_LIST + EMPTY_LIST:
            members = set(struct.unpack_from(f"<{count}H", buffer, 8))
            present = self._lists.setdefault(at, set())
            self._lists[at] = present | members if kind in FILL_LIST else present - members
            return members
        if opcode == REMOVE_RULES:
            old = self._rules.pop(int.from_bytes(buffer[12:14], "little"), None)
            return self._destination(old.action) if old else set()
        if kind not in LOOKUPS:
            return set()
        _, _, recipe, _, action, index, _, mac, tpid, tci = RULE.unpack_from(buffer)
        old = self._rules.get(index)
        new = Rule(recipe, kind == 0, mac, _swap(tpid), _swap(tci), action)
        self._rules[index] = new
        return self._destination(new.action) | (self._destination(old.action) if old else set())


def _swap(value: int) -> int:
    """A field of a frame, which has the high byte first."""
    return int.from_bytes(value.to_bytes(2, "little"), "big")


def _tx_queues(parameters: bytes, buffer: bytes) -> Iterator[tuple[int, TxQueue]]:
    at = 0
    for _ in range(parameters[0]):
        count, at = buffer[at + 4], at + TX_GROUP
        for _ in range(count):
            number, _, raw = TX_QUEUE.unpack_from(buffer, at)
            context = int.from_bytes(raw, "little")
            base, entries = context & ((1 << 57) - 1), context >> 135 & 0x1FFF
            yield number, TxQueue(base * UNIT, entries)
            at += TX_QUEUE.size


def _disabled(parameters: bytes, buffer: bytes) -> Iterator[int]:
    at = 0
    for _ in range(parameters[1]):
        count = buffer[at + 4]
        yield from struct.unpack_from(f"<{count}H", buffer, at + 6)
        at += 6 + 2 * count + 2 * (count % 2 == 0)  # an item's length is a multiple of 4
