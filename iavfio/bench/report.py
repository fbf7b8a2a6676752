# SPDX-License-Identifier: BSD-3-Clause
"""A run's result as text, as wide as the terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from iavfio.arguments import counted
from iavfio.bench.account import account
from iavfio.bench.records import BenchRecord, NothingRecord
from iavfio.bench.result import Result, Row, Spread
from iavfio.datapath.latency import summary

WIDTH = 100  # where the output is no terminal
SCHEMA = BenchRecord.__struct_config__.tag
SCHEMA_NOTHING = NothingRecord.__struct_config__.tag
NOTHING = json.dumps(
    {"schema": SCHEMA_NOTHING, "interrupted": True, "runs": {"mpps": [], "sound": []}}, indent=2
)
"""The JSON object of a run that was ended before its first packet."""
NARROW = 72  # below this only what matters most fits


def console() -> Console:
    """Returns a console for stdout, as wide as the terminal or $COLUMNS says, else 100."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if known else WIDTH, emoji=False)  # their names take time to import


def print_results(results: Sequence[Result], out: Console) -> None:
    """Prints the last run in full; of several runs a line each, and the spread, before it."""
    last = results[-1]
    if len(results) > 1:
        out.print(_runs(results))
        spread = Spread.of(results)
        _line(
            out,
            f"{spread.runs} runs: median {spread.median:.3f} Mpps, "
            f"{spread.least:.3f} to {spread.most:.3f}",
        )
    out.print(_table(last, out.width < NARROW))
    for line in account(last):
        _line(out, line)
    if last.plan.verify:
        t = last.total
        _line(
            out,
            f"verified every packet: lost {t.lost}, duplicated {t.duplicated}, "
            f"reordered {t.reordered}, corrupted {t.corrupted}",
        )
    if last.latency is not None:
        _line(out, f"latency of {counted(last.latency.count, 'packet')}: {summary(last.latency)}")
        if last.latency.missed:
            _line(out, f"  not measured: {counted(last.latency.missed, 'packet')}")
    origin = last.provenance
    _line(out, f"on {origin['cpu']}, Linux {origin['kernel']}, {origin['commit']}")
    devices = origin["devices"]
    assert isinstance(devices, dict)
    for name, snapshot in last.delta.items():
        _line(out, f"\n{name}: {devices[name]}")
        _line(out, snapshot.text())


def as_json(results: Sequence[Result]) -> str:
    """Returns the last run as a JSON object; of several also `runs`: each rate, the spread."""
    found: dict[str, Any] = {"schema": SCHEMA} | results[-1].as_dict()
    if len(results) > 1:
        spread = Spread.of(results)
        found["runs"] = {
            "mpps": [round(result.mpps, 6) for result in results],
            "sound": [result.sound for result in results],
            "mpps_median": round(spread.median, 6),
            "mpps_least": round(spread.least, 6),
            "mpps_most": round(spread.most, 6),
        }
    return json.dumps(found, indent=2)


def _line(out: Console, text: str) -> None:
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def _table(result: Result, narrow: bool) -> Table:
    table = Table(title=f"{result.plan.mode}, {result.isa} path, {result.duration:.2f} s")
    table.add_column("VF", overflow="fold")
    headings = ("queue", "Mpps", "packets") if narrow else _HEADINGS
    for heading in headings:
        table.add_column(heading, justify="right")
    rows = result.rows()
    for row in rows:
        table.add_row(*_cells(row, narrow))
    total = Row(
        "all",
        len(rows),
        sum(row.packets for row in rows),
        sum(row.bytes for row in rows),
        sum(result.drops.values()),
        result.mpps,
        result.gbps,
        result.line_share,
    )
    if len(rows) > 1:
        table.add_section()
        table.add_row(*_cells(total, narrow))
    return table


_HEADINGS = ("queue", "Mpps", "Gbit/s", "of line", "packets", "drops")


def _cells(row: Row, narrow: bool) -> list[str]:
    share = "-" if row.line_share is None else f"{row.line_share:.1%}"
    queue = "" if row.port == "all" else str(row.queue)
    if narrow:
        return [row.port, queue, f"{row.mpps:.3f}", str(row.packets)]
    rates = [f"{row.mpps:.3f}", f"{row.gbps:.3f}", share]
    return [row.port, queue, *rates, str(row.packets), str(row.drops)]


def _runs(results: Sequence[Result]) -> Table:
    table = Table(title="runs")
    for heading in ("run", "Mpps", "lost", "sound"):
        table.add_column(heading, justify="right")
    for n, result in enumerate(results, 1):
        sound = "yes" if result.sound else "no"
        table.add_row(str(n), f"{result.mpps:.3f}", str(max(result.loss, 0)), sound)
    return table
