# SPDX-License-Identifier: BSD-3-Clause
"""Kernel VFIO by character device and iommufd (docs/spec/vfio.md 3, 4)."""

from __future__ import annotations

import errno
import struct
import uuid

from iavfio.errors import Remedy
from iavfio.pyvfio import abi, sysfs
from iavfio.pyvfio._vfio import ffi
from iavfio.pyvfio.dma_errors import map_error, unmap_error
from iavfio.pyvfio.errors import (
    Busy,
    NoIommu,
    NotFound,
    VfioError,
)
from iavfio.pyvfio.kernel import Kernel
from iavfio.pyvfio.kernel_device import KernelDevice, open_node, patiently
from iavfio.pyvfio.memory import DmaMemory
from iavfio.pyvfio.open_errors import (
    BY_GROUP,
    not_free,
    not_viable,
    or_by_group,
    token_denied,
)
from iavfio.pyvfio.space import AddressSpace, IovaRange


class Ioas(AddressSpace):
    """An I/O address space of iommufd; several devices may attach, and then share all mappings."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self._kernel = kernel
        self._ranges: tuple[IovaRange, ...] = ()
        self._users: set[str] = set()  # addresses of devices
        self.fd = open_node(kernel, "/dev/iommu")
        request = bytearray(abi.IOAS_ALLOC.pack(abi.IOAS_ALLOC.size, 0, 0))
        try:
            kernel.ioctl(self.fd, abi.IOMMU_IOAS_ALLOC, request)
        except OSError as error:
            kernel.close(self.fd)
            raise VfioError(
                "no I/O address space",
                str(error.strerror),
                or_by_group("see what the kernel says: dmesg"),
                error.errno or 0,
            ) from error
        self.id = abi.IOAS_ALLOC.unpack(request)[2]

    @property
    def ranges(self) -> tuple[IovaRange, ...]:
        return self._ranges

    def attached(self, bdf: str) -> None:
        """Counts a device and reads the ranges anew.

        Reserved regions show only once a device is attached (docs/spec/vfio.md 4).
        """
        capacity = 32
        while True:
            spans = ffi.new("uint64_t[]", 2 * capacity)
            address = int(ffi.cast("uintptr_t", spans))
            request = bytearray(
                abi.IOVA_RANGES.pack(abi.IOVA_RANGES.size, self.id, capacity, 0, address, 0)
            )
            try:
                self._kernel.ioctl(self.fd, abi.IOMMU_IOAS_IOVA_RANGES, request)
                break
            except OSError as error:
                needed = abi.IOVA_RANGES.unpack(request)[2]
                if error.errno != errno.EMSGSIZE or capacity >= 4096:
                    raise VfioError(
                        "the IOMMU's address ranges cannot be read",
                        str(error.strerror),
                        "see what the kernel says: dmesg",
                        error.errno or 0,
                    ) from error
                capacity = min(max(needed, 2 * capacity), 4096)
        _, _, count, _, _, alignment = abi.IOVA_RANGES.unpack(request)
        self.page_size = max(alignment, 4096)
        self._ranges = tuple(
            IovaRange(spans[2 * i], spans[2 * i + 1]) for i in range(min(count, capacity))
        )
        self._users.add(bdf)

    def detached(self, bdf: str) -> None:
        """The last device to go takes all mappings and the address space with it.

        Twice is harmless.
        """
        self._users.discard(bdf)
        if self._users:
            return
        self._unmap_all()
        self.abandon()

    def abandon(self) -> None:
        """Closes an address space that nobody uses."""
        if not self._users and self.fd >= 0:
            destroy = bytearray(struct.pack("<II", 8, self.id))
            try:
                self._kernel.ioctl(self.fd, abi.IOMMU_DESTROY, destroy)
            except OSError:
                pass  # closing undoes it as well
            self._shut()
            fd, self.fd = self.fd, -1
            self._kernel.close(fd)

    def _map(self, memory: DmaMemory, iova: int, readable: bool, writable: bool) -> None:
        flags = abi.IOAS_FIXED
        flags |= (abi.IOAS_READABLE if readable else 0) | (abi.IOAS_WRITEABLE if writable else 0)
        request = bytearray(
            abi.IOAS_MAP.pack(
                abi.IOAS_MAP.size, flags, self.id, 0, memory.address, memory.size, iova
            )
        )
        try:
            self._kernel.ioctl(self.fd, abi.IOMMU_IOAS_MAP, request)
        except OSError as error:
            raise map_error(error, self._kernel, memory, iova, self._ranges) from error

    def _unmap(self, iova: int, size: int) -> None:
        request = bytearray(abi.IOAS_UNMAP.pack(abi.IOAS_UNMAP.size, self.id, iova, size))
        try:
            self._kernel.ioctl(self.fd, abi.IOMMU_IOAS_UNMAP, request)
        except OSError as error:
            raise unmap_error(error, iova, size) from error


class CdevDevice(KernelDevice):
    """A device reached through its own character device."""

    transport = "cdev"

    def __init__(
        self,
        kernel: Kernel,
        bdf: str,
        path: str,
        *,
        space: AddressSpace | None = None,
        token: str | None = None,
    ) -> None:
        if space is not None and not isinstance(space, Ioas):
            raise VfioError(
                f"{bdf} cannot use that address space",
                "it is not an iommufd one",
                "open all devices that share one with mode='cdev'",
            )
        if space is not None:
            space.check_open()
        fd = open_node(kernel, path, bdf)
        ioas = space
        try:
            ioas = space if space is not None else Ioas(kernel)
            self._bind(kernel, bdf, path, fd, ioas.fd, token)
            self._attach(kernel, bdf, fd, ioas)
        except BaseException:
            kernel.close(fd)
            if ioas is not None:
                ioas.abandon()
            raise
        self.space = self._ioas = ioas
        super().__init__(kernel, bdf, fd)

    @staticmethod
    def _bind(
        kernel: Kernel, bdf: str, path: str, fd: int, iommufd: int, token: str | None
    ) -> None:
        if token:
            raw = ffi.new("uint8_t[16]", uuid.UUID(token).bytes)
            request = bytearray(
                abi.BIND_WITH_TOKEN.pack(
                    abi.BIND_WITH_TOKEN.size,
                    abi.BIND_TOKEN,
                    iommufd,
                    0,
                    int(ffi.cast("uintptr_t", raw)),
                )
            )
        else:
            request = bytearray(abi.BIND.pack(abi.BIND.size, 0, iommufd, 0))
        try:
            # A second opener meets EINVAL here; a predecessor that was killed may just be going.
            more = () if token else (errno.EINVAL,)
            patiently(lambda: kernel.ioctl(fd, abi.DEVICE_BIND_IOMMUFD, request), *more)
        except OSError as error:
            raise _bind_error(kernel, bdf, path, token, error) from error

    @staticmethod
    def _attach(kernel: Kernel, bdf: str, fd: int, ioas: Ioas) -> None:
        request = bytearray(abi.ATTACH.pack(abi.ATTACH.size, 0, ioas.id))
        try:
            kernel.ioctl(fd, abi.DEVICE_ATTACH_IOMMUFD_PT, request)
        except OSError as error:
            code = error.errno or 0
            if code == errno.EADDRINUSE:
                raise Busy(
                    f"{bdf} cannot join that address space",
                    "something is mapped where the device has a reserved region",
                    "attach all devices first, then map",
                    code,
                ) from error
            if code == errno.EPERM:
                raise NoIommu(
                    f"the IOMMU cannot isolate the interrupts of {bdf}",
                    "interrupt remapping is missing",
                    "enable it in firmware; at your own risk: "
                    "echo Y > /sys/module/iommufd/parameters/allow_unsafe_interrupts",
                    code,
                ) from error
            raise VfioError(
                f"{bdf} cannot be attached", str(error.strerror), BY_GROUP, code
            ) from error
        ioas.attached(bdf)

    def _release(self) -> None:
        try:
            super()._release()
        finally:
            self._ioas.detached(self.name)


def _bind_error(
    kernel: Kernel, bdf: str, path: str, token: str | None, error: OSError
) -> VfioError:
    code = error.errno or 0
    if code == errno.EPERM:
        number = sysfs.group(kernel, bdf) or "?"
        return not_viable(kernel, number, bdf, code, "another owner has its DMA")
    if code == errno.EBUSY:
        return Busy(
            f"{bdf} is in use",
            "its group node is open, or its IOMMU domain is in other use",
            f"find the other user with: fuser -v {path} /dev/vfio/{sysfs.group(kernel, bdf)}",
            code,
        )
    if code == errno.EAGAIN:
        return not_free(bdf, code)
    if code == errno.EINVAL and token:
        return VfioError(
            f"{bdf} takes no VF token",
            "its PF is not owned by vfio-pci, or the kernel takes tokens by group only",
            Remedy(
                "leave vf_token out; or use mode='group'",
                "leave --vf-token out; or use --vfio-mode group",
            ),
            code,
        )
    if code == errno.EINVAL:
        return Busy(
            f"{bdf} cannot be bound to iommufd",
            "another process has it open, or the IOMMU cannot enforce cache coherency (see dmesg)",
            or_by_group(f"find the other user with: fuser -v {path}"),
            code,
        )
    if code == errno.EACCES:
        return token_denied(bdf, token, code)
    if code == errno.ENODEV:
        return NotFound(f"{bdf} is gone", "it was unbound", f"iavfio bind {bdf}", code)
    return VfioError(f"{bdf} cannot be bound to iommufd", str(error.strerror), BY_GROUP, code)
