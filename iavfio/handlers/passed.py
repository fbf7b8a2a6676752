# SPDX-License-Identifier: BSD-3-Clause
"""Packets that a handler passes to Python: one ring for each receive queue of a run."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from iavfio._driver import ffi, lib
from iavfio.datapath.burst import Burst
from iavfio.datapath.pair import BURST, QueuePair
from iavfio.datapath.thread import running
from iavfio.errors import IavfioError, StateError
from iavfio.ranges import PASSED, RECV, SLEEP


class Passed:
    """Packets with the action PASS, for Python. One caller at a time.

    `capacity` is how many may wait in each ring, rounded up to a power of two; 0: PASS is not
    allowed. Raises ConfigError for another number, IavfioError when memory is short.
    """

    def __init__(self, pairs: Sequence[QueuePair], capacity: int) -> None:
        capacity = PASSED("pass_ring", capacity)
        self._pairs = tuple(pairs)
        # A closed C pair lives as long as its QueuePair, and takes buffers back all the same.
        self._raws = [running(pair) for pair in pairs]
        self._rings: list[Any] = []
        self._array: Any = ffi.NULL
        self._next = 0
        self._lock = threading.Lock()
        self.owner: Callable[[], object] = lambda: None
        """A weak reference to the run, without which nothing can be taken."""
        self.capacity = 1 << (capacity - 1).bit_length() if capacity else 0
        if capacity:
            self._make()

    def _make(self) -> None:
        error = ffi.new("int *")
        for pair in self._pairs:
            ring = lib.pass_ring_new(pair.pool.raw, self.capacity, error)
            if ring == ffi.NULL:
                for made in self._rings:
                    lib.pass_ring_free(made)
                raise IavfioError(
                    f"no ring for {self.capacity} packets for Python", os.strerror(-error[0])
                )
            self._rings.append(ring)
        self._array = ffi.new("struct pass_ring *[]", self._rings)

    def lend(self, config: Any) -> None:
        """Writes the C pairs and their rings into a `struct worker_config`."""
        for i, raw in enumerate(self._raws):
            config.pair[i] = raw
            config.pass_ring[i] = self._rings[i] if self.capacity else ffi.NULL

    @property
    def waiting(self) -> int:
        """Packets that wait for Python."""
        return sum(lib.pass_ring_count(ring) for ring in self._rings)

    def recv(self, max: int = BURST, timeout: float | None = None) -> Burst:
        """Up to `max` passed packets of one queue as a Burst, possibly none.

        timeout None: looks once. Else waits up to `timeout` seconds, negative: without a limit; it
        returns early, and empty, when the worker has ended. Raises StateError when the run passes
        nothing, is closed, or another thread is in here; ConfigError for `max` below 1.
        """
        RECV("max", max)
        if timeout is not None:
            timeout = SLEEP("timeout", timeout)
        run = self.owner()  # must not be collected, and the rings with it, before the return
        if not self._lock.acquire(blocking=False):
            raise StateError(
                "passed packets are taken by another thread", "one thread at a time may do that"
            )
        try:
            if run is None or not self._rings:
                raise StateError(
                    "this run passes no packets to Python",
                    "it was started with pass_ring=0, or it is closed",
                    "run(..., pass_ring=1024)",
                )
            burst = self._take(max)
            if len(burst) or timeout is None:
                return burst
            burst.release()
            self._wait(timeout)
            return self._take(max)
        finally:
            self._lock.release()

    def _take(self, most: int) -> Burst:
        count = len(self._rings)
        for i in range(count):
            at = (self._next + i) % count
            if i + 1 == count or lib.pass_ring_count(self._rings[at]):
                break
        self._next = (at + 1) % count
        pair = self._pairs[at]
        columns = pair.columns(most)
        return Burst(pair, columns, int(lib.pass_ring_recv(self._rings[at], columns.raw, most)))

    def _wait(self, timeout: float) -> None:
        end = None if timeout < 0 else time.monotonic() + timeout
        while True:
            left = -1 if end is None else max(int((end - time.monotonic()) * 1e9), 0)
            if lib.pass_ring_wait(self._array, len(self._rings), left) != -errno.EINTR:
                return

    def close(self) -> None:
        """Returns what nobody took to the pool, after the worker has ended."""
        with self._lock:
            rings, self._rings = self._rings, []
            for ring, raw in zip(rings, self._raws, strict=False):
                lib.pass_ring_drop(ring, raw)
                lib.pass_ring_free(ring)
