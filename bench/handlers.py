# SPDX-License-Identifier: BSD-3-Clause
"""Handlers in a worker's round: Python compiled by Numba against C, in TSC cycles a packet.

Usage: python -m bench.handlers LIBRARY [--turns N] [--docs]; LIBRARY is bench/handlers.c and the
driver. The library plays the device outside the timed region; all candidates run in interleaved
turns, best and median are printed. A round receives, calls the handler, sends or drops, with all
checks and counters. "a call a packet" is the form of handler that was not chosen.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import iavfio
from bench import record
from iavfio.bench.provenance import provenance
from iavfio.handlers import DROP, TX, set_u48be, u8, u16be, u48be

PASSES = 64  # as in bench/handlers.c
BURSTS = (32, 256)
PORT = 53
FILTER = np.dtype([("port", "u8"), ("hits", "u8")])


@iavfio.handler
def swap(data: Any, length: int, meta: Any, state: Any) -> int:
    """Does what handler_swap_macs does."""
    if length >= 12:
        dst, src = u48be(data, 0), u48be(data, 6)
        set_u48be(data, 0, src)
        set_u48be(data, 6, dst)
    return TX


@iavfio.handler
def swap_by_bytes(data: Any, length: int, meta: Any, state: Any) -> int:
    """The same without the field functions."""
    if length >= 12:
        for i in range(6):
            byte = data[i]
            data[i] = data[i + 6]
            data[i + 6] = byte
    return TX


@iavfio.handler
def drop_udp(data: Any, length: int, meta: Any, state: Any) -> int:
    """Does what handler_drop_udp does, without a branch on what cannot be predicted."""
    udp = length >= 42 and u16be(data, 12) == 0x0800 and u8(data, 14) == 0x45 and u8(data, 23) == 17
    if not udp:
        return TX
    hit = u16be(data, 36) == state[0].port
    state[0].hits += hit
    return DROP if hit else TX


@iavfio.handler
def drop_udp_by_branch(data: Any, length: int, meta: Any, state: Any) -> int:
    """The same with one."""
    if (
        length >= 42
        and u16be(data, 12) == 0x0800
        and u8(data, 14) == 0x45
        and u8(data, 23) == 17
        and u16be(data, 36) == state[0].port
    ):
        state[0].hits += 1
        return DROP
    return TX


@iavfio.handler
def drop_udp_uncounted(data: Any, length: int, meta: Any, state: Any) -> int:
    """A branch in the source, and nothing behind it but the action."""
    if (
        length >= 42
        and u16be(data, 12) == 0x0800
        and u8(data, 14) == 0x45
        and u8(data, 23) == 17
        and u16be(data, 36) == state[0].port
    ):
        return DROP
    return TX


@dataclass
class Candidate:
    """One handler and what it took."""

    name: str
    work: str
    raw: Any
    keep: object
    ticks: list[int] = field(default_factory=list)


def single_swap() -> tuple[int, object]:
    """A swap that is called once a packet, compiled by Numba: its address."""
    from iavfio.handlers.compile import numba, types

    signature = types.uint32(types.CPointer(types.uint8), types.uint32, types.voidptr)

    def handle(pointer: Any, length: Any, state: Any) -> Any:
        data = numba.carray(pointer, np.intp(length))
        if length >= 12:
            dst, src = u48be(data, 0), u48be(data, 6)
            set_u48be(data, 0, src)
            set_u48be(data, 6, dst)
        return TX

    compiled = numba.cfunc(signature)(handle)
    return compiled.address, compiled


class Bench:
    """The library, and the candidates."""

    def __init__(self, library: str, burst: int, regular: bool) -> None:
        self.lib = ctypes.CDLL(library)
        self.lib.bench_new.restype = ctypes.c_void_p
        self.lib.bench_new.argtypes = [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_uint32] * 2]
        for name in ("bench_turn", "bench_nothing"):
            getattr(self.lib, name).restype = ctypes.c_uint64
        self.lib.bench_turn.argtypes = self.lib.bench_free.argtypes = [ctypes.c_void_p]
        self.lib.bench_counts.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        self.burst = burst
        self.regular = regular
        self.candidates: list[Candidate] = []

    def add(self, name: str, work: str, address: int, state: Any, keep: object) -> None:
        """Adds one more candidate; `state` is an array or None."""
        pointer = None if state is None else state.ctypes.data
        raw = self.lib.bench_new(address, pointer, self.burst, self.regular)
        assert raw, "no worker"
        self.candidates.append(Candidate(name, work, raw, (state, keep)))

    def fill(self) -> None:
        """All that are compared."""
        own = self.lib  # the same C, in the same library as the rest of the round
        for name, work, function in (
            ("C", "swap", own.handler_swap_macs),
            ("C", "drop_udp", own.handler_drop_udp),
            ("C, with the branch", "drop_udp", own.bench_drop_by_branch),
        ):
            state = None if work == "swap" else np.array([PORT, 0], dtype=np.uint64)
            address = ctypes.cast(function, ctypes.c_void_p).value or 0
            self.add(name, work, address, state, None)
        self.add("C, no handler (forward)", "swap", 0, None, None)
        for handle, work in (
            (swap, "swap"),
            (swap_by_bytes, "swap"),
            (drop_udp, "drop_udp"),
            (drop_udp_by_branch, "drop_udp"),
            (drop_udp_uncounted, "drop_udp"),
        ):
            rule = np.zeros(1, dtype=FILTER)
            rule["port"] = PORT
            at, code = handle.function(rule)
            self.add(f"Numba: {handle.__name__}", work, at, rule, code)
        at, code = single_swap()
        single = np.array([at, 0], dtype=np.uint64)
        each = ctypes.cast(own.bench_each, ctypes.c_void_p).value or 0
        self.add("Numba: a call a packet", "swap", each, single, code)

    def run(self, turns: int) -> list[dict[str, Any]]:
        """Rows, after a check that packets went where they should."""
        nothing: list[int] = []
        for _ in range(turns):
            nothing.append(self.lib.bench_nothing())
            for one in self.candidates:
                ticks = self.lib.bench_turn(one.raw)
                assert ticks, f"{one.name} did not handle a burst"
                one.ticks.append(ticks)
        packets = PASSES * self.burst
        rows: list[dict[str, Any]] = []
        for one in self.candidates:
            self._check(one, turns * packets)
            rows.append(
                {
                    "work": one.work,
                    "backend": one.name,
                    "burst": self.burst,
                    "cycles_best": (min(one.ticks) - min(nothing)) / packets,
                    "cycles_median": (statistics.median(one.ticks) - statistics.median(nothing))
                    / packets,
                }
            )
        for row in rows:
            base = next(r for r in rows if r["work"] == row["work"])
            row["rate_of_c"] = base["cycles_best"] / row["cycles_best"]
        return rows

    def _check(self, one: Candidate, received: int) -> None:
        counts = np.zeros(5, dtype=np.uint64)
        self.lib.bench_counts(one.raw, counts.ctypes.data)
        got, sent, dropped, seen, swapped = counts.tolist()
        assert got == received == sent + dropped, one.name
        assert seen + self.burst >= sent >= seen, one.name
        if one.work == "swap":
            assert dropped == 0 and swapped == seen, one.name
        else:
            assert swapped == 0 and 0.2 < dropped / got < 0.3, one.name
        self.lib.bench_free(one.raw)


def measure(library: str, turns: int) -> list[dict[str, Any]]:
    """Both bursts, with traffic that no branch predictor can learn, and that each can."""
    rows: list[dict[str, Any]] = []
    for regular in (False, True):
        for burst in BURSTS:
            bench = Bench(library, burst, regular)
            bench.fill()
            rows += [row | {"regular": regular} for row in bench.run(turns)]
    return rows


def table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """A line a handler: cycles and rate at each burst, then its rate with regular traffic."""
    out = []
    names = dict.fromkeys((row["work"], row["backend"]) for row in rows)
    for work, backend in names:
        line = [work, backend]
        for regular in (False, True):
            for burst in BURSTS:
                for row in rows:
                    at = (row["work"], row["backend"], row["burst"], row["regular"])
                    if at == (work, backend, burst, regular):
                        line += [] if regular else [f"{row['cycles_best']:.1f}"]
                        line += [f"{row['rate_of_c']:.0%}"]
        out.append(line)
    return out


def main() -> None:
    """Prints a table and writes bench/results/handlers.json."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.handlers", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("library")
    parser.add_argument("--turns", type=int, default=400)
    parser.add_argument("--docs", action="store_true", help="the table into handlers.md")
    options = parser.parse_args()
    source = provenance({"rings": "plain memory"}) | {"load_before": record.load()}
    rows = measure(options.library, options.turns)
    source["load_after"] = record.load()
    lines = table(rows)
    print("best cycles a packet and rate of C's: at random, then where the port comes regularly")
    print(f"{'':38}{'32':>7}{'':>8}{'256':>7}{'':>8}{'32':>8}{'256':>8}")
    for work, backend, *cells in lines:
        widths = (7, 8, 7, 8, 8, 8)
        numbers = "".join(f"{cell:>{n}}" for cell, n in zip(cells, widths, strict=True))
        print(f"{work:10}{backend:28}{numbers}")
    print(f"{source['cpu']}, load {source['load_before']} to {source['load_after']}")
    print(f"wrote {record.save('handlers', {'provenance': source, 'rows': rows})}")
    if options.docs:
        heads = "work|handler|burst 32|of C's rate|burst 256|of C's rate|regular, 32|regular, 256"
        text = record.origin(source, f"best of {options.turns} turns of {PASSES} bursts")
        page = record.ROOT / "docs" / "guides" / "handlers.md"
        record.fill(page, "handlers-results", f"{text}\n\n{record.table(heads, lines)}")


if __name__ == "__main__":
    main()
