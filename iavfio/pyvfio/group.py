# SPDX-License-Identifier: BSD-3-Clause
"""A device by its IOMMU group, type 1 IOMMU (docs/spec/vfio.md 2) or none (docs/spec/vfio.md 8)."""

from __future__ import annotations

import errno

from iavfio.errors import Remedy
from iavfio.pyvfio import sysfs
from iavfio.pyvfio.container import Container
from iavfio.pyvfio.errors import NoIommu, VfioError
from iavfio.pyvfio.kernel import Kernel
from iavfio.pyvfio.kernel_device import KernelDevice
from iavfio.pyvfio.noiommu import PhysicalSpace
from iavfio.pyvfio.space import AddressSpace


class GroupDevice(KernelDevice):
    """A device reached through its IOMMU group."""

    transport = "group"

    def __init__(
        self,
        kernel: Kernel,
        bdf: str,
        *,
        space: AddressSpace | None = None,
        token: str | None = None,
        unsafe_noiommu: bool = False,
    ) -> None:
        number = _usable_group(kernel, bdf, unsafe_noiommu)
        if unsafe_noiommu:
            self.transport = "noiommu"
        if space is not None and not isinstance(space, Container):
            raise VfioError(
                f"{bdf} cannot use that address space",
                "it is not a container",
                "open all devices that share one with mode='group'",
            )
        if space is None:
            space = PhysicalSpace(kernel) if unsafe_noiommu else Container(kernel)
        container = space
        self.space = self._container = container
        try:
            self._group = container.join(number, bdf)
        except BaseException:
            container.abandon()
            raise
        try:
            fd = self._group.open_device(bdf, token)
        except BaseException:
            container.leave(self._group, bdf)
            raise
        super().__init__(kernel, bdf, fd)

    def _release(self) -> None:
        try:
            super()._release()
        finally:
            self._container.leave(self._group, self.name)


def _usable_group(kernel: Kernel, bdf: str, unsafe_noiommu: bool) -> str:
    number = sysfs.group(kernel, bdf)
    if number is None:
        raise NoIommu(
            f"{bdf} has no IOMMU group",
            "the IOMMU is off",
            "boot with intel_iommu=on or amd_iommu=on, and enable VT-d or AMD-Vi in firmware",
            errno.ENOENT,
        )
    noiommu = sysfs.is_noiommu(kernel, number)
    if noiommu and not unsafe_noiommu:
        raise NoIommu(
            f"{bdf} is bound without an IOMMU",
            "its DMA could reach all memory of this host",
            Remedy(
                "switch the IOMMU on; or, knowing the risk, pass unsafe_noiommu=True",
                "switch the IOMMU on; or, knowing the risk, use --unsafe-noiommu",
            ),
        )
    if unsafe_noiommu and not noiommu:
        raise VfioError(
            f"{bdf} has an IOMMU",
            "noiommu mode is only for groups without one",
            Remedy("leave unsafe_noiommu out", "leave --unsafe-noiommu out"),
        )
    return number
