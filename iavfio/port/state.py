# SPDX-License-Identifier: BSD-3-Clause
"""The life of a port as a table: its states, what leads from one to the next, and why not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from iavfio.errors import StateError


class State(Enum):
    """Where a port stands."""

    OPENING = "opening"  # bus master, mailbox and negotiation are under way
    STOPPED = "stopped"  # negotiated; queues may be configured
    RUNNING = "running"  # queues are enabled
    RESETTING = "resetting"  # the VF is in a reset; the desired state will be rebuilt
    FAILED = "failed"  # gave up; recover() or close()
    CLOSED = "closed"


ALLOWED: dict[State, tuple[State, ...]] = {
    State.OPENING: (State.STOPPED, State.FAILED, State.CLOSED),
    State.STOPPED: (State.RUNNING, State.RESETTING, State.FAILED, State.CLOSED),
    State.RUNNING: (State.STOPPED, State.RESETTING, State.FAILED, State.CLOSED),
    State.RESETTING: (State.STOPPED, State.RUNNING, State.FAILED, State.CLOSED),
    State.FAILED: (State.RESETTING, State.CLOSED),
    State.CLOSED: (),
}

WHY_NOT: dict[tuple[State, State], tuple[str, str]] = {  # cause, remedy
    (State.OPENING, State.RUNNING): ("negotiation is not finished", "wait for open() to return"),
    (State.OPENING, State.RESETTING): ("nothing is set up that could be rebuilt", "open it again"),
    (State.STOPPED, State.OPENING): ("it is open already", ""),
    (State.STOPPED, State.STOPPED): ("it is stopped already", ""),
    (State.RUNNING, State.RUNNING): ("it is running already", "call stop() first to change queues"),
    (State.RUNNING, State.OPENING): ("it is open already", ""),
    (State.RESETTING, State.OPENING): ("the VF is in a reset", "wait for it: port.wait_running()"),
    (State.RESETTING, State.RESETTING): ("a reset is being handled", ""),
    (State.FAILED, State.RUNNING): ("the port has failed", "port.recover(), or close and open it"),
    (State.FAILED, State.STOPPED): ("the port has failed", "port.recover(), or close and open it"),
    (State.FAILED, State.OPENING): ("the port has failed", "close it and open it again"),
    (State.FAILED, State.FAILED): ("it has failed already", ""),
}
CLOSED_CAUSE = ("the port was closed", "open it again: iavfio.open(...)")


def nothing() -> None:
    """Is what a move does first when there is nothing to do."""


@dataclass
class Lifecycle:
    """A port's state; changes go through the table. Any thread may wait for one."""

    port: str
    state: State = State.OPENING
    reason: str = ""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def move(self, to: State, reason: str = "", first: Callable[[], None] = nothing) -> None:
        """Goes to `to`, or raises StateError with the reason why that cannot be.

        `first` is called when the move is certain and nobody can see it yet: what it does is true
        for whoever sees the new state.
        """
        with self._changed:
            if to not in ALLOWED[self.state]:
                raise self.refusal(to)
            first()
            self.state, self.reason = to, reason
            self._changed.notify_all()

    def refusal(self, to: State) -> StateError:
        """Why this state does not lead to `to`."""
        if self.state is State.CLOSED:
            cause, remedy = CLOSED_CAUSE
        else:
            cause, remedy = WHY_NOT.get((self.state, to), (f"it is {self.state.value}", ""))
        if self.reason:
            cause = f"{cause} ({self.reason})"
        return StateError(f"port {self.port} cannot become {to.value}", cause, remedy)

    def wait(self, wanted: tuple[State, ...], timeout: float) -> State:
        """Waits until the state is one of `wanted`; returns the state at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self.state in wanted, timeout)
            return self.state
