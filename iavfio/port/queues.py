# SPDX-License-Identifier: BSD-3-Clause
"""The queues of a port together: their numbers, and which of them have packets."""

from __future__ import annotations

import errno
import time
from typing import Any, SupportsIndex, TypeVar, overload

from iavfio._driver import ffi, lib
from iavfio.arguments import counted
from iavfio.datapath.queues import RxQueue, TxQueue
from iavfio.errors import NoSuchQueue
from iavfio.ranges import SLEEP

Side = TypeVar("Side", RxQueue, TxQueue)


class Queues(tuple[Side, ...]):
    """The queues of one direction, in order of their numbers: a tuple whose IndexError says why."""

    __slots__ = ()

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Side: ...

    @overload
    def __getitem__(self, index: slice, /) -> tuple[Side, ...]: ...

    def __getitem__(self, index: SupportsIndex | slice, /) -> Side | tuple[Side, ...]:
        """The queue with this number, or a tuple of some. Raises NoSuchQueue, an IndexError."""
        try:
            return tuple.__getitem__(self, index)
        except IndexError:
            raise self._missing(index) from None

    def _missing(self, index: object) -> NoSuchQueue:
        first = self[0]
        have = counted(len(self), f"{first.direction} queue")
        last = len(self) - 1
        return NoSuchQueue(
            f"{first.pair.name} has no {first.direction} queue {index}",
            f"it has {have}, number 0" + (f" to {last}" if last else ""),
            "port.configure(queues=N) makes more, as many as port.max_queues says",
        )


class RxQueues(Queues[RxQueue]):
    """A port's receive queues, a tuple; `wait` and `any` look at all of them."""

    _last = -1  # the number of the queue that `any` chose

    def wait(self, timeout: float | None = None) -> list[RxQueue]:
        """The queues that have packets, in order of their numbers; an empty list when none has.

        timeout None: looks once and returns. Else sleeps on the interrupts of all until a packet
        comes or `timeout` seconds have passed; negative: no limit. No packet is taken. During a
        reset the list is empty (after waiting). Raises StateError when the port is stopped or
        another caller is in one of the queues, DeviceLost when the device is gone.
        """
        seconds = 0.0 if timeout is None else SLEEP("timeout", timeout)
        end = time.monotonic() + seconds if seconds >= 0 else None
        pairs: Any = ffi.new("struct queue_pair *[]", [queue.live() for queue in self])
        while True:
            left = -1 if end is None else max(end - time.monotonic(), 0.0)
            found = int(lib.pair_wait_any(pairs, len(self), int(left * 1e9)))
            if found > 0:
                return [queue for queue in self if queue.waiting]
            if found != -errno.EINTR:  # as PEP 475 has it: again after signals that did not raise
                if found < 0:
                    self[0].check(found, seconds)
                return []

    def any(self, timeout: float | None = None) -> RxQueue | None:
        """A queue that has packets, None when none has; raises as `wait` does.

        Queues that have packets all the time come in turn.
        """
        ready = self.wait(timeout)
        if not ready:
            return None
        chosen = next((queue for queue in ready if queue.index > self._last), ready[0])
        self._last = chosen.index
        return chosen
