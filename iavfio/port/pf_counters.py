# SPDX-License-Identifier: BSD-3-Clause
"""What the PF counted for the VF: asked for by GET_STATS, published in the stats segment."""

from __future__ import annotations

from iavfio.errors import DeviceError, IavfioError, MailboxError, PfRefused
from iavfio.port.negotiation import Session
from iavfio.port.status import PortStatus
from iavfio.stats import PortSegment
from iavfio.stats.monotonic import Monotonic
from iavfio.virtchnl.messages.stats import GET_STATS

LAST_SAMPLE = 0.1  # seconds for the PF to tell its counters before a reset of our own


class PfCounters:
    """What the PF counted since the port was opened: twelve counters, which never go back.

    Callers hold the port's lock.
    """

    def __init__(self, session: Session, segment: PortSegment, status: PortStatus) -> None:
        self._session = session
        self._segment = segment
        self._status = status
        self._monotonic = Monotonic()
        self._ran = False  # queues may have moved packets since the port was opened

    def refresh(self, deadline: float | None = None) -> None:
        """Asks the PF and publishes the answer. Raises PfRefused, MailboxError."""
        client = self._session.client
        raw = client.ask(GET_STATS()) if deadline is None else client.ask(GET_STATS(), deadline)
        if not self._ran:
            self._monotonic.begin(raw)  # what it tells was another user's
        self._segment.set_global(self._monotonic.feed(raw))

    def first(self) -> None:
        """The first GET_STATS after a reset, from which on i40e counts; a note when it fails.

        It comes before the queues run.
        """
        unknown = ""
        try:
            self.refresh()
        except (PfRefused, MailboxError) as error:
            unknown = f"the PF's counters are not known from the start: {error}"
        self._status.tell("first counters", unknown)
        self._ran = True

    def last(self) -> None:
        """Asks once more before a reset of our own: with it the PF may forget what it counted."""
        client = self._session.client
        try:
            if not (client.suspect or client.needs_reset or self._session.was_reset()):
                self.refresh(LAST_SAMPLE)
        except IavfioError:
            pass  # the reset is what mends a PF that does not answer

    def before_stop(self, seconds: float) -> None:
        """Asks once more before the queues go; a PF that needs longer than that is not asked."""
        try:
            if self._session.client.patience < seconds:
                self.refresh(seconds)
        except DeviceError:
            pass  # the last answer stays, and its age is shown

    def after_reset(self) -> None:
        """The PF may count from 0 again: what comes next is added to what was."""
        self._monotonic.after_reset()
