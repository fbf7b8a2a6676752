# SPDX-License-Identifier: BSD-3-Clause
"""What a PF's driver wrote for a VF's queues and vectors, as far as the cards are alike.

The places of the fields are those of the X710's datasheet (Ethernet Controller X710/XXV710/XL710,
section "LAN Rx Queue Context"); the E810's are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

UNIT = 128  # bytes: of ring bases and buffer sizes
ENABLED = 1 << 2  # QENA_STAT of a queue's register
CAUSE_ENABLED = 1 << 30
LEGACY = 1  # the only descriptor format of an X710's VF


@dataclass(frozen=True)
class RxQueue:
    """A receive queue's context; sizes in bytes."""

    ring: int
    entries: int
    buffer_size: int
    max_frame: int
    keep_crc: bool
    rxdid: int = LEGACY


@dataclass(frozen=True)
class TxQueue:
    """A send queue's context."""

    ring: int
    entries: int


@dataclass(frozen=True)
class Vector:
    """The queues of one vector, as bitmaps, and the ITR of each direction."""

    rx_map: int = 0
    tx_map: int = 0
    rx_itr: int = 0
    tx_itr: int = 0


def field(context: bytes, low: int, width: int) -> int:
    """The bits of a context from `low` on."""
    return int.from_bytes(context, "little") >> low & ((1 << width) - 1)


def rx_queue(context: bytes, rxdid: int = LEGACY) -> RxQueue:
    """Decodes the 32 bytes of a receive queue."""
    return RxQueue(
        ring=field(context, 32, 57) * UNIT,
        entries=field(context, 89, 13),
        buffer_size=field(context, 102, 7) * UNIT,
        max_frame=field(context, 174, 14),
        keep_crc=not field(context, 117, 1),
        rxdid=rxdid,
    )
