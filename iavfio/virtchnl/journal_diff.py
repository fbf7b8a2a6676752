# SPDX-License-Identifier: BSD-3-Clause
"""Journals side by side: what one driver asks of a PF and another does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from iavfio.virtchnl.journal import Entry
from iavfio.virtchnl.messages.events import EVENT
from iavfio.virtchnl.messages.stats import GET_STATS

LEFT_OUT = (EVENT.number, GET_STATS.number)


@dataclass(frozen=True)
class Row:
    """One step: the decoded message of each side, "" where that side has none there."""

    left: str
    right: str

    @property
    def same(self) -> bool:
        """Whether both sides sent or got the same bytes."""
        return self.left == self.right


def steps(entries: Sequence[Entry], *, replies: bool = False) -> list[Entry]:
    """Returns what is compared: requests, and replies when asked for; never events and notes.

    Polling for statistics is left out, since it depends on how long a driver ran.
    """
    kinds = ("out", "in") if replies else ("out",)
    return [e for e in entries if e.direction in kinds and e.opcode not in LEFT_OUT]


def _key(entry: Entry) -> tuple[str, int]:
    return entry.direction, entry.opcode


def compare(
    left: Sequence[Entry], right: Sequence[Entry], *, replies: bool = False
) -> Iterator[Row]:
    """Rows in order: messages of the same kind are put side by side, others stand alone."""
    a, b = steps(left, replies=replies), steps(right, replies=replies)
    matcher = SequenceMatcher(None, [_key(e) for e in a], [_key(e) for e in b], autojunk=False)
    for kind, a0, a1, b0, b1 in matcher.get_opcodes():
        if kind == "equal":
            yield from (Row(_line(x), _line(y)) for x, y in zip(a[a0:a1], b[b0:b1], strict=True))
        else:
            yield from (Row(_line(x), "") for x in a[a0:a1])
            yield from (Row("", _line(y)) for y in b[b0:b1])


def _line(entry: Entry) -> str:
    return ("< " if entry.direction == "in" else "") + entry.text


def table(rows: Sequence[Row], names: tuple[str, str], width: int = 56) -> str:
    """Two columns and a mark: "=" the same, "|" differing content, "<" and ">" one side only."""
    lines = [f"{names[0]:<{width}}   {names[1]}"]
    for row in rows:
        mark = "=" if row.same else "|" if row.left and row.right else "<" if row.left else ">"
        left, right = _wrapped(row.left, width), _wrapped(row.right, width)
        for i in range(max(len(left), len(right))):
            a = left[i] if i < len(left) else ""
            b = right[i] if i < len(right) else ""
            lines.append(f"{a:<{width}} {mark if i == 0 else ' '} {b}".rstrip())
    return "\n".join(lines)


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width, subsequent_indent="    ") or [""]
