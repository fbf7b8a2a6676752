# SPDX-License-Identifier: BSD-3-Clause
"""A PCI device as the kernel's VFIO shows it, for tests (docs/spec/vfio.md 5, 6)."""

from __future__ import annotations

import errno
import mmap
import os
import struct
import weakref
from collections.abc import Callable
from pathlib import Path

PAGE = 4096
REGION_SHIFT = 40
CONFIG = 7
IRQ_COUNTS = (0, 0, 5, 1, 1)
DATA_NONE, DATA_BOOL, DATA_EVENTFD = 1, 2, 4
MASK, UNMASK, TRIGGER = 8, 0x10, 0x20
READ, WRITE, MMAP, CAPS = 1, 2, 4, 8


def fail(code: int) -> OSError:
    """What a system call that fails raises."""
    return OSError(code, os.strerror(code))


class Arg:
    """An ioctl argument; touching bytes that the caller did not provide ends the test."""

    def __init__(self, raw: int | bytearray, least: int) -> None:
        assert isinstance(raw, bytearray), "the kernel would take this integer for an address"
        assert len(raw) >= least, f"the kernel would read {least} bytes, {len(raw)} were passed"
        self.raw = raw
        self.size = struct.unpack_from("=I", raw)[0]
        if self.size < least:
            raise fail(errno.EINVAL)
        assert len(raw) >= self.size, f"argsz {self.size} exceeds the {len(raw)} bytes passed"

    def get(self, form: str, at: int) -> int:
        return int(struct.unpack_from("=" + form, self.raw, at)[0])

    def put(self, form: str, at: int, value: int) -> None:
        struct.pack_into("=" + form, self.raw, at, value)


def link(blocks: list[tuple[int, bytes]], base: int) -> bytes:
    """A capability chain that starts `base` bytes into its struct."""
    out, at = b"", base
    for number, (ident, body) in enumerate(blocks):
        body += bytes(-len(body) % 8)
        following = at + 8 + len(body) if number + 1 < len(blocks) else 0
        out += struct.pack("=HHI", ident, 1, following) + body
        at = following
    return out


def answer_with_caps(arg: Arg, base: int, offset_at: int, blocks: list[tuple[int, bytes]]) -> None:
    """Puts a chain behind a struct, or says how much room it needs."""
    chain = link(blocks, base)
    if arg.size < base + len(chain):
        arg.put("I", 0, base + len(chain))
        arg.put("I", offset_at, 0)
    else:
        arg.raw[base : base + len(chain)] = chain
        arg.put("I", offset_at, base)


def initial_config(vendor: int, device: int, vectors: int) -> bytearray:
    """Header, PCI Express capability at 0x70, MSI-X at 0x40."""
    config = bytearray(256)
    struct.pack_into("<HHHHI", config, 0, vendor, device, 0x0006, 0x0010, 0x02000001)
    config[0x34] = 0x70
    struct.pack_into("<BBH", config, 0x70, 0x10, 0x40, 2)
    struct.pack_into("<BBHII", config, 0x40, 0x11, 0, vectors - 1, 3, 0x2003)
    return config


class FakeDevice:
    """One device of one group.

    Its file is a sparse memfd in which region n begins at n << 40, so that C code which uses the fd
    directly meets the same memory as calls that go through the fake.
    """

    def __init__(self, bdf: str, group: int, number: int, sizes: dict[int, int]) -> None:
        self.bdf, self.group, self.number = bdf, group, number
        self.sizes = sizes  # bytes of each region
        self.areas: dict[int, list[tuple[int, int]]] = {}  # sparse-mmap areas
        self.unmappable: set[int] = set()
        self.msix_mappable = {3}
        self.irqs = list(IRQ_COUNTS)
        self.vectors_available = 5
        self.noresize = True
        self.resettable = True
        self.busy_resets = 0  # how many opens or resets meet a taken reset lock
        self.resets = 0
        self.token: bytes | None = None  # of a PF that is bound to vfio-pci
        self.driver = "vfio-pci"
        self.config = initial_config(0x8086, 0x1889, self.irqs[2])
        self.opened_elsewhere = False
        self.accesses: list[tuple[int, int, int, bool]] = []  # region, offset, bytes, written
        self.events: dict[int, dict[int, int | None]] = {}
        self.maps: list[weakref.ref[mmap.mmap]] = []
        self.open_count = 0
        self.complaints: list[str] = []

    # ---- opening

    def acquire(self) -> None:
        """First use: resets the device and clears Bus Master."""
        if self.busy_resets:
            self.busy_resets -= 1
            raise fail(errno.EAGAIN)
        self.open_count += 1
        self.resets += 1
        self.config[4] &= ~4 & 0xFF

    def release(self) -> None:
        """Last use: the kernel takes back what was left; the fake remembers that it had to."""
        self.open_count -= 1
        for index, vectors in self.events.items():
            if vectors:
                self.complaints.append(f"{self.bdf}: closed with interrupt index {index} set up")
        if any((m := ref()) is not None and not m.closed for ref in self.maps):
            self.complaints.append(f"{self.bdf}: closed while a BAR is mapped: it stays in use")
        for index in list(self.events):
            self._disable(index)
        self.maps = []

    def check_token(self, token: bytes | None) -> None:
        if self.token is None and token is not None:
            raise fail(errno.EINVAL)
        if self.token != token:
            raise fail(errno.EACCES)

    # ---- ioctls

    def ioctl(self, request: int, raw: int | bytearray) -> int:
        handlers: dict[int, Callable[[int | bytearray], int]] = {
            0x3B6B: self._info,
            0x3B6C: self._region_info,
            0x3B6D: self._irq_info,
            0x3B6E: self._set_irqs,
            0x3B6F: self._reset,
        }
        if request not in handlers:
            raise fail(errno.ENOTTY)
        return handlers[request](raw)

    def _info(self, raw: int | bytearray) -> int:
        arg = Arg(raw, 16)
        arg.put("I", 4, 2 | (1 if self.resettable else 0))
        arg.put("I", 8, 9)
        arg.put("I", 12, 5)
        return 0

    def _region_info(self, raw: int | bytearray) -> int:
        arg = Arg(raw, 32)
        index = arg.get("I", 8)
        if index > 8:
            raise fail(errno.EINVAL)
        size = self.sizes.get(index, 0)
        flags, blocks = 0, []
        if size:
            flags = READ | (0 if index == 6 else WRITE)
        if size and index < 6 and index not in self.unmappable:
            flags |= MMAP
            if index in self.areas:
                areas = b"".join(struct.pack("=QQ", *area) for area in self.areas[index])
                blocks.append((1, struct.pack("=II", len(self.areas[index]), 0) + areas))
                blocks.insert(0, (2, struct.pack("=II", 0, 0)))
            elif index in self.msix_mappable:
                blocks.append((3, b""))
        arg.put("Q", 16, size)
        arg.put("Q", 24, index << REGION_SHIFT)
        arg.put("I", 12, 0)
        if blocks:
            flags |= CAPS
            answer_with_caps(arg, 32, 12, blocks)
        arg.put("I", 4, flags)
        return 0

    def _irq_info(self, raw: int | bytearray) -> int:
        arg = Arg(raw, 16)
        index = arg.get("I", 8)
        if index > 4:
            raise fail(errno.EINVAL)
        arg.put("I", 4, 1 | (8 if index == 2 and self.noresize else 0))
        arg.put("I", 12, self.irqs[index])
        return 0

    def _reset(self, raw: int | bytearray) -> int:
        if not self.resettable:
            raise fail(errno.EINVAL)
        if self.busy_resets:
            self.busy_resets -= 1
            raise fail(errno.EAGAIN)
        self.resets += 1
        return 0

    def _set_irqs(self, raw: int | bytearray) -> int:
        arg = Arg(raw, 20)
        flags, index, start, count = (arg.get("I", at) for at in (4, 8, 12, 16))
        data, action = flags & 7, flags & 0x38
        if data not in (1, 2, 4) or action not in (8, 0x10, 0x20) or flags & ~0x3F or index > 4:
            raise fail(errno.EINVAL)
        limit = self.irqs[index]
        if start >= limit or start + count > limit:
            raise fail(errno.EINVAL)
        width = {DATA_NONE: 0, DATA_BOOL: 1, DATA_EVENTFD: 4}[data]
        if arg.size - 20 < count * width or (width and not count):
            raise fail(errno.EINVAL)
        if action != TRIGGER:
            raise fail(errno.ENOTTY)
        values = [
            arg.get("i" if width == 4 else "B", 20 + i * width) for i in range(count * (width > 0))
        ]
        if data == DATA_EVENTFD:
            return self._assign(index, start, values)
        if not self.events.get(index):
            raise fail(errno.EINVAL)
        if data == DATA_NONE and not count:
            self._disable(index)
        for position in range(count):
            if data == DATA_NONE or values[position]:
                self.fire(index, start + position)
        return 0

    def _assign(self, index: int, start: int, fds: list[int]) -> int:
        for fd in fds:
            if fd < -1 or (fd >= 0 and not is_eventfd(fd)):
                raise fail(errno.EINVAL if fd >= 0 else errno.EBADF)
        now = self.events.get(index, {})
        if index == 2:
            if not now and start + len(fds) > self.vectors_available:
                return self.vectors_available
            if now and self.noresize and start + len(fds) > len(now):
                raise fail(errno.EINVAL)
            if not now:
                now = dict.fromkeys(range(start + len(fds)))
                self.msix_enabled = True
            # On an enabled index the kernel writes the table, but not the Enable bit.
        self.events[index] = now
        for position, fd in enumerate(fds, start):
            old = now.get(position)
            if old is not None:
                os.close(old)
            now[position] = os.dup(fd) if fd >= 0 else None
        if index != 2 and all(fd is None for fd in now.values()):
            del self.events[index]
        return 0

    @property
    def msix_enabled(self) -> bool:
        """The Enable bit of the MSI-X capability at 0x40."""
        return bool(self.config[0x43] & 0x80)

    @msix_enabled.setter
    def msix_enabled(self, on: bool) -> None:
        self.config[0x43] = self.config[0x43] & 0x7F | 0x80 * on

    def _disable(self, index: int) -> None:
        if index == 2:
            self.msix_enabled = False
        for fd in self.events.pop(index, {}).values():
            if fd is not None:
                os.close(fd)

    def fire(self, index: int, vector: int) -> bool:
        """The device raises an interrupt; whether anybody was told."""
        fd = self.events.get(index, {}).get(vector)
        if fd is None or (index == 2 and not self.msix_enabled):
            return False
        os.eventfd_write(fd, 1)
        return True

    # ---- regions

    def _where(self, offset: int, count: int) -> tuple[int, int]:
        index, at = offset >> REGION_SHIFT, offset & ((1 << REGION_SHIFT) - 1)
        if at + count > self.sizes.get(index, 0):
            raise fail(errno.EINVAL)
        if index != CONFIG and (count not in (1, 2, 4, 8) or at % count):
            raise fail(errno.EINVAL)
        return index, at

    def pread(self, fd: int, count: int, offset: int) -> bytes:
        index, at = self._where(offset, count)
        self.accesses.append((index, at, count, False))
        if index == CONFIG:
            return bytes(self.config[at : at + count])
        return os.pread(fd, count, offset)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        index, at = self._where(offset, len(data))
        self.accesses.append((index, at, len(data), True))
        if index == 6:
            raise fail(errno.EINVAL)
        if index != CONFIG:
            return os.pwrite(fd, data, offset)
        for position, value in enumerate(data, at):
            if position in (4, 5):  # all else is virtualised or dropped
                self.config[position] = value
        return len(data)

    def mmap(self, fd: int, length: int, offset: int, writable: bool) -> mmap.mmap:
        index, at = offset >> REGION_SHIFT, offset & ((1 << REGION_SHIFT) - 1)
        size = self.sizes.get(index, 0)
        areas = self.areas.get(index, [(0, -(-size // PAGE) * PAGE)])
        inside = any(start <= at and at + length <= start + room for start, room in areas)
        if index > 5 or index in self.unmappable or at % PAGE or not length or not inside:
            raise fail(errno.EINVAL)
        prot = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        mapping = mmap.mmap(fd, length, mmap.MAP_SHARED, prot, offset=offset)
        self.maps.append(weakref.ref(mapping))
        return mapping


def is_eventfd(fd: int) -> bool:
    try:
        return "eventfd" in str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError as error:
        raise fail(errno.EBADF) from error
