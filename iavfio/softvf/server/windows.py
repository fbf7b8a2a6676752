# SPDX-License-Identifier: BSD-3-Clause
"""DMA windows of one client: those with an fd live in the data plane, the hollow ones here.

A client may map memory that has no fd: QEMU does so with ROMs and with BARs of other devices, also
over windows that exist. Such a hollow window is accepted and never used: DMA into it fails
(docs/spec/vfio-user.md 6).
"""

from __future__ import annotations

import errno
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from iavfio.softvf._device import lib
from iavfio.softvf.server.messages import RequestRefused, Wait

if TYPE_CHECKING:
    from iavfio.softvf.burial import Burial
    from iavfio.softvf.dataplane import DataPlane

MAX_HOLLOW = 1024  # ROMs, and BARs of other devices
REFUSALS: Mapping[int, str] = MappingProxyType(  # what the data plane and mmap refuse a window for
    {
        errno.EACCES: "the file is open for reading only",
        errno.EAGAIN: "the file's memory may not be locked",
        errno.EINVAL: "the file ends before the window does",
        errno.ENODEV: "the file is no memory: a memfd, or a file of tmpfs or hugetlbfs, is",
        errno.ENOMEM: "there is no memory or address space for it",
        errno.EFBIG: "more than {gib} GiB would be mapped, which the option memory_gib allows",
        errno.ENOSPC: "the client's share of windows or mappings is used up",
        errno.EEXIST: "there is another window",
        errno.EOVERFLOW: "it goes beyond all addresses",
        errno.EPERM: "the file is sealed",
    }
)
TOP = 1 << 64
PAGE = int(lib.PAGE_BYTES)


class Windows:
    """Maps and unmaps; keeps (address, size) of the windows without fd, sorted."""

    def __init__(self, vf: int, plane: DataPlane, burial: Burial) -> None:
        self._vf, self._plane, self._burial = vf, plane, burial
        self._hollow: list[tuple[int, int]] = []

    def map(
        self, fd: int | None, offset: int, address: int, size: int, readable: bool, writable: bool
    ) -> None:
        """Adds a window; raises RequestRefused when it cannot be."""
        if size == 0 or size > TOP - address:
            raise RequestRefused(f"window [{address:#x}, +{size:#x}) is empty or wraps")
        if fd is not None:
            if (offset | address | size) % PAGE:
                raise RequestRefused(
                    f"window [{address:#x}, +{size:#x}) at file offset {offset:#x} is not of whole "
                    f"pages of {PAGE} bytes, as an IOMMU's are"
                )
            if offset >= 1 << 63 or size > (1 << 63) - offset:
                raise RequestRefused(f"file offset {offset:#x} + {size:#x} is out of range")
            try:
                self._plane.dma_map(self._vf, fd, offset, address, size, readable, writable)
            except OSError as error:
                code = error.errno or 0
                if code not in REFUSALS:
                    raise
                why = REFUSALS[code].format(gib=self._plane.memory_gib)
                text = f"window [{address:#x}, +{size:#x}): {why}"
                raise RequestRefused(text, code) from error
        elif len(self._hollow) >= MAX_HOLLOW:
            raise RequestRefused("too many windows", errno.ENOSPC)
        elif (address, size) not in self._hollow[bisect_left(self._hollow, (address, size)) :][:1]:
            insort(self._hollow, (address, size))

    def unmap(self, address: int, size: int) -> None:
        """Removes all windows inside the range.

        A range that would split a window is refused before anything is changed.
        """
        if size == 0 or size > TOP - address:
            raise RequestRefused(f"range [{address:#x}, +{size:#x}) is empty or wraps")
        end = address + size
        kept = []
        for first, length in self._hollow:
            if first >= end or first + length <= address:
                kept.append((first, length))
            elif first < address or first + length > end:
                raise RequestRefused(f"[{address:#x}, +{size:#x}) splits the window at {first:#x}")
        try:
            self._plane.dma_unmap(self._vf, address, size)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise RequestRefused(f"[{address:#x}, +{size:#x}) splits a window") from error
        self._hollow = kept

    def bury(self) -> Iterator[Wait]:
        """Gives back the memory of windows that are gone, for which the client waits."""
        self._burial.begin()
        while self._burial.busy:
            yield self._burial.when_done

    def clear(self) -> None:
        """Removes all windows."""
        self._hollow.clear()
        self._plane.dma_clear(self._vf)
