# SPDX-License-Identifier: BSD-3-Clause
"""How far a host's clock is from this one's, by asking it back and forth as NTP does (RFC 5905, 8).

The answer was made at some moment between question and answer, so that half of the time between
these bounds the error, however the way is shared between both directions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

EXCHANGES = 8


@dataclass(frozen=True)
class Offset:
    """Nanoseconds that a host's clock is ahead of this one's, and how much that may be wrong."""

    ns: int
    error_ns: int

    def there(self, here_ns: int) -> int:
        """A time of this host's clock by the other one's."""
        return here_ns + self.ns

    def here(self, there_ns: int) -> int:
        """A time of the other host's clock by this one's."""
        return there_ns - self.ns


def compare(ask: Callable[[], int], clock: Callable[[], int] = time.time_ns) -> Offset:
    """The offset by the quickest of some exchanges; `ask` returns the other clock's time."""
    best: Offset | None = None
    for _ in range(EXCHANGES):
        asked = clock()
        there = ask()
        answered = clock()
        error = max((answered - asked + 1) // 2, 0)
        found = Offset(there - asked - error, error)
        if best is None or found.error_ns < best.error_ns:
            best = found
    assert best is not None
    return best
