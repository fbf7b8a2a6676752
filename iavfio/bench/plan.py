# SPDX-License-Identifier: BSD-3-Clause
"""What a run is to do, and the terms in which frames are counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from iavfio.datapath.pair import FCS
from iavfio.errors import ConfigError
from iavfio.port.limits import room_for
from iavfio.port.port import Port
from iavfio.port.settings import ETHERNET

Mode = Literal["rxdrop", "txonly", "loopback", "forward"]
MODES: tuple[Mode, ...] = ("rxdrop", "txonly", "loopback", "forward")
GENERATING: tuple[Mode, ...] = ("txonly", "loopback")
WIRE_OVERHEAD = 20  # bytes of preamble, start delimiter and gap around each frame (IEEE 802.3)
NOBODY = bytes.fromhex("020000000001")  # where txonly sends by default: nobody's address
SECONDS = 3.0  # of a window whose end is not asked for
SMALLEST = 64  # with FCS: Ethernet, IPv4, UDP and the signature fit
SMALLEST_IPV6 = 82  # the same with IPv6's header, which is 20 bytes longer


@dataclass(frozen=True)
class Plan:
    """A run as it was asked for.

    `sizes`: frame sizes with FCS, as RFC 2544 counts them, used in turn.
    `duration`: the measured window in seconds, None = 3, or with `count` until that is reached.
    `count` ends it after so many packets in all, sent ones or, where the run generates none,
    received ones; 0 = by time alone. `rate` in packets a second, 0 = as fast as possible;
    `latency`: measure how long each packet is under way; `cpus`: one worker on each, empty = one
    anywhere. `ipv6`: generate IPv6 frames; `open_loop`: in loopback, send on also while more is
    under way than the receive rings hold, as a burst must. `max_loss`: the largest share of lost
    packets that a sound run may have, None = 0 on software VFs and any on a card.
    """

    mode: Mode = "loopback"
    sizes: tuple[int, ...] = (64,)
    duration: float | None = None
    count: int = 0
    burst: int = 32
    rate: float = 0.0
    flows: int = 64
    verify: bool = False
    latency: bool = False
    ipv6: bool = False
    open_loop: bool = False
    cpus: tuple[int, ...] = ()
    dst: bytes | None = None
    src: bytes | None = None
    max_loss: float | None = None

    def __post_init__(self) -> None:
        """Raises ConfigError for what has no effect in the mode: nothing is ignored in silence."""
        for name, given, modes, why in (
            ("rate", self.rate, GENERATING, "who sends the frames sets their rate"),
            (
                "verify",
                self.verify,
                ("loopback",),
                "only who gets his own frames knows them",
            ),
            ("latency", self.latency, ("loopback",), "only who gets his own frames knows them"),
            ("ipv6", self.ipv6, GENERATING, "who sends the frames chooses their protocol"),
            ("dst", self.dst, (*GENERATING, "forward"), "nothing is sent"),
            ("src", self.src, (*GENERATING, "forward"), "nothing is sent"),
        ):
            if given and self.mode not in modes:
                raise ConfigError(
                    f"--{name} cannot be used with --mode {self.mode}",
                    f"{why}; it belongs to --mode {' or '.join(modes)}",
                    f"leave --{name} out",
                )

    @property
    def seconds(self) -> float:
        """The length of the measured window, 0 where only `count` ends it."""
        if self.duration is not None:
            return self.duration
        return 0.0 if self.count else SECONDS

    @property
    def smallest(self) -> int:
        """Bytes of the shortest frame that can be generated, with FCS."""
        return SMALLEST_IPV6 if self.ipv6 else SMALLEST

    @property
    def generates(self) -> bool:
        """Whether the run makes the frames that it sends."""
        return self.mode in GENERATING

    def checked(self, ports: Sequence[Port]) -> Plan:
        """Returns this plan. Raises ConfigError for one that cannot be run on these ports."""
        if not 1 <= len(ports) <= 2:
            raise ConfigError(f"{len(ports)} ports", "one VF, or two that reach each other", "")
        narrow = min(ports, key=lambda port: port.settings.frame)
        longest = narrow.settings.frame + FCS
        for size in self.sizes:
            if self.smallest <= size <= longest:
                continue
            remedy = f"choose a --size from {self.smallest} on"
            if size > longest:
                remedy = room_for(size - FCS, narrow.name, narrow.control.limits)
            raise ConfigError(
                f"frames of {size} bytes cannot be sent",
                f"{self.smallest} to {longest} (with FCS) hold the headers and fit the MTU",
                remedy,
            )
        if not self.count and not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ConfigError(f"a run of {self.seconds:g} s", "it must last", "--duration 3")
        if self.max_loss is not None and not 0 <= self.max_loss <= 1:
            raise ConfigError(
                f"a loss of {self.max_loss:g} cannot be allowed",
                "it is the lost packets' share of all: 0 to 1",
                "--max-loss 0.001",
            )
        return self

    def destination(self, peer: Port) -> bytes:
        """Where generated frames go: as asked, else to the peer, or to nobody in txonly."""
        if self.dst is not None:
            return self.dst
        return NOBODY if self.mode == "txonly" else peer.mac


def least_mtu(sizes: Sequence[int]) -> int:
    """The least MTU for frames of these sizes with FCS."""
    return max(sizes) - FCS - ETHERNET
