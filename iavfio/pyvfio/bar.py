# SPDX-License-Identifier: BSD-3-Clause
"""One BAR: registers by 32-bit access, raw addresses of what is mapped, a table for C."""

from __future__ import annotations

import errno
import mmap
from typing import Any

from iavfio.pyvfio import forks
from iavfio.pyvfio._vfio import ffi, lib
from iavfio.pyvfio.errors import (
    Closed,
    DeviceLost,
    Unsupported,
    VfioError,
    within_own_request,
)
from iavfio.pyvfio.log import log

# Milliseconds of a wait in C: between two of them Python answers signals (docs/spec/reliability.md
# F66).
SLICE_MS = 20
ALL_ONES = 0xFFFFFFFF


class Bar:
    """Registers of one BAR.

    Parts that may be mapped are mapped; the rest is reached by message or system call.

    `regio` is the address of a C `struct vfio_regio`, valid until close, usable from any thread.
    A device that is gone reads 0xffffffff and sets `lost`; the process survives
    (docs/spec/reliability.md F31, F32). `unmapped` says why nothing is mapped that a server offers,
    as in "may be cut short"; "" where that is not so.
    """

    def __init__(self, name: str, io: Any, size: int) -> None:
        if io == ffi.NULL:
            raise VfioError(f"no memory for the BAR of {name}", "", "free memory")
        self._io = io
        self._name = name
        self.size = size
        self.unmapped = ""
        self._areas: list[tuple[int, mmap.mmap, Any]] = []
        self.regio = int(ffi.cast("uintptr_t", lib.bar_io_regio(io)))
        self._was_lost = False
        forks.track(self)

    def add_area(self, offset: int, memory: mmap.mmap) -> None:
        """Serves [offset, offset + len(memory)) from a mapping from now on.

        When there are too many areas this one is still reached by messages or system calls.
        """
        view = ffi.from_buffer(memory)
        result = lib.bar_io_add_area(self._io, offset, len(memory), view)
        if result == -errno.ENOSPC:
            return
        if result < 0:
            raise VfioError(
                f"{self._name}: BAR area at {offset:#x} cannot be used", "", "", -result
            )
        self._areas.append((offset, memory, view))

    def by_message(self, why: str) -> None:
        """Nothing is mapped, because of what the server's file is or may become."""
        self.unmapped = why
        log.warning(
            "%s: its server's file %s: each access is a message, which is slow", self._name, why
        )

    @property
    def lost(self) -> bool:
        """Whether an access found the device gone."""
        return self._was_lost if self._io is None else bool(lib.bar_io_lost(self._io))

    def read32(self, offset: int) -> int:
        """One register; 0xffffffff when the device is lost, out of range or misaligned."""
        access = ffi.new("struct bar_access *", {"offset": offset})
        self._run(access)
        return int(access.value)

    def write32(self, offset: int, value: int) -> None:
        """One register; everything stored to DMA memory before is visible to the device first."""
        fields = {"offset": offset, "value": value & 0xFFFFFFFF, "write": 1}
        result = self._run(ffi.new("struct bar_access *", fields))
        if result:
            raise DeviceLost(
                f"{self._name}: register {offset:#x} cannot be written",
                "the device or its server is gone" if self.lost else "the access was refused",
                "",
                abs(result),
            )

    def _run(self, access: Any) -> int:
        """An access that ends at its deadline, and before that at any signal that raises."""
        if self._io is None:
            raise Closed(f"{self._name} was closed")
        try:
            while (result := lib.bar_io_run(self._io, access, SLICE_MS)) == -errno.EAGAIN:
                if self._io is None:  # a signal handler did that
                    raise Closed(f"{self._name} was closed")
        finally:
            if self._io is not None:
                lib.bar_io_end(self._io, access)
        if result == -errno.EDEADLK:
            raise within_own_request(self._name)
        return int(result)

    def mapped(self, offset: int, length: int = 4) -> bool:
        """Whether [offset, offset + length) lies in one mapped area."""
        return self._find(offset, length) is not None

    def address(self, offset: int, length: int = 4) -> int:
        """Raw address of a mapped register, for C. Raises Unsupported when it is not mapped."""
        found = self._find(offset, length)
        if found is None:
            raise Unsupported(
                f"{self._name}: register {offset:#x} is not mapped", "its page may not be mapped"
            )
        return found

    def _find(self, offset: int, length: int) -> int | None:
        for start, memory, view in self._areas:
            if start <= offset and offset + length <= start + len(memory):
                return int(ffi.cast("uintptr_t", view)) + offset - start
        return None

    def mark_lost(self) -> None:
        """Makes all further reads give 0xffffffff and all further writes fail."""
        if self._io is not None:
            if not self.lost:
                log.warning("%s: the device is gone, registers are not read any more", self._name)
            lib.bar_io_set_lost(self._io)

    def look_again(self, offset: int) -> bool:
        """Whether the register at `offset` answers again where all were lost; they are read then.

        A page that was taken away while it was mapped reads as ones for good.
        """
        if self._io is None:
            raise Closed(f"{self._name} was closed")
        lib.bar_io_set_found(self._io)
        if self.read32(offset) != ALL_ONES:
            log.info("%s: the device answers again", self._name)
            return True
        lib.bar_io_set_lost(self._io)
        return False

    def close(self) -> None:
        """Drops the mappings. C must no longer use `regio`."""
        if self._io is None:
            return
        self._was_lost = bool(lib.bar_io_lost(self._io))
        io, self._io, self._areas = self._io, None, []
        lib.bar_io_free(io)

    def after_fork_in_child(self) -> None:
        """Doorbells of the parent's device become plain memory (docs/spec/reliability.md F64)."""
        for _, memory, view in self._areas:
            lib.memory_replace_with_zeros(view, len(memory))
        self.mark_lost()
