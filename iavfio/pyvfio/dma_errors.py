# SPDX-License-Identifier: BSD-3-Clause
"""Why a mapping was refused, in words (docs/spec/vfio.md 4, 9)."""

from __future__ import annotations

import errno

from iavfio.pyvfio.errors import DmaError, MemlockExceeded, VfioError
from iavfio.pyvfio.kernel import Kernel
from iavfio.pyvfio.memory import DmaMemory
from iavfio.pyvfio.space import IovaRange, describe_ranges


def map_error(
    error: OSError, kernel: Kernel, memory: DmaMemory, iova: int, ranges: tuple[IovaRange, ...]
) -> VfioError:
    """The error of MAP_DMA or IOAS_MAP as a typed one with its remedy."""
    code = error.errno or 0
    where = f"[{iova:#x}, +{memory.size:#x})"
    if code == errno.ENOMEM:
        soft, _ = kernel.memlock()
        if soft < 0:
            return DmaError(
                f"DMA memory {where} cannot be pinned",
                "the host is short of memory; RLIMIT_MEMLOCK is unlimited",
                "use smaller pools",
                code,
            )
        return MemlockExceeded(f"DMA memory {where} cannot be pinned", memory.size, soft)
    if code == errno.ENOSPC:
        return DmaError(
            f"{where} is one DMA mapping too many",
            "vfio_iommu_type1's dma_entry_limit is reached, or no IOVA is free",
            "map fewer, larger pieces; or raise the module's dma_entry_limit",
            code,
        )
    if code == errno.EEXIST:
        return DmaError(
            f"{where} overlaps a mapping",
            "something is mapped there",
            "let map() choose the IOVA",
            code,
        )
    if code == errno.EFAULT:
        return DmaError(
            f"{where}: the memory is not there or not writable",
            "it was unmapped",
            "keep DMA memory open while it is mapped",
            code,
        )
    return DmaError(
        f"{where} cannot be mapped",
        f"it is misaligned, or outside the usable addresses {describe_ranges(ranges)}",
        "let map() choose the IOVA",
        code,
    )


def unmap_error(error: OSError, iova: int, size: int) -> VfioError:
    """The error of UNMAP_DMA or IOAS_UNMAP."""
    return DmaError(
        f"[{iova:#x}, +{size:#x}) cannot be unmapped",
        "that would split a mapping" if error.errno == errno.EINVAL else str(error.strerror),
        "unmap whole mappings",
        error.errno or 0,
    )
