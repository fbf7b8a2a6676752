# SPDX-License-Identifier: BSD-3-Clause
"""Events of the PF between their arrival and their receiver."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from iavfio.logs import logger
from iavfio.virtchnl.journal import Journal
from iavfio.virtchnl.messages.events import Event

CAPACITY: Final = 256  # the oldest event makes room beyond it

log = logger("virtchnl")


class EventQueue:
    """Holds events, and delivers them in order, one at a time, without any lock held."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._events: deque[Event] = deque()
        self._lock = threading.Lock()
        self._delivering = False

    def add(self, event: Event) -> bool:
        """Adds an event; returns whether the oldest one was dropped for it."""
        with self._lock:
            full = len(self._events) == CAPACITY
            if full:
                self._events.popleft()
            self._events.append(event)
        return full

    def clear(self) -> None:
        """Drops all events: they tell of a time that is over."""
        with self._lock:
            self._events.clear()

    def deliver(self, receiver: Callable[[Event], None] | None) -> None:
        """Calls `receiver` for each event, unless another call does so already.

        The receiver may issue requests, which deliver nothing meanwhile. An exception of its is
        logged: the request that brought the event must not fail for what its receiver does.
        """
        while True:
            with self._lock:
                if self._delivering or not self._events or receiver is None:
                    return
                self._delivering = True
                event = self._events.popleft()
            try:
                receiver(event)
            except Exception as error:
                self._journal.note(f"handling {event} failed: {type(error).__name__}")
                log.exception("handling %s failed", event)
            finally:
                with self._lock:
                    self._delivering = False
