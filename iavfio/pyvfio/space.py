# SPDX-License-Identifier: BSD-3-Clause
"""Address spaces: what a device sees of memory, apart from the device itself."""

from __future__ import annotations

import errno
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from iavfio.pyvfio import forks
from iavfio.pyvfio.arguments import whole
from iavfio.pyvfio.errors import BadArgument, Closed, DmaError, VfioError
from iavfio.pyvfio.memory import DmaMemory


@dataclass(frozen=True, order=True)
class IovaRange:
    """Usable I/O virtual addresses, both ends included."""

    start: int
    last: int


@dataclass(frozen=True, order=True)
class Mapping:
    """Memory that a device may reach at `iova`."""

    iova: int
    size: int
    memory: DmaMemory


class AddressSpace(ABC):
    """A container, an IOAS, or one vfio-user connection: it maps DMA and hands out IOVAs.

    IOVAs come from the ranges that were reported after attach, never from virtual addresses: behind
    some IOMMUs an IOVA has 39 bits (docs/spec/vfio.md 4).
    """

    page_size: int = 4096
    physical: bool = False  # IOVAs are physical addresses: memory must come from `allocate`

    def __init__(self) -> None:
        self._mappings: dict[int, Mapping] = {}
        self._lock = threading.Lock()
        self._closed = ""
        forks.track(self)

    @property
    @abstractmethod
    def ranges(self) -> tuple[IovaRange, ...]:
        """IOVAs that may be mapped, known after the first device was attached."""

    @property
    def mappings(self) -> tuple[Mapping, ...]:
        """What is mapped now, in order of IOVA."""
        with self._lock:
            return tuple(sorted(self._mappings.values(), key=lambda mapping: mapping.iova))

    def map(
        self,
        memory: DmaMemory,
        *,
        iova: int | None = None,
        readable: bool = True,
        writable: bool = True,
    ) -> int:
        """Lets the device read and/or write all of `memory`; returns its IOVA.

        Without `iova` a free one is chosen. Raises DmaError (overlap, alignment, outside the
        ranges, too many mappings), MemlockExceeded or Closed; nothing is mapped then.
        """
        if not isinstance(memory, DmaMemory):
            raise BadArgument(
                f"{memory!r} cannot be mapped", "it is no DmaMemory", "DmaMemory.allocate(size)"
            )
        if iova is not None:
            iova = whole("iova", iova, 0, (1 << 64) - 1)
        with self._lock:
            self.check_open()
            if iova is None:
                iova = self._place(memory)
            elif iova + memory.size > 1 << 64 or iova % self.page_size:
                raise DmaError(
                    f"[{iova:#x}, +{memory.size:#x}) cannot be mapped",
                    f"it is not aligned to {self.page_size:#x}, or no 64-bit address",
                    "let map() choose the IOVA",
                    errno.EINVAL,
                )
            self._map(memory, iova, readable, writable)
            self._mappings[iova] = Mapping(iova, memory.size, memory)
        return iova

    def allocate(self, size: int) -> DmaMemory:
        """Memory that can be mapped here, of at least `size` bytes, for rings and the like.

        Small pages where they will do. Raises VfioError when memory is short.
        """
        return DmaMemory.allocate(size, huge="never")

    def unmap(self, iova: int, size: int) -> None:
        """Withdraws a mapping made by `map`. Raises DmaError when it is none."""
        with self._lock:
            self.check_open()
            mapping = self._mappings.get(whole("iova", iova, 0, (1 << 64) - 1))
            size = whole("size", size, 0, (1 << 64) - 1)
            if mapping is None or mapping.size != size:
                raise DmaError(
                    f"nothing is mapped as [{iova:#x}, +{size:#x})",
                    "mappings are withdrawn whole, as they were made",
                    "pass the IOVA that map() returned and the memory's size",
                )
            self._unmap(iova, size)
            del self._mappings[iova]

    def check_open(self) -> None:
        """Raises Closed when nothing can be mapped here any more."""
        if self._closed:
            raise Closed("the address space cannot be used", self._closed, "open the device again")

    def _shut(self) -> None:
        """Forgets all mappings, and refuses new ones, because the last device went."""
        with self._lock:
            self._closed = self._closed or "its last device was closed"
            self._mappings = {}

    def _unmap_all(self) -> None:
        """Withdraws all mappings; one that is refused ends when the file is closed."""
        for mapping in self.mappings:
            try:
                self.unmap(mapping.iova, mapping.size)
            except VfioError:
                pass

    def after_fork_in_child(self) -> None:
        """A child must not map memory for its parent's device (docs/spec/reliability.md F64)."""
        self._lock = threading.Lock()  # whoever held it at the fork does not exist here
        self._closed = self._closed or "it belongs to the process that forked this one"

    def _place(self, memory: DmaMemory) -> int:
        """Returns the IOVA for memory whose user chose none."""
        return self._free(memory.size, max(memory.page_size, self.page_size))

    def _free(self, size: int, align: int) -> int:
        """Returns the lowest free aligned IOVA, never 0, which a forgotten address would read."""
        taken = sorted((m.iova, m.iova + m.size) for m in self._mappings.values())
        for span in self.ranges:
            at = _up(max(span.start, 1), align)
            for start, end in taken:
                if start >= at + size:
                    break
                if end > at:
                    at = _up(end, align)
            if at + size - 1 <= span.last:
                return at
        raise DmaError(
            f"no free IOVA range of {size:#x} bytes",
            f"the address space offers {describe_ranges(self.ranges)}",
            "unmap something, or use smaller pools",
        )

    @abstractmethod
    def _map(self, memory: DmaMemory, iova: int, readable: bool, writable: bool) -> None: ...

    @abstractmethod
    def _unmap(self, iova: int, size: int) -> None: ...


def _up(value: int, align: int) -> int:
    return -(-value // align) * align


def describe_ranges(ranges: Iterable[IovaRange]) -> str:
    """Ranges as a reader wants to see them."""
    return ", ".join(f"[{span.start:#x}, {span.last:#x}]" for span in ranges) or "no addresses"
