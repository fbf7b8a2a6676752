# SPDX-License-Identifier: BSD-3-Clause
"""Waiting until a device has completed what was given to it, and until others have counted it."""

from __future__ import annotations

import time
from collections.abc import Callable
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


def await_count(
    count: Callable[[], int],
    enough: Callable[[int], bool],
    *,
    still: float,
    limit: float,
    step: float,
) -> int:
    """The count as soon as it is enough, or has not grown for `still` seconds, or after `limit`.

    It is looked at every `step` seconds, at least once. Raises what `count` raises.
    """
    most, since = -1, time.monotonic()
    end = since + limit
    while True:
        now = count()
        if enough(now):
            return now
        if now > most:
            most, since = now, time.monotonic()
        if time.monotonic() > min(since + still, end):
            return now
        time.sleep(step)
