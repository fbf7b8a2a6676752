# SPDX-License-Identifier: BSD-3-Clause
"""What an IOMMU holds, for tests: mappings of this process's real memory (docs/spec/vfio.md 4)."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path

from tests.pyvfio.fake_device import PAGE, fail

MSI = (0xFEE00000, 0xFEEFFFFF)


@dataclass
class Accounting:
    """RLIMIT_MEMLOCK, in bytes; `elsewhere` is what the user's other processes have pinned."""

    limit: int = -1
    locked: int = 0
    elsewhere: int = 0
    privileged: bool = False

    def charge(self, size: int, per_user: bool) -> None:
        total = self.locked + size + (self.elsewhere if per_user else 0)
        if not self.privileged and self.limit >= 0 and total > self.limit:
            raise fail(errno.ENOMEM)
        self.locked += size


@dataclass
class Iova:
    """One I/O address space."""

    accounting: Accounting
    per_user: bool = False
    width: int = 39
    limit: int = 65535
    attached: bool = False
    holes: tuple[tuple[int, int], ...] = (MSI,)
    maps: dict[int, tuple[int, int, bool]] = field(default_factory=dict)  # size, vaddr, written

    @property
    def ranges(self) -> list[tuple[int, int]]:
        if not self.attached:
            return [(0, 2**64 - 1)]
        out, start = [], 0
        for first, last in self.holes:
            out.append((start, first - 1))
            start = last + 1
        return [*out, (start, 2**self.width - 1)]

    def usable(self, iova: int, size: int) -> bool:
        return any(start <= iova and iova + size - 1 <= last for start, last in self.ranges)

    def overlaps(self, iova: int, size: int) -> bool:
        return any(
            at < iova + size and iova < at + length for at, (length, _, _) in self.maps.items()
        )

    def map(self, iova: int, vaddr: int, size: int, written: bool) -> None:
        """Pins and maps; the caller has checked flags."""
        if not size or (iova | vaddr | size) % PAGE or iova + size > 2**64 or vaddr + size > 2**64:
            raise fail(errno.EINVAL)
        if self.overlaps(iova, size):
            raise fail(errno.EEXIST)
        if len(self.maps) >= self.limit:
            raise fail(errno.ENOSPC)
        if not self.usable(iova, size):
            raise fail(errno.EINVAL)
        if not accessible(vaddr, size, written):
            raise fail(errno.EFAULT)
        self.accounting.charge(size, self.per_user)
        self.maps[iova] = (size, vaddr, written)

    def choose(self, size: int) -> int:
        """A free address, high up, so that nobody can guess it."""
        for start, last in reversed(self.ranges):
            at = (last + 1 - size) & ~(PAGE - 1)
            while at >= start:
                if not self.overlaps(at, size):
                    return at
                at -= max(size, PAGE)
        raise fail(errno.ENOSPC)

    def unmap(self, iova: int, size: int) -> int:
        """Bytes unmapped. Raises EINVAL when a mapping would be split."""
        last = iova + size
        inside = [
            at for at, (length, _, _) in self.maps.items() if at < last and iova < at + length
        ]
        if any(at < iova or at + self.maps[at][0] > last for at in inside):
            raise fail(errno.EINVAL)
        return sum(self._drop(at) for at in inside)

    def clear(self) -> int:
        return sum(self._drop(at) for at in list(self.maps))

    def _drop(self, at: int) -> int:
        size = self.maps.pop(at)[0]
        self.accounting.locked -= size
        return size


def accessible(vaddr: int, size: int, written: bool) -> bool:
    """Whether this process has that memory, with the rights that pinning needs."""
    at = vaddr
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        span, rights = line.split()[:2]
        start, end = (int(edge, 16) for edge in span.split("-"))
        if start <= at < end:
            if "r" not in rights or (written and "w" not in rights):
                return False
            at = end
            if at >= vaddr + size:
                return True
    return False
