# SPDX-License-Identifier: BSD-3-Clause
"""Memory for DMA: shared, prefaulted, zeroed, with an fd that a vfio-user server can map."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import weakref
from pathlib import Path
from typing import Any, Literal

from iavfio.pyvfio import forks
from iavfio.pyvfio._vfio import ffi, lib
from iavfio.pyvfio.arguments import whole
from iavfio.pyvfio.errors import BadArgument, VfioError
from iavfio.pyvfio.kernel import MFD_HUGE_2MB
from iavfio.pyvfio.log import log

HugePages = Literal["auto", "never", "require"]
HUGE_2M = 2 << 20
# A server that may map the file must not be able to cut it: that would be our SIGBUS.
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
LARGEST = 1 << 46  # bytes: half of what a process can address


class DmaMemory:
    """A shared memory region of `size` bytes at `address`.

    It is a memfd mapped MAP_SHARED, so it may be mapped into any address space, also by a server in
    another process. `buffer()` gives a writable view; the memory lives until the last view dies.
    The descriptor `fd` ends with this object, or at `close`.
    """

    def __init__(self, mapping: mmap.mmap, fd: int, page_size: int, fallback: str) -> None:
        self._mapping: mmap.mmap | None = mapping
        self._view: Any = ffi.from_buffer(mapping)
        self.fd = fd  # -1: it has none that shows it in order (pyvfio.physical)
        self.size = len(mapping)
        self.page_size = page_size
        self.fallback = fallback  # why pages are small although huge ones were wanted, else ""
        self.address = int(ffi.cast("uintptr_t", self._view))
        self._owner = os.getpid()
        self._closing = None if fd < 0 else weakref.finalize(self, os.close, fd)
        forks.track(self)

    @classmethod
    def allocate(
        cls, size: int, *, huge: HugePages = "auto", numa_node: int | None = None
    ) -> DmaMemory:
        """At least `size` bytes, rounded up to whole pages.

        `huge`: "auto" takes 2 MiB pages when enough are reserved and small ones otherwise,
        "require" raises instead, "never" takes small ones. Raises VfioError when memory is short.
        """
        size = whole("size", size, 1, LARGEST)
        if huge not in ("auto", "never", "require"):
            raise BadArgument(f"huge={huge!r} is not possible", "", "auto, never or require are")
        why = ""
        if huge != "never":
            rounded = -(-size // HUGE_2M) * HUGE_2M
            why = _huge_shortage(rounded)
            if not why:
                try:
                    return cls._map(rounded, HUGE_2M, os.MFD_HUGETLB | MFD_HUGE_2MB, numa_node, "")
                except OSError as error:
                    why = f"2 MiB pages: {error.strerror}"
            if huge == "require":
                raise VfioError(
                    f"no huge pages for {rounded} bytes of DMA memory",
                    why,
                    f"reserve some: sysctl vm.nr_hugepages={rounded // HUGE_2M}; or huge='auto'",
                )
        rounded = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        if why:
            log.info("DMA memory: %d bytes in small pages: %s", rounded, why)
        try:
            return cls._map(rounded, mmap.PAGESIZE, 0, numa_node, why)
        except OSError as error:
            raise _short(rounded, error) from error

    @classmethod
    def _map(
        cls, size: int, page_size: int, flags: int, node: int | None, fallback: str
    ) -> DmaMemory:
        fd = os.memfd_create("pyvfio-dma", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | flags)
        try:
            os.ftruncate(fd, size)
            mapping = mmap.mmap(fd, size, mmap.MAP_SHARED)
            address = ffi.from_buffer(mapping)
            if node is not None and node >= 0:
                lib.memory_bind_node(address, size, node)  # best effort: placement, not function
            # What cannot be allocated must fail here: a page that is missing shows as SIGBUS later.
            os.posix_fallocate(fd, 0, size)
            result = lib.memory_prefault(address, size, page_size)
            if result < 0:
                raise OSError(-result, os.strerror(-result))
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
        except BaseException:
            os.close(fd)
            raise
        return cls(mapping, fd, page_size, fallback)

    def buffer(self) -> memoryview:
        """A writable view of all of it."""
        if self._mapping is None:
            raise VfioError("DMA memory was closed", "", "keep it open while it is in use")
        return memoryview(self._mapping)

    def close(self) -> None:
        """Drops our hold; the pages go when their last view dies. Unmap from devices first."""
        if self._mapping is None:
            return
        self._mapping = self._view = None
        if self._closing is not None:
            self._closing()
            self.fd = -1

    def after_fork_in_child(self) -> None:
        """The child's views read zeros, its writes stay its own (docs/spec/reliability.md F64)."""
        if self._view is not None:
            lib.memory_replace_with_zeros(self._view, self.size)


def _short(size: int, error: OSError) -> VfioError:
    """Why there is no DMA memory of `size` bytes: the limit that was met, and what mends it."""
    what = f"no DMA memory of {size} bytes"
    if error.errno == errno.EFBIG:
        cause = "this process may not make files as long (RLIMIT_FSIZE)"
        remedy = "raise the limit: ulimit -f unlimited"
    elif error.errno == errno.EMFILE:
        cause = f"no file descriptor is left for it (RLIMIT_NOFILE): {error.strerror}"
        remedy = "raise the limit: ulimit -n 4096"
    elif error.errno == errno.ENFILE:
        cause = f"the whole host has as many files open as it may: {error.strerror}"
        remedy = "raise the limit: sysctl fs.file-max"
    else:
        cause = f"{error.strerror}; {_available()}"
        remedy = (
            "use a smaller pool, or raise what this process may have: ulimit -v unlimited, or the "
            "memory limit of its container"
        )
    return VfioError(what, cause, remedy, error.errno or 0)


def _available() -> str:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, IndexError):
        return "how much the host has is not known"
    return f"the host has {int(free) << 10} bytes available"


def _huge_shortage(size: int) -> str:
    """Why `size` bytes of reserved 2 MiB pages cannot be had, "" when they can."""
    free = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
    try:
        pages = int(free.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return "this kernel has no 2 MiB pages"
    need = size // HUGE_2M
    return "" if pages >= need else f"{pages} huge pages of 2 MiB are free, {need} are needed"
