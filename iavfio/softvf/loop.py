# SPDX-License-Identifier: BSD-3-Clause
"""The event loop of the control plane: one thread, file descriptors and timers."""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Call:
    """A timer of the loop; implements contract.Timer."""

    __slots__ = ("call", "due")

    def __init__(self, due: float, call: Callable[[], None]) -> None:
        self.due = due
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Takes the call back."""
        self.call = None


class Loop:
    """Implements contract.Scheduler, and watches file descriptors."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Call]] = []
        self._order = itertools.count()
        self._stopped = False
        self.stopped_by = 0  # the signal that ended `run`, 0 for none
        self._wakeup: tuple[int, int] | None = None
        self._former: dict[signal.Signals, Any] = {}  # signal handlers

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def call_later(self, delay: float, call: Callable[[], None]) -> Call:
        """Calls once after `delay` seconds, 0 meaning after the event in hand.

        Calls of equal time keep their order.
        """
        timer = Call(self.now() + max(delay, 0.0), call)
        heapq.heappush(self._timers, (timer.due, next(self._order), timer))
        return timer

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Calls `handler(ready)` whenever fd is ready for some of `events`.

        A second call for an fd replaces its events and its handler.
        """
        try:
            self._selector.modify(fd, events, handler)
        except KeyError:
            self._selector.register(fd, events, handler)

    def forget(self, fd: int) -> None:
        """Stops watching; an fd that is not watched is left as it is."""
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError):
            pass

    def stop(self) -> None:
        """Makes `run` return after the event in hand."""
        self._stopped = True

    def stop_on(self, *signals: signal.Signals) -> None:
        """Lets these signals stop the loop, also while it sleeps."""
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wakeup = read, write
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self.watch(read, READ, self._drain)
        for number in signals:
            self._former[number] = signal.signal(number, self._on_signal)

    def _drain(self, _: int) -> None:
        assert self._wakeup
        os.read(self._wakeup[0], 512)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopped = True
        self.stopped_by = self.stopped_by or number

    def run(self) -> None:
        """Serves until `stop`."""
        while not self._stopped:
            for key, mask in self._selector.select(self._timeout()):
                # An earlier handler of this round may have closed the fd of a later one.
                if self._selector.get_map().get(key.fd) == key:
                    key.data(mask)
            self._run_timers()

    def _timeout(self) -> float | None:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - self.now()) if self._timers else None

    def _run_timers(self) -> None:
        # What becomes due while these run waits for the next round, so fds are never starved.
        now = self.now()
        due = []
        while self._timers and self._timers[0][0] <= now:
            due.append(heapq.heappop(self._timers)[2])
        for timer in due:
            call, timer.call = timer.call, None
            if call is not None:
                call()

    def close(self) -> None:
        """Releases everything."""
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former.clear()
        if self._wakeup:
            signal.set_wakeup_fd(-1)
            for fd in self._wakeup:
                self.forget(fd)
                os.close(fd)
            self._wakeup = None
        self._selector.close()
