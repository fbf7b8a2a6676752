# SPDX-License-Identifier: BSD-3-Clause
"""The handlers of the software PF, found in its own tables, and what makes a client run into each.

A command, register or request that is added is found here by itself; one for which nothing is known
that would run into it is a KeyError, which no test can overlook.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest.mock import Mock

from iavfio.softvf import personality as cards
from iavfio.softvf.control import Control
from iavfio.softvf.dataplane import DataPlane
from iavfio.softvf.function.config_space import ConfigSpace
from iavfio.softvf.function.device import Vf
from iavfio.softvf.function.mailbox import Mailbox
from iavfio.softvf.function.msix import Msix
from iavfio.softvf.function.registers import Registers
from iavfio.softvf.pf import Pf
from iavfio.softvf.pf.resets import Resets
from iavfio.softvf.server.session import Session
from iavfio.softvf.server.windows import Windows
from tests.softvf.function.mailbox_rings import (
    ARQBAH,
    ARQBAL,
    ARQH,
    ARQLEN,
    ARQT,
    ATQBAH,
    ATQBAL,
    ATQH,
    ATQLEN,
    ATQT,
    DYN_CTL01,
    RSTAT,
    Rings,
)

Act = Callable[[Rings], object]
Case = tuple[type, str, Act]


def ask(command: int, payload: bytes = b"") -> Act:
    return lambda rings: rings.client.ask(command, payload)


def w32(register: int, value: int = 0) -> Act:
    return lambda rings: rings.client.write32(register, value)


def access(region: int, offset: int, data: bytes) -> bytes:
    return struct.pack("<QII", offset, region, len(data)) + data


def dma_map(rings: Rings) -> None:
    fd = os.memfd_create("more")
    os.ftruncate(fd, 4096)
    try:
        rings.client.ask(2, struct.pack("<IIQQQ", 32, 3, 0, 1 << 40, 4096), (fd,))
    finally:
        os.close(fd)


def message(opcode: int, payload: bytes = b"") -> Act:
    return lambda rings: rings.send(v_opcode=opcode, payload=payload)


VERSION = struct.pack("<II", 1, 1)
IRQS = struct.pack("<IIIII", 20, 1 | 32, 2, 0, 1)
MULTI = struct.pack("<Q", 1) + struct.pack("<QIIQ", RSTAT, 0, 4, 0)
ACTS: dict[int, Act] = {
    2: dma_map,
    3: ask(3, struct.pack("<IIQQ", 24, 0, 1 << 40, 4096)),
    4: ask(4, struct.pack("<IIII", 16, 0, 0, 0)),
    5: ask(5, struct.pack("<IIIIQQ", 32, 0, 0, 0, 0, 0)),
    6: ask(6, struct.pack("<IIII", 16, 0, 0, 0)),
    7: ask(7, struct.pack("<IIII", 16, 0, 2, 0)),
    8: ask(8, IRQS),
    9: ask(9, struct.pack("<QII", RSTAT, 0, 4)),
    10: ask(10, access(0, RSTAT, bytes(4))),
    13: ask(13),
    15: ask(15, MULTI),
    16: ask(16),
}


def _name(handler: Callable[..., object]) -> str:
    """A method's name; that of a method to which another is given is the other's."""
    if not isinstance(handler, partial):
        return handler.__name__
    return _name(next(filter(callable, handler.args), handler.func))


COMMANDS: list[Case] = [
    (Session, _name(handler), ACTS[command])
    for command, handler in Session.__new__(Session).handlers().items()
]
BEHIND_COMMANDS: list[Case] = [
    (Windows, "bury", dma_map),
    (Windows, "map", dma_map),
    (Windows, "unmap", ask(3, struct.pack("<IIQQ", 24, 0, 1 << 40, 4096))),
    (Session, "_change_windows", dma_map),
    (DataPlane, "dma_map", dma_map),
    (DataPlane, "dma_unmap", ask(3, struct.pack("<IIQQ", 24, 0, 1 << 40, 4096))),
    (Msix, "fire", ask(8, IRQS)),
    (Msix, "publish", ask(10, access(3, 12, bytes(4)))),
    (Vf, "write", ask(15, MULTI)),
    (Vf, "flr", ask(13)),
    (ConfigSpace, "read", ask(9, struct.pack("<QII", 0, 7, 4))),
    (ConfigSpace, "write", ask(10, access(7, 4, bytes(2)))),
    (ConfigSpace, "reset", ask(13)),
    (Resets, "flr", ask(13)),
]
REGISTERS: list[Case] = [
    (Registers, "read", ask(9, struct.pack("<QII", RSTAT, 0, 4))),
    (Registers, "write", w32(RSTAT)),
    (Registers, "_write_rstat", w32(RSTAT)),
    (Registers, "_write_dyn_ctl", w32(DYN_CTL01)),
    *((Mailbox, "write_base_low", w32(at)) for at in (ATQBAL, ARQBAL)),
    *((Mailbox, "write_base_high", w32(at)) for at in (ATQBAH, ARQBAH)),
    *((Mailbox, "write_length", w32(at)) for at in (ATQLEN, ARQLEN)),
    *((Mailbox, "write_head", w32(at)) for at in (ATQH, ARQH)),
    *((Mailbox, "write_tail", w32(at)) for at in (ATQT, ARQT)),
    *((DataPlane, "bar_write32", w32(at)) for at in (0x0000, 0x2000)),
    (DataPlane, "write_itr", w32(0x4C00)),
    (DataPlane, "write_dyn_ctl", w32(0x3800)),
]
QUEUES: list[Case] = [
    (Mailbox, "work", message(1, VERSION)),
    (Mailbox, "deliver", message(1, VERSION)),
    (Mailbox, "_take", message(1, VERSION)),
    (Mailbox, "_inspect", message(1, VERSION)),
    (Mailbox, "_complete", message(1, VERSION)),
    (Mailbox, "_inspect_posted", message(1, VERSION)),
    (Vf, "dma_read", message(1, VERSION)),
    (Vf, "dma_write", message(1, VERSION)),
    (DataPlane, "dma_read", message(1, VERSION)),
    (DataPlane, "dma_write", message(1, VERSION)),
    (Vf, "mailbox_interrupt", message(1, VERSION)),
    (Vf, "message_from_vf", message(1, VERSION)),
    (Pf, "message", message(1, VERSION)),
    (Vf, "queue_shutdown", lambda rings: rings.send(opcode=3, v_opcode=0, param0=1)),
    (Pf, "queue_shutdown", lambda rings: rings.send(opcode=3, v_opcode=0, param0=1)),
]
TIMERS: list[Case] = [
    (Resets, "_complete", ask(13)),
    (Resets, "_activate", ask(13)),
    (Resets, "_begin", message(2)),
    (Pf, "_event_is_over", message(1, VERSION)),
    (Vf, "_hardware_reset", message(2)),
]
CASES = COMMANDS + BEHIND_COMMANDS + REGISTERS + QUEUES + TIMERS
CONTROL = {word: _name(own) for word, own in Control.__new__(Control).commands().items()}


def register_table(personality: str) -> Iterator[tuple[str, str, int]]:
    """One register for each function that serves some: its table, the function, the offset."""
    plane, mailbox = DataPlane.__new__(DataPlane), Mailbox(Mock())
    laid_out = Registers(0, cards.named(personality), plane, mailbox, Mock())
    tables: tuple[tuple[str, dict[int, Any]], ...] = (
        ("readers", laid_out.readers),
        ("writers", laid_out.writers),
    )
    for table, rows in tables:
        seen = set()
        for offset, row in rows.items():
            function = row.func if isinstance(row, partial) else row
            if function.__qualname__ not in seen:
                seen.add(function.__qualname__)
                yield table, function.__qualname__, offset
