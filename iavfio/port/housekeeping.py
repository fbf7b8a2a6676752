# SPDX-License-Identifier: BSD-3-Clause
"""What a port does about the things that its watchdog sees."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from iavfio.errors import DeviceError, DeviceLost, IavfioError, MailboxTimeout, ResetUnderWay
from iavfio.logs import logger, settle
from iavfio.port.calm import Calm
from iavfio.port.conditions import Conditions
from iavfio.port.state import State
from iavfio.port.vectors import MAILBOX_ENABLE, dyn_ctl

if TYPE_CHECKING:
    from iavfio.port.control import PortControl

# Seconds: an announced reset that has not come by then never will (docs/spec/reliability.md F23).
STALE_NOTICE = 5.0
LINK_SETTLES = 1.0  # seconds: two looks of the C watchdog at what the send queues do
SILENT = 3  # GET_STATS in a row without an answer
STALE = "stale counters"
PF_CLOSES = (
    "the PF's driver says that it goes away (PF_DRIVER_CLOSE): the VF works no longer then\n"
    "  when the host has loaded the driver again: port.recover(), or close and open the port"
)
PF_SILENT = (
    "the PF answers no requests\n"
    "  look at the host's dmesg: i40e is silent after malicious driver detection; port.reset() "
    "ends it"
)
COUNTERS_HIDDEN = (
    "the counters' file was cut short: other processes see no counters of this port any more\n"
    "  port.stats goes on; for iavfio stats, close the port and open it again"
)
ALIVE = (State.STOPPED, State.RUNNING)

log = logger("port")


class Housekeeping:
    """A Watcher (iavfio/port/watchdog.py) for one port.

    `release` is called when the host wants the device back; without it the port's callbacks are
    told, and nothing else.
    """

    def __init__(self, control: PortControl, release: Callable[[], None] | None) -> None:
        self._control = control
        self._status = control.status
        self._release = release
        self._announced = 0.0
        self._unanswered = 0
        self._stalled: float | None = None
        self._calm = Calm()
        self.conditions = Conditions(control)

    @property
    def stalled(self) -> float | None:
        """Seconds since a send queue was found to stand still; None when none ever was."""
        return None if self._stalled is None else time.monotonic() - self._stalled

    def note(self, text: str) -> None:
        self._status.note(text)

    def reset_announced(self) -> None:
        """The PF says that a reset is coming (RESET_IMPENDING)."""
        self._announced = time.monotonic()

    def reset_over(self) -> None:
        """Notes that the announced reset has come."""
        self._announced = 0.0

    def device_lost(self) -> None:
        self._control.device_lost()
        self._status.lock.deliver()

    def device_broken(self) -> None:
        """The function may be dead until it is reset; traffic goes on after that."""
        with self._status.lock:
            self.note("the host reported a PCI error of the device")
            if self._status.state in ALIVE:
                self._try("after a PCI error that the host reported")

    def device_wanted(self) -> None:
        self._status.emit("request", "the host asks for the device")
        if self._release is not None:
            self._release()
        else:
            self._status.lock.deliver()

    def mailbox_fired(self) -> bool:
        control = self._control
        # Whoever holds the lock takes the messages of his time, but leaves the vector disabled.
        with self._status.lock.within(0.05) as taken:
            if not taken:
                return False
            if self._status.state not in ALIVE:
                return True
            try:
                # In this order each message is read here or raises the vector again: the write
                # clears what is pending, and a cause that is set already raises nothing.
                control.bar.write32(dyn_ctl(0), MAILBOX_ENABLE)
                control.session.take_causes()
                control.session.client.service()
            except IavfioError:
                pass  # a reset or loss: the register checks will say which
        return True

    def reset_seen(self) -> None:
        with self._status.lock:
            # 0 when somebody has recovered the port while this thread waited for the lock.
            if self._status.state not in ALIVE or not self._control.watchdog.reset_since:
                return
            fresh = time.monotonic() - self._announced < STALE_NOTICE
            announced = bool(self._announced) and fresh
            cause = "announced by the PF" if announced else "seen in the registers"
            self._try(cause, coming=True)

    def traffic_seen(self) -> None:
        with self._status.lock:
            self._control.outage.traffic_seen(self._control.watchdog)

    def queue_stalled(self) -> None:
        """C has nudged the vector in vain: only a reset will help.

        See docs/spec/reliability.md F43. Without a link nothing leaves, and nothing is wrong; what
        stood still meanwhile has LINK_SETTLES seconds to go on. A reset of before this thread had
        the lock has ended the stall, too.
        """
        with self._status.lock:
            link = self._status.link
            settled = link.up and time.monotonic() - link.since >= LINK_SETTLES
            if self._status.state is State.RUNNING and settled and self._control.watchdog.stalled:
                self._stalled = time.monotonic()
                self._try("a send queue stands still")

    def knocked(self) -> None:
        self._control.mirroring.knocked()

    def tick(self) -> None:
        """Asks for the PF's counters; finds a mailbox that is broken for good."""
        self.mailbox_fired()
        settle()
        control = self._control
        if control.segment.hidden:
            self._status.begin("counters hidden", COUNTERS_HIDDEN)
        with self._status.lock:
            if self._status.state not in ALIVE:
                return
            try:
                self._refresh_stats()
                self._unanswered = 0
                if self._calm.over(STALE):
                    self._status.end(STALE)
                self._status.end("PF silent")
                control.check_trust()
            except (ResetUnderWay, DeviceLost):
                pass  # the register checks will say which
            except DeviceError as error:
                if self._status.lock.wanted:
                    return
                # The counters stay at what they were; their age is shown with them.
                self._calm.found(STALE)
                self._unanswered += isinstance(error, MailboxTimeout)
                self._status.begin(STALE, f"the PF's counters are not renewed: {error}")
            # Silence alone is no reason for a reset: i40e answers nothing after malicious driver
            # detection, and traffic may go on. It is noted; a broken queue means a reset
            # (docs/spec/reliability.md F11).
            if self._unanswered == SILENT:
                self._status.begin("PF silent", PF_SILENT)
            if control.session.client.needs_reset:
                self._try("the admin queue failed")

    def _refresh_stats(self) -> None:
        """Gives way to whoever wants the lock: the next tick asks again."""
        client = self._control.session.client
        client.give_way = lambda: self._status.lock.wanted
        try:
            self._control.refresh_stats()
        finally:
            client.give_way = None

    def _try(self, cause: str, *, coming: bool = False) -> None:
        try:
            self._control.recover(cause, coming=coming)
        except IavfioError as error:
            log.info("%s: %s", self._status.name, error)  # the port is FAILED, and says why
