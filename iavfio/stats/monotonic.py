# SPDX-License-Identifier: BSD-3-Clause
"""PF counters that never go back: hardware wraps, some resets zero them.

The widths are those of docs/spec/libie-counters.md 5.
"""

from __future__ import annotations

from collections.abc import Sequence

WIDTHS = (48, 48, 48, 48, 32, 32, 48, 48, 48, 48, 32, 32)  # in GET_STATS order


class Monotonic:
    """Turns successive GET_STATS answers into totals.

    A value below its predecessor wrapped at 48 or 32 bits; after `after_reset()` it may instead
    have started again from 0, which a value far below its predecessor is taken for.
    """

    def __init__(self) -> None:
        self._last: tuple[int, ...] | None = None
        self._total = [0] * len(WIDTHS)
        self._rebuilt = False

    def after_reset(self) -> None:
        """The VSI may have been rebuilt: the next answer may count from 0."""
        self._rebuilt = True

    def feed(self, raw: Sequence[int]) -> tuple[int, ...]:
        """The totals after one more answer."""
        if self._last is None:
            self._total = list(raw)
        else:
            for i, (new, old) in enumerate(zip(raw, self._last, strict=True)):
                if new >= old:
                    self._total[i] += new - old
                elif self._rebuilt:
                    self._total[i] += new
                else:
                    self._total[i] += (new - old) % (1 << WIDTHS[i])
        self._last = tuple(raw)
        self._rebuilt = False
        return tuple(self._total)
