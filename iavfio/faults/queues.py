# SPDX-License-Identifier: BSD-3-Clause
"""The queues of a port behind a bad wire."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from iavfio.datapath.burst import Burst
from iavfio.datapath.packets import Packets
from iavfio.datapath.pair import BURST, QueuePair
from iavfio.datapath.queues import RxQueue, TxQueue, check_several
from iavfio.datapath.regroup import copy, join
from iavfio.errors import IavfioError
from iavfio.faults.counts import Counts, Tally
from iavfio.faults.plan import Dice, Fates, Plan
from iavfio.faults.stage import Source, Stage, parts
from iavfio.ranges import RECV, SLEEP

Clock = Callable[[], float]


class Wire(Protocol):
    """What the queues of a faulty port know of it."""

    @property
    def clock(self) -> Clock:
        """Seconds that only rise."""

    @property
    def next(self) -> float | None:
        """The moment at which a held packet is due to be sent, None when there is none."""

    def check(self) -> None:
        """Raises StateError when the faults have ended."""

    def pump(self) -> None:
        """Sends what is due, where the queues can send."""


class _Side:
    """What both kinds of queue share: packets come in, meet their fate, and wait on a stage."""

    side = ""

    def __init__(self, wire: Wire, pair: QueuePair, plan: Plan) -> None:
        self._wire, self._pair = wire, pair
        self._dice = Dice(plan, self.side, pair.index) if self.side in plan.sides else None
        self._stage = Stage(plan.limit, plan.hold)
        self._tally = Tally()
        self.index = pair.index

    @property
    def counts(self) -> Counts:
        """What became of this queue's packets so far."""
        stage = self._stage
        return self._tally.counts(
            held=len(stage) + self._unsent, reordered=stage.reordered, delayed=stage.delayed
        )

    @property
    def _unsent(self) -> int:
        return 0

    def _admit(self, packets: Packets) -> None:
        """Moves packets to the stage, but for those that are lost."""
        burst = join(self._pair, [packets])
        self._tally.taken += len(burst)
        fates = self._dice.throw(len(burst)) if self._dice is not None else None
        if fates is not None and fates.lost.any():
            kept = ~fates.lost
            burst, whole = join(self._pair, [burst[kept]]), burst
            self._tally.lost += len(whole) - len(burst)
            whole.release()
            fates = fates.of(kept)
        now = self._wire.clock()
        copies = self._copies(burst, fates)
        if fates is not None:
            for hit in np.flatnonzero(fates.corrupted).tolist():
                _invert_bit(burst.segments_of(hit), float(fates.where[hit]))
                self._tally.corrupted += 1
        source = Source(burst)
        for row in range(len(burst)):
            delay = 0.0 if fates is None else float(fates.delay[row])
            if row in copies:
                self._stage.put(*copies[row], now, delay, 0)  # ahead of what may be overtaken
            distance = 0 if fates is None else int(fates.distance[row])
            self._stage.put(source, row, now, delay, distance)

    def _copies(self, burst: Burst, fates: Fates | None) -> dict[int, tuple[Source, int]]:
        """Row of a packet -> its copy. None is made for which the pool has no buffer."""
        rows: NDArray[np.intp] = np.flatnonzero([] if fates is None else fates.duplicated)
        if not rows.size:
            return {}
        try:
            made = Source(copy(self._pair, burst, rows))
        except IavfioError:
            return {}
        self._tally.duplicated += rows.size
        return {int(row): (made, at) for at, row in enumerate(rows)}

    def _out(self, most: int) -> Burst:
        """Up to `most` packets that are ready, as one burst, possibly an empty one."""
        taken = self._stage.take(most)
        burst = join(self._pair, parts(taken))
        for waiting in taken:
            waiting.source.leave(1)
        return burst

    def drain(self) -> None:
        """Delays are over, and nothing waits to be overtaken any more."""
        self._stage.advance(float("inf"))

    def end(self) -> None:
        """Gives back what is held."""
        self._tally.discarded += self._stage.clear()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.index} of {self._pair.name}>"


class FaultyRxQueue(_Side):
    """A receive queue behind a bad wire. One caller at a time."""

    side = "rx"

    def __init__(self, wire: Wire, queue: RxQueue, plan: Plan) -> None:
        super().__init__(wire, queue.pair, plan)
        self._queue = queue

    @property
    def isa(self) -> str:
        """The instruction set of the port's own queue, as of RxQueue.isa."""
        return self._queue.isa

    def recv(self, max: int = BURST, timeout: float | None = None) -> Burst:
        """Receives behind the faults; raises as RxQueue.recv does, and StateError after their end.

        With a `timeout` it also wakes for a held packet whose time has come. What is due to be sent
        by the port goes first.
        """
        most = RECV("max", max)
        clock = self._wire.clock
        end = None if timeout is None else clock() + SLEEP("timeout", timeout)
        if timeout is not None and timeout < 0:
            end = float("inf")
        while True:
            self._wire.check()
            self._wire.pump()
            self._stage.advance(clock())
            wait = self._left(end)
            came = self._receive(most - self._stage.ready, wait)
            self._stage.advance(clock())
            woken = came > 0 or self._wakes(end)
            if self._stage.ready or wait is None or not woken or clock() >= (end or 0.0):
                burst = self._out(most)
                self._tally.delivered += len(burst)
                return burst

    def _receive(self, most: int, wait: float | None) -> int:
        """Takes up to `most` packets from the port, none where it is not positive; how many.

        What is ready goes first: taking more than goes on would empty the pool.
        """
        if most <= 0:
            return 0
        with self._queue.recv(most, wait) as burst:
            if len(burst):
                self._admit(burst)
            return len(burst)

    def _left(self, end: float | None) -> float | None:
        """How long to sleep on the queue: until then, or until a held packet's time has come."""
        if end is None or self._stage.ready:
            return None
        first = min(self._moments(), default=end)
        if first == end == float("inf"):
            return -1.0
        return max(min(first, end) - self._wire.clock(), 0.0)

    def _wakes(self, end: float | None) -> bool:
        """Whether a held packet ended the sleep, or will end the next one, before `end`."""
        return end is not None and min(self._moments(), default=end) < end

    def _moments(self) -> list[float]:
        return [at for at in (self._stage.next, self._wire.next) if at is not None]


class FaultyTxQueue(_Side):
    """A send queue in front of a bad wire. One caller at a time."""

    side = "tx"

    def __init__(self, wire: Wire, queue: TxQueue, plan: Plan) -> None:
        super().__init__(wire, queue.pair, plan)
        self._queue = queue
        self._lock = threading.Lock()  # recv of another thread sends what is due
        self._rest: Burst | None = None  # what is to go next, and a full ring did not take

    @property
    def isa(self) -> str:
        """The instruction set of the port's own queue, as of TxQueue.isa."""
        return self._queue.isa

    @property
    def max_frame(self) -> int:
        """The longest frame in bytes, without FCS, that the port's own queue sends."""
        return self._queue.max_frame

    @property
    def in_flight(self) -> int:
        """Packets that the device has not completed, and those that are held."""
        return self._queue.in_flight + self.counts.held

    @property
    def next(self) -> float | None:
        """The moment at which a held packet is due, None when none waits for a moment."""
        return self._stage.next

    @property
    def _unsent(self) -> int:
        return 0 if self._rest is None else self._rest.left

    def build(self, packets: Sequence[Any] | NDArray[np.uint8], lengths: Any = None) -> Burst:
        """Returns frames of the caller's as a burst, as TxQueue.build does."""
        return self._queue.build(packets, lengths)

    def send(self, packets: Packets | Sequence[Any] | NDArray[np.uint8]) -> int:
        """Sends; returns how many packets were taken, those that get lost included.

        All or none: none while packets are held that the full ring had no room for. Raises as
        TxQueue.send does, and StateError after the end of the faults; none is taken then. Where
        the port fails behind their taking they are held, and the next call raises if it must.
        """
        if not isinstance(packets, Packets):
            self._wire.check()
            check_several(packets)
            with self.build(packets) as burst:
                return self.send(burst)
        with self._lock:
            self._wire.check()
            if packets.pool is not self._pair.pool:
                return self._queue.send(packets)  # which raises, and says why
            packets.live()
            self._queue.clean()
            self._post()
            if self._rest is not None:
                return 0
            before = self._tally.taken
            self._admit(packets)
            with contextlib.suppress(IavfioError):  # they are taken already, and go later
                self._post()
            return self._tally.taken - before

    def clean(self) -> int:
        """Reaps completions as TxQueue.clean does, then sends what is due."""
        with self._lock:
            self._wire.check()
            count = self._queue.clean()
            self._post()
            return count

    def pump(self) -> None:
        """Sends what is due, unless another thread is in this queue. Raises as send does."""
        if self.counts.held and self._lock.acquire(blocking=False):
            try:
                self._post()
            finally:
                self._lock.release()

    def drain(self) -> None:
        """Delays are over, and nothing waits to be overtaken: sends what the ring takes."""
        with self._lock:
            super().drain()
            self._post()

    def end(self) -> None:
        """Gives back what is held."""
        with self._lock:
            self._tally.discarded += self._unsent
            if self._rest is not None:
                self._rest.release()
                self._rest = None
            super().end()

    def _post(self) -> None:
        """Hands to the device what is ready, as far as its ring has room."""
        self._stage.advance(self._wire.clock())
        while self._rest is not None or self._stage.ready:
            if self._rest is None:
                self._rest = self._out(BURST)
            before = self._rest.left
            sent = self._queue.send(self._rest)
            left = self._rest.left
            self._tally.delivered += sent
            self._tally.refused += before - left - sent
            if left:
                return
            self._rest.release()
            self._rest = None


def _invert_bit(segments: list[memoryview], where: float) -> None:
    """Inverts the bit that lies at that share of the packet."""
    bit = int(where * 8 * sum(len(segment) for segment in segments))
    for segment in segments:
        if bit < 8 * len(segment):
            segment[bit // 8] ^= 1 << bit % 8
            return
        bit -= 8 * len(segment)
