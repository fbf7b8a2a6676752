# SPDX-License-Identifier: BSD-3-Clause
"""A bad wire in front of any port: loss, duplicates, reordering, corruption and delay.

with iavfio.faults.wrap(port, loss=0.01, duplicate=0.01, reorder=0.02, seed=1) as bad:
    bad.tx[0].send(burst)       # as the port's own queues
    bad.rx[0].recv(timeout=1)
    print(bad.counts)           # what became of each packet; the sums add up
"""

from __future__ import annotations

from iavfio.faults.counts import Counts
from iavfio.faults.port import FaultyPort, wrap
from iavfio.faults.queues import FaultyRxQueue, FaultyTxQueue

__all__ = ["Counts", "FaultyPort", "FaultyRxQueue", "FaultyTxQueue", "wrap"]
