# SPDX-License-Identifier: BSD-3-Clause
"""PF counters that never go back: hardware wraps, and some resets zero them.

The widths are those of docs/spec/libie-counters.md 5: bytes and packets wrap at 48 bits, discards
and errors at 32. A PF that adds them up itself (ice) answers with 64 bits. No answer says which it
is, so a value below its predecessor is compared with what the wire could have carried meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

FASTEST = 400e9  # bits a second: twice the fastest port of the family, so that no wrap is missed
SHORTEST = 84 * 8  # bits of the shortest frame on the wire, preamble and gap included
MANY = 1 << 20  # packets or bytes, from which on a thousandth is no coincidence
SLACK = 2.0  # seconds: an answer is stamped when it comes, not when the PF read its registers


@dataclass(frozen=True)
class Width:
    """How a counter may wrap, and how fast it may grow, in units a second."""

    bits: tuple[int, ...]
    fastest: float

    def plausible_wrap(self, new: int, old: int, seconds: float) -> int | None:
        """By how much it grew if it wrapped; None when the wire cannot have carried as much."""
        most = self.fastest * (seconds + SLACK)
        for bits in self.bits:
            grown = (new - old) % (1 << bits)
            if old < 1 << bits and grown <= min(most, 1 << (bits - 1)):
                return grown
        return None

    def restarted(self, new: int, old: int, seconds: float) -> int:
        """By how much it grew if it began again from 0, 0 where it cannot have.

        A counter that comes within a thousandth of where it was has gone back a little: the sums of
        a PF's parts do that, and one that began again would have to meet its old value by chance.
        """
        little = old >= MANY and old - new < old // 1024
        return 0 if little or new > self.fastest * (seconds + SLACK) else new


BYTES = Width((48, 64), FASTEST / 8)
PACKETS = Width((48, 64), FASTEST / SHORTEST)
DROPS = Width((32, 64), FASTEST / SHORTEST)
WIDTHS = (  # in the order of the GET_STATS answer
    *(BYTES, PACKETS, PACKETS, PACKETS, DROPS, DROPS),
    *(BYTES, PACKETS, PACKETS, PACKETS, DROPS, DROPS),
)


class Monotonic:
    """Turns successive GET_STATS answers into totals that never go back."""

    def __init__(self) -> None:
        self._last: tuple[int, ...] | None = None
        self._at = 0.0
        self._total = [0] * len(WIDTHS)
        self._rebuilt = False

    def after_reset(self) -> None:
        """The VSI may have been rebuilt: the next answer may count from 0."""
        self._rebuilt = True

    def begin(self, raw: Sequence[int]) -> None:
        """An answer from before anything was counted for this user: the totals are 0 there.

        ice goes on counting over resets, and from one user of a VF to the next. Without effect
        after the first answer.
        """
        if self._last is None:
            self._last, self._at, self._rebuilt = tuple(raw), time.monotonic(), False

    def feed(self, raw: Sequence[int], at: float | None = None) -> tuple[int, ...]:
        """The totals after one more answer, which came at `at` (seconds of time.monotonic).

        A value below its predecessor has wrapped, when one of its widths and the time that passed
        allow it. Otherwise, and always after a reset, the PF has begun again from 0, if the wire
        can have carried as much since; what is neither counts nothing.
        """
        at = time.monotonic() if at is None else at
        if self._last is None:
            self._total = list(raw)
        else:
            seconds = max(at - self._at, 0.0)
            for i, (new, old, width) in enumerate(zip(raw, self._last, WIDTHS, strict=True)):
                if new >= old:
                    self._total[i] += new - old
                    continue
                wrapped = None if self._rebuilt else width.plausible_wrap(new, old, seconds)
                if wrapped is None:
                    wrapped = width.restarted(new, old, seconds)
                self._total[i] += wrapped
        self._last, self._at = tuple(raw), at
        self._rebuilt = False
        return tuple(self._total)
