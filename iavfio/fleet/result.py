# SPDX-License-Identifier: BSD-3-Clause
"""A run over a fleet: what each host counted, and whether the sums over all hosts are even."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from iavfio.arguments import counted
from iavfio.bench.ndr import RESET, Trial
from iavfio.bench.plan import WIRE_OVERHEAD
from iavfio.datapath.latency import Latency
from iavfio.datapath.pair import FCS
from iavfio.fleet.clocks import Offset
from iavfio.fleet.orders import HostCounts

LATE = 0.1  # of a window: senders that began so far apart did not send together


@dataclass(frozen=True)
class FleetResult:
    """A run that has ended, on all hosts or on those that are left.

    `rate`: packets a second that were asked for of all senders together, 0: as fast as possible;
    `hosts`: what each counted, by name; `failed`: why a host has no counts, by name; `clocks`: how
    far each host's clock is from this one's; `link_mbps`: of the senders' links together, 0: not
    known; `max_loss`: the share of lost packets that is still sound.
    """

    sizes: tuple[int, ...]
    rate: float
    seconds: float
    hosts: Mapping[str, HostCounts]
    failed: Mapping[str, str]
    clocks: Mapping[str, Offset]
    link_mbps: int = 0
    max_loss: float = 0.0
    interrupted: KeyboardInterrupt | None = None
    notes: tuple[str, ...] = field(default=())

    def _total(self, name: str) -> int:
        return sum(getattr(counts, name) for counts in self.hosts.values())

    @property
    def sent(self) -> int:
        """Packets that all senders have given to their devices."""
        return self._total("sent")

    @property
    def received(self) -> int:
        """Packets of the run that all receivers got; twice where one came twice."""
        return self._total("received")

    @property
    def duplicated(self) -> int:
        """Packets that came again, where each packet was checked."""
        return self._total("duplicated")

    @property
    def loss(self) -> int:
        """Packets that were sent and did not arrive; negative when more came than were sent."""
        return self.sent - (self.received - self.duplicated)

    @property
    def loss_share(self) -> float:
        """Lost packets of all that were sent."""
        return max(self.loss, 0) / self.sent if self.sent else 0.0

    @property
    def named(self) -> int:
        """Lost packets of which a counter of some host says why."""
        return sum(sum(counts.lost.values()) for counts in self.hosts.values())

    @property
    def unnamed(self) -> int:
        """Lost packets of which no host knows: lost between hosts. Negative: counted twice."""
        return self.loss - self.named

    @property
    def complete(self) -> bool:
        """Whether every host told its counts, without which there are no sums."""
        return not self.failed

    @property
    def window_s(self) -> float:
        """Seconds of the longest sender's window."""
        return max((counts.window_s for counts in self.hosts.values()), default=0.0)

    @property
    def pps(self) -> float:
        """Packets a second that the senders sent together, each by its own window."""
        return sum(
            counts.window_sent / counts.window_s
            for counts in self.hosts.values()
            if counts.window_s
        )

    @property
    def gbps(self) -> float:
        """Gbit/s of frames with FCS that they sent together."""
        octets = sum(
            (counts.window_bytes + FCS * counts.window_sent) / counts.window_s
            for counts in self.hosts.values()
            if counts.window_s
        )
        return octets * 8 / 1e9

    @property
    def line_share(self) -> float | None:
        """Share of the senders' links, with preamble and gap; None where no speed is known."""
        if not self.link_mbps:
            return None
        return (self.gbps + self.pps * WIRE_OVERHEAD * 8 / 1e9) / (self.link_mbps / 1e3)

    @property
    def starts(self) -> dict[str, int]:
        """Nanoseconds after the first sender at which each began, by this host's clock."""
        began = {
            name: self.clocks[name].here(counts.started_ns)
            for name, counts in self.hosts.items()
            if counts.started_ns and name in self.clocks
        }
        first = min(began.values(), default=0)
        return {name: at - first for name, at in began.items()}

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the run is not sound, a sentence each; empty when it is."""
        found = [f"host {name} failed: {why}" for name, why in self.failed.items()]
        if self.failed:
            found.append("the sums are without these hosts: they are not compared")
            return tuple(found)
        if not self.sent:
            return () if self.interrupted else ("nothing was sent",)
        if not self.received and not self.interrupted:
            found.append(f"none of {counted(self.sent, 'packet')} arrived: {self._where()}")
        elif self.loss < 0:
            found.append(f"{counted(-self.loss, 'packet')} more arrived than all senders sent")
        elif self.loss_share > self.max_loss:
            found.append(
                f"{self.loss} of {self.sent} packets were lost ({self.loss_share:.3%}, at most "
                f"{self.max_loss:.3%} is allowed): {self._where()}"
            )
        if self.corrupted or self.duplicated:
            found.append(f"packets were duplicated ({self.duplicated}), spoiled ({self.corrupted})")
        return tuple(found)

    @property
    def corrupted(self) -> int:
        """Packets whose payload was wrong, where each was checked."""
        return self._total("corrupted")

    @property
    def balance(self) -> str:
        """The account of all hosts in words: what was sent is received, or lost where."""
        if self.failed:
            return f"sent {self.sent}, received {self.received}; {', '.join(self.failed)} unknown"
        again = f", of which {self.duplicated} again" if self.duplicated else ""
        text = f"sent {self.sent} = received {self.received}{again} + lost {self.loss}"
        return f"{text} ({self._where()})" if self.loss or self.named else text

    def _where(self) -> str:
        parts = [
            f"{name} {counter} {number}"
            for name, counts in self.hosts.items()
            for counter, number in counts.lost.items()
        ]
        rest = self.unnamed
        if rest > 0:
            parts.append(f"between the hosts {rest}, which no counter of theirs tells")
        elif rest < 0:
            parts.append(f"counters tell of {-rest} more, which were not this run's or came late")
        return ", ".join(parts)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is good to know and makes no run unsound."""
        found = list(self.notes)
        starts = self.starts
        apart = max(starts.values(), default=0) / 1e9
        if self.window_s and apart > LATE * self.window_s:
            late = max(starts, key=lambda name: starts[name])
            found.append(
                f"{late} began {apart:.3f} s after the first sender: the rate is no sum of what "
                "was sent at one time"
            )
        for name, counts in self.hosts.items():
            found += [f"{name}: {note}" for note in counts.notes]
            if counts.resets:
                found.append(f"{name}: {RESET}")
        return tuple(found)

    @property
    def sound(self) -> bool:
        """Whether all that was sent arrived, but for what may be lost, and the sums are even."""
        return not self.reasons

    @property
    def trial(self) -> Trial:
        """The run as a trial of a search. Latency is not measured between hosts."""
        wrong = [f"host {name} failed: {why}" for name, why in self.failed.items()]
        if self.loss < 0 and not self.failed:
            wrong.append(f"{counted(-self.loss, 'packet')} more arrived than all senders sent")
        if self._total("resets"):
            wrong.append(RESET)
        return Trial(
            asked=self.rate,
            seconds=self.window_s or self.seconds,
            sent=self.sent,
            loss=0 if self.failed else max(self.loss, 0),
            pps=self.pps,
            gbps=self.gbps,
            line_share=self.line_share,
            latency=Latency.none(),
            wrong="; ".join(wrong),
        )
