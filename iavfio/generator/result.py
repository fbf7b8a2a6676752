# SPDX-License-Identifier: BSD-3-Clause
"""What a generator's run did, stream by stream, and whether its sums add up."""

from __future__ import annotations

from dataclasses import dataclass, field

from iavfio.arguments import counted
from iavfio.errors import IavfioError
from iavfio.generator.answers import Answered
from iavfio.generator.arrivals import Arrivals
from iavfio.generator.shortfall import Shortfall

FRESH = 1.0  # seconds that the PF's last answer may be old


@dataclass(frozen=True)
class StreamCounts:
    """What one stream has sent: packets, and bytes without FCS; and what of it arrived.

    `received` packets that arrived, each counted once; `duplicated`: arrived again; `reordered`: of
    the received, those that came behind a later one. None: nobody received.
    """

    name: str
    sent: int
    bytes: int
    received: int | None = None
    duplicated: int | None = None
    reordered: int | None = None

    @classmethod
    def of(cls, name: str, sent: int, size: int, there: Arrivals | None) -> StreamCounts:
        """The counts of a stream, with its arrivals where somebody received."""
        if there is None:
            return cls(name, sent, size)
        return cls(name, sent, size, there.received, there.duplicated, there.reordered)

    @property
    def lost(self) -> int | None:
        """Packets that were sent and did not arrive; None: nobody received."""
        return None if self.received is None else self.sent - self.received


@dataclass(frozen=True)
class Generated:
    """A run that has ended.

    `on_wire`: frames that the PF counts as sent, a lower bound after a reset, which makes the PF
    forget; `lost`: frames that the device refused or failed to send, or that a reset took, by
    counter; `missed`: frames that the receiving port lost, by counter; `unsent`: given to the
    device and not completed; `others`: packets that the receiver got and that are not of this run;
    `shortfall`: what was missed of the asked rates, None: nothing; `pf_age`: seconds since the PF
    last told its counters, None: it never did; `answered`: requests that ports answered, by name.
    """

    streams: list[StreamCounts]
    seconds: float
    on_wire: int
    lost: dict[str, int]
    missed: dict[str, int]
    unsent: int
    others: int
    resets: int
    ended_by: str
    error: IavfioError | None
    interrupted: KeyboardInterrupt | None
    shortfall: Shortfall | None = None
    pf_age: float | None = 0.0
    answered: dict[str, Answered] = field(default_factory=dict)

    @property
    def sent(self) -> int:
        """Packets that all streams have sent."""
        return sum(stream.sent for stream in self.streams)

    @property
    def bytes(self) -> int:
        """Their bytes without FCS."""
        return sum(stream.bytes for stream in self.streams)

    @property
    def stale(self) -> str:
        """How old the PF's counters are, in words, where it did not answer at the end; else ""."""
        if self.pf_age is None:
            return "the PF has never told its counters"
        if self.pf_age > FRESH:
            return f"the PF does not answer: its counters are {self.pf_age:.1f} s old"
        return ""

    @property
    def reasons(self) -> list[str]:
        """Why the sums do not add up, or the rate was missed by far; empty when all is well."""
        found = []
        if self.resets:
            gone = sum(self.lost.values()) + self.unsent
            if gone:
                found.append(f"{counted(gone, 'packet')} were lost in a reset or not completed")
        elif self.on_wire != self.sent and self.stale:
            found.append(
                f"{self.stale}, and {self.on_wire} of {self.sent} are known to be on the wire"
            )
        elif self.on_wire != self.sent:
            found.append(
                f"the streams sent {self.sent} and the PF counts {self.on_wire} on the wire"
            )
        if self.shortfall is not None and self.shortfall.missed:
            found.append(str(self.shortfall))
        for stream in self.streams:
            if stream.lost:
                found.append(f"{stream.name}: {stream.lost} of {stream.sent} did not arrive")
            if stream.duplicated:
                found.append(f"{stream.name}: {stream.duplicated} arrived more than once")
        return found

    @property
    def sound(self) -> bool:
        """Whether everything that was sent is on the wire and, with a receiver, arrived once, at
        about the rate that was asked for.
        """
        return self.error is None and not self.reasons
