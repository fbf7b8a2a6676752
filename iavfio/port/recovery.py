# SPDX-License-Identifier: BSD-3-Clause
"""Resets: attempts until the port is rebuilt, and what the PF then gives."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from iavfio.arguments import counted
from iavfio.datapath.pair import FCS
from iavfio.errors import DeviceLost, IavfioError, ResetError, ResetUnderWay, StateError
from iavfio.port.events import Reset
from iavfio.port.negotiation import Session
from iavfio.port.settings import Settings
from iavfio.port.state import ALLOWED, State
from iavfio.virtchnl.capabilities import cap_names

if TYPE_CHECKING:
    from iavfio.port.control import PortControl

ATTEMPTS = 5
STORM_DEADLINE = 10.0  # seconds in which resets may interrupt the recovery from resets
SHORT = 0.002  # seconds after such an interruption
BACKOFF = 0.2  # seconds, doubled at each further attempt (docs/spec/reliability.md F10)


def come_back(
    session: Session, rebuild: Callable[[], None], halt: Callable[[], None], coming: bool
) -> int:
    """Resets the VF and rebuilds the port; returns the number of attempts.

    `coming`: a reset has begun or will, so that none is asked for (docs/spec/reliability.md F22).
    Each attempt starts from a VF that was reset: nothing of the one before may live on. A reset
    that comes in the middle is not a failed attempt; a storm of them ends at a deadline, and all
    attempts at the session's. Raises what the last attempt raised, DeviceLost, ResetError and
    StateError at once.
    """
    end = time.monotonic() + STORM_DEADLINE
    failures = 0
    while True:
        try:
            if not (session.was_reset() or (coming and session.wait_reset_begins())):
                session.force_reset()
            rebuild()
            return failures + 1
        except (DeviceLost, ResetError, StateError):
            raise
        except ResetUnderWay:
            if time.monotonic() > end or session.device.lost or session.deadline.over:
                raise
            halt()
            session.pause(SHORT)
        except IavfioError as error:
            failures += 1
            if failures == ATTEMPTS or session.device.lost or session.deadline.over:
                raise
            session.journal.note(
                f"attempt {failures} to come back failed: {error}", logging.WARNING
            )
            halt()
            session.pause(BACKOFF * 2 ** (failures - 1))
        coming = False


def check_grant(name: str, session: Session, settings: Settings) -> None:
    """Compares what the PF gives after a reset with what is configured.

    Raises ResetError when the settings cannot be in force any more (docs/spec/reliability.md F26).
    """
    pairs = session.resources.queue_pairs
    if settings.queues > pairs:
        raise ResetError(
            f"{name} came back with {counted(pairs, 'queue pair')}",
            f"{settings.queues} are configured",
            "close the port and open it again with fewer queues",
        )
    if settings.frame + FCS > session.max_frame:
        raise ResetError(
            f"{name} came back with frames of at most {session.max_frame} bytes",
            f"an MTU of {settings.mtu} is configured",
            "close the port and open it again with a smaller mtu",
        )


def taken_away(before: int, after: int) -> str:
    """The names of capabilities that a PF granted before a reset and not after it, or ""."""
    return cap_names(before & ~after) if before & ~after else ""


class Recovery:
    """Resets of a port and the way back from each; PortControl holds the status' lock."""

    def __init__(self, control: PortControl) -> None:
        self._control = control
        self.granted = 0  # capabilities, when the port was opened

    def run(self, cause: str, coming: bool) -> Reset:
        """Resets the VF and rebuilds the port, as PortControl.recover says."""
        control, traffic = self._control, self._control.traffic
        with self._resetting(cause) as began:
            if not coming:
                control.counters.last()
            attempts = come_back(control.session, self._rebuild, traffic.halt, coming)
            record = Reset(cause, time.monotonic() - began, attempts)
            wanted = traffic.wanted
            if not wanted and control.session.dma_live:
                traffic.take_down()  # stop() was called while the queues were brought up
            now = State.RUNNING if wanted else State.STOPPED
            control.status.move(now, first=lambda: self._came_back(record))
        control.outage.running(record, began)
        control.status.emit("recovered", f"after {record.outage * 1e3:.1f} ms")
        return record

    def _came_back(self, record: Reset) -> None:
        """What is so for whoever sees that the port works again."""
        self._control.resets.append(record)
        self._control.trust.ask_again()  # the host resets a VF whose trust it changes
        self._control.status.end("PF closes")

    @contextmanager
    def _resetting(self, cause: str) -> Iterator[float]:
        """State and watchdog around a reset; gives the time since when no packet moves."""
        control, status, device = self._control, self._control.status, self._control.device
        if State.RESETTING not in ALLOWED[status.state]:
            raise status.lifecycle.refusal(State.RESETTING)
        if device.lost and not control.session.look_again():
            control.device_lost()
            gone = device.gone()
            remedy = "port.recover() once it answers, or close it and open it again when it does"
            raise DeviceLost(gone.what, gone.cause, gone.remedy if device.loss else remedy)
        began = time.monotonic()
        control.watchdog.disarm()
        began = min(began, control.watchdog.reset_since or began)
        status.move(State.RESETTING, f"reset {cause}")
        control.outage.begin()
        status.emit("reset", cause)
        status.lock.deliver_now()  # recovery takes its time
        try:
            control.traffic.halt()
            yield began
        except BaseException as error:
            self._failed(error)
            raise
        finally:
            control.housekeeping.reset_over()
        control.watchdog.arm()

    def _rebuild(self) -> None:
        """One attempt to come back: the VF has been or is being reset (docs/spec/virtchnl.md 8)."""
        control, session, status = self._control, self._control.session, self._control.status
        session.wait_ready(after_reset=True)
        control.traffic.drain()
        control.outage.quiet(control.watchdog, control.stats, len(control.queues))
        control.counters.after_reset()
        had = session.held
        session.negotiate(after_reset=True)
        control.address.adopt(session.resources.vsi.mac, had, control.settings, status)
        taken = taken_away(self.granted, session.report.granted)
        status.tell("grants", taken and f"since a reset the PF no longer grants {taken}")
        check_grant(status.name, session, control.settings)
        if control.traffic.wanted:
            control.traffic.begin(lenient=True)

    def _failed(self, error: BaseException) -> None:
        """The port stays failed until recover() or close(): there is no endless loop of resets.

        See docs/spec/reliability.md F10.
        """
        control, status = self._control, self._control.status
        control.traffic.halt()
        if isinstance(error, DeviceLost) or control.device.lost:
            control.device_lost()
        elif status.state not in (State.FAILED, State.CLOSED):
            reason = (str(error) or type(error).__name__).splitlines()[0]
            status.fail("failed", reason)
