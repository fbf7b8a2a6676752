# SPDX-License-Identifier: BSD-3-Clause
"""Containers and groups, which devices of the legacy VFIO share (docs/spec/vfio.md 2, 4)."""

from __future__ import annotations

import errno
import struct

from iavfio.errors import Remedy
from iavfio.pyvfio import abi, sysfs
from iavfio.pyvfio.dma_errors import map_error, unmap_error
from iavfio.pyvfio.errors import (
    Busy,
    DmaError,
    GroupNotViable,
    NoIommu,
    NotFound,
    ProtocolError,
    Unsupported,
    VfioError,
    system_error,
)
from iavfio.pyvfio.kernel import Kernel
from iavfio.pyvfio.kernel_device import DMESG, open_node, patiently
from iavfio.pyvfio.memory import DmaMemory
from iavfio.pyvfio.open_errors import BY_CDEV, not_free, not_viable, token_denied
from iavfio.pyvfio.regions import capabilities
from iavfio.pyvfio.space import AddressSpace, IovaRange, describe_ranges


class Container(AddressSpace):
    """A VFIO container; groups that join share all mappings and one memlock bill."""

    def __init__(self, kernel: Kernel, iommu: int = abi.TYPE1V2_IOMMU) -> None:
        super().__init__()
        self._kernel = kernel
        self._iommu = iommu
        self._ranges: tuple[IovaRange, ...] = ()
        self._available: int | None = None
        self._groups: dict[str, Group] = {}
        self.fd = open_node(kernel, "/dev/vfio/vfio")
        try:
            self._require()
        except BaseException:
            kernel.close(self.fd)
            raise

    def _require(self) -> None:
        try:
            version = self._kernel.ioctl(self.fd, abi.GET_API_VERSION)
            offered = self._kernel.ioctl(self.fd, abi.CHECK_EXTENSION, self._iommu)
        except OSError as error:
            raise _refused("/dev/vfio/vfio does not answer", error) from error
        if version != 0:
            raise Unsupported(
                f"the kernel's VFIO has API version {version}", "only 0 is known", BY_CDEV
            )
        if not offered and self._iommu == abi.NOIOMMU_IOMMU:
            raise NoIommu(
                "noiommu mode is off",
                "a module parameter forbids it",
                "at your own risk: echo Y > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
            )
        if not offered:
            raise NoIommu(
                "VFIO offers no type 1 IOMMU",
                "its module is not loaded, or the machine has no IOMMU switched on",
                "modprobe vfio_iommu_type1; boot with intel_iommu=on or amd_iommu=on",
            )

    @property
    def ranges(self) -> tuple[IovaRange, ...]:
        return self._ranges

    @property
    def available(self) -> int | None:
        """Mappings that are still allowed (dma_entry_limit), None when the kernel does not say."""
        return self._available

    def join(self, number: str, bdf: str) -> Group:
        """Brings a group in, once; counts its users."""
        self.check_open()
        group = self._groups.get(number)
        if group is None:
            group = Group(self._kernel, self, number, bdf)
            try:
                if not self._groups:
                    self._set_iommu(bdf)
                self._read_info()
            except BaseException:
                group.close()
                raise
            self._groups[number] = group
        group.users.add(bdf)
        return group

    def leave(self, group: Group, bdf: str) -> None:
        """Gives a group back when its last device closes; the last group closes the container.

        Twice is harmless.
        """
        group.users.discard(bdf)
        if group.users:
            return
        if self._groups.keys() == {group.number}:
            self._unmap_all()
        group.close()
        self._groups.pop(group.number, None)
        self.abandon()

    def abandon(self) -> None:
        """Closes a container that no group has joined."""
        if self.fd >= 0 and not self._groups:
            self._shut()
            fd, self.fd = self.fd, -1
            self._kernel.close(fd)

    def _set_iommu(self, bdf: str) -> None:
        try:
            self._kernel.ioctl(self.fd, abi.SET_IOMMU, self._iommu)
        except OSError as error:
            code = error.errno or 0
            if code == errno.EPERM:
                raise NoIommu(
                    f"the IOMMU cannot isolate the interrupts of {bdf}",
                    "interrupt remapping is missing",
                    "enable it in firmware; at your own risk: "
                    "echo Y > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
                    code,
                ) from error
            raise NoIommu(
                f"no IOMMU for {bdf}", str(error.strerror), "modprobe vfio_iommu_type1", code
            ) from error

    def _read_info(self) -> None:
        needed = abi.TYPE1_INFO.size
        data = bytearray()
        try:
            while needed > len(data):
                data = bytearray(needed)
                abi.TYPE1_INFO.pack_into(data, 0, needed, 0, 0, 0, 0)
                self._kernel.ioctl(self.fd, abi.IOMMU_GET_INFO, data)
                needed = min(abi.TYPE1_INFO.unpack_from(data)[0], 1 << 16)
        except OSError as error:
            raise _refused("the IOMMU's address ranges cannot be read", error) from error
        _, flags, pages, at, _ = abi.TYPE1_INFO.unpack_from(data)
        if flags & 1 and pages:
            self.page_size = pages & -pages
        self._ranges = (IovaRange(0, (1 << 39) - 1),)  # kernels that do not say get the narrowest
        if flags & 2:
            for kind, _, content in capabilities(bytes(data), at, abi.TYPE1_INFO.size):
                if kind == abi.CAP_IOVA_RANGE:
                    self._ranges = _ranges(bytes(data), content)
                elif kind == abi.CAP_DMA_AVAIL and content + 4 <= len(data):
                    (self._available,) = struct.unpack_from("<I", data, content)

    def _map(self, memory: DmaMemory, iova: int, readable: bool, writable: bool) -> None:
        flags = (abi.DMA_READ if readable else 0) | (abi.DMA_WRITE if writable else 0)
        request = bytearray(
            abi.MAP_DMA.pack(abi.MAP_DMA.size, flags, memory.address, iova, memory.size)
        )
        try:
            self._kernel.ioctl(self.fd, abi.IOMMU_MAP_DMA, request)
        except OSError as error:
            raise map_error(error, self._kernel, memory, iova, self._ranges) from error

    def _unmap(self, iova: int, size: int) -> None:
        request = bytearray(abi.UNMAP_DMA.pack(abi.UNMAP_DMA.size, 0, iova, size))
        try:
            self._kernel.ioctl(self.fd, abi.IOMMU_UNMAP_DMA, request)
        except OSError as error:
            raise unmap_error(error, iova, size) from error
        done = abi.UNMAP_DMA.unpack(request)[3]
        if done != size:
            raise DmaError(
                f"{done:#x} of {size:#x} bytes at {iova:#x} were unmapped",
                f"the address space is {describe_ranges(self._ranges)}",
            )


def _refused(what: str, error: OSError) -> VfioError:
    return system_error(what, error, DMESG)


def _ranges(data: bytes, at: int) -> tuple[IovaRange, ...]:
    if at + 8 > len(data):
        raise ProtocolError("an IOVA range capability is cut short")
    (count,) = struct.unpack_from("<I", data, at)
    if at + 8 + 16 * count > len(data):
        raise ProtocolError("an IOVA range capability is cut short")
    return tuple(IovaRange(*struct.unpack_from("<QQ", data, at + 8 + 16 * i)) for i in range(count))


class Group:
    """One IOMMU group, opened and joined to a container."""

    def __init__(self, kernel: Kernel, container: Container, number: str, bdf: str) -> None:
        self._kernel = kernel
        self.number = number
        self.users: set[str] = set()  # addresses of devices
        self.path = f"/dev/vfio/{number}"
        # In a container the device plugin of Kubernetes gives a noiommu group the plain name.
        if sysfs.is_noiommu(kernel, number) and not kernel.exists(self.path):
            self.path = f"/dev/vfio/noiommu-{number}"
        self.fd = open_node(kernel, self.path, bdf)
        try:
            status = bytearray(abi.GROUP_STATUS.pack(abi.GROUP_STATUS.size, 0))
            try:
                kernel.ioctl(self.fd, abi.GROUP_GET_STATUS, status)
            except OSError as error:
                raise _refused(f"{self.path} does not answer", error) from error
            if not abi.GROUP_STATUS.unpack(status)[1] & abi.GROUP_VIABLE:
                raise self._not_viable(bdf)
            self._join(container, bdf)
        except BaseException:
            kernel.close(self.fd)
            raise

    def _not_viable(self, bdf: str, code: int = errno.EPERM) -> GroupNotViable:
        return not_viable(self._kernel, self.number, bdf, code, "a kernel driver holds a member")

    def _join(self, container: Container, bdf: str) -> None:
        try:
            self._kernel.ioctl(
                self.fd, abi.GROUP_SET_CONTAINER, bytearray(struct.pack("<i", container.fd))
            )
        except OSError as error:
            code = error.errno or 0
            if code == errno.EPERM:
                raise self._not_viable(bdf, code) from error
            if code in (errno.EBUSY, errno.EINVAL):
                raise Busy(
                    f"IOMMU group {self.number} of {bdf} is in other use",
                    "another VFIO user or a nested owner has it",
                    f"find it with: fuser -v {self.path}",
                    code,
                ) from error
            raise _refused(f"IOMMU group {self.number} cannot join a container", error) from error

    def open_device(self, bdf: str, token: str | None) -> int:
        """The device's fd; opening resets the device, which may take a moment (EAGAIN)."""
        text = f"{bdf} vf_token={token}" if token else bdf
        name = bytearray(text.encode() + b"\0")

        def attempt() -> int:
            return self._kernel.ioctl(self.fd, abi.GROUP_GET_DEVICE_FD, bytearray(name))

        try:
            return patiently(attempt)
        except OSError as error:
            raise _device_error(bdf, token, error) from error

    def close(self) -> None:
        """Leaves the container and closes the group."""
        if self.fd < 0:
            return
        try:
            self._kernel.ioctl(self.fd, abi.GROUP_UNSET_CONTAINER)
        except OSError:
            pass  # closing undoes it as well (docs/spec/vfio.md 2)
        fd, self.fd = self.fd, -1
        self._kernel.close(fd)


def _device_error(bdf: str, token: str | None, error: OSError) -> VfioError:
    code = error.errno or 0
    if code == errno.ENODEV:
        return NotFound(
            f"{bdf} is not in its IOMMU group's VFIO",
            "it is not bound to vfio-pci",
            f"iavfio bind {bdf}",
            code,
        )
    if code == errno.EACCES:
        return token_denied(bdf, token, code)
    if code == errno.EINVAL and token:
        return VfioError(
            f"{bdf} takes no VF token",
            "its PF is not owned by vfio-pci",
            Remedy("leave vf_token out", "leave --vf-token out"),
            code,
        )
    if code in (errno.EAGAIN, errno.EBUSY):
        return not_free(bdf, code)
    return _refused(f"{bdf} cannot be opened", error)
