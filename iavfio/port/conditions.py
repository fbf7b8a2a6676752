# SPDX-License-Identifier: BSD-3-Clause
"""What a port notices in its counters of its own accord, once a second, and says until it ends.

The checks are those of `port.why()` that the counters alone answer; nothing is sent for them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from iavfio._driver import lib
from iavfio.port.state import State
from iavfio.port.why import STANDING, Facts, Finding, spread

if TYPE_CHECKING:
    from iavfio.port.control import PortControl
    from iavfio.stats import Snapshot

LEGACY = "1 (legacy)"
TAGS_LOST = (
    "VLAN tags that the PF strips are lost: it did not switch stripping off, and the vlan column "
    "is not filled\n"
    "  configure(metadata=['vlan']) delivers them; or take the VF out of its port VLAN on the host"
)
CALM = 5.0  # seconds without a finding after which it has ended


class Conditions:
    """Compares the counters of a running port with those of the last look."""

    def __init__(self, control: PortControl) -> None:
        self._control = control
        self._before: Snapshot | None = None
        self._counted_from: Snapshot | None = None  # packets, to see how they spread
        self._found: dict[str, float] = {}  # condition -> when it was last found
        self._suspended = 0

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Inside, frames are sent that are meant to vanish: their counts are nobody's fault."""
        self._suspended += 1
        try:
            yield
        finally:
            self._suspended -= 1
            self._begin_anew()

    def rebase(self) -> None:
        """The queues were brought up: what is counted from here on is compared."""
        self._begin_anew()
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
        facts = Facts(
            now.since(before),
            pool_idle=pool.idle,
            pool_size=pool.size,
            rss=control.session.has(lib.VC_CAP_RSS_PF),
            max_frame=settings.frame,
        )
        self._look_at_spread(now, before)
        self._look_at_formats()
        found = {finding.name: finding for check in STANDING if (finding := check(facts))}
        for name, finding in found.items():
            self._found[name] = time.monotonic()
            status.begin(name, told(finding))
        for name in [name for name in self._found if name not in found]:
            if time.monotonic() - self._found[name] > CALM:
                del self._found[name]
                status.end(name)

    def _look_at_tags(self) -> None:
        """Whether the PF may strip tags that no column takes: it was not told otherwise."""
        control = self._control
        told = control.session.held.vlan_stripping is False or not control.session.may_strip_vlan
        if told or "vlan" in control.settings.metadata:
            control.status.end("VLAN tags lost")
        else:
            control.status.begin("VLAN tags lost", TAGS_LOST)

    def _look_at_formats(self) -> None:
        """Whether the device writes receive descriptors as they were configured."""
        for pair in self._control.queues:
            came, taken = pair.stray_format()
            if came is not None:
                text = (
                    f"the device writes receive descriptors with format (RXDID) "
                    f"{came or LEGACY}, although {pair.rxdid or LEGACY} was configured: "
                )
                text += "they are read as such" if taken else "they are dropped"
                text += "\n  report the PF driver's version; port.reset() configures it anew"
                self._control.status.begin("descriptor format", text)
                return
        self._control.status.end("descriptor format")

    def _look_at_spread(self, now: Snapshot, before: Snapshot) -> None:
        """Packets are counted until there are enough of them to tell."""
        if self._counted_from is None:
            self._counted_from = before
        rss = self._control.session.has(lib.VC_CAP_RSS_PF)
        finding = spread(Facts(now.since(self._counted_from), rss=rss))
        if finding == "too few":
            return
        self._counted_from = now
        if isinstance(finding, Finding):
            self._control.status.begin("spread", told(finding))
        else:
            self._control.status.end("spread")


def told(finding: Finding) -> str:
    """A finding as a note: what it is, and below it what mends it."""
    return f"{finding.what} ({finding.evidence})\n  {finding.remedy}"
