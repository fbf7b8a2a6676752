# SPDX-License-Identifier: BSD-3-Clause
"""A loop over a port's receive queues and its TAP, in a thread of its own, until somebody ends it.

The thread is apart from the caller's so that Ctrl-C never comes between a packet and its count.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iavfio.capture.losses import losses
from iavfio.capture.outages import PAUSE
from iavfio.capture.sending import PF_SECONDS, sample
from iavfio.errors import IavfioError
from iavfio.exhaustion import thread_shortage
from iavfio.punt.counts import Counts
from iavfio.ranges import BURST

if TYPE_CHECKING:
    from iavfio.punt.punt import Punt

SLEEP_MS = 100  # at most, between looks at whether it is to end
RESTING = 0.05  # seconds between the caller's looks


@dataclass(frozen=True)
class Progress:
    """How far a run has come: `seconds` in all, `counts` in all."""

    seconds: float
    counts: Counts


@dataclass(frozen=True)
class Punted:
    """A run that has ended.

    `drops`: packets that came to the VF and were never received, by counter; `waiting`: packets
    that lay in the receive rings at the end. `ended_by`: "duration", "stop", "signal" or "error".
    """

    seconds: float
    counts: Counts
    drops: dict[str, int]
    waiting: int
    resets: int
    ended_by: str
    error: IavfioError | None
    interrupted: KeyboardInterrupt | None


class _Mover:
    """The thread that moves packets both ways."""

    def __init__(self, punt: Punt, over: threading.Event) -> None:
        self._punt, self._over = punt, over
        self.error: IavfioError | None = None
        self._failure: BaseException | None = None
        self._ended = threading.Event()  # a signal in Thread.join makes it lie (issue 90882)
        self._thread = threading.Thread(target=self._run, name="iavfio-punt-run", daemon=True)

    def start(self) -> None:
        """Raises IavfioError when no thread is left."""
        try:
            self._thread.start()
        except RuntimeError as error:  # Python's word for a thread that cannot start
            raise thread_shortage(f"{self._punt.port.name} cannot be punted of") from error

    def wait(self, seconds: float) -> bool:
        """Whether it has ended in this time."""
        return self._ended.wait(seconds)

    def end(self) -> None:
        """Waits for its end. Raises what was no error of iavfio's."""
        self._over.set()
        self._ended.wait()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        queues = self._punt.port.rx
        try:
            poll = select.poll()
            poll.register(self._punt.tap.fd, select.POLLIN)
            for queue in queues:
                poll.register(queue.watch(), select.POLLIN)
            try:
                while not self._over.is_set():
                    if not self._move():
                        self._rest(poll)
            finally:
                for queue in queues:
                    queue.unwatch()
        except IavfioError as error:
            self.error = error
        except BaseException as error:
            self._failure = error
        finally:
            self._ended.set()

    def _move(self) -> int:
        moved = 0
        for queue in self._punt.port.rx:
            with queue.recv(BURST.high) as burst:
                moved += len(burst)
                if len(burst):
                    self._punt.take(burst)
        return moved + self._punt.fetch()

    def _rest(self, poll: select.poll) -> None:
        """Until something waits; in a reset the descriptors are readable without that."""
        if self._punt.port.state == "running":
            with suppress(OSError):  # no memory for it just now: the queues are looked at
                poll.poll(SLEEP_MS)
                return
        self._over.wait(PAUSE)


def run(
    punt: Punt,
    over: threading.Event,
    duration: float | None,
    progress: Callable[[Progress], None] | None,
    every: float,
) -> Punted:
    """What `Punt.run` does; `over` ends it."""
    port = punt.port
    before, began = sample(port), time.monotonic()
    mover = _Mover(punt, over)
    interrupted: KeyboardInterrupt | None = None
    ended_by = "stop"
    mover.start()
    try:
        end = None if duration is None else began + duration
        due = began + every
        while not mover.wait(RESTING) and not over.is_set():
            now = time.monotonic()
            if end is not None and now >= end:
                ended_by = "duration"
                break
            if progress is not None and now >= due:
                due = max(due + every, now)
                progress(Progress(now - began, punt.counts))
    except KeyboardInterrupt as signal:
        interrupted, ended_by = signal, "signal"
        port.device.limit(PF_SECONDS)  # its server may be silent
    seconds = time.monotonic() - began
    mover.end()
    after = sample(port)
    return Punted(
        seconds=seconds,
        counts=punt.counts,
        drops=losses(after.since(before)),
        waiting=_waiting(punt),
        resets=after.resets - before.resets,
        ended_by="error" if mover.error is not None else ended_by,
        error=mover.error,
        interrupted=interrupted,
    )


def _waiting(punt: Punt) -> int:
    found = 0
    for queue in punt.port.rx:
        try:
            found += queue.waiting
        except IavfioError:
            pass  # a queue that stopped has nothing
    return found
