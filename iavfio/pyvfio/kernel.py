# SPDX-License-Identifier: BSD-3-Clause
"""The kernel as pyvfio uses it: one narrow object, so that a strict fake can take its place."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
from pathlib import Path
from typing import Protocol

MFD_HUGE_2MB = 21 << 26


class Kernel(Protocol):
    """System calls that reach VFIO, and the sysfs files around it. All raise OSError."""

    def open(self, path: str, flags: int) -> int:
        """open(2); O_CLOEXEC is always added."""

    def close(self, fd: int) -> None:
        """close(2)."""

    def ioctl(self, fd: int, request: int, arg: int | bytearray = 0) -> int:
        """ioctl(2); a bytearray is changed in place. Pointers inside it are real addresses."""

    def pread(self, fd: int, count: int, offset: int) -> bytes:
        """pread(2)."""

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        """pwrite(2)."""

    def mmap(self, fd: int, length: int, offset: int, writable: bool) -> mmap.mmap:
        """mmap(2), MAP_SHARED, readable."""

    def readlink(self, path: str) -> str:
        """readlink(2)."""

    def listdir(self, path: str) -> list[str]:
        """Names in a directory."""

    def read_text(self, path: str) -> str:
        """Content of a small text file."""

    def exists(self, path: str) -> bool:
        """Whether a path exists."""

    def memlock(self) -> tuple[int, int]:
        """RLIMIT_MEMLOCK in bytes: soft, hard; -1 = unlimited."""

    def huge_file(self, size: int) -> int:
        """An fd of `size` bytes of 2 MiB pages, not taken yet."""

    def frames(self, address: int, count: int, step: int) -> list[int]:
        """Page frame numbers at `count` addresses of this process; 0 where they are hidden."""


class RealKernel:
    """The running kernel."""

    def open(self, path: str, flags: int) -> int:
        return os.open(path, flags | os.O_CLOEXEC)

    def close(self, fd: int) -> None:
        os.close(fd)

    def ioctl(self, fd: int, request: int, arg: int | bytearray = 0) -> int:
        if isinstance(arg, bytearray):
            return int(fcntl.ioctl(fd, request, arg, True))
        return int(fcntl.ioctl(fd, request, arg))

    def pread(self, fd: int, count: int, offset: int) -> bytes:
        return os.pread(fd, count, offset)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        return os.pwrite(fd, data, offset)

    def mmap(self, fd: int, length: int, offset: int, writable: bool) -> mmap.mmap:
        prot = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        return mmap.mmap(fd, length, mmap.MAP_SHARED, prot, offset=offset)

    def readlink(self, path: str) -> str:
        return str(Path(path).readlink())

    def listdir(self, path: str) -> list[str]:
        return sorted(entry.name for entry in Path(path).iterdir())

    def read_text(self, path: str) -> str:
        return Path(path).read_text(encoding="utf-8")

    def exists(self, path: str) -> bool:
        return Path(path).exists()

    def memlock(self) -> tuple[int, int]:
        return resource.getrlimit(resource.RLIMIT_MEMLOCK)

    def huge_file(self, size: int) -> int:
        fd = os.memfd_create("pyvfio-dma", os.MFD_CLOEXEC | os.MFD_HUGETLB | MFD_HUGE_2MB)
        try:
            os.ftruncate(fd, size)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def frames(self, address: int, count: int, step: int) -> list[int]:
        fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return [_frame(os.pread(fd, 8, (address + i * step) // 4096 * 8)) for i in range(count)]
        finally:
            os.close(fd)


def _frame(entry: bytes) -> int:
    """Bits 54:0 of an entry of pagemap; bit 63 says that there is a page (docs/spec/vfio.md 8)."""
    value = int.from_bytes(entry, "little")
    if not value >> 63:
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
    return value & ((1 << 55) - 1)
