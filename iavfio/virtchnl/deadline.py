# SPDX-License-Identifier: BSD-3-Clause
"""One budget of time for a whole operation, which all its steps share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Deadline:
    """The moment by which an operation has ended, `seconds` from now (docs/spec/reliability.md I3).

    Steps ask it how long they may take, so that their time-outs cannot add up.
    """

    def __init__(
        self, seconds: float = math.inf, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """Seconds until then, 0 when it has passed, infinite without a bound."""
        return max(0.0, self._end - self._clock())

    @property
    def over(self) -> bool:
        """Whether it has passed."""
        return self._clock() >= self._end

    def within(self, seconds: float) -> float:
        """What a step may take that wants at most `seconds`."""
        return min(seconds, self.left)

    def part(self, seconds: float) -> Deadline:
        """The deadline of a part that may take `seconds`, but no longer than the whole."""
        return Deadline(self.within(seconds), self._clock)
