# SPDX-License-Identifier: BSD-3-Clause
"""MSI-X of one VF: eventfds, mask bits, table and pending bits (docs/spec/registers.md 5.4).

What vfio-pci and the card do together: the first SET_IRQS with eventfds enables MSI-X in config
space, the one that disables the index ends it, and a config write of a client does neither. A bit
that is lost otherwise stays so until the index is disabled and set anew (docs/spec/vfio.md 5). The
table is the client's own, as QEMU and the kernel have it: its mask bits count only once a client
has written there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from iavfio.softvf.function.regions import Interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iavfio.softvf.dataplane import DataPlane
    from iavfio.softvf.function.config_space import ConfigSpace
    from iavfio.softvf.personality import Personality

ENTRY = 16
VECTOR_CONTROL = 12
MASKED = 1


class Msix:
    """The vectors of one VF, and its ERR and REQ interrupts."""

    def __init__(
        self, vf: int, personality: Personality, plane: DataPlane, config: ConfigSpace
    ) -> None:
        self._vf, self._plane, self._config = vf, plane, config
        self._count = personality.msix_count
        self._pba = personality.pba_offset
        self._eventfds: dict[int, dict[int, int]] = {interrupt: {} for interrupt in Interrupt}
        self._client_masked = [False] * self._count
        self._table = bytearray(self._count * ENTRY)
        self._table_used = False
        self._in_use = False  # the index, since its first eventfds
        self._muted = False
        self.discard: Callable[[int], None] = os.close  # whatever eventfd is not needed any more
        self._clear_table()

    def count(self, index: int) -> int:
        """How many vectors an interrupt index has; 0 when it is absent."""
        if index == Interrupt.MSIX:
            return self._count
        return int(index in self._eventfds)

    def publish(self) -> None:
        """Tells the data plane which vectors may fire."""
        masked = [
            client or (self._table_used and bool(self._table[v * ENTRY + VECTOR_CONTROL] & MASKED))
            for v, client in enumerate(self._client_masked)
        ]
        self._plane.set_msix(self._vf, self._config.msix_enabled and not self._muted, masked)

    def mute(self, on: bool) -> None:
        """Holds interrupts back, as if all vectors were masked."""
        self._muted = on
        self.publish()

    def lose(self) -> None:
        """Switches MSI-X off behind the client's back, as a reset that VFIO does not know of."""
        self._config.enable_msix(False)
        self.publish()

    # ---- what the client wires

    def assign(self, index: int, start: int, eventfds: Sequence[int | None]) -> None:
        """Gives vectors from `start` on their eventfds; None takes a vector's eventfd away.

        The eventfds belong to this object afterwards. MSI-X is enabled by the first, also without.
        """
        if index == Interrupt.MSIX and not self._in_use:
            self._in_use = True
            self._config.enable_msix(True)
        for vector, eventfd in enumerate(eventfds, start):
            self._set_eventfd(index, vector, eventfd)
        self.publish()

    def drop(self, index: int) -> None:
        """Disables an interrupt index: closes its eventfds and forgets its mask bits."""
        self._drop(index)
        self.publish()

    def drop_all(self) -> None:
        """Closes the eventfds of all indexes: the client is gone."""
        for index in self._eventfds:
            self._drop(index)
        self.publish()

    def mask(self, vectors: Sequence[int], on: bool) -> None:
        """Sets the client's mask bit of MSI-X vectors."""
        for vector in vectors:
            self._client_masked[vector] = on
        self.publish()

    def fire(self, index: int, vector: int = 0) -> bool:
        """Signals an eventfd; False when the client gave none."""
        eventfd = self._eventfds[index].get(vector)
        if eventfd is None:
            return False
        self._plane.signal(self._vf, eventfd)
        return True

    def _set_eventfd(self, index: int, vector: int, eventfd: int | None) -> None:
        old = self._eventfds[index].pop(vector, None)
        if eventfd is not None:
            self._eventfds[index][vector] = eventfd
        if index == Interrupt.MSIX:
            self._plane.set_eventfd(self._vf, vector, eventfd)
        if old is not None:
            self.discard(old)

    def _drop(self, index: int) -> None:
        for vector in list(self._eventfds[index]):
            self._set_eventfd(index, vector, None)
        if index == Interrupt.MSIX:
            self._client_masked = [False] * self._count
            self._in_use = False
            self._config.enable_msix(False)

    # ---- BAR3

    def reset(self) -> None:
        """Clears the table, as an FLR does.

        Eventfds and Enable stay: they are the client's wiring, which VFIO restores after a reset
        that it makes (docs/spec/vfio.md 5).
        """
        self._config.enable_msix(self._in_use)
        self._clear_table()
        self.publish()

    def _clear_table(self) -> None:
        self._table[:] = bytes(len(self._table))
        self._table[VECTOR_CONTROL::ENTRY] = bytes([MASKED]) * self._count
        self._table_used = False

    def read(self, offset: int, count: int) -> bytes:
        """Bytes of BAR3: the table, the pending bits, and zeros elsewhere."""
        out = bytearray(count)
        _overlay(out, offset, 0, self._table)
        _overlay(out, offset, self._pba, self._plane.pending(self._vf).to_bytes(8, "little"))
        return bytes(out)

    def write(self, offset: int, data: bytes) -> bool:
        """Writes aligned words of 4 or 8 bytes into the table; all else of BAR3 is read-only.

        Returns False for a write of another width or alignment, which has no effect.
        """
        if len(data) not in (4, 8) or offset % len(data):
            return False
        if offset + len(data) <= len(self._table):
            self._table[offset : offset + len(data)] = data
            for entry in range(offset // ENTRY * ENTRY, offset + len(data), ENTRY):
                self._table[entry] &= 0xFC
                self._table[entry + VECTOR_CONTROL] &= MASKED
                self._table[entry + VECTOR_CONTROL + 1 : entry + ENTRY] = bytes(3)
            self._table_used = True
            self.publish()
        return True


def _overlay(out: bytearray, out_at: int, at: int, source: bytes | bytearray) -> None:
    """Copies the part of `source` (which lies at `at`) that falls into `out` (at `out_at`)."""
    first = max(out_at, at)
    last = min(out_at + len(out), at + len(source))
    if first < last:
        out[first - out_at : last - out_at] = source[first - at : last - at]
