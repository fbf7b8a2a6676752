# SPDX-License-Identifier: BSD-3-Clause
"""What a port notices in its counters of its own accord, once a second, and says until it ends.

The checks are those of `port.why()` that the counters alone answer; nothing is sent for them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from iavfio._driver import lib
from iavfio.port.calm import Calm
from iavfio.port.causes import STANDING, receiving, spreading
from iavfio.port.facts import Facts, Finding, StrayFormat
from iavfio.port.sampling import Received, Sent, spread_facts
from iavfio.port.state import State

if TYPE_CHECKING:
    from iavfio.port.control import PortControl
    from iavfio.stats import Snapshot

TAGS_LOST = (
    "VLAN tags that the PF strips are lost: it did not switch stripping off, and the vlan column "
    "is not filled\n"
    "  configure(metadata=['vlan']) delivers them; or take the VF out of its port VLAN on the host"
)
SHORTEST_PAUSE, LONGEST_PAUSE = 0.9, 64.0  # seconds between two looks at a sample
ASKED_PAUSE = 0.1  # the same where somebody reads the notes


class Conditions:
    """Compares the counters of a running port with those of the last look."""

    def __init__(self, control: PortControl) -> None:
        self._control = control
        self._before: Snapshot | None = None
        self._counted_from: Snapshot | None = None  # packets, to see how they spread
        self._calm = Calm()
        self._received = Received(0, ())  # the last sample
        self._sample_at, self._pause = 0.0, SHORTEST_PAUSE
        self._sampled = 0.0  # when
        self._looked_at = 0  # frames of samples
        self._spread_said = ""
        self._suspended = False
        self._probing = threading.Lock()
        self.discarded_probes = 0  # frames sent on purpose that the PF counted as discarded
        self.uncounted = 0  # frames that were done by the device and never counted by the PF

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Inside, frames are sent that are meant to vanish: their counts are nobody's fault.

        One thread at a time is; others wait for their turn.
        """
        with self._probing:
            self._suspended = True
            try:
                yield
            finally:
                self._suspended = False
                self._begin_anew()

    def rebase(self) -> None:
        """The queues were brought up: what is counted from here on is compared."""
        self._begin_anew()
        self._received = Received(0, ())
        self._sample_at, self._pause = 0.0, SHORTEST_PAUSE
        self._look_at_tags()

    def _begin_anew(self) -> None:
        self._before = self._counted_from = self._counts()

    def _counts(self) -> Snapshot:
        """The counters of the queues that run; those of a time with more queues do not count."""
        return self._control.stats.snapshot().of_queues(len(self._control.queues))

    def look(self) -> None:
        """Says what has begun and what has ended. Under the port's lock."""
        control, status = self._control, self._control.status
        if self._suspended or status.state is not State.RUNNING:
            self._before = self._counted_from = None
            return
        now = self._counts()
        before, self._before = self._before, now
        if before is None:
            return
        settings, pool = control.settings, control.pool
        stray, moved = self._look_at_formats(now), now.since(before)
        facts = Facts(
            moved,
            pool_idle=pool.idle,
            pool_size=pool.size,
            rss=control.session.has(lib.VC_CAP_RSS_PF),
            max_frame=settings.frame,
            stray=stray,
            sent=self._sent(now) if discarded(moved) else None,
        )
        self._look_at_spread(now, before)
        found = {finding.name: finding for check in STANDING if (finding := check(facts))}
        for name, finding in found.items():
            self._calm.found(name)
            status.begin(name, told(finding))
        for name in self._calm.open():
            if name not in found and self._calm.over(name):
                status.end(name)

    def look_at_arrivals(self) -> None:
        """Says whether what has arrived by now spreads, without waiting for the next look.

        Any thread may call it; it does nothing while another one uses the port.
        """
        control = self._control
        if control.sampling.total - self._looked_at < spreading.LEAST:
            return
        with control.status.lock.within(0, aside=True) as taken:
            if not taken or self._suspended or control.status.state is not State.RUNNING:
                return
            if self._before is not None:
                self._sample_at = min(self._sample_at, self._sampled + ASKED_PAUSE)
                self._look_at_spread(self._counts(), self._before)

    def _look_at_tags(self) -> None:
        """Whether the PF may strip tags that no column takes: it was not told otherwise."""
        control = self._control
        told = control.session.held.vlan_stripping is False or not control.session.may_strip_vlan
        if told or "vlan" in control.settings.metadata:
            control.status.end("VLAN tags lost")
        else:
            control.status.begin("VLAN tags lost", TAGS_LOST)

    def _look_at_formats(self, now: Snapshot) -> StrayFormat | None:
        """Whether the device writes receive descriptors as they were configured."""
        stray = StrayFormat.of(self._control.queues)
        finding = receiving.stray_format(Facts(now, stray=stray))
        if finding is None:
            self._control.status.end("descriptor format")
        else:
            self._control.status.begin(finding.name, f"{finding.what}\n  {finding.remedy}")
        return stray

    def _look_at_spread(self, now: Snapshot, before: Snapshot) -> None:
        """Packets are counted until there are enough of them to tell, and their kinds sampled."""
        if self._counted_from is None:
            self._counted_from = before
        window = now.since(self._counted_from)
        packets = [queue["packets"] for queue in window.rq]
        if len(packets) < 2:
            self._say_spread(None)
            return
        enough = sum(packets) >= spreading.LEAST
        sampled = self._sample(enough and (bool(self._spread_said) or spreading.uneven(packets)))
        if not enough and not sampled:
            return
        if enough:
            self._counted_from = now
        facts = Facts(
            window,
            rss=self._control.session.has(lib.VC_CAP_RSS_PF),
            **spread_facts(self._control, self._received),
        )
        finding = spreading.spread(facts)
        if enough or finding is not None:  # few packets tell that something is so, not that it ends
            self._say_spread(finding)

    def _say_spread(self, finding: Finding | None) -> None:
        """Begins, ends or changes the note: other kinds are another note."""
        what, before = "" if finding is None else finding.what, self._spread_said
        self._spread_said = what
        if what != before:
            self._control.status.end("spread")
        if finding is not None:
            self._control.status.begin("spread", told(finding))
            if what != before:
                self._pause = SHORTEST_PAUSE

    def _sample(self, again: bool) -> bool:
        """Looks at the kinds of what was received, where there are new frames and not too often.

        `again`: samples on also where there is no room any more.
        """
        sampling, clock = self._control.sampling, time.monotonic()
        new = sampling.total - self._looked_at
        if clock < self._sample_at or not (again or new >= spreading.LEAST):
            return False
        self._sampled, self._sample_at = clock, clock + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        sampling.look(again)
        self._looked_at = sampling.total
        self._received = sampling.received()
        return True

    def _sent(self, now: Snapshot) -> Sent:
        """What the port has sent, as far as it was sampled."""
        control = self._control
        control.sampling.look(again=True)
        own = (control.status.mac, *control.settings.extra_macs)
        return control.sampling.sent(own, sum(queue["posted"] for queue in now.sq))


def discarded(counts: Snapshot) -> bool:
    """Whether the PF discarded frames that were sent."""
    return bool(counts.pf["tx_discards"] or counts.pf["tx_errors"])


def told(finding: Finding) -> str:
    """A finding as a note: what it is, and below it what mends it."""
    return f"{finding.what} ({finding.evidence})\n  {finding.remedy}"
