# SPDX-License-Identifier: BSD-3-Clause
"""What ice wrote for a VF's receive queues, causes and rate, and what it holds beside them.

The places of the fields are those of the E810's datasheet (Intel Ethernet Controller E810, sections
"LAN Rx Queue Context" and "Interrupt Cause Control Registers"); the frame around them is `struct
queues` of iavfio/linuxpf/kernel/judge_ice.c. Send queues are commands: see switch.py.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from iavfio.softvf.linux_pf.queues import CAUSE_ENABLED, ENABLED, RxQueue, Vector, rx_queue

HEAD = struct.Struct("<2H6sI4BI")
PAIR = struct.Struct("<2H4I32s")
RXDID = 0x3F  # bits of QRXFLXP_CNTXT
VECTORS = 17
VECTOR = 0x7FF  # bits of QINT_RQCTL and QINT_TQCTL


@dataclass(frozen=True)
class Cause:
    """What a direction of a queue raises: a vector of the VF's, moderated by one of its ITRs."""

    vector: int
    itr: int
    enabled: bool


@dataclass(frozen=True)
class Queues:
    """What the card's registers say of one VF. `rx` has the queues that are enabled, by number."""

    pairs: int
    vsi: int
    mac: bytes
    rate: int  # kbit/s; 0: no limit
    link_up: bool  # as the VF is told
    trusted: bool
    spoof_check: bool
    disabled: bool
    version: tuple[int, int]
    rx: dict[int, RxQueue]
    rx_causes: tuple[Cause, ...]
    tx_causes: tuple[Cause, ...]
    tx_numbers: tuple[int, ...]  # of the VF's send queues in the card

    @property
    def vectors(self) -> tuple[Vector, ...]:
        """All of the VF's."""
        return tuple(map(self._vector, range(VECTORS)))

    def _vector(self, number: int) -> Vector:
        rx, tx = (_raising(causes, number) for causes in (self.rx_causes, self.tx_causes))
        # The data plane has one ITR for each direction of a vector: that of the last queue.
        return Vector(
            sum(1 << queue for queue in rx),
            sum(1 << queue for queue in tx),
            self.rx_causes[rx[-1]].itr if rx else 0,
            self.tx_causes[tx[-1]].itr if tx else 0,
        )


def _raising(causes: tuple[Cause, ...], number: int) -> list[int]:
    """The queues that raise a vector."""
    return [queue for queue, cause in enumerate(causes) if cause.enabled and cause.vector == number]


def _cause(register: int) -> Cause:
    return Cause(register & VECTOR, register >> 11 & 3, bool(register & CAUSE_ENABLED))


def decode(raw: bytes) -> Queues:
    """Decodes what the judge tells of one VF."""
    pairs, vsi, mac, rate, up, trusted, spoof, disabled, version = HEAD.unpack_from(raw)
    rx, numbers = {}, []
    rx_causes, tx_causes = [], []
    for queue in range(pairs):
        _, number, control, rx_cause, tx_cause, form, context = PAIR.unpack_from(
            raw, HEAD.size + queue * PAIR.size
        )
        if control & ENABLED:
            rx[queue] = rx_queue(context, form & RXDID)
        numbers.append(number)
        rx_causes.append(_cause(rx_cause))
        tx_causes.append(_cause(tx_cause))
    return Queues(
        pairs=pairs,
        vsi=vsi,
        mac=mac,
        rate=rate,
        link_up=bool(up),
        trusted=bool(trusted),
        spoof_check=bool(spoof),
        disabled=bool(disabled),
        version=(version >> 16, version & 0xFFFF),
        rx=rx,
        rx_causes=tuple(rx_causes),
        tx_causes=tuple(tx_causes),
        tx_numbers=tuple(numbers),
    )
