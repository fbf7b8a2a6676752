# SPDX-License-Identifier: BSD-3-Clause
"""A strict fake of the kernel's VFIO: sysfs, /dev/vfio and /dev/iommu (docs/spec/vfio.md)."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from pathlib import Path
from typing import Protocol

from tests.pyvfio.fake_device import REGION_SHIFT, FakeDevice, fail
from tests.pyvfio.fake_group import Container, Group, GroupFile
from tests.pyvfio.fake_iommufd import CdevFile, Iommufd
from tests.pyvfio.fake_iova import MSI, Accounting
from tests.pyvfio.fake_physical import PhysicalMemory

SIZES = {0: 0x20000, 3: 0x4000, 7: 256}


class File(Protocol):
    """Something that is open."""

    def ioctl(self, request: int, raw: int | bytearray) -> int: ...

    def release(self) -> None: ...


class DeviceFile:
    """A device fd of the group interface."""

    def __init__(self, device: FakeDevice, group: Group) -> None:
        self.device, self.group = device, group

    def ioctl(self, request: int, raw: int | bytearray) -> int:
        return self.device.ioctl(request, raw)

    def release(self) -> None:
        self.group.open_devices -= 1
        self.device.release()


class FakeKernel:
    """Implements the `Kernel` protocol. Every open file is a real memfd, so a leak shows in /proc.

    `fail_at = (k, errno)` makes the k-th call from now (0 = next) fail once. `denied[path]` is the
    errno with which opening a path fails.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[int, File] = {}
        self.groups: dict[int, Group] = {}
        self.devices: dict[str, FakeDevice] = {}
        self.accounting = Accounting()
        self.complaints: list[str] = []
        self.calls: list[tuple[object, ...]] = []
        self.fail_at: tuple[int, int] | None = None
        self.denied: dict[str, int] = {}
        self.api_version = 0
        self.type1 = self.interrupt_remapping = self.info_caps = True
        self.coherent = self.cdev_tokens = self.raw_io = True
        self.noiommu_allowed = False
        self.width, self.dma_limit, self.attach_error = 39, 65535, 0
        self.physical = PhysicalMemory()
        self.frames_shown = True
        self.holes: tuple[tuple[int, int], ...] = (MSI,)  # reserved addresses, in order
        for path in ("/dev/vfio/vfio", "/dev/iommu"):
            self._node(path)
        self._at("/dev/vfio/devices").mkdir()
        self._at("/sys/bus/pci/devices").mkdir(parents=True)

    # ---- building the host

    def add(
        self,
        bdf: str = "0000:3b:02.0",
        group: int = 17,
        *,
        driver: str = "vfio-pci",
        cdev: bool = True,
        noiommu: bool = False,
        numa: int = 1,
    ) -> FakeDevice:
        """A device with its group, nodes and sysfs entries."""
        device = FakeDevice(bdf, group, len(self.devices), dict(SIZES))
        device.driver = driver
        self.devices[bdf] = device
        entry = self.groups.setdefault(group, Group(group, noiommu))
        entry.devices.append(device)
        home = self._at(f"/sys/devices/pci0000:3a/{bdf}")
        home.mkdir(parents=True)
        for name, text in (("numa_node", numa), ("vendor", "0x8086"), ("device", "0x1889")):
            (home / name).write_text(f"{text}\n", encoding="utf-8")
        self._at(f"/sys/bus/pci/devices/{bdf}").symlink_to(f"../../../devices/pci0000:3a/{bdf}")
        members = self._at(f"/sys/kernel/iommu_groups/{group}/devices")
        members.mkdir(parents=True, exist_ok=True)
        (members / bdf).symlink_to(f"../../../../devices/pci0000:3a/{bdf}")
        if noiommu:
            (members.parent / "name").write_text("vfio-noiommu\n", encoding="utf-8")
        (home / "iommu_group").symlink_to(f"../../../kernel/iommu_groups/{group}")
        if driver:
            self._at(f"/sys/bus/pci/drivers/{driver}").mkdir(parents=True, exist_ok=True)
            (home / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")
        if driver == "vfio-pci":
            self._node(f"/dev/vfio/{'noiommu-' if noiommu else ''}{group}")
            if cdev:
                node = f"{'noiommu-' if noiommu else ''}vfio{device.number}"
                (home / "vfio-dev" / node).mkdir(parents=True)
                self._node(f"/dev/vfio/devices/{node}")
        return device

    def remove(self, path: str) -> None:
        """Takes a node away."""
        self._at(path).unlink()

    def _at(self, path: str) -> Path:
        assert path.startswith(("/sys/", "/dev/")), f"why does it look at {path}?"
        return self.root / path[1:]

    def _node(self, path: str) -> None:
        at = self._at(path)
        at.parent.mkdir(parents=True, exist_ok=True)
        at.touch()

    def left_over(self) -> list[str]:
        """What was not given back, or only by the kernel."""
        out = [f"fd {fd} is open: {file}" for fd, file in self.files.items()]
        out += self.complaints
        out += [text for device in self.devices.values() for text in device.complaints]
        if self.accounting.locked:
            out.append(f"{self.accounting.locked} bytes are pinned")
        return out

    # ---- the protocol

    def _call(self, *what: object) -> None:
        self.calls.append(what)
        if self.fail_at is not None:
            left, code = self.fail_at
            self.fail_at = (left - 1, code) if left else None
            if not left:
                raise fail(code)

    def _file(self, fd: int) -> File:
        if fd not in self.files:
            raise fail(errno.EBADF)
        return self.files[fd]

    def _device(self, fd: int) -> FakeDevice:
        file = self._file(fd)
        if isinstance(file, CdevFile):
            return file.usable()
        if isinstance(file, DeviceFile):
            return file.device
        raise fail(errno.EINVAL)

    def _install(self, name: str, file: File, size: int) -> int:
        fd = os.memfd_create(f"fake-{name}", os.MFD_CLOEXEC)
        os.truncate(fd, size)
        self.files[fd] = file
        return fd

    def device_file(self, device: FakeDevice, group: Group) -> int:
        """The fd that GROUP_GET_DEVICE_FD returns."""
        return self._install("device", DeviceFile(device, group), 9 << REGION_SHIFT)

    def open(self, path: str, flags: int) -> int:
        self._call("open", path)
        if path in self.denied:
            raise fail(self.denied[path])
        if not self._at(path).exists():
            raise fail(errno.ENOENT)
        assert flags & os.O_ACCMODE == os.O_RDWR, f"{path} must be opened for reading and writing"
        if path == "/dev/vfio/vfio":
            return self._install("container", Container(self), 0)
        if path == "/dev/iommu":
            return self._install("iommu", Iommufd(self), 0)
        last = path.rsplit("/", 1)[-1]
        if path.startswith("/dev/vfio/devices/"):
            device = next(d for d in self.devices.values() if last == f"vfio{d.number}")
            return self._install("cdev", CdevFile(self, device), 9 << REGION_SHIFT)
        group = self.groups[int(last.removeprefix("noiommu-"))]
        if group.noiommu and not self.raw_io:
            raise fail(errno.EPERM)
        return self._install("group", GroupFile(self, group), 0)

    def close(self, fd: int) -> None:
        self.calls.append(("close", fd))
        file = self._file(fd)
        del self.files[fd]
        os.close(fd)
        file.release()

    def ioctl(self, fd: int, request: int, arg: int | bytearray = 0) -> int:
        self._call("ioctl", hex(request))
        return self._file(fd).ioctl(request, arg)

    def pread(self, fd: int, count: int, offset: int) -> bytes:
        self._call("pread", count, offset)
        return self._device(fd).pread(fd, count, offset)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        self._call("pwrite", data, offset)
        return self._device(fd).pwrite(fd, data, offset)

    def mmap(self, fd: int, length: int, offset: int, writable: bool) -> mmap.mmap:
        self._call("mmap", length, offset)
        return self._device(fd).mmap(fd, length, offset, writable)

    def readlink(self, path: str) -> str:
        self._call("readlink", path)
        return str(self._at(path).readlink())

    def listdir(self, path: str) -> list[str]:
        self._call("listdir", path)
        return sorted(entry.name for entry in self._at(path).iterdir())

    def read_text(self, path: str) -> str:
        self._call("read_text", path)
        return self._at(path).read_text(encoding="utf-8")

    def exists(self, path: str) -> bool:
        self.calls.append(("exists", path))
        return self._at(path).exists()

    def huge_file(self, size: int) -> int:
        self._call("huge_file", size)
        fd = os.memfd_create("fake-huge", os.MFD_CLOEXEC)
        os.truncate(fd, size)
        return fd

    def frames(self, address: int, count: int, step: int) -> list[int]:
        self._call("frames", address, count, step)
        if not self.frames_shown:
            return [0] * count
        return [self.physical.frame(address + i * step) for i in range(count)]

    def set_free_huge_pages(self, pages: int) -> None:
        """What sysfs says of the reserve."""
        at = self._at("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(f"{pages}\n", encoding="ascii")

    def memlock(self) -> tuple[int, int]:
        return self.accounting.limit, self.accounting.limit


def open_fds() -> dict[int, str]:
    """This process's files, to compare before and after."""
    out = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            out[int(entry.name)] = str(entry.readlink())
        except OSError:
            continue  # the directory's own fd
    return {fd: name for fd, name in out.items() if not stat.S_ISDIR(os.fstat(fd).st_mode)}
