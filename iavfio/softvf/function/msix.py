# SPDX-License-Identifier: BSD-3-Clause
"""MSI-X of one VF: eventfds, mask state, and the table and pending bits in BAR3 (registers 5.4).

A vfio-user client never shows its MSI-X enable bit to the device: QEMU and the kernel emulate table
and enable themselves and hand out eventfds. So eventfds count as enabled; the table's mask bits
count only once a client has written the table.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from iavfio.softvf.server import messages as wire
from iavfio.softvf.server.messages import Refused

if TYPE_CHECKING:
    from iavfio.softvf.dataplane import DataPlane
    from iavfio.softvf.function.config_space import ConfigSpace
    from iavfio.softvf.personality import Personality

ENTRY = 16
VECTOR_CONTROL = 12
MASKED = 1


class Msix:
    """Vectors of one VF, of the ERR and of the REQ interrupt."""

    def __init__(self, vf: int, personality: Personality, plane: DataPlane) -> None:
        self._vf, self._plane = vf, plane
        self._count = personality.msix_count
        self._size = personality.bar3_size
        self._pba = personality.pba_offset
        self._eventfds: dict[int, dict[int, int]] = {wire.MSIX: {}, wire.ERR: {}, wire.REQ: {}}
        self._client_masked = [False] * self._count
        self._table = bytearray(self._count * ENTRY)
        self._table_used = False
        self.muted = False  # a fault that the administrator injects
        self._clear_table()

    def count(self, index: int) -> int:
        """Vectors of an interrupt index (vfio-user 4)."""
        return {wire.MSIX: self._count, wire.ERR: 1, wire.REQ: 1}.get(index, 0)

    def publish(self, config: ConfigSpace) -> None:
        """Tells the plane what may fire."""
        masked = [
            client or (self._table_used and bool(self._table[v * ENTRY + VECTOR_CONTROL] & MASKED))
            for v, client in enumerate(self._client_masked)
        ]
        wired = bool(self._eventfds[wire.MSIX])
        enabled = wired and not config.msix_masked and not self.muted
        self._plane.set_msix(self._vf, enabled, masked)

    # ---- SET_IRQS

    def set_irqs(self, payload: bytes, fds: list[int], config: ConfigSpace) -> None:
        """All forms of SET_IRQS (vfio-user 4); takes the fds that it keeps."""
        argsz, flags, index, start, count = wire.fixed(wire.IRQ_SET, payload)
        data, action = flags & 0x7, flags & 0x38
        if argsz < wire.IRQ_SET.size or flags & ~0x3F or index >= wire.NUM_IRQS:
            raise Refused(f"SET_IRQS: argsz {argsz}, flags {flags:#x}, index {index}")
        if data not in (1, 2, 4) or action not in (8, 16, 32):
            raise Refused(f"SET_IRQS: flags {flags:#x} need exactly one data and one action")
        vectors = self.count(index)
        if start >= vectors or count > vectors - start:
            raise Refused(f"SET_IRQS: [{start}, +{count}) of {vectors} vectors of index {index}")
        if count == 0 and (data, action, start) != (wire.DATA_NONE, wire.ACTION_TRIGGER, 0):
            raise Refused("SET_IRQS: count 0 is for disabling an index")
        if len(payload) - wire.IRQ_SET.size != (count if data == wire.DATA_BOOL else 0):
            raise Refused(f"SET_IRQS: {len(payload)} bytes do not fit {count} vectors")
        if fds and (data != wire.DATA_EVENTFD or len(fds) != count):
            raise Refused(f"SET_IRQS: {len(fds)} fds for {count} vectors, flags {flags:#x}")
        if index != wire.MSIX and action != wire.ACTION_TRIGGER:
            raise Refused("SET_IRQS: ERR and REQ can only be triggered")
        if data == wire.DATA_EVENTFD:
            if action != wire.ACTION_TRIGGER:
                raise Refused("SET_IRQS: mask and unmask take no eventfds")
            self._assign(index, start, count, fds)
        elif count == 0:
            self._drop(index)
        else:
            chosen = payload[wire.IRQ_SET.size :] if data == wire.DATA_BOOL else b"\1" * count
            self._apply(index, action, [start + i for i, yes in enumerate(chosen) if yes])
        self.publish(config)

    def _assign(self, index: int, start: int, count: int, fds: list[int]) -> None:
        for fd in fds:
            if not _is_eventfd(fd):
                raise Refused("SET_IRQS: an fd is no eventfd")
        taken: list[int | None] = list(fds) or [None] * count
        fds.clear()
        for vector, eventfd in enumerate(taken, start):
            self._set_eventfd(index, vector, eventfd)

    def _set_eventfd(self, index: int, vector: int, fd: int | None) -> None:
        old = self._eventfds[index].pop(vector, None)
        if fd is not None:
            self._eventfds[index][vector] = fd
        if index == wire.MSIX:
            self._plane.set_eventfd(self._vf, vector, fd)
        if old is not None:
            os.close(old)

    def _drop(self, index: int) -> None:
        for vector in list(self._eventfds[index]):
            self._set_eventfd(index, vector, None)
        if index == wire.MSIX:
            self._client_masked = [False] * self._count

    def _apply(self, index: int, action: int, vectors: list[int]) -> None:
        for vector in vectors:
            if action == wire.ACTION_TRIGGER:
                self.fire(index, vector)
            else:
                self._client_masked[vector] = action == wire.ACTION_MASK

    def fire(self, index: int, vector: int = 0) -> bool:
        """Signals an eventfd; False when the client gave none."""
        fd = self._eventfds[index].get(vector)
        if fd is None:
            return False
        try:
            os.eventfd_write(fd, 1)
        except BlockingIOError:
            pass  # told often enough
        return True

    def drop_all(self, config: ConfigSpace) -> None:
        """The client is gone: closes all eventfds."""
        for index in self._eventfds:
            self._drop(index)
        self.publish(config)

    # ---- BAR3

    def reset(self, config: ConfigSpace) -> None:
        """FLR: the table is cleared; eventfds stay, they are the client's wiring."""
        self._clear_table()
        self.publish(config)

    def _clear_table(self) -> None:
        self._table[:] = bytes(len(self._table))
        self._table[VECTOR_CONTROL::ENTRY] = bytes([MASKED]) * self._count
        self._table_used = False

    def read(self, offset: int, count: int) -> bytes:
        """Bytes of BAR3: table, pending bits, zero elsewhere."""
        out = bytearray(count)
        _overlay(out, offset, 0, self._table)
        _overlay(out, offset, self._pba, self._plane.pending(self._vf).to_bytes(8, "little"))
        return bytes(out)

    def write(self, offset: int, data: bytes, config: ConfigSpace) -> bool:
        """Whole aligned words of the table; all else is read-only. False: not an allowed form."""
        if len(data) not in (4, 8) or offset % len(data):
            return False
        if offset + len(data) <= len(self._table):
            self._table[offset : offset + len(data)] = data
            for entry in range(offset // ENTRY * ENTRY, offset + len(data), ENTRY):
                self._table[entry] &= 0xFC
                self._table[entry + VECTOR_CONTROL] &= MASKED
                self._table[entry + VECTOR_CONTROL + 1 : entry + ENTRY] = bytes(3)
            self._table_used = True
            self.publish(config)
        return True


def _is_eventfd(fd: int) -> bool:
    # A pipe or a file in its place could block the data thread.
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink()) == "anon_inode:[eventfd]"
    except OSError as error:
        return error.errno != errno.EBADF  # no /proc: believe the client


def _overlay(out: bytearray, out_at: int, at: int, source: bytes | bytearray) -> None:
    """Copies the part of `source` (which lies at `at`) that falls into `out` (at `out_at`)."""
    first = max(out_at, at)
    last = min(out_at + len(out), at + len(source))
    if first < last:
        out[first - out_at : last - out_at] = source[first - at : last - at]
