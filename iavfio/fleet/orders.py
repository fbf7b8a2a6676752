# SPDX-License-Identifier: BSD-3-Clause
"""What a fleet asks of its hosts, and what they answer: plain values, whatever carries them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class OpenOrder:
    """How the port of a host is opened; `sizes` of frames with FCS set its least MTU."""

    host: str
    port: str
    queues: int
    ring: int
    mtu: int | None
    sizes: tuple[int, ...]
    version: str


@dataclass(frozen=True)
class PortFacts:
    """A port that runs: its name and MAC address, its link, and what it is measured on."""

    name: str
    mac: bytes
    link_up: bool
    link_mbps: int
    isa: str
    provenance: dict[str, object]


@dataclass(frozen=True)
class LaneOrder:
    """A send queue's part of a run: its number among all of the fleet, and where it sends."""

    queue: int
    number: int
    dst: bytes


@dataclass(frozen=True)
class TrialOrder:
    """One run. `start_ns`: by the host's own clock; `rate` in packets a second of this host.

    `lanes`: of the whole run, empty where the host only receives; `senders`: send queues of the
    whole fleet. `most`: packets after which the host stops sending, 0: by time alone.
    """

    sends: bool
    receives: bool
    lanes: tuple[LaneOrder, ...]
    senders: int
    signature: int
    sizes: tuple[int, ...]
    seconds: float
    rate: float
    burst: int
    flows: int
    ipv6: bool
    verify: bool
    cpus: tuple[int, ...]
    start_ns: int = 0
    most: int = 0


@dataclass(frozen=True)
class Moved:
    """How far a run has come on a host: packets, those received without the fleet's others."""

    sent: int
    received: int


@dataclass(frozen=True)
class HostCounts:
    """What a host counted in a run.

    `window_` is of the measured window; bytes are without FCS; `started_ns` by the host's clock, 0
    where nothing was sent. `lost`: packets that it sent and that never left it, or that came and
    were not received, by the counter that says so. `foreign`: received, and of nobody in the fleet.
    """

    sent: int = 0
    window_sent: int = 0
    window_bytes: int = 0
    window_s: float = 0.0
    started_ns: int = 0
    received: int = 0
    foreign: int = 0
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    resets: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trouble:
    """What kept a host from doing what it was asked, as an error of three parts."""

    what: str
    cause: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.cause}" if self.cause else self.what
