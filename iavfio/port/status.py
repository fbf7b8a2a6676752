# SPDX-License-Identifier: BSD-3-Clause
"""Where a port stands: state, link, notes and events, for the user and for its queues."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from iavfio.port.events import EventLock, PortEvent
from iavfio.port.link import Link
from iavfio.port.state import Lifecycle, State
from iavfio.stats import PortSegment
from iavfio.stats.layout import State as SegmentState

RECOVERY_DEADLINE = 20.0
HOW_TO_START = {
    State.CLOSED: "open it again: iavfio.open(...)",
    State.FAILED: "port.recover(), or close the port and open it again",
}
SHOWN: dict[State, SegmentState] = {
    State.OPENING: "opening",
    State.STOPPED: "stopped",
    State.RUNNING: "running",
    State.RESETTING: "resetting",
    State.FAILED: "failed",
    State.CLOSED: "stopped",
}


class Standing:
    """What is true of a port at the moment. `segment` publishes it once there is one."""

    name: str
    mac: bytes
    segment: PortSegment

    def __init__(self, name: str) -> None:
        self.name = name
        self.notes: list[str] = []
        self.on_event: list[Callable[[PortEvent], None]] = []
        self.lifecycle = Lifecycle(name)
        self.link = Link()
        self._link_changed = threading.Condition()
        self._lock = EventLock(self.on_event)

    @property
    def state(self) -> str:
        """opening, stopped, running, resetting, failed or closed."""
        return self.lifecycle.state.value

    def wait_link(self, timeout: float = 10.0) -> Link:
        """Waits until the link is up; returns the link as it then is.

        Returns early when the port fails or is closed.
        """
        ends = (State.FAILED, State.CLOSED)
        with self._link_changed:
            self._link_changed.wait_for(
                lambda: self.link.up or self.lifecycle.state in ends, timeout
            )
            return self.link

    def wait_running(self, timeout: float = RECOVERY_DEADLINE) -> None:
        """Waits through a reset. Raises StateError when the port does not run by then."""
        state = self.lifecycle.wait((State.RUNNING, State.FAILED, State.CLOSED), timeout)
        if state is not State.RUNNING:
            raise self.lifecycle.refusal(State.RUNNING)

    def pause(self, timeout: float) -> bool:
        """See PortState: whether a reset is being handled; waits for its end."""
        state = self.lifecycle.state
        if state is State.RUNNING:  # seen by C before the supervisor heard of it, or just over
            time.sleep(0.0005)
            return True
        if state is not State.RESETTING:
            return False
        if timeout:
            self.lifecycle.wait(
                (State.RUNNING, State.FAILED, State.CLOSED), timeout if timeout > 0 else 1.0
            )
        return True

    def why_stopped(self) -> str:
        """See PortState."""
        closed = self.lifecycle.state is State.CLOSED
        return self.lifecycle.reason or ("the port was closed" if closed else f"it is {self.state}")

    def how_to_start(self) -> str:
        """See PortState."""
        return HOW_TO_START.get(self.lifecycle.state, "call port.start() first")

    def _set_link(self, link: Link) -> None:
        with self._link_changed:
            self.link = link
            self._link_changed.notify_all()
        if self.lifecycle.state is not State.OPENING:
            self._publish_link()

    def _publish_link(self) -> None:
        self.segment.set_link(self.link.up, self.link.mbps, self.mac)

    def emit(self, kind: str, text: str) -> None:
        self._lock.emit(PortEvent(kind, text))

    def note(self, text: str) -> None:
        """Remembers something that is not as it should be; once, however often it happens."""
        if text not in self.notes:
            self.notes.append(text)

    def _move(self, state: State, reason: str = "") -> None:
        self.lifecycle.move(state, reason)
        self.segment.set_state(SHOWN[state])
        if state in (State.RESETTING, State.FAILED, State.CLOSED):
            self._set_link(Link.now(False, 0))  # the PF tells it anew after a reset
