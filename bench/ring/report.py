# SPDX-License-Identifier: BSD-3-Clause
"""Rows of the ring bench as a table, as ratios against their targets, as JSON and as a plot."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Group = tuple[str, int, int, str]  #: descriptor, ring, burst, location
WORKER = "forward worker"
BLOCK = "ring-results"  #: its block in docs/guides/performance.md


@dataclass(frozen=True)
class Row:
    """One driver function in one group; cycles are TSC cycles a packet (empty poll: a call)."""

    backend: str
    work: str
    isa: str
    descriptor: str
    metadata: str
    ring: int
    burst: int
    location: str
    cycles_best: float
    cycles_median: float
    instructions: float | None

    @property
    def group(self) -> Group:
        return self.descriptor, self.ring, self.burst, self.location


@dataclass(frozen=True)
class Target:
    """The most that our cycles may be of a peer's, both best of the same turns; None: any."""

    what: str
    ratio: float | None
    work: str
    metadata: str
    burst: int
    isa: str
    peer: str  #: the peer's instruction set


TARGETS = (
    Target("forward, handles only, AVX-512", 0.50, "forward", "none", 32, "avx512", "avx512"),
    Target("receive, all metadata, AVX-512", 0.75, "rx", "all", 32, "avx512", "avx512"),
    Target("forward, handles only, AVX2", 0.60, "forward", "none", 32, "avx2", "avx2"),
    Target("receive, all metadata, AVX2", None, "rx", "all", 32, "avx2", "avx2"),
    Target("forward, scalar against bulk", 0.80, "forward", "none", 32, "scalar", "scalar"),
    Target("forward, scalar against full", 0.35, "forward", "none", 32, "scalar", "scalar full"),
    Target("forward, burst of 8, AVX-512", 0.60, "forward", "none", 8, "avx512", "avx512"),
)


def parse(lines: Iterable[str]) -> list[Row]:
    """Rows of the program's output; lines without a row are passed over."""
    objects = (json.loads(line) for line in lines if line.strip())
    return [Row(**item) for item in objects if "work" in item]


def _unique(items: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(items))


def table(rows: list[Row]) -> Iterator[str]:
    """Lines of text: one block a group, one line a function, best/median and instructions."""
    for group in _unique(row.group for row in rows):
        block = [row for row in rows if row.group == group]
        works = _unique(row.work for row in block)
        descriptor, ring, burst, location = group
        yield ""
        yield f"{descriptor} descriptors, ring {ring}, burst {burst}, {location}"
        yield f"{'':24}" + "".join(f"{work:>21}" for work in works)
        for key in _unique((row.backend, row.isa, row.metadata) for row in block):
            cells = {row.work: row for row in block if (row.backend, row.isa, row.metadata) == key}
            yield f"{key[0]:7}{key[1]:12}{key[2]:5}" + "".join(
                _cell(cells.get(work)) for work in works
            )


def _cell(row: Row | None) -> str:
    if row is None:
        return " " * 21
    count = "" if row.instructions is None else f"{row.instructions:.1f}i"
    return f"{row.cycles_best:7.1f}/{row.cycles_median:5.1f}{count:>8}"


def _find(rows: list[Row], target: Target, descriptor: str, backend: str, work: str) -> Row | None:
    isa = target.isa if backend == "iavfio" else target.peer
    wanted = (backend, work, isa, descriptor, target.metadata, 512, target.burst, "hot")
    for row in rows:
        have = (row.backend, row.work, row.isa, row.descriptor, row.metadata, row.ring, row.burst)
        if (*have, row.location) == wanted:
            return row
    return None


def ratios(rows: list[Row]) -> list[dict[str, Any]]:
    """Every target that these rows hold figures for, for both descriptor formats.

    `call` is the ratio of whole calls; `worker` that of the loop that a worker thread runs, with
    the guards held over many bursts.
    """
    out = []
    for target in TARGETS:
        for descriptor in ("flex", "legacy"):
            peer = _find(rows, target, descriptor, "dpdk", target.work)
            call = _find(rows, target, descriptor, "iavfio", target.work)
            worker = _find(rows, target, descriptor, "iavfio", f"{target.work} worker")
            if peer is None or call is None:
                continue
            out.append(
                {
                    "what": target.what,
                    "descriptor": descriptor,
                    "target": target.ratio,
                    "peer_cycles": peer.cycles_best,
                    "cycles": call.cycles_best,
                    "call": round(call.cycles_best / peer.cycles_best, 3),
                    "worker": round(worker.cycles_best / peer.cycles_best, 3) if worker else None,
                    "instructions": _quotient(call.instructions, peer.instructions),
                }
            )
    return out


def _quotient(ours: float | None, theirs: float | None) -> float | None:
    return round(ours / theirs, 3) if ours is not None and theirs else None


def lines(found: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of text of what `ratios` found."""
    if not found:
        return
    yield ""
    yield f"{'of DPDK, best cycles':34}{'':8}{'target':>8}{'call':>8}{'worker':>8}{'instr.':>8}"
    for item in found:
        numbers = (item[key] for key in ("target", "call", "worker", "instructions"))
        cells = "".join(f"{'' if n is None else f'{n:.2f}':>8}" for n in numbers)
        yield f"{item['what']:34}{item['descriptor']:8}{cells}"


def markdown(found: list[dict[str, Any]], rows: list[Row], provenance: dict[str, Any]) -> str:
    """What docs/guides/performance.md shows of a run: where it comes from, ratios, spread."""
    # A call can be shorter than the empty timed region that is subtracted from it.
    spread = _median(row.cycles_median / row.cycles_best - 1 for row in rows if row.cycles_best)
    source = (
        f"{provenance['cpu']}, kernel {provenance['kernel']}, {provenance['compiler']}, "
        f"DPDK {provenance['dpdk']}, commit {provenance['commit']}, {provenance['turns']} turns; "
        f"load {provenance['load_before']} before and {provenance['load_after']} after; "
        f"median over best: {spread:+.0%} in the middle of all rows."
    )
    columns = "best, ring 512|descriptors|DPDK|iavfio|target|ratio|worker|instructions".split("|")
    text = [source, "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for item in found:
        keys = ("peer_cycles", "cycles", "target", "call", "worker", "instructions")
        cells = ("-" if item[key] is None else f"{item[key]:.2f}" for key in keys)
        text.append(f"| {item['what']} | {item['descriptor']} | {' | '.join(cells)} |")
    return "\n".join(text)


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else 0.0


def write(path: Path, provenance: dict[str, Any], rows: list[Row]) -> None:
    """The results as JSON: provenance, ratios, rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {
        "provenance": provenance,
        "ratios": ratios(rows),
        "rows": [asdict(row) for row in rows],
    }
    head = json.dumps({key: whole[key] for key in ("provenance", "ratios")}, indent=1)
    body = ",\n".join(f"  {json.dumps(row)}" for row in whole["rows"])
    path.write_text(f'{head[:-2]},\n "rows": [\n{body}\n ]\n}}\n', encoding="utf-8")


COLOURS = {"scalar": "C0", "scalar full": "C7", "sse": "C1", "avx2": "C2", "avx512": "C3"}
STYLES = {("dpdk", "forward"): "s--", ("iavfio", "forward"): "o-", ("iavfio", WORKER): "^:"}


def plot(path: Path, rows: list[Row], title: str) -> bool:
    """Cycles a packet of forwarding against the burst; False when matplotlib is not installed.

    A colour is an instruction set, a style who forwards and how.
    """
    try:
        drawing = importlib.import_module("matplotlib.figure")
        ticker = importlib.import_module("matplotlib.ticker")
    except ImportError:
        return False
    figure = drawing.Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    chosen = [
        row
        for row in rows
        if (row.metadata, row.ring, row.descriptor, row.location) == ("none", 512, "flex", "hot")
    ]
    for (backend, work), style in STYLES.items():
        for isa, colour in COLOURS.items():
            key = (backend, work, isa)
            line = sorted((r.burst, r.cycles_best) for r in chosen if key == _key(r))
            if line:
                name = f"{backend} {isa}" + (", in a worker" if work == WORKER else "")
                axes.plot(*zip(*line, strict=True), style, color=colour, label=name, markersize=4)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sorted({row.burst for row in chosen}))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.set_minor_formatter(ticker.NullFormatter())
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.set_xlabel("packets a burst")
    axes.set_ylabel("TSC cycles a packet, best")
    axes.set_title(title, fontsize=9)
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    figure.savefig(path)
    return True


def _key(row: Row) -> tuple[str, str, str]:
    return row.backend, row.work, row.isa
