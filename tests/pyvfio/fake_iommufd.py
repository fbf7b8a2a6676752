# SPDX-License-Identifier: BSD-3-Clause
"""/dev/iommu and the device character files of the fake kernel (docs/spec/vfio.md 3, 4, 9)."""

from __future__ import annotations

import ctypes
import errno
import struct
from typing import TYPE_CHECKING

from tests.pyvfio.fake_device import Arg, FakeDevice, fail
from tests.pyvfio.fake_iova import Iova

if TYPE_CHECKING:
    from tests.pyvfio.fake_kernel import FakeKernel


class IommuArg(Arg):
    """Argument of an iommufd ioctl: bytes that this kernel does not know must be zero."""

    def __init__(self, raw: int | bytearray, known: int, *reserved: int) -> None:
        super().__init__(raw, known)
        if any(self.raw[known : self.size]):
            raise fail(errno.E2BIG)
        if any(self.get("I", at) for at in reserved):
            raise fail(errno.EOPNOTSUPP)


class Iommufd:
    """An open /dev/iommu."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        self.objects: dict[int, Iova | CdevFile] = {}
        self.next_id = 1

    def add(self, thing: Iova | CdevFile) -> int:
        self.objects[self.next_id] = thing
        self.next_id += 1
        return self.next_id - 1

    def space(self, ident: int) -> Iova:
        found = self.objects.get(ident)
        if not isinstance(found, Iova):
            raise fail(errno.ENOENT)
        return found

    def ioctl(self, request: int, raw: int | bytearray) -> int:
        handlers = {
            0x3B80: self._destroy,
            0x3B81: self._alloc,
            0x3B84: self._ranges,
            0x3B85: self._map,
            0x3B86: self._unmap,
            0x3B87: self._option,
        }
        if request not in handlers:
            raise fail(errno.ENOTTY)
        return handlers[request](raw)

    def _destroy(self, raw: int | bytearray) -> int:
        ident = IommuArg(raw, 8).get("I", 4)
        space = self.space(ident)
        if any(isinstance(f, CdevFile) and f.space is space for f in self.objects.values()):
            raise fail(errno.EBUSY)
        if space.maps:
            self.kernel.complaints.append("an IOAS was destroyed with mappings")
        space.clear()
        del self.objects[ident]
        return 0

    def _alloc(self, raw: int | bytearray) -> int:
        arg = IommuArg(raw, 12, 4)
        kernel = self.kernel
        space = Iova(kernel.accounting, True, kernel.width, kernel.dma_limit)
        space.holes = kernel.holes
        arg.put("I", 8, self.add(space))
        return 0

    def _ranges(self, raw: int | bytearray) -> int:
        arg = IommuArg(raw, 32, 12)
        ranges = self.space(arg.get("I", 4)).ranges
        room = arg.get("I", 8)
        arg.put("I", 8, len(ranges))
        arg.put("Q", 24, 4096)
        data = b"".join(struct.pack("=QQ", *span) for span in ranges[:room])
        if data:
            ctypes.memmove(arg.get("Q", 16), data, len(data))
        if room < len(ranges):
            raise fail(errno.EMSGSIZE)
        return 0

    def _map(self, raw: int | bytearray) -> int:
        arg = IommuArg(raw, 40, 12)
        flags = arg.get("I", 4)
        if flags & ~7:
            raise fail(errno.EOPNOTSUPP)
        if not flags & 6:
            raise fail(errno.EINVAL)
        space, size = self.space(arg.get("I", 8)), arg.get("Q", 24)
        iova = arg.get("Q", 32) if flags & 1 else space.choose(size)
        space.map(iova, arg.get("Q", 16), size, bool(flags & 2))
        arg.put("Q", 32, iova)
        return 0

    def _unmap(self, raw: int | bytearray) -> int:
        arg = IommuArg(raw, 24)
        space = self.space(arg.get("I", 4))
        iova, size = arg.get("Q", 8), arg.get("Q", 16)
        done = space.clear() if (iova, size) == (0, 2**64 - 1) else space.unmap(iova, size)
        arg.put("Q", 16, done)
        return 0

    def _option(self, raw: int | bytearray) -> int:
        arg = IommuArg(raw, 24)
        if arg.get("I", 4) == 0 and arg.get("H", 8) == 0 and not self.kernel.raw_io:
            raise fail(errno.EPERM)
        return 0

    def release(self) -> None:
        for thing in self.objects.values():
            if isinstance(thing, Iova):
                if thing.maps:
                    self.kernel.complaints.append(f"iommufd closed with {len(thing.maps)} mappings")
                thing.clear()


class CdevFile:
    """An open /dev/vfio/devices/vfioN."""

    def __init__(self, kernel: FakeKernel, device: FakeDevice) -> None:
        self.kernel, self.device = kernel, device
        self.iommu: Iommufd | None = None
        self.space: Iova | None = None

    def usable(self) -> FakeDevice:
        if self.iommu is None:
            raise fail(errno.EINVAL)
        return self.device

    def ioctl(self, request: int, raw: int | bytearray) -> int:
        if request == 0x3B76:
            return self._bind(raw)
        device = self.usable()
        if request == 0x3B77:
            return self._attach(raw)
        if request == 0x3B78:
            Arg(raw, 8)
            self._detach()
            return 0
        return device.ioctl(request, raw)

    def _bind(self, raw: int | bytearray) -> int:
        arg = Arg(raw, 16)
        known = 1 if self.kernel.cdev_tokens else 0
        flags = arg.get("I", 4)
        group = self.kernel.groups[self.device.group]
        if self.iommu is not None or flags & ~known or (flags and arg.size < 24):
            raise fail(errno.EINVAL)
        iommu = self.kernel.files.get(arg.get("i", 8))
        if not isinstance(iommu, Iommufd):
            raise fail(errno.EBADFD if iommu else errno.EBADF)
        if group.opened or group.used_elsewhere or group.domain_busy:
            raise fail(errno.EBUSY)
        if not group.viable:
            raise fail(errno.EPERM)
        if self.device.open_count or self.device.opened_elsewhere or not self.kernel.coherent:
            raise fail(errno.EINVAL)
        token = ctypes.string_at(arg.get("Q", 16), 16) if flags else None
        self.device.check_token(token)
        self.device.acquire()
        self.iommu = iommu
        arg.put("I", 12, iommu.add(self))
        return 0

    def _attach(self, raw: int | bytearray) -> int:
        arg = Arg(raw, 12)
        assert self.iommu is not None
        if arg.get("I", 4):
            raise fail(errno.EINVAL)
        space = self.iommu.space(arg.get("I", 8))
        if self.kernel.attach_error:
            raise fail(self.kernel.attach_error)
        if not self.kernel.interrupt_remapping:
            raise fail(errno.EPERM)
        if not space.attached:
            space.attached = True
            if not all(space.usable(at, size) for at, (size, _, _) in space.maps.items()):
                space.attached = False
                raise fail(errno.EADDRINUSE)
        self.space = space
        arg.put("I", 8, 1000)
        return 0

    def _detach(self) -> None:
        self.space = None

    def release(self) -> None:
        if self.iommu is not None:
            self._detach()
            for ident, thing in list(self.iommu.objects.items()):
                if thing is self:
                    del self.iommu.objects[ident]
            self.device.release()
