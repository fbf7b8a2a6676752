# SPDX-License-Identifier: BSD-3-Clause
"""What drivers did wrong, in words.

The log is bounded, counts per rule, and writes to stderr at a bounded rate.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from iavfio.softvf.contract import ViolationKind

KEPT = 4096  # the newest entries, of all VFs together
LINES_PER_SECOND = 20
MAX_TEXT = 400


@dataclass(frozen=True)
class Violation:
    """One thing that a driver did wrong; of kind "note", one that is merely worth knowing.

    `text` says in words what was done and what the rule is; `rule` names the page of docs/spec and
    the section that has the rule. `mdd` is a violation that made the device stop a queue.
    """

    sequence: int
    seconds: float  # since the software VF started
    vf: int  # -1: the wire
    kind: ViolationKind
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.seconds:10.6f} {name_of(self.vf)} {self.kind}: {self.text} [{self.rule}]"


def name_of(vf: int) -> str:
    """How log lines call a VF, or the wire."""
    return f"vf{vf}" if vf >= 0 else "wire"


class ViolationLog:
    """The newest entries, and how many there were of each rule. `hear` gets each new entry."""

    def __init__(
        self,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
        kept: int = KEPT,
        hear: Callable[[Violation], None] | None = None,
    ) -> None:
        self._entries: deque[Violation] = deque(maxlen=kept)
        self._clock = clock
        self._start = clock()
        self._verbose = verbose
        self._hear = hear
        self._second = -1
        self._told = 0
        self._untold = 0
        self.sequence = 0  # of the next entry: how many there were since the start
        self.counts: Counter[tuple[int, str, str]] = Counter()  # by VF, kind and rule
        self.newest: dict[tuple[int, str, str], str] = {}  # the newest text of each of them

    def add(self, vf: int, kind: ViolationKind, rule: str, text: str, count: int = 1) -> Violation:
        """Logs and counts; `count` tells how many violations like it the entry stands for."""
        now = self._clock() - self._start
        text = text[:MAX_TEXT] + (f" ({count} times)" if count > 1 else "")
        entry = Violation(self.sequence, now, vf, kind, rule, text)
        self.sequence += 1
        self._entries.append(entry)
        self.counts[vf, kind, rule] += count
        self.newest[vf, kind, rule] = text
        if self._verbose:
            self._tell(entry)
        if self._hear is not None:
            self._hear(entry)
        return entry

    def _tell(self, entry: Violation) -> None:
        second = int(entry.seconds)
        if second != self._second:
            if self._untold:
                print(f"... and {self._untold} more", file=sys.stderr)
            self._second, self._told, self._untold = second, 0, 0
        if self._told < LINES_PER_SECOND:
            self._told += 1
            print(entry, file=sys.stderr, flush=True)
        else:
            self._untold += 1

    def total(self, vf: int | None = None, kind: ViolationKind = "violation") -> int:
        """How many of a kind there were since the last `clear`, of one VF or of all."""
        return sum(
            n for (of, what, _), n in self.counts.items() if what == kind and vf in (None, of)
        )

    def entries(self) -> Iterator[dict[str, Any]]:
        """The newest entries of now, oldest first, as JSON-able values."""
        return map(asdict, tuple(self._entries))

    def counted(self) -> Iterator[dict[str, Any]]:
        """How many there are now of each rule, as JSON-able values."""
        known = [(key, n, self.newest[key]) for key, n in sorted(self.counts.items())]
        return (
            {"vf": vf, "kind": kind, "rule": rule, "count": n, "text": text}
            for (vf, kind, rule), n, text in known
        )

    def clear(self) -> None:
        """Forgets entries and counts; the sequence goes on."""
        self._entries.clear()
        self.counts.clear()
        self.newest.clear()
