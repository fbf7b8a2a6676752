# SPDX-License-Identifier: BSD-3-Clause
"""What the bench measures: groups of ring size, burst, descriptor format and location."""

from __future__ import annotations

from dataclasses import dataclass

RINGS = (64, 128, 256, 512, 1024, 2048, 4096)
BURSTS = (1, 4, 8, 32, 64, 256)


@dataclass(frozen=True)
class Group:
    """One run of all backends, instruction sets and metadata sets in interleaved turns."""

    ring: int  #: descriptors, a power of two (DPDK's vector functions demand it)
    burst: int  #: packets
    descriptor: str  #: legacy or flex (RXDID 22)
    location: str = "hot"  #: where the descriptors lie: hot, l3, core
    count: bool = False  #: instructions too: slow, every one is a trap

    def argument(self) -> str:
        """Returns the group as an argument of the program."""
        text = f"{self.ring},{self.burst},{self.descriptor},{self.location}"
        return f"{text},count" if self.count else text


def quick() -> list[Group]:
    """The targets' groups and one step in each direction from them: about two minutes."""
    return [
        Group(512, 32, "flex", count=True),
        Group(512, 32, "legacy", count=True),
        Group(512, 8, "flex", count=True),
        *(Group(512, burst, "flex") for burst in (1, 4, 64, 256)),
        *(Group(ring, 32, "flex") for ring in (64, 4096)),
        Group(512, 32, "flex", "l3"),
        Group(512, 32, "flex", "core"),
    ]


def full() -> list[Group]:
    """Every combination."""
    return [
        Group(ring, burst, descriptor, location, location == "hot" and ring == 512)
        for descriptor in ("flex", "legacy")
        for ring in RINGS
        for burst in BURSTS
        for location in ("hot", "l3", "core")
        if burst <= ring // 2
    ]


def parse(text: str) -> Group:
    """A group as Group.argument() writes it. Raises ValueError."""
    parts = text.split(",")
    if not 4 <= len(parts) <= 5 or not parts[0].isdecimal() or not parts[1].isdecimal():
        raise ValueError(f"{text} is no RING,BURST,FORMAT,LOCATION[,count]")
    if parts[4:] not in ([], ["count"]):
        raise ValueError(f"{text}: the fifth field is 'count' or nothing")
    return Group(int(parts[0]), int(parts[1]), parts[2], parts[3], len(parts) == 5)
