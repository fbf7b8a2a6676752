# SPDX-License-Identifier: BSD-3-Clause
"""Physically contiguous memory and its address, for devices without an IOMMU (docs/spec/vfio.md 8).

The kernel hands out huge pages one by one, in an order of its own. So more are taken than needed
when necessary, a run of neighbours is looked for, and mapped in physical order; the rest goes back.
Huge pages are never swapped out, and nothing but memory hot-unplug moves them.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Sequence

from iavfio.pyvfio._vfio import ffi, lib
from iavfio.pyvfio.arguments import whole
from iavfio.pyvfio.errors import DmaError, PermissionDenied, VfioError
from iavfio.pyvfio.kernel import Kernel, RealKernel
from iavfio.pyvfio.memory import HUGE_2M, LARGEST, DmaMemory

FRAME = 4096
FRAMES = HUGE_2M // FRAME
FREE = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"


def allocate(kernel: Kernel, size: int, *, numa_node: int | None = None) -> DmaMemory:
    """At least `size` bytes in one physical piece, rounded up to whole pages of 2 MiB.

    Its `fd` is -1: a vfio-user server cannot map it. Raises VfioError when too few huge pages are
    free or no run of them is long enough, PermissionDenied when physical addresses are hidden.
    """
    size = whole("size", size, 1, LARGEST)
    need = -(-size // HUGE_2M)
    free = _free_pages(kernel)
    remedy = (
        f"reserve more at boot, when memory is in one piece: hugepages={max(2 * need, 64)} on the "
        "kernel command line; or use smaller pools"
    )
    if free < need:
        raise VfioError(
            f"no physically contiguous memory of {need * HUGE_2M} bytes",
            f"{free} huge pages of 2 MiB are free, {need} are needed",
            remedy,
            errno.ENOMEM,
        )
    taken, longest = need, 0
    while True:
        try:
            memory, run = _take(kernel, taken, need, numa_node)
        except OSError as error:
            raise VfioError(
                f"no physically contiguous memory of {need * HUGE_2M} bytes",
                f"{taken} huge pages of 2 MiB could not be had ({error.strerror}); "
                f"the longest run seen has {longest}, {need} are needed",
                remedy,
                error.errno or 0,
            ) from error
        if memory is not None:
            return memory
        longest = max(longest, run)
        if taken >= free:
            raise VfioError(
                f"no physically contiguous memory of {need * HUGE_2M} bytes",
                f"the longest run among {taken} free huge pages of 2 MiB has {longest}, "
                f"{need} are needed",
                remedy,
                errno.ENOMEM,
            )
        taken = min(2 * taken, free)


def allocate_contiguous(size: int, *, numa_node: int | None = None) -> DmaMemory:
    """`allocate` on the running kernel."""
    return allocate(RealKernel(), size, numa_node=numa_node)


def address(kernel: Kernel, memory: DmaMemory) -> int:
    """Physical address of all of `memory`. Raises DmaError when it is not in one locked piece."""
    what = f"memory of {memory.size} bytes cannot be given to a device without an IOMMU"
    remedy = "take it from the space's allocate(), a pool from iavfio.Pool(contiguous=True)"
    if memory.page_size < HUGE_2M:
        raise DmaError(what, "it is no huge pages: the kernel may move it", remedy, errno.EINVAL)
    try:
        frames = _frames(kernel, memory.address, memory.size // HUGE_2M)
    except OSError as error:
        raise DmaError(
            what,
            f"its physical address cannot be read: {error.strerror}",
            "mount /proc, and use a kernel with CONFIG_PROC_PAGE_MONITOR",
            error.errno or 0,
        ) from error
    if frames != list(range(frames[0], frames[0] + len(frames) * FRAMES, FRAMES)):
        raise DmaError(what, "its huge pages are not neighbours", remedy, errno.EINVAL)
    return frames[0] * FRAME


def _free_pages(kernel: Kernel) -> int:
    try:
        return int(kernel.read_text(FREE))
    except (OSError, ValueError):
        return 0


def _frames(kernel: Kernel, at: int, pages: int) -> list[int]:
    """First page frame number of each huge page."""
    frames = kernel.frames(at, pages, HUGE_2M)
    if not all(frames):
        raise PermissionDenied(
            "physical addresses are hidden",
            "/proc/self/pagemap shows them only to those who have CAP_SYS_ADMIN",
            "run as root, or with CAP_SYS_ADMIN and CAP_SYS_RAWIO",
            errno.EPERM,
        )
    return frames


def _take(
    kernel: Kernel, taken: int, need: int, numa_node: int | None
) -> tuple[DmaMemory | None, int]:
    """Takes `taken` pages; memory of `need` of them in a row, if any, and the longest run."""
    fd = kernel.huge_file(taken * HUGE_2M)
    try:
        whole = mmap.mmap(fd, taken * HUGE_2M, mmap.MAP_SHARED)
        view = ffi.from_buffer(whole)
        if numa_node is not None and numa_node >= 0:
            lib.memory_bind_node(view, len(whole), numa_node)  # best effort
        os.posix_fallocate(fd, 0, len(whole))
        _checked(lib.memory_prefault(view, len(whole), HUGE_2M))
        frames = _frames(kernel, int(ffi.cast("uintptr_t", view)), taken)
        runs = _runs(frames)
        longest = max(map(len, runs))
        if longest < need:
            return None, longest
        run = min((run for run in runs if len(run) >= need), key=len)[:need]
        row = mmap.mmap(fd, need * HUGE_2M, mmap.MAP_SHARED)
        offsets = ffi.new("uint64_t[]", [page * HUGE_2M for page in run])
        _checked(lib.memory_arrange(ffi.from_buffer(row), fd, offsets, need, HUGE_2M))
        for page in set(range(taken)) - set(run):
            _checked(lib.memory_give_back(fd, page * HUGE_2M, HUGE_2M))
        return DmaMemory(row, -1, HUGE_2M, ""), longest
    finally:
        os.close(fd)  # mappings keep the pages


def _runs(frames: Sequence[int]) -> list[list[int]]:
    """Pages (indices into `frames`) in runs of physical neighbours."""
    runs: list[list[int]] = []
    for page in sorted(range(len(frames)), key=frames.__getitem__):
        if runs and frames[page] == frames[runs[-1][-1]] + FRAMES:
            runs[-1].append(page)
        else:
            runs.append([page])
    return runs


def _checked(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))
