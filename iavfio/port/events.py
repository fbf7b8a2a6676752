# SPDX-License-Identifier: BSD-3-Clause
"""What happens to a port of its own accord, and how its callbacks hear of it.

Callbacks may call anything, close() included (docs/spec/reliability.md F14). So they run without
the port's lock, one at a time and in order: in the thread that let go of it last, or, where that
would be late, in a thread of their own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from iavfio.port.callbacks import Callbacks, run


@dataclass
class Reset:
    """A reset that the port came through, and how long that took, in seconds since it was seen.

    `outage`: until the port ran again, and `attempts` how many it took. `first_packet`: until the
    first packet had moved, in either direction, within 8 ms; None as long as none has. It is filled
    in when that happens.
    """

    cause: str
    outage: float
    attempts: int
    first_packet: float | None = None


@dataclass(frozen=True)
class PortEvent:
    """Something that happened to a port; `text` says what. `kind` is one of:

    link, mac; reset (it was seen), recovered (the port works again), traffic (the first packet has
    moved since), failed, lost; request (the host wants the device back); note (something is not as
    it should be: the text stands in `port.notes` too), over (that has ended).
    """

    kind: str
    text: str


Failed = Callable[[Callable[[PortEvent], None], PortEvent, BaseException], None]


def in_main_thread() -> bool:
    """Whether this is the thread in which Python delivers signals."""
    return threading.current_thread() is threading.main_thread()


class EventLock:
    """A port's lock, reentrant. Events emitted under it are delivered at its last release.

    `failed` is told of a receiver that raised, and at which event. Only KeyboardInterrupt in the
    main thread goes further: it may be the user's Ctrl-C. All else, SystemExit too, would end a
    thread of iavfio or the request of somebody who knows nothing of the receiver.
    """

    def __init__(self, receivers: Callbacks[PortEvent], failed: Failed) -> None:
        self._receivers = receivers
        self._failed = failed
        self._lock = threading.RLock()
        self._depth = 0  # written by the holder only
        self._queue: deque[PortEvent] = deque()
        self._turn = threading.Lock()
        self._waiters = 0
        self._counting = threading.Lock()  # of waiters

    def emit(self, event: PortEvent) -> None:
        """Queues an event for the last release, or for `deliver`."""
        self._queue.append(event)

    def deliver_now(self) -> None:
        """Has a thread call the receivers while this one keeps the lock."""
        if self._receivers and self._queue:
            try:
                threading.Thread(target=self.deliver, name="iavfio-events", daemon=True).start()
            except RuntimeError:
                pass  # no thread can be had: the receivers hear of it at the last release

    def deliver(self) -> None:
        """Calls the receivers, unless another call does so already. Not under the lock."""
        while self._queue and self._turn.acquire(blocking=False):
            try:
                self._call_all()
            finally:
                self._turn.release()

    def _call_all(self) -> None:
        while self._queue:
            event = self._queue.popleft()
            interrupt: KeyboardInterrupt | None = None
            for call in list(self._receivers):
                try:
                    run(call, event)
                except BaseException as error:
                    if isinstance(error, KeyboardInterrupt) and in_main_thread():
                        interrupt = error
                    else:  # neither a recovery nor the caller's own request may fail for it
                        self._failed(call, event, error)
            if interrupt is not None:
                raise interrupt

    @contextmanager
    def within(self, timeout: float, *, aside: bool = False) -> Iterator[bool]:
        """Takes the lock if that is possible in `timeout` seconds; tells whether it did.

        `aside`: another thread calls the receivers, for a caller who may hold what they need.
        """
        taken = self._take(timeout)
        self._depth += taken
        try:
            yield taken
        finally:
            if taken:
                self._depth -= 1
                last = self._depth == 0
                self._lock.release()  # a signal may come at the begin of any function of ours
                if last:
                    self.deliver_now() if aside else self.deliver()

    @property
    def wanted(self) -> bool:
        """Whether another thread waits for the lock: work that can be put off gives way then."""
        return self._waiters > 0

    def _take(self, timeout: float) -> bool:
        """Takes the lock; a negative `timeout` waits for ever."""
        if self._lock.acquire(blocking=False):
            return True
        self._count(1)
        try:
            return self._lock.acquire(timeout=timeout)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._counting:
            self._waiters += change

    def __enter__(self) -> EventLock:
        self._take(-1)
        self._depth += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._depth -= 1
        last = self._depth == 0
        self._lock.release()
        if last:
            self.deliver()
