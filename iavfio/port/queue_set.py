# SPDX-License-Identifier: BSD-3-Clause
"""All queue pairs of a port; `configure` makes a new set for its settings."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from iavfio.datapath.pair import FCS, PairSettings, QueuePair
from iavfio.datapath.pool import Pool
from iavfio.datapath.queues import PortState, RxQueue, TxQueue
from iavfio.errors import IavfioError
from iavfio.port.queues import Queues, RxQueues
from iavfio.port.settings import Limits, Settings


class QueueSet:
    """Queue pairs and their two sides. No memory is taken before the first bring-up."""

    def __init__(self, port: PortState, pool: Pool, settings: Settings, limits: Limits) -> None:
        shape = PairSettings(
            settings.rx_ring,
            settings.tx_ring,
            settings.frame,
            settings.metadata_bits,
            settings.isa,
            pf_frame=limits.frame - FCS,
        )
        self.pairs = [QueuePair(port.name, i, pool, shape) for i in range(settings.queues)]
        self.rx = RxQueues(RxQueue(port, pair) for pair in self.pairs)
        self.tx = Queues(TxQueue(port, pair) for pair in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[QueuePair]:
        return iter(self.pairs)

    @property
    def bitmap(self) -> int:
        """The queue numbers, for ENABLE_QUEUES and DISABLE_QUEUES."""
        return (1 << len(self.pairs)) - 1

    @property
    def buffers(self) -> int:
        """Buffers that all receive rings hold when they are full."""
        return sum(pair.settings.rx_entries for pair in self.pairs)

    def halt(self, why: int = -errno.ESHUTDOWN) -> None:
        """Keeps callers and workers out of every pair; see QueuePair.halt."""
        for pair in self.pairs:
            pair.halt(why)

    def drain(self) -> None:
        """Takes the buffers of all pairs back; only when the device can no longer write."""
        for pair in self.pairs:
            pair.drain()

    def settle(self) -> None:
        """Merges counts that other threads made for idle queues."""
        for pair in self.pairs:
            pair.settle()

    def close(self) -> None:
        """Gives all memory back; the queue objects stay and say that they do not run.

        Raises the first error, when all pairs are closed. Twice is harmless.
        """
        failure: IavfioError | None = None
        for pair in self.pairs:
            try:
                pair.close()
            except IavfioError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def disown(self) -> None:
        """Leaves the pairs to the parent, in a forked child."""
        for pair in self.pairs:
            pair.disown()
