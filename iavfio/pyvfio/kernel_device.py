# SPDX-License-Identifier: BSD-3-Clause
"""What group and cdev devices share once the device fd is there (docs/spec/vfio.md 5, 6)."""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Callable, Sequence

from iavfio.pyvfio import abi, sysfs
from iavfio.pyvfio._vfio import lib
from iavfio.pyvfio.bar import Bar
from iavfio.pyvfio.device import Device, DeviceInfo, IrqInfo, RegionInfo, accesses
from iavfio.pyvfio.errors import (
    Busy,
    DeviceLost,
    FewerVectors,
    NotFound,
    PermissionDenied,
    ProtocolError,
    Unsupported,
    VfioError,
    system_error,
)
from iavfio.pyvfio.kernel import Kernel
from iavfio.pyvfio.regions import (
    IRQ,
    IRQ_SET,
    REGION,
    SET_ACTION_TRIGGER,
    SET_DATA_EVENTFD,
    SET_DATA_NONE,
    decode_irq,
    decode_region,
)

DMESG = "see what the kernel says: dmesg"
OPEN_PATIENCE_S = 2.0  # a killed predecessor's reset may still run (docs/spec/reliability.md F63)


def open_node(kernel: Kernel, path: str, bdf: str = "") -> int:
    """Opens a VFIO node; EBUSY and EAGAIN are retried for a while (docs/spec/vfio.md 9)."""

    def attempt() -> int:
        return kernel.open(path, os.O_RDWR)

    try:
        return patiently(attempt)
    except OSError as error:
        raise _node_error(path, bdf, error) from error


def patiently(action: Callable[[], int], *more: int) -> int:
    """Repeats `action` while it fails with EBUSY, EAGAIN or `more`, for OPEN_PATIENCE_S at most."""
    deadline = time.monotonic() + OPEN_PATIENCE_S
    while True:
        try:
            return action()
        except OSError as error:
            passing = error.errno in (errno.EBUSY, errno.EAGAIN, *more)
            if not passing or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def _node_error(path: str, bdf: str, error: OSError) -> VfioError:
    code = error.errno or 0
    if code in (errno.ENOENT, errno.ENODEV) and not bdf:  # ENODEV: a node made in advance
        module = "iommufd" if path == "/dev/iommu" else "vfio-pci"
        return NotFound(
            f"there is no {path}", "its module is not loaded", f"run: modprobe {module}", code
        )
    if code == errno.ENOENT:
        return NotFound(
            f"there is no {path} for {bdf}",
            "the device is not bound to vfio-pci, or the IOMMU is off",
            f"iavfio bind {bdf}; boot with intel_iommu=on or amd_iommu=on",
            code,
        )
    if code == errno.EACCES:
        return PermissionDenied(
            f"{path} may not be opened by this user",
            "the node's owner or mode forbids it",
            f"run: sudo chown {os.getuid()} {path}   (or add a udev rule)",
            code,
        )
    if code == errno.EPERM:
        return PermissionDenied(
            f"{path} may not be opened",
            "a noiommu group needs CAP_SYS_RAWIO",
            "run as root, or better: switch the IOMMU on",
            code,
        )
    if code == errno.EBUSY:
        return Busy(
            f"{path} is in use",
            "another process has the device or its group",
            f"find it with: fuser -v {path}",
            code,
        )
    if code == errno.ENODEV:
        return NotFound(
            f"{path} leads to no device any more",
            "the last device of the group was unbound from vfio-pci",
            f"iavfio bind {bdf}",
            code,
        )
    return system_error(f"{path} cannot be opened", error, DMESG)


class KernelDevice(Device):
    """A device whose fd came from the kernel; `fd` is it."""

    def __init__(self, kernel: Kernel, bdf: str, fd: int) -> None:
        self._kernel = kernel
        self.name = bdf
        self.fd = fd
        self.numa_node = sysfs.numa_node(kernel, bdf)
        super().__init__()

    def _ioctl(self, request: int, arg: int | bytearray = 0, what: str = "") -> int:
        self._check()
        try:
            return self._kernel.ioctl(self.fd, request, arg)
        except OSError as error:
            code = error.errno or 0
            if code in (errno.ENODEV, errno.EIO):
                raise DeviceLost(
                    f"{self.name} is gone", "it was removed or unbound", self._again(), code
                ) from error
            raise VfioError(
                f"{self.name}: {what} failed", str(error.strerror), DMESG, code
            ) from error

    def info(self) -> DeviceInfo:
        data = bytearray(abi.DEVICE_INFO.pack(abi.DEVICE_INFO.size, 0, 0, 0, 0, 0))
        self._ioctl(abi.DEVICE_GET_INFO, data, "device info")
        _, flags, regions, irqs, _, _ = abi.DEVICE_INFO.unpack(data)
        if not flags & 2:
            raise Unsupported(f"{self.name} is no PCI device")
        return DeviceInfo(bool(flags & 1), regions, irqs)

    def _region_info(self, index: int) -> RegionInfo:
        data = bytearray(REGION.pack(REGION.size, 0, index, 0, 0, 0))
        self._ioctl(abi.DEVICE_GET_REGION_INFO, data, f"region {index} info")
        needed = min(REGION.unpack_from(data)[0], 1 << 16)
        if needed > len(data):  # capabilities follow: ask again with room (docs/spec/vfio.md 4, 5)
            data = bytearray(needed)
            REGION.pack_into(data, 0, needed, 0, index, 0, 0, 0)
            self._ioctl(abi.DEVICE_GET_REGION_INFO, data, f"region {index} info")
        return decode_region(bytes(data))

    def _irq_info(self, index: int) -> IrqInfo:
        data = bytearray(IRQ.pack(IRQ.size, 0, index, 0))
        self._ioctl(abi.DEVICE_GET_IRQ_INFO, data, f"interrupt {index} info")
        return decode_irq(bytes(data))

    def _read(self, region: int, offset: int, count: int) -> bytes:
        self._check()
        start = self._at(region, offset, count) - offset
        data = b""
        for at, size in accesses(region, offset, count):
            try:
                part = self._kernel.pread(self.fd, size, start + at)
            except OSError as error:
                raise self._access_error(region, at, error) from error
            if len(part) != size:
                raise ProtocolError(f"{self.name}: region {region} answered {len(part)} of {size}")
            data += part
        return data

    def _write(self, region: int, offset: int, data: bytes) -> None:
        self._check()
        start = self._at(region, offset, len(data)) - offset
        for at, size in accesses(region, offset, len(data)):
            part = data[at - offset : at - offset + size]
            try:
                done = self._kernel.pwrite(self.fd, part, start + at)
            except OSError as error:
                raise self._access_error(region, at, error) from error
            if done != size:
                raise ProtocolError(f"{self.name}: region {region} took {done} of {size}")

    def _at(self, region: int, offset: int, count: int) -> int:
        info = self.region(region)
        if offset < 0 or count < 1 or offset + count > info.size:
            raise VfioError(
                f"{self.name}: [{offset:#x}, +{count}) is outside region {region}",
                f"it has {info.size} bytes",
                "stay inside",
                errno.EINVAL,
            )
        return info.offset + offset

    def _access_error(self, region: int, offset: int, error: OSError) -> VfioError:
        code = error.errno or 0
        kind = DeviceLost if code in (errno.ENODEV, errno.EIO) else VfioError
        remedy = self._again() if kind is DeviceLost else DMESG
        where = f"{self.name}: region {region} at {offset:#x} cannot be reached"
        return kind(where, str(error.strerror), remedy, code)

    def _again(self) -> str:
        return f"when it is back: iavfio bind {self.name}, and open it again"

    def _set_irqs(self, index: int, start: int, fds: Sequence[int | None]) -> None:
        plain = [-1 if fd is None else fd for fd in fds]
        size = IRQ_SET.size + 4 * len(plain)
        flags = SET_DATA_EVENTFD | SET_ACTION_TRIGGER
        data = bytearray(IRQ_SET.pack(size, flags, index, start, len(plain)))
        data += struct.pack(f"<{len(plain)}i", *plain)
        granted = self._ioctl(abi.DEVICE_SET_IRQS, data, f"interrupts {index}")
        if granted > 0:
            raise FewerVectors(
                f"{self.name}: only {granted} of {len(plain)} interrupt vectors can be had",
                granted,
                "the host is short of vectors",
                f"use {granted} vectors: share them between queues, or poll",
            )

    def _disable_irqs(self, index: int) -> None:
        flags = SET_DATA_NONE | SET_ACTION_TRIGGER
        data = bytearray(IRQ_SET.pack(IRQ_SET.size, flags, index, 0, 0))
        self._ioctl(abi.DEVICE_SET_IRQS, data, f"interrupts {index} off")

    def limit(self, seconds: float, slow: float | None = None) -> None:
        """Does nothing: the kernel answers at once, so that no access needs a limit."""

    def _reset(self) -> None:
        if not self.info().resettable:
            raise Unsupported(f"{self.name} cannot be reset", "the kernel offers no reset for it")
        self._check()
        try:
            patiently(lambda: self._kernel.ioctl(self.fd, abi.DEVICE_RESET))
        except OSError as error:
            code = error.errno or 0
            if code == errno.EAGAIN:
                raise Busy(
                    f"{self.name} cannot be reset now",
                    "the host is working on it",
                    "try again in a moment",
                    code,
                ) from error
            kind = DeviceLost if code == errno.ENODEV else VfioError
            remedy = self._again() if kind is DeviceLost else DMESG
            raise kind(f"{self.name}: reset failed", str(error.strerror), remedy, code) from error

    def _open_bar(self, info: RegionInfo) -> Bar:
        io = lib.bar_io_new_file(self.fd, info.offset, info.size)
        bar = Bar(f"{self.name} BAR{info.index}", io, info.size)
        for area in info.areas:
            # Mapped in whole pages; what is not mapped is reached by pread and pwrite.
            length = area.size // 4096 * 4096
            if not length:
                continue
            try:
                at = info.offset + area.offset
                memory = self._kernel.mmap(self.fd, length, at, info.writable)
                bar.add_area(area.offset, memory)
            except OSError as error:
                if error.errno == errno.EINVAL:
                    continue  # the kernel thinks otherwise (docs/spec/vfio.md 9)
                bar.close()
                what = f"{self.name}: BAR{info.index} cannot be mapped"
                raise system_error(what, error, DMESG) from error
            except BaseException:
                bar.close()
                raise
        return bar

    def _release(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._kernel.close(fd)
