# SPDX-License-Identifier: BSD-3-Clause
"""A beat that does not drift, and that may be waited for in another way than by sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator


def beats(
    seconds: float, count: int | None = None, wait: Callable[[float], object] = time.sleep
) -> Iterator[int]:
    """1, 2, 3, ... each `seconds` after the one before, `count` of them or without end.

    A beat that comes too late is not made up for: the next one is a whole interval later. `wait` is
    given the seconds to wait.
    """
    due = time.monotonic()
    number = 0
    while count is None or number < count:
        number += 1
        due += seconds
        while (left := due - time.monotonic()) > 0:
            wait(left)
        due = max(due, time.monotonic() - seconds)
        yield number
