# SPDX-License-Identifier: BSD-3-Clause
"""A C thread that runs queue pairs without Python: what traffic workers and handlers share."""

from __future__ import annotations

import errno
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Self

from iavfio._driver import ffi, lib
from iavfio.datapath.pair import QueuePair
from iavfio.errors import ConfigError, IavfioError, Remedy, StateError
from iavfio.exhaustion import exhaustion, thread_shortage
from iavfio.ranges import BURST, CPU
from iavfio.signatures import checked_call

MOST_PAIRS: int = lib.WORKER_MAX_PAIRS
DRAINING, ENDED = 2, 3  # of Counters.state


@dataclass(frozen=True)
class Counters:
    """What a worker counted. Packets and bytes are frames without FCS, `tsc_` are TSC cycles.

    Once a handler's worker has ended, every packet is in exactly one place:
    received = dropped + passed + pass_full + invalid + failed + sent + refused.
    """

    loops: int = 0
    """Rounds over all queue pairs."""
    empty_loops: int = 0
    """Rounds that moved nothing."""
    sent: int = 0
    sent_bytes: int = 0
    received: int = 0
    """Packets received; in a mode with generated traffic only those with the run's signature."""
    received_bytes: int = 0
    foreign: int = 0
    """Packets that were received without the run's signature."""
    lost: int = 0
    """Sequence numbers tell `lost`, `duplicated`, `reordered`, `corrupted`; with `verify` only."""
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0
    refused: int = 0
    """Packets not sent: too short or long, the queue stopped, or no room at the end."""
    alloc_fail: int = 0
    """Packets that were not generated because the pool was empty."""
    tsc_busy: int = 0
    """Cycles in rounds that moved packets."""
    tsc_total: int = 0
    start_ns: int = 0
    """Nanoseconds of CLOCK_MONOTONIC at the start; `stop_ns` are those at the end."""
    stop_ns: int = 0
    state: int = 0
    """The worker's state: 0 starting, 1 running, 2 draining, 3 ended."""
    error: int = 0
    """A negative errno that ended the worker: ESHUTDOWN (closed or configured anew), ENODEV."""
    dropped: int = 0
    """Packets for which the handler said DROP; `dropped` to `failed` are 0 without a handler."""
    passed: int = 0
    """Packets for which the handler said PASS, and which Python may take."""
    pass_full: int = 0
    """Packets dropped because Python did not take the passed ones in time."""
    invalid: int = 0
    """Packets dropped because the handler gave no action or one that does not exist."""
    failed: int = 0
    """Packets dropped because the handler raised an error."""

    def __add__(self, other: Counters) -> Counters:
        """Sums, but for the times: the earliest start, the latest stop, the least state."""
        values = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        starts = [n for n in (self.start_ns, other.start_ns) if n]
        values["start_ns"] = min(starts, default=0)
        values["stop_ns"] = max(self.stop_ns, other.stop_ns)
        values["state"] = min(self.state, other.state)
        values["error"] = self.error or other.error
        return Counters(**values)


_FIELDS = [f.name for f in fields(Counters)]


def _copy(raw: Any) -> Counters:
    """A copy of a `struct worker_counters`."""
    return Counters(**{name: int(getattr(raw, name)) for name in _FIELDS})


class WorkerThread:
    """One C thread over some queue pairs, which are its own until it ends; a context manager.

    A reset, or stop and start of a port, only interrupts it: it goes on when the queues run again.
    `ended` is true, with a negative errno in `counters.error`, when a queue is gone for good.
    It ends with this object when nobody closed it.
    """

    def __init__(
        self,
        config: Any,
        pairs: Sequence[QueuePair],
        uses: object = None,
        afterwards: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts a thread with a `struct worker_config` for these pairs.

        `uses`: what C may touch until the thread has ended; `afterwards` is called then, once.
        Raises StateError when a queue has another caller, IavfioError when it cannot start.
        """
        error = ffi.new("int *")
        raw = lib.worker_start(config, error)
        if raw == ffi.NULL:
            afterwards()
            raise _start_error(error[0], pairs)
        self._raw: Any = raw
        self._last = Counters()
        self._window: Counters | None = None
        self._owner = os.getpid()
        self._lock = threading.Lock()
        alive = (config, tuple(pairs), uses)
        self._free = weakref.finalize(self, _free, raw, self._owner, afterwards, alive)

    @property
    def counters(self) -> Counters:
        """What the worker counted, at most a few rounds ago; the final counts after its end."""
        with self._lock:
            if self._raw is not None:
                self._last = _copy(lib.worker_counters(self._raw))
            return self._last

    @property
    def ended(self) -> bool:
        """Whether its thread is done: stopped, limit reached, or its port was closed or lost."""
        return self._raw is None or self.counters.state == ENDED

    @checked_call
    def wait(self, timeout: float) -> bool:
        """Whether it ended within `timeout` seconds."""
        end = time.monotonic() + timeout
        while not self.ended:
            if time.monotonic() > end:
                return False
            time.sleep(0.002)
        return True

    @property
    def window(self) -> Counters | None:
        """The counters at the end of the measured window; None while it is open.

        The window closes after `window` seconds, when `limit` packets were sent, or at `finish`.
        The worker stops generating then, so that draining is outside of what was measured.
        """
        with self._lock:
            if self._raw is not None:
                raw = lib.worker_window(self._raw)
                self._window = None if raw == ffi.NULL else _copy(raw)
            return self._window

    @checked_call
    def finish(self, quiet: float = 0.1, limit: float = 1.0) -> None:
        """Closes the window, stops generating and lets the worker drain. Returns at once.

        The worker receives on until nothing came for `quiet` seconds, at most for `limit` seconds.
        """
        with self._lock:
            if self._raw is not None and self._mine:
                lib.worker_finish(self._raw, int(quiet * 1000), int(limit * 1000))

    def stop(self) -> None:
        """Ends the thread now and gives the queues back. Twice is harmless."""
        with self._lock:
            if self._raw is not None and self._mine:
                lib.worker_stop(self._raw)
                self._last = _copy(lib.worker_counters(self._raw))
                self._window = _copy(lib.worker_window(self._raw))

    def close(self) -> None:
        """Stops, and frees what belongs to the worker. Twice is harmless."""
        self.stop()
        with self._lock:
            self._raw = None
            self._free()

    @property
    def _mine(self) -> bool:
        """False in a forked child, which has no such thread (docs/spec/reliability.md F64)."""
        return os.getpid() == self._owner

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def _free(raw: Any, owner: int, afterwards: Callable[[], None], alive: object) -> None:
    """`alive` is what the thread may touch until it has ended."""
    if os.getpid() == owner:
        lib.worker_free(raw)
        afterwards()


def _start_error(code: int, pairs: Sequence[QueuePair]) -> IavfioError:
    numbers = ", ".join(sorted({f"{pair.index} of {pair.name}" for pair in pairs}))
    if code == -errno.EBUSY:
        return StateError(
            f"a worker cannot have its queues ({numbers})",
            "another worker or thread is using one of them",
            "close that worker first; a handler with tx=False leaves the send sides free",
        )
    if code == -errno.EINVAL:
        return ConfigError(
            f"a worker for queues {numbers} cannot start",
            "its queues do not share a pool, or its sizes or flows cannot be generated",
            "open the ports with the same pool: iavfio.open(..., pool=pool)",
        )
    what = f"a worker for queues {numbers} cannot start"
    if code == -errno.EAGAIN:
        return thread_shortage(what)
    if code == -errno.ENOMEM:
        return exhaustion(MemoryError(), what) or IavfioError(what, os.strerror(-code))
    return IavfioError(what, os.strerror(-code))


def running(pair: QueuePair) -> Any:
    """The C pair. Raises StateError when its port is stopped."""
    if pair.raw is None:
        raise StateError(
            f"queue {pair.index} of {pair.name} is not running",
            "its port is stopped",
            "call port.start() first",
        )
    return pair.raw


def check_burst_and_cpu(burst: int, cpu: int | None) -> None:
    """Raises ConfigError for a burst size or a CPU that a worker cannot have."""
    BURST("burst", burst)
    if cpu is not None and CPU("cpu", cpu) not in os.sched_getaffinity(0):
        able = ", ".join(str(c) for c in sorted(os.sched_getaffinity(0)))
        raise ConfigError(
            f"CPU {cpu} cannot be used",
            f"this process may run on {able}",
            Remedy("choose one of those", "choose of those with --cpus"),
        )
