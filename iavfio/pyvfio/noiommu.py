# SPDX-License-Identifier: BSD-3-Clause
"""The address space of a device without an IOMMU: physical addresses (docs/spec/vfio.md 8).

Nothing confines such a device, so that only an explicit word leads here. The kernel maps nothing
for it either: memory must stay where it is and be in one piece for the device.
"""

from __future__ import annotations

import errno

from iavfio.pyvfio import abi, physical
from iavfio.pyvfio.container import Container
from iavfio.pyvfio.errors import DmaError
from iavfio.pyvfio.kernel import Kernel
from iavfio.pyvfio.memory import DmaMemory
from iavfio.pyvfio.space import IovaRange


class PhysicalSpace(Container):
    """A container whose IOVAs are physical addresses; takes only memory that `allocate` gave."""

    physical = True

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel, abi.NOIOMMU_IOMMU)

    def allocate(self, size: int) -> DmaMemory:
        """At least `size` bytes in whole huge pages. Raises VfioError."""
        return physical.allocate(self._kernel, size)

    def _read_info(self) -> None:
        self._ranges = (IovaRange(0, (1 << 64) - 1),)

    def _place(self, memory: DmaMemory) -> int:
        return physical.address(self._kernel, memory)

    def _map(self, memory: DmaMemory, iova: int, readable: bool, writable: bool) -> None:
        there = self._place(memory)
        if iova != there:
            raise DmaError(
                f"memory at {there:#x} cannot be mapped at {iova:#x}",
                "without an IOMMU a device sees memory where it is",
                "let map() choose the IOVA",
                errno.EINVAL,
            )
        if iova in self._mappings:
            raise DmaError(
                f"memory at {iova:#x} overlaps a mapping",
                "it is mapped already",
                "map it once",
                errno.EEXIST,
            )

    def _unmap(self, iova: int, size: int) -> None:
        pass  # the device could reach it all the time
