# SPDX-License-Identifier: BSD-3-Clause
"""What drivers did wrong, in words (docs/spec/reliability.md P4, D6).

Clients choose how often something is said of them, so the log is bounded in number and in rate: of
each VF, kind and rule so many entries within a second; what is beyond them is counted, and the next
entry that is made tells how many it stands for. A VF that errs all the time costs no other VF its
entries, nor its lines on stderr. Where nobody reads those they are lost, and no VF waits for it
(iavfio.outlet).
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from heapq import merge
from operator import attrgetter
from typing import Any

from iavfio.outlet import Outlet
from iavfio.softvf.contract import ViolationKind

KEPT = 4096  # entries of all VFs together: the VF that has most of them loses its oldest
PER_SECOND = 32  # entries of one VF, kind and rule
LINES_PER_SECOND = 20  # on stderr, of one VF
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


Key = tuple[int, ViolationKind, str]  # VF, kind and rule


@dataclass
class _Window:
    """What was admitted within a second, and what was held back since something last was."""

    since: float
    admitted: int = 0
    held: int = 0

    def admits(self, now: float, most: int) -> bool:
        """Whether one more is admitted; counts it either way."""
        if now - self.since >= 1.0:
            self.since, self.admitted = now, 0
        if self.admitted >= most:
            self.held += 1
            return False
        self.admitted += 1
        return True

    def settle(self) -> int:
        """How many were held back; none are any more."""
        held, self.held = self.held, 0
        return held


class ViolationLog:
    """The newest entries, and how many there were of each rule. `hear` gets each new entry."""

    def __init__(
        self,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
        kept: int = KEPT,
        hear: Callable[[Violation], None] | None = None,
    ) -> None:
        self._entries: defaultdict[int, deque[Violation]] = defaultdict(deque)  # by VF
        self._kept, self._length = kept, 0
        self._clock = clock
        self._start = clock()
        self._outlet = Outlet() if verbose else None
        self._hear = hear
        self._windows: dict[Key, _Window] = {}  # of entries
        self._lines: dict[int, _Window] = {}  # of lines on stderr, by VF
        self.sequence = 0  # of the next entry: how many there were since the start
        self.counts: Counter[Key] = Counter()  # also of what was held back
        self.newest: dict[Key, str] = {}  # the newest text of each of them

    def add(self, vf: int, kind: ViolationKind, rule: str, text: str, count: int = 1) -> None:
        """Counts, and logs unless there were PER_SECOND like it within this second.

        `count` tells how many violations like it the entry stands for.
        """
        now, key = self._clock() - self._start, (vf, kind, rule)
        text = text[:MAX_TEXT]
        self.counts[key] += count
        self.newest[key] = text
        window = self._windows.setdefault(key, _Window(now))
        if not window.admits(now, PER_SECOND):
            window.held += count - 1
            return
        count += window.settle()
        if count > 1:
            text = f"{text} ({count} times)"
        entry = Violation(self.sequence, now, vf, kind, rule, text)
        self.sequence += 1
        self._keep(entry)
        if self._outlet is not None:
            self._tell(entry, self._outlet)
        if self._hear is not None:
            self._hear(entry)

    def _keep(self, entry: Violation) -> None:
        self._entries[entry.vf].append(entry)
        self._length += 1
        if self._length > self._kept:
            max(self._entries.values(), key=len).popleft()
            self._length -= 1

    def _tell(self, entry: Violation, outlet: Outlet) -> None:
        lines = self._lines.setdefault(entry.vf, _Window(entry.seconds))
        if lines.admits(entry.seconds, LINES_PER_SECOND):
            held = lines.settle()
            more = f"... and {held} more of {name_of(entry.vf)}\n" if held else ""
            outlet.write(f"{more}{entry}")

    @property
    def unread(self) -> int:
        """Lines that stderr did not take since the start."""
        return 0 if self._outlet is None else self._outlet.dropped

    def total(self, vf: int | None = None, kind: ViolationKind = "violation") -> int:
        """How many of a kind there were since the last `clear`, of one VF or of all."""
        return sum(
            n for (of, what, _), n in self.counts.items() if what == kind and vf in (None, of)
        )

    def entries(self) -> Iterator[dict[str, Any]]:
        """The newest entries of now, oldest first, as JSON-able values."""
        kept = [tuple(entries) for entries in list(self._entries.values())]
        return map(asdict, merge(*kept, key=attrgetter("sequence")))

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
        self._length = 0
        self._windows.clear()
        self.counts.clear()
        self.newest.clear()
