# SPDX-License-Identifier: BSD-3-Clause
"""Which physical page lies behind an address, for tests: an order that nobody can guess."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

HUGE, FRAME = 2 << 20, 4096


@dataclass
class PhysicalMemory:
    """Hands `pages` (numbers of 2 MiB of physical memory) out in that order, then far ones.

    A page belongs to a place in a file, wherever that is mapped; files are real, so that what the
    device would find there can be read.
    """

    pages: list[int] = field(default_factory=list)
    owned: dict[tuple[str, int], int] = field(default_factory=dict)

    def frame(self, address: int) -> int:
        """Page frame number at an address of this process."""
        file, offset = behind(address)
        place = (file, offset // HUGE)
        if place not in self.owned:
            far = 0x10000 + 2 * len(self.owned)  # never neighbours
            self.owned[place] = self.pages.pop(0) if self.pages else far
        return (self.owned[place] * HUGE + offset % HUGE) // FRAME


def behind(address: int) -> tuple[str, int]:
    """The file (device and inode) and the offset in it that are mapped at an address."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        span, _, offset, device, inode = line.split()[:5]
        start, end = (int(edge, 16) for edge in span.split("-"))
        if start <= address < end:
            return f"{device} {inode}", int(offset, 16) + address - start
    raise AssertionError(f"nothing is mapped at {address:#x}")
