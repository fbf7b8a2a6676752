# SPDX-License-Identifier: BSD-3-Clause
"""Waiting until a device has completed what was given to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from iavfio.errors import IavfioError

if TYPE_CHECKING:
    from iavfio.port.port import Port

STEP = 0.001


def drain(port: Port, seconds: float) -> int:
    """Reaps what the device completes and merges idle queues' counts; returns what is left.

    Waits at most `seconds`. A queue that stopped has nothing left.
    """
    end = time.monotonic() + seconds
    while True:
        port.settle()
        for queue in port.tx:
            try:
                queue.clean()
            except IavfioError:
                pass  # a queue that stopped has nothing in flight
        left = sum(queue.in_flight for queue in port.tx)
        if not left or time.monotonic() > end:
            return left
        time.sleep(STEP)
