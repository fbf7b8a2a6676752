# SPDX-License-Identifier: BSD-3-Clause
"""What ports hold in memory, as configured. All of it is there from the start: nothing grows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iavfio.datapath.pool import STRIDE

if TYPE_CHECKING:
    from iavfio.port.port import Port


@dataclass(frozen=True)
class Footprint:
    """Bytes: packet buffers, descriptor rings (both for the device), shared counters."""

    buffers: int
    pool: int
    rings: int
    stats: int

    @classmethod
    def of(cls, ports: Iterable[Port]) -> Footprint:
        """Returns what these ports hold together; a pool that they share counts once."""
        ports = list(ports)
        pools = {id(port.pool): port.pool for port in ports}.values()
        rings = [queue.pair.rings for port in ports for queue in port.rx]
        return cls(
            buffers=sum(pool.size for pool in pools),
            pool=sum(pool.memory.size for pool in pools),
            rings=sum(ring.memory.size for ring in rings if ring is not None),
            stats=sum(port.segment.path.stat().st_size for port in ports),
        )

    @property
    def dma(self) -> int:
        """Bytes that are pinned, count against RLIMIT_MEMLOCK, and that the device can reach."""
        return self.pool + self.rings

    def __str__(self) -> str:
        return (
            f"{self.buffers} buffers of {STRIDE} bytes = {self.pool / 1e6:.1f} MB, "
            f"rings {self.rings / 1e3:.0f} kB, counters {self.stats / 1e3:.0f} kB"
        )
