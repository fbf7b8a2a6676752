# SPDX-License-Identifier: BSD-3-Clause
"""How long a reader waits for writers that are inside an update."""

from __future__ import annotations

import time

SECONDS = 0.2  # for all that one look reads: a preempted writer goes on within it
NAP = 0.002
TRIES = 10_000  # at a time; a writer's update takes well under a microsecond
HASTY_TRIES = 100  # where no time is left: enough for a writer that runs


class Patience:
    """The time of one look, however many blocks, segments and users it reads.

    A segment's words are its owner's: where they say for ever that an update runs, readers must
    not pay for each of them.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._end = time.monotonic() + seconds

    @property
    def tries(self) -> int:
        """How often a block is read again before the reader naps, or gives it up as torn."""
        return HASTY_TRIES if self._is_over() else TRIES

    def nap(self) -> bool:
        """Lets writers go on for a moment; False, at once, when the time is over."""
        if self._is_over():
            return False
        time.sleep(NAP)
        return True

    def _is_over(self) -> bool:
        return time.monotonic() >= self._end
