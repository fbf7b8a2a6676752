# SPDX-License-Identifier: BSD-3-Clause
"""What docs/spec/reliability.md 7 promises: the seconds of each call under each condition."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bench import record

PAGE = record.ROOT / "docs" / "spec" / "reliability.md"
HEAD = "| Call | PF silent |"
CONDITIONS = ("PF silent", "Server of a software VF silent", "Server slow")
COMMAND = " in a command of iavfio's"
UNITS = {"s": 1.0, "ms": 1e-3}
NUMBER = re.compile(r"([\d.]+) (s|ms)\b")
Promises = Mapping[str, tuple[str, ...]]


def promises(page: Path = PAGE) -> Promises:
    """The cells of the page's table below CONDITIONS, by what stands in the first column."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(HEAD))
    names = _cells(lines[start])[1 : 1 + len(CONDITIONS)]
    if names != CONDITIONS:
        raise ValueError(f"the table of {page} has the columns {names}")
    out = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        call, *rest = _cells(line)
        out[call] = tuple(rest[: len(CONDITIONS)])
    return out


def seconds(of: Promises, row: str, condition: str, call: str, command: bool = False) -> float:
    """What a cell promises: 0 for what does not wait.

    `call` is the row that "as the call" means. `command`: what the cell says of commands, where it
    says something of them. Raises ValueError for words that mean no number.
    """
    cell = of[row][CONDITIONS.index(condition)]
    for part in cell.split("; ") if command else ():
        if part.endswith(COMMAND):
            cell = part
    if cell == "as the call":
        return seconds(of, call, condition, call)
    if cell.startswith("as `"):
        (other,) = (name for name in of if cell.removeprefix("as ") in name.split(", "))
        return seconds(of, other, condition, call)
    if cell == "at once" or cell.startswith("0, "):
        return 0.0
    found = NUMBER.match(cell)
    if found is None:
        raise ValueError(f"{cell!r} of {row} says no number of seconds")
    return float(found[1]) * UNITS[found[2]]


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
