# SPDX-License-Identifier: BSD-3-Clause
"""The software VF end to end against a floor, in short slices that take turns.

The floor (bench/floor.c) is a plain copy loop between two threads over the same ring layout: what
two cores of this machine can do now. A worker does the same traffic, loop-back, through driver and
software VF with all checks, accounting and statistics. Rates differ from machine to machine, from
minute to minute, and with where a hypervisor puts the two cores; the ratio of neighbours is the
result.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import subprocess
import time
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import iavfio
from bench import circulation, record
from iavfio.bench.provenance import SOFTWARE, provenance
from iavfio.datapath.pair import FCS
from iavfio.datapath.thread import Counters
from iavfio.datapath.worker import Lane, Worker

SAMPLE = 0.002  # seconds: the shortest stretch that is told apart, as in bench/floor.c
FLOWS = 64
SIZE = 64  # bytes with FCS


class Floor:
    """The floor's process; idle between slices."""

    def __init__(self, program: str, driver: int, device: int) -> None:
        self._child = subprocess.Popen(
            [program, "0", str(driver), str(device)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, seconds: float) -> dict[str, float]:
        """Mpps of a slice: `mean`, and of its best 2 ms, `best`."""
        assert self._child.stdin is not None and self._child.stdout is not None
        print(seconds, file=self._child.stdin, flush=True)
        result = json.loads(self._child.stdout.readline())
        if result["lost"]:
            raise SystemExit("end_to_end: the floor lost packets")
        return {"mean": result["mpps"], "best": result["mpps_best"]}

    def close(self) -> None:
        """Ends it."""
        self._child.communicate()


def slice_of(port: iavfio.Port, burst: int, cpu: int, seconds: float) -> dict[str, Any]:
    """The same of driver and software VF, and what the worker counted."""
    lane = Lane(port.rx[0], None, port.mac, port.mac)
    with Worker(
        "loopback",
        [lane],
        burst=burst,
        sizes=[SIZE - FCS],
        signature=secrets.randbits(63) | 1,
        flows=FLOWS,
        cpu=cpu,
    ) as worker:
        samples = [_sample(worker)]
        while samples[-1][0] - samples[0][0] < seconds:
            time.sleep(SAMPLE)
            samples.append(_sample(worker))
        worker.finish(0.005)
        if not worker.wait(5.0):
            raise SystemExit("end_to_end: the worker does not come to its end")
        c: Counters = worker.counters
    rates = [
        (later[1] - earlier[1]) / (later[0] - earlier[0]) / 1e6
        for earlier, later in pairwise(samples)
    ]
    return {
        "mean": (samples[-1][1] - samples[0][1]) / (samples[-1][0] - samples[0][0]) / 1e6,
        "best": max(rates),
        "lost": c.sent - c.received,
        "empty_poll_share": c.empty_loops / max(c.loops, 1),
        "cycles_per_packet": c.tsc_busy / max(c.received, 1),
    }


def _sample(worker: Worker) -> tuple[float, int]:
    """Returns a moment and the packets received by then; repeats a look that was interrupted."""
    for _ in range(100):
        before = time.monotonic()
        received = worker.counters.received
        if time.monotonic() - before < SAMPLE / 20:
            break
    return before, received


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All rounds."""
    driver, device = circulation.two_cpus(args.cpus)
    source = provenance({"vf0": SOFTWARE}) | {"load_before": record.load()}
    floors: list[dict[str, float]] = []
    slices: list[dict[str, Any]] = []
    with ExitStack() as stack:
        floor = Floor(args.program, driver, device)
        stack.callback(floor.close)
        pf = stack.enter_context(iavfio.softvf(personality=args.personality))
        port = stack.enter_context(pf.open())
        circulation.pin(pf.pid, device)
        port.configure(ring=args.ring)
        port.start(wait_link=5.0)
        for _ in range(args.rounds):
            floors.append(floor.run(args.slice))
            slices.append(slice_of(port, args.burst, driver, args.slice))
        discards = pf.control("stats", vf=0)["stats"]["rx_discards"]
    source["load_after"] = record.load()
    ratios = {
        key: statistics.median(s[key] / f[key] for s, f in zip(slices, floors, strict=True))
        for key in ("mean", "best")
    }
    return {
        "provenance": source,
        "settings": {
            "personality": args.personality,
            "size": SIZE,
            "ring": args.ring,
            "burst": args.burst,
            "slice_s": args.slice,
        },
        "ratio_of_neighbours": ratios["mean"],
        "ratio_of_best_2ms": max(s["best"] for s in slices) / max(f["best"] for f in floors),
        "lost": sum(s["lost"] for s in slices) - discards,
        "floor": floors,
        "softvf": slices,
    }


def rows(out: dict[str, Any]) -> list[list[str]]:
    """One row a side: means of slices, then the best 2 ms of all."""
    sides = (("floor", "bench/floor"), ("softvf", "loop-back through the software VF"))
    return [
        [
            text,
            record.spread([s["mean"] for s in out[name]]),
            f"{max(s['best'] for s in out[name]):.2f}",
        ]
        for name, text in sides
    ]


def summary(out: dict[str, Any]) -> str:
    """The ratios in a line."""
    return (
        f"ratio {out['ratio_of_neighbours']:.2f} (median of neighbouring slices), "
        f"{out['ratio_of_best_2ms']:.2f} (best 2 ms of both); lost {out['lost']}"
    )


def main() -> None:
    """Prints a table and writes bench/results/loopback.json."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.end_to_end", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("program", help="the floor's executable")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--slice", type=float, default=0.05, help="seconds (default 0.05)")
    parser.add_argument(
        "--size", type=int, default=64, help="bytes with FCS (floor: 64 of payload)"
    )
    parser.add_argument("--ring", type=int, default=1024, help="as the floor's (default 1024)")
    parser.add_argument("--burst", type=int, default=32)
    parser.add_argument("--personality", default="e810")
    parser.add_argument("--cpus", help="driver's CPU, device's CPU (default: the first two)")
    parser.add_argument("--docs", action="store_true", help="the table into performance.md")
    args = parser.parse_args()
    out = measure(args)
    lines = rows(out)
    print(f"{'':36} {'Mpps: best / median / worst':28} best 2 ms")
    for what, means, best in lines:
        print(f"{what:36} {means:28} {best}")
    print(summary(out))
    source = out["provenance"]
    print(f"{source['cpu']}, load {source['load_before']} to {source['load_after']}; {SOFTWARE}")
    print(f"wrote {record.save('loopback', out)}")
    if args.docs:
        text = record.origin(source, f"{args.rounds} rounds of {args.slice:g} s each")
        table = record.table(f"{SIZE} bytes|Mpps: best / median / worst|best 2 ms", lines)
        record.fill(record.PAGE, "loopback-results", f"{text}\n\n{table}\n\n{summary(out)}.")


if __name__ == "__main__":
    main()
