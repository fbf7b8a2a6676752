# SPDX-License-Identifier: BSD-3-Clause
"""The event loop of the control plane: one thread, file descriptors and timers.

Each handler and timer runs on the account of a client (containment.Account), and for a turn that is
short: the others wait for it.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import selectors
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

from iavfio.softvf.containment import Account, Turn

# A turn ends after this, or after the one step that is longer: an FLR takes 0.55 ms, a write of all
# of configuration space 0.66, a window among 64,000 others 0.8. So one VF that storms keeps the
# others waiting for a millisecond a round, and 63 that all choose their longest step for 50.
TURN_SECONDS = 0.0001
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Call:
    """A timer of the loop; implements contract.Timer."""

    __slots__ = ("account", "call", "due")

    def __init__(self, due: float, call: Callable[[], None], account: Account) -> None:
        self.due, self.account = due, account
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Takes the call back."""
        self.call = None


class Watch:
    """A file descriptor's handler, and on whose account it runs."""

    __slots__ = ("account", "handler")

    def __init__(self, handler: Callable[[int], None], account: Account) -> None:
        self.handler, self.account = handler, account


class Loop:
    """Implements contract.Scheduler, and watches file descriptors."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self.own = Account("the software VF")
        self._account = self.own  # on which the event in hand runs
        self._timers: list[tuple[float, int, Call]] = []
        self._order = itertools.count()
        self._stopped = False
        self.stopped_by = 0  # the signal that ended `run`, 0 for none
        self._wakeup: tuple[int, int] | None = None
        self._posted: deque[tuple[Account, Callable[[], None]]] = deque()
        self._post_lock = threading.Lock()  # so that nobody writes to what is closed
        self._post_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.watch(self._post_fd, READ, self._run_posted)
        self._former: dict[signal.Signals, Any] = {}  # signal handlers

    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock()

    def turn(self) -> Turn:
        """A turn that begins now."""
        return Turn(self._clock, TURN_SECONDS)

    def call_later(
        self, delay: float, call: Callable[[], None], account: Account | None = None
    ) -> Call:
        """Calls once after `delay` seconds, 0 meaning after the event in hand.

        Calls of equal time keep their order. Without `account` it is that of the event in hand.
        """
        timer = Call(self.now() + max(delay, 0.0), call, account or self._account)
        heapq.heappush(self._timers, (timer.due, next(self._order), timer))
        return timer

    def post(self, call: Callable[[], None], account: Account) -> None:
        """Calls once, by the thread that runs the loop, whatever thread asks for it.

        A loop that is closed calls nothing any more.
        """
        with self._post_lock:
            if self._post_fd >= 0:
                self._posted.append((account, call))
                os.eventfd_write(self._post_fd, 1)

    def _run_posted(self, _: int) -> None:
        os.eventfd_read(self._post_fd)
        for _ in range(len(self._posted)):
            self._serve(*self._posted.popleft())

    def watch(
        self,
        fd: int,
        events: int,
        handler: Callable[[int], None],
        account: Account | None = None,
    ) -> None:
        """Calls `handler(ready)` whenever fd is ready for some of `events`.

        A second call for an fd replaces its events and its handler. Without `account` the handler
        runs on the software VF's own, which has no session to lose.
        """
        watch = Watch(handler, account or self.own)
        try:
            self._selector.modify(fd, events, watch)
        except KeyError:
            self._selector.register(fd, events, watch)

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
        # What Python writes there itself can fail, and a sleep that a signal interrupts goes on.
        if self._wakeup:
            with contextlib.suppress(OSError):
                os.write(self._wakeup[1], b"\0")

    def run(self) -> None:
        """Serves until `stop`."""
        while not self._stopped:
            for key, mask in self._selector.select(self._timeout()):
                # An earlier handler of this round may have closed the fd of a later one.
                if self._selector.get_map().get(key.fd) == key:
                    self._serve(key.data.account, key.data.handler, mask)
            self._run_timers()

    def _serve(self, account: Account, call: Callable[..., object], *arguments: object) -> None:
        self._account = account
        account.run(call, *arguments)
        self._account = self.own

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
                self._serve(timer.account, call)

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
        with self._post_lock:
            os.close(self._post_fd)
            self._post_fd = -1
        self._selector.close()
