# SPDX-License-Identifier: BSD-3-Clause
"""Where results go: bench/results/NAME.json, and the marked block of a page."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "guides" / "performance.md"


def save(name: str, data: dict[str, Any]) -> Path:
    """Writes NAME.json and returns its path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return path


def fill(page: Path, name: str, text: str) -> None:
    """Puts the text between <!-- NAME --> and <!-- /NAME -->. ValueError when they are missing."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    whole = page.read_text(encoding="utf-8")
    head, mark, rest = whole.partition(f"{start}\n")
    _, closing, tail = rest.partition(end)
    if not mark or not closing:
        raise ValueError(f"{page} has no '{start}' and '{end}'")
    page.write_text(f"{head}{mark}{text}\n{end}{tail}", encoding="utf-8")


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Best (the largest), median and worst."""
    ordered = (max(values), statistics.median(values), min(values))
    return " / ".join(f"{value:.{digits}f}" for value in ordered)


def load() -> float:
    """The machine's load of the last minute: neighbours show in every number."""
    return round(os.getloadavg()[0], 2)


def origin(source: dict[str, Any], rounds: str) -> str:
    """Says in one line of a page where a table's numbers come from."""
    return (
        f"{source['cpu']}, kernel {source['kernel']}, commit {source['commit'] or 'unknown'}, "
        f"{rounds}; load {source['load_before']} before and {source['load_after']} after."
    )


def table(columns: str, rows: Sequence[Sequence[str]]) -> str:
    """Markdown; `columns` separated by |."""
    heads = columns.split("|")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])
