# SPDX-License-Identifier: BSD-3-Clause
"""Group and container files of the fake kernel (docs/spec/vfio.md 2, 4, 7, 8, 9)."""

from __future__ import annotations

import errno
import struct
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.pyvfio.fake_device import Arg, FakeDevice, answer_with_caps, fail
from tests.pyvfio.fake_iova import Iova

if TYPE_CHECKING:
    from tests.pyvfio.fake_kernel import FakeKernel

TYPE1, TYPE1V2, DMA_CC, NOIOMMU, UNMAP_ALL = 1, 3, 4, 8, 9


@dataclass
class Group:
    """A group of the system; `used_elsewhere` means that another process has its node open."""

    number: int
    noiommu: bool = False
    opened: bool = False
    used_elsewhere: bool = False
    domain_busy: bool = False
    devices: list[FakeDevice] = field(default_factory=list)
    open_devices: int = 0
    container: Container | None = None

    @property
    def viable(self) -> bool:
        harmless = ("vfio-pci", "pci-stub", "pcieport", "")
        return all(device.driver in harmless for device in self.devices)


class Container:
    """An open /dev/vfio/vfio."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        self.groups: list[Group] = []
        self.model = 0
        self.iova = Iova(kernel.accounting, False, kernel.width, kernel.dma_limit)
        self.iova.holes = kernel.holes

    def ioctl(self, request: int, raw: int | bytearray) -> int:
        if request == 0x3B64:
            return self.kernel.api_version
        if request == 0x3B65:
            return self._extension(raw)
        if request == 0x3B66:
            return self._set_model(raw)
        if not self.model:
            raise fail(errno.EINVAL)
        if self.model == NOIOMMU:
            raise fail(errno.ENOTTY)
        if request == 0x3B70:
            return self._info(raw)
        if request == 0x3B71:
            return self._map(raw)
        if request == 0x3B72:
            return self._unmap(raw)
        raise fail(errno.ENOTTY)

    def _extension(self, raw: int | bytearray) -> int:
        assert isinstance(raw, int), "CHECK_EXTENSION takes a value, not a pointer"
        known = {TYPE1, TYPE1V2, UNMAP_ALL} if self.kernel.type1 else set()
        if self.kernel.noiommu_allowed:
            known.add(NOIOMMU)
        return int(raw in known)

    def _set_model(self, raw: int | bytearray) -> int:
        assert isinstance(raw, int), "SET_IOMMU takes a value, not a pointer"
        if self.model:
            raise fail(errno.EINVAL)
        if not self.groups or not self._extension(raw):
            raise fail(errno.ENODEV)
        if (raw == NOIOMMU) != self.groups[0].noiommu:
            raise fail(errno.EPERM)
        if raw != NOIOMMU and not self.kernel.interrupt_remapping:
            raise fail(errno.EPERM)
        self.model, self.iova.attached = raw, True
        return 0

    def _info(self, raw: int | bytearray) -> int:
        arg = Arg(raw, 16)
        arg.put("I", 4, 1 | (2 if self.kernel.info_caps else 0))
        arg.put("Q", 8, 0xFFFFFFFFFFFFF000)
        if self.kernel.info_caps and arg.size >= 24:
            ranges = self.iova.ranges
            spans = b"".join(struct.pack("=QQ", *span) for span in ranges)
            blocks = [
                (2, struct.pack("=IIQQ", 0, 0, 4096, 1 << 28)),
                (3, struct.pack("=I", self.iova.limit - len(self.iova.maps))),
                (1, struct.pack("=II", len(ranges), 0) + spans),
            ]
            answer_with_caps(arg, 24, 16, blocks)
        return 0

    def _map(self, raw: int | bytearray) -> int:
        arg = Arg(raw, 32)
        flags = arg.get("I", 4)
        if flags & ~3 or not flags:
            raise fail(errno.EINVAL)
        self.iova.map(arg.get("Q", 16), arg.get("Q", 8), arg.get("Q", 24), bool(flags & 2))
        return 0

    def _unmap(self, raw: int | bytearray) -> int:
        arg = Arg(raw, 24)
        flags, iova, size = arg.get("I", 4), arg.get("Q", 8), arg.get("Q", 16)
        if flags & ~2 or iova % 4096 or size % 4096 or (not size) != bool(flags & 2):
            raise fail(errno.EINVAL)
        if flags & 2 and iova:
            raise fail(errno.EINVAL)
        arg.put("Q", 16, self.iova.clear() if flags & 2 else self.iova.unmap(iova, size))
        return 0

    def release(self) -> None:
        if self.iova.maps:
            self.kernel.complaints.append(f"container closed with {len(self.iova.maps)} mappings")
        self.iova.clear()
        for group in self.groups:
            group.container = None


class GroupFile:
    """An open /dev/vfio/G."""

    def __init__(self, kernel: FakeKernel, group: Group) -> None:
        if group.opened or group.used_elsewhere:
            raise fail(errno.EBUSY)
        if any(device.open_count for device in group.devices):
            raise fail(errno.EBUSY)
        self.kernel, self.group = kernel, group
        group.opened = True

    def ioctl(self, request: int, raw: int | bytearray) -> int:
        if request == 0x3B67:
            return self._status(raw)
        if request == 0x3B68:
            return self._join(raw)
        if request == 0x3B69:
            return self._leave()
        if request == 0x3B6A:
            return self._device(raw)
        raise fail(errno.ENOTTY)

    def _status(self, raw: int | bytearray) -> int:
        arg = Arg(raw, 8)
        arg.put("I", 4, int(self.group.viable) | (2 if self.group.container else 0))
        return 0

    def _join(self, raw: int | bytearray) -> int:
        assert isinstance(raw, bytearray) and len(raw) >= 4, "SET_CONTAINER takes a pointer to s32"
        fd = struct.unpack_from("=i", raw)[0]
        if self.group.container:
            raise fail(errno.EINVAL)
        if fd not in self.kernel.files:
            raise fail(errno.EBADF)
        container = self.kernel.files[fd]
        if not isinstance(container, Container):
            raise fail(errno.EBADFD)
        mixed = any(group.noiommu != self.group.noiommu for group in container.groups)
        if mixed or not self.group.viable or (self.group.noiommu and not self.kernel.raw_io):
            raise fail(errno.EPERM)
        if self.group.domain_busy:
            raise fail(errno.EBUSY)
        self.group.container = container
        container.groups.append(self.group)
        return 0

    def _leave(self) -> int:
        container = self.group.container
        if container is None:
            raise fail(errno.EINVAL)
        if self.group.open_devices:
            raise fail(errno.EBUSY)
        self._detach(container)
        return 0

    def _detach(self, container: Container) -> None:
        container.groups.remove(self.group)
        self.group.container = None
        if not container.groups:  # the IOMMU model goes with the last group, and its mappings too
            if container.iova.maps:
                self.kernel.complaints.append("last group left a container that has mappings")
            container.iova.clear()
            container.model, container.iova.attached = 0, False

    def _device(self, raw: int | bytearray) -> int:
        assert isinstance(raw, bytearray) and b"\0" in raw, "GET_DEVICE_FD takes a C string"
        words = bytes(raw).split(b"\0")[0].decode("ascii").split(" ")
        if not self.group.container or not self.group.container.model:
            raise fail(errno.EINVAL)
        device = next((d for d in self.group.devices if d.bdf == words[0]), None)
        if device is None:
            raise fail(errno.ENODEV)
        token = None
        for word in words[1:]:
            if not word.startswith("vf_token="):
                raise fail(errno.EINVAL)
            token = uuid.UUID(word.removeprefix("vf_token=")).bytes
        device.check_token(token)
        device.acquire()
        self.group.open_devices += 1
        return self.kernel.device_file(device, self.group)

    def release(self) -> None:
        self.group.opened = False
        if self.group.container and not self.group.open_devices:
            self._detach(self.group.container)
