# SPDX-License-Identifier: BSD-3-Clause
"""What the PF's driver wrote for a VF's queues: contexts in the card's memory, causes, vectors.

The places of the fields are those of the X710's datasheet (Ethernet Controller X710/XXV710/XL710,
sections "LAN Rx Queue Context", "LAN Tx Queue Context" and "Interrupt Cause Control Registers");
the frame around them is `struct queues` of iavfio/linuxpf/kernel/judge_i40e_queues.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from iavfio.softvf.linux_pf.queues import (
    CAUSE_ENABLED,
    ENABLED,
    UNIT,
    RxQueue,
    TxQueue,
    Vector,
    field,
    rx_queue,
)

HEAD = struct.Struct("<H4BHBBII5I")
PAIR = struct.Struct("<H4I32s128s")
VECTORS, MOST_PAIRS = 5, 16
END_OF_LIST = 0x7FF  # of causes, and the number of no queue
RX, TX = 0, 1  # types of a list's entries


@dataclass(frozen=True)
class Queues:
    """All that the card reads to serve one VF. Queues that are enabled, by the VF's number."""

    pairs: int  # that the VF is told: with channels, more than it has
    link_forced: bool
    link_up: bool
    trusted: bool
    spoof_check: bool
    port_vlan: int
    wire_up: bool
    disabled: bool
    asked: int  # capabilities that the VF's driver wants: i40e keeps no others
    version: tuple[int, int]
    rx: dict[int, RxQueue]
    tx: dict[int, TxQueue]
    vectors: tuple[Vector, ...]
    of_card: tuple[int, ...]  # the card's numbers of the VF's queues


def tx_queue(context: bytes) -> TxQueue:
    """Decodes the 128 bytes of a send queue."""
    return TxQueue(ring=field(context, 32, 57) * UNIT, entries=field(context, 128 + 33, 13))


@dataclass(frozen=True)
class _Causes:
    """The cause registers of both directions of one of the card's queues, and the VF's queue."""

    queue: int
    registers: tuple[int, int]


def _entries(first: int, causes: Mapping[int, _Causes]) -> Iterator[tuple[int, int, int]]:
    """Walks a list of causes: type, queue of the VF, cause register."""
    at, kind = first & END_OF_LIST, first >> 11 & 3
    for _ in range(2 * len(causes)):  # a list that ends nowhere is left
        if at not in causes or kind not in (RX, TX):
            return
        queue, cause = causes[at].queue, causes[at].registers[kind]
        yield kind, queue, cause
        at, kind = cause >> 16 & END_OF_LIST, cause >> 27 & 3


def _vector(number: int, first: int, causes: Mapping[int, _Causes]) -> Vector:
    maps, itrs = [0, 0], [0, 0]
    for kind, queue, cause in _entries(first, causes):
        if cause & CAUSE_ENABLED and cause & 0xFF == number:
            maps[kind] |= 1 << queue
            itrs[kind] = cause >> 11 & 3
    return Vector(maps[RX], maps[TX], itrs[RX], itrs[TX])


def decode(raw: bytes) -> Queues:
    """Decodes what the judge tells of one VF."""
    pairs, forced, up, trusted, spoof, vlan, wire, disabled, asked, version, *lists = (
        HEAD.unpack_from(raw)
    )
    rx: dict[int, RxQueue] = {}
    tx: dict[int, TxQueue] = {}
    causes: dict[int, _Causes] = {}
    for queue in range(pairs):
        number, rx_ena, tx_ena, rx_cause, tx_cause, rx_context, tx_context = PAIR.unpack_from(
            raw, HEAD.size + queue * PAIR.size
        )
        if number == END_OF_LIST:
            continue
        causes[number] = _Causes(queue, (rx_cause, tx_cause))
        if rx_ena & ENABLED:
            rx[queue] = rx_queue(rx_context)
        if tx_ena & ENABLED:
            tx[queue] = tx_queue(tx_context)
    return Queues(
        pairs=pairs,
        link_forced=bool(forced),
        link_up=bool(up),
        trusted=bool(trusted),
        spoof_check=bool(spoof),
        port_vlan=vlan,
        wire_up=bool(wire),
        disabled=bool(disabled),
        asked=asked,
        version=(version >> 16, version & 0xFFFF),
        rx=rx,
        tx=tx,
        vectors=tuple(_vector(n, first, causes) for n, first in enumerate(lists)),
        of_card=tuple(causes),
    )
