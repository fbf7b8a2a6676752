# SPDX-License-Identifier: BSD-3-Clause
"""A hostile software VF: a whole PF in a thread of the test's process, with a knob for each wrong.

What no command of the control socket brings about (iavfio/softvf/pf/admin.py) is done here from
outside: write-backs of any content, registers that freeze or lie, replies in parts, messages in the
wrong order. A descriptor that is written by hand is one that the data plane does not write: a ring
belongs to one of both, from its start to the next reset.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from iavfio.softvf.dataplane import DataPlane
from iavfio.softvf.server.connection import Connection
from tests.hostile.served_pf import ServedPf

RX_BYTES, TX_BYTES = 32, 16  # of a descriptor
DD, EOP = 1, 2
RXDID = 22  # the flexible profile that a port asks an E810 for (docs/spec/descriptors.md 7)
UDP = 24  # the packet type of UDP over IPv4
BETWEEN_PARTS = 1e-4  # seconds


@dataclass
class ReceiveRing:
    """The device's side of VF 0's receive queue, played by hand from its start on."""

    plane: DataPlane
    iova: int
    entries: int
    head: int = 0

    @property
    def _slot(self) -> int:
        return self.iova + RX_BYTES * self.head

    def raw(self, *words: int) -> None:
        """Writes any four words back, that with DD last."""
        packed = [word.to_bytes(8, "little") for word in words]
        self.plane.dma_write(0, self._slot, packed[0])
        self.plane.dma_write(0, self._slot + 16, packed[2] + packed[3])
        self.plane.dma_write(0, self._slot + 8, packed[1])
        self.head = (self.head + 1) % self.entries

    def put(
        self,
        data: bytes = b"",
        *,
        length: int | None = None,
        eop: bool = True,
        ptype: int = UDP,
        profile: int = RXDID,
    ) -> None:
        """Writes data into the next buffer, and a write-back that may claim something else."""
        buffer = int.from_bytes(self.plane.dma_read(0, self._slot, 8), "little")
        if data:
            self.plane.dma_write(0, buffer, data)
        claimed = len(data) if length is None else length
        self.raw(profile | ptype << 16 | claimed << 32, DD | EOP * eop, 0, 0)


class HostileServer:
    """The knobs; `pf` serves VF 0 and has the commands of the control socket."""

    def __init__(self, pf: ServedPf, patch: pytest.MonkeyPatch) -> None:
        self.pf, self._patch = pf, patch
        self.parts = 0  # that replies were sent in
        self.held: list[tuple[int, int, bytes]] = []  # messages that wait for another
        self._rings: dict[tuple[str, int], tuple[int, int]] = {}  # address and length
        for kind in ("configure_rx", "configure_tx"):
            patch.setattr(pf.plane, kind, self._recorded(kind))

    def _recorded(self, kind: str) -> Callable[..., None]:
        plain = getattr(self.pf.plane, kind)

        def configure(
            vf: int, queue: int, iova: int, entries: int, *rest: Any, **named: Any
        ) -> None:
            self._rings[kind, queue] = iova, entries
            plain(vf, queue, iova, entries, *rest, **named)

        return configure

    @property
    def name(self) -> str:
        """What iavfio.open takes."""
        return f"vfio-user:{self.pf.paths[0]}"

    def receive_ring(self, queue: int = 0) -> ReceiveRing:
        """The receive ring of a port that has just started."""
        return ReceiveRing(self.pf.plane, *self._rings["configure_rx", queue])

    def writes_back_sent(self, qw1: int, descriptors: int, queue: int = 0) -> None:
        """Writes the second word of the first descriptors of a send ring."""
        ring, _ = self._rings["configure_tx", queue]
        for slot in range(descriptors):
            self.pf.plane.dma_write(0, ring + TX_BYTES * slot + 8, qw1.to_bytes(8, "little"))

    def reads(self, register: int, value: int | None = None) -> None:
        """A register reads `value` whatever it holds; None: as it does now, it has frozen."""
        registers = self.pf.vfs[0].registers
        plain = registers.read
        frozen = plain(register, 4) if value is None else value.to_bytes(4, "little")

        def read(offset: int, count: int) -> bytes:
            return frozen if (offset, count) == (register, 4) else plain(offset, count)

        self._patch.setattr(registers, "read", read)

    def shares(self, fd: int) -> None:
        """A client gets this file for its doorbells, which the device does not look at."""
        self._patch.setattr(self.pf.plane, "bar_fd", lambda vf: fd)

    def in_parts(self, size: int) -> None:
        """Whatever the server sends goes out `size` bytes at a time, descriptors with the first."""
        whole = Connection.send

        def send(
            connection: Connection, data: bytes, fds: tuple[int, ...] = (), last: bool = False
        ) -> None:
            for at in range(0, len(data), size):
                end = at + size >= len(data)
                whole(connection, data[at : at + size], () if at else fds, last and end)
                self.parts += 1
                if not end:
                    time.sleep(BETWEEN_PARTS)

        self._patch.setattr(Connection, "send", send)

    def swaps(self) -> None:
        """The next two messages of the PF come in the wrong order."""
        hardware = self.pf.vfs[0]
        plain = hardware.send_to_vf

        def send(opcode: int, retval: int, payload: bytes) -> None:
            if not self.held:
                self.held.append((opcode, retval, payload))
                return
            self._patch.setattr(hardware, "send_to_vf", plain)
            plain(opcode, retval, payload)
            plain(*self.held[0])

        self._patch.setattr(hardware, "send_to_vf", send)

    def behaves(self) -> None:
        """Ends registers that lie and replies in parts; messages that wait are lost."""
        self._patch.undo()
