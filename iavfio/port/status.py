# SPDX-License-Identifier: BSD-3-Clause
"""State, link, notes and events of a port: what it says of itself to users, queues and watchers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from iavfio.errors import DeviceLost, StateError
from iavfio.logs import logger, on_one_line
from iavfio.port.callbacks import Callbacks, callback_name
from iavfio.port.events import EventLock, PortEvent
from iavfio.port.link import Link
from iavfio.port.state import Lifecycle, State, nothing
from iavfio.stats import PortSegment
from iavfio.stats.layout import State as SegmentState

RECOVERY_DEADLINE = 20.0
# At which level an event is logged. A new MAC address is told by a note as well.
LEVELS = {
    "link": logging.INFO,
    "mac": logging.DEBUG,
    "reset": logging.WARNING,
    "recovered": logging.INFO,
    "traffic": logging.INFO,
    "failed": logging.ERROR,
    "lost": logging.ERROR,
    "request": logging.WARNING,
    "note": logging.WARNING,
    "over": logging.INFO,
}
LINES = {  # of events whose text alone does not say what happened
    "link": "link %s",
    "mac": "MAC address %s",
    "reset": "the VF is reset: %s",
    "recovered": "works again %s",
    "failed": "failed: %s",
    "over": "no longer so: %s",
}
ENDS = (State.RUNNING, State.FAILED, State.CLOSED)  # of a reset
HOW_TO_START = {
    State.RUNNING: "port.wait_running(), unless it is being closed",
    State.CLOSED: "open it again: iavfio.open(...)",
    State.FAILED: "port.recover(), or close the port and open it again",
}
REOPEN = "close the port; open it again when the VF is back"
Tell = Callable[[str, str], None]  # `PortStatus.tell`, for those who know no more of a port
FAILED = "failed"  # the condition whose note stands until the port works again
SHOWN: dict[State, SegmentState] = {
    State.OPENING: "opening",
    State.STOPPED: "stopped",
    State.RUNNING: "running",
    State.RESETTING: "resetting",
    State.FAILED: "failed",
    State.CLOSED: "stopped",
}


log = logger("port")


class PortStatus:
    """What is true of a port at the moment. Any thread may read it and wait for a change.

    `lock` serializes whoever changes the port, and tells events after its last release. `mac` is
    the address in force. State and link are published in the segment given to `publish_in`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.mac = bytes(6)
        self.notes: list[str] = []
        self.on_event: Callbacks[PortEvent] = Callbacks()
        self.lifecycle = Lifecycle(name)
        self.link = Link()
        self.lock = EventLock(self.on_event, self._callback_failed)
        self._link_changed = threading.Condition()
        self._segment: PortSegment | None = None
        self._conditions: dict[str, str] = {}
        self._saying = threading.Lock()

    def publish_in(self, segment: PortSegment) -> None:
        """Names the port as the segment is named, and shows state and link there from now on."""
        self.name = self.lifecycle.port = segment.name
        self._segment = segment

    @contextmanager
    def exclusively(self, seconds: float) -> Iterator[None]:
        """Holds the lock inside. Raises StateError when others hold it for so many seconds."""
        with self.lock.within(seconds) as taken:
            if not taken:
                raise self.busy()
            yield

    def busy(self) -> StateError:
        """The error for a lock that others hold for too long."""
        return StateError(
            f"port {self.name} is busy",
            f"another call uses it, or a reset is handled; it is {self.state.value}",
            "try again when that has ended: port.wait_running()",
        )

    # ---- state

    @property
    def state(self) -> State:
        """The state of the port's lifecycle."""
        return self.lifecycle.state

    def move(self, state: State, reason: str = "", first: Callable[[], None] = nothing) -> None:
        """Goes to `state`. Raises StateError when the present one does not lead there.

        Whoever sees the new state sees the segment, link and notes that go with it as well, and
        what `first` did.
        """

        def publish() -> None:
            self._publish(state)
            first()

        self.lifecycle.move(state, reason, publish)
        with self._link_changed:
            self._link_changed.notify_all()  # a wait for the link ends with the port as well
        calm = state in (State.STOPPED, State.RUNNING, State.CLOSED)
        log.log(logging.INFO if calm else logging.DEBUG, "%s: %s", self.name, state.value)

    def close(self) -> None:
        """The port is closed. Twice is harmless."""
        if self.state is not State.CLOSED:
            self.move(State.CLOSED)

    def _publish(self, state: State) -> None:
        if state in (State.RESETTING, State.FAILED, State.CLOSED):
            self.set_link(Link.now(False, 0))  # the PF tells it anew after a reset
        if state in (State.STOPPED, State.RUNNING):
            self._forget(FAILED)
            self.publish_link()  # the address may be another since a reset
        if self._segment is not None:
            self._segment.set_state(SHOWN[state])

    def fail(self, kind: str, reason: str) -> None:
        """Goes to failed: the event is of that `kind`, and a note says so until it works again.

        Raises StateError for a port that is closed.
        """
        remedy = REOPEN if kind == "lost" else HOW_TO_START[State.FAILED]
        text = f"{LINES.get(kind, '%s') % reason}\n  {remedy}"

        def say() -> None:
            with self._saying:
                self._conditions[FAILED] = text
                self.notes.append(text)

        self.move(State.FAILED, reason, say)
        self.emit(kind, reason)

    def in_service(self, lost: bool) -> bool:
        """Whether the PF can be asked now; not while a reset is handled.

        Raises DeviceLost for a port that has failed because its device is `lost`, StateError for
        any other that has failed and for a closed one: what it knows of the PF only grows older.
        """
        state = self.lifecycle.state
        if state is State.FAILED and lost:
            _, device, why = self.lifecycle.reason.rpartition("the device ")
            raise DeviceLost(
                f"the device of port {self.name} {why if device else 'is gone'}", "", REOPEN
            )
        if state in (State.FAILED, State.CLOSED):
            what = f"the PF cannot be asked by port {self.name}"
            raise StateError(what, self.why_stopped(), self.how_to_start())
        return state in (State.STOPPED, State.RUNNING)

    def wait_running(self, timeout: float) -> None:
        """Waits through a reset. Raises StateError when the port does not run by then."""
        if self.lifecycle.wait(ENDS, timeout) is not State.RUNNING:
            raise self.lifecycle.refusal(State.RUNNING)

    def pause(self, timeout: float) -> bool:
        """Whether a reset is being handled; waits at most `timeout` seconds for its end."""
        state = self.lifecycle.state
        if state is State.RUNNING:  # C saw the reset before Python did, or the reset is just over
            time.sleep(0.0005)
            return True
        if state is not State.RESETTING:
            return False
        if timeout:
            self.lifecycle.wait(ENDS, timeout if timeout > 0 else 1.0)
        return True

    def why_stopped(self) -> str:
        """Why queues do not work now, in words for an error."""
        state = self.lifecycle.state
        words = {
            State.CLOSED: "the port was closed",
            State.RUNNING: "its queues were stopped a moment ago",  # by C, or by a close
        }
        return self.lifecycle.reason or words.get(state, f"it is {state.value}")

    def how_to_start(self) -> str:
        """What makes queues work, in words for an error."""
        return HOW_TO_START.get(self.lifecycle.state, "call port.start() first")

    # ---- link

    def wait_link(self, timeout: float) -> Link:
        """Waits until the link is up, the port fails or is closed; returns the link as it is."""
        ends = (State.FAILED, State.CLOSED)
        with self._link_changed:
            self._link_changed.wait_for(
                lambda: self.link.up or self.lifecycle.state in ends, timeout
            )
            return self.link

    def set_link(self, link: Link) -> None:
        """Keeps the link as the PF tells it, or as down, and wakes whoever waits for a change."""
        with self._link_changed:
            same = link.up == self.link.up
            self.link = replace(link, since=self.link.since) if same else link
            self._link_changed.notify_all()
        if self.lifecycle.state is not State.OPENING:
            self.publish_link()

    def publish_link(self) -> None:
        """Writes link and address into the segment."""
        if self._segment is not None:
            self._segment.set_link(self.link.up, self.link.mbps, self.mac)

    # ---- words

    def emit(self, kind: str, text: str) -> None:
        """Logs an event and queues it for the callbacks, who hear of it when the lock is free."""
        log.log(LEVELS[kind], "%s: " + LINES.get(kind, "%s"), self.name, on_one_line(text))
        self.lock.emit(PortEvent(kind, text))

    def note(self, text: str) -> None:
        """Says once, as note, event and log line, that something is not as it should be."""
        with self._saying:
            if text in self.notes:
                return
            self.notes.append(text)
        self.emit("note", text)

    def _callback_failed(
        self, callback: Callable[[PortEvent], None], event: PortEvent, error: BaseException
    ) -> None:
        """Logs each failure with its traceback, and notes a callback that fails once."""
        name = callback_name(callback)
        log.error(
            "%s: the callback %s failed at the event %s: %s",
            self.name,
            name,
            event.kind,
            type(error).__name__,
            exc_info=error,
        )
        self.note(
            f"the callback {name} fails: it raises exceptions, which are logged and go no further\n"
            "  mend it after the log's traceback, or take it out: port.on_event.remove(...)"
        )

    def begin(self, condition: str, text: str) -> None:
        """Notes something that may end again, and is not said anew before `end`."""
        with self._saying:
            if condition in self._conditions:
                return
            self._conditions[condition] = text
        self.note(text)

    def tell(self, condition: str, text: str) -> None:
        """Notes what a condition is by now; "" ends it. Another text takes the place of the old."""
        if not text:
            self.end(condition)
            return
        with self._saying:
            said = self._conditions.get(condition, text)
        if said != text:
            self._forget(condition)
        self.begin(condition, text)

    def end(self, condition: str) -> None:
        """Takes the note of a condition away and says so; does nothing when there was none."""
        text = self._forget(condition)
        if text is not None:
            self.emit("over", text)

    def _forget(self, condition: str) -> str | None:
        """Takes the note of a condition away without a word; the note, if there was one."""
        with self._saying:
            text = self._conditions.pop(condition, None)
            if text in self.notes and text not in self._conditions.values():
                self.notes.remove(text)
            return text

    @property
    def conditions(self) -> frozenset[str]:
        """The names of what has begun and not ended."""
        with self._saying:
            return frozenset(self._conditions)

    def disown(self) -> None:
        """Leaves the port to the parent, in a forked child (docs/spec/reliability.md F64)."""
        self.lifecycle = Lifecycle(self.name, State.CLOSED, "it belongs to the parent process")
        # Whoever held the old locks does not exist here.
        self.lock = EventLock(self.on_event, self._callback_failed)
        self._link_changed, self._saying = threading.Condition(), threading.Lock()
