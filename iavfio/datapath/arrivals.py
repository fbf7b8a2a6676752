# SPDX-License-Identifier: BSD-3-Clause
"""Bursts of a receive queue as they arrive, for asyncio: by the queue's descriptor, no thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iavfio.datapath.burst import Burst
    from iavfio.datapath.queues import RxQueue

PAUSE = 0.002  # seconds between two looks at a queue whose VF is in a reset


class Arrivals:
    """An asynchronous iterator over bursts that are not empty; made by `async for` over a queue.

    The tasks of the loop get their turn between two bursts, also when packets always wait. A task
    that is cancelled here has taken no packet.
    """

    def __init__(self, queue: RxQueue, most: int) -> None:
        self._queue = queue
        self._most = most
        self._descriptor: int | None = None  # while the queue is watched for this iterator

    def __aiter__(self) -> Arrivals:
        return self

    async def __anext__(self) -> Burst:
        """The next burst, which the caller releases. Raises as `RxQueue.recv` does."""
        await asyncio.sleep(0)
        while True:
            burst = self._queue.recv(self._most)
            if len(burst):
                return burst
            burst.release()
            await self._arrival()

    async def _arrival(self) -> None:
        """Returns when the queue is worth a look."""
        queue = self._queue
        if queue.interrupted:
            await asyncio.sleep(PAUSE)
            return
        with queue.awaited():
            try:
                if self._descriptor is None:
                    self._descriptor = queue.watch()
                await _readable(self._descriptor)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Lets the queue poll without interrupts again. Twice is harmless."""
        if self._descriptor is not None:
            self._descriptor = None
            self._queue.unwatch()

    def __del__(self) -> None:
        self.close()


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _tell, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _tell(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
