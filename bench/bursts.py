# SPDX-License-Identifier: BSD-3-Clause
"""How fast Python moves bursts: over C calls, a filter by columns, a loop end to end.

The first two lie on rings in plain memory, where this program plays the device outside the timed
region (bench/python_calls.py). The loop runs on the software VF, two cores: slices of a Python loop
and of a C worker take turns, with the same packets circulating.
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
import time
from typing import Any

import iavfio
from bench import circulation, record
from bench.python_calls import Bench
from iavfio.bench.provenance import SOFTWARE, provenance
from iavfio.datapath.worker import Lane, Worker

BURST, RING, CIRCULATING = 256, 1024, 768
ETHERTYPE = 12


def selection(rounds: int) -> dict[str, float]:
    """Nanoseconds of `burst[burst.u16(off=12) == 0x0800]` on a received burst of 256."""
    bench = Bench(BURST)
    took = []
    clock = time.perf_counter_ns
    for turn in range(rounds):
        bench.device()
        with bench.rxq.recv(BURST) as burst:
            for i in range(BURST if turn < 2 * len(bench.rx) // BURST else 0):
                burst.bytes(i)[ETHERTYPE : ETHERTYPE + 2] = b"\x08\x00" if i % 3 else b"\x86\xdd"
            start = clock()
            wanted = burst[burst.u16(off=ETHERTYPE) == 0x0800]
            took.append(clock() - start)
            assert turn < 2 or len(wanted) == BURST - BURST // 3 - 1
    best, median = min(took), statistics.median(took)
    return {
        "ns_best": best,
        "ns_median": median,
        "mpps_best": BURST / best * 1e3,
        "mpps_median": BURST / median * 1e3,
    }


class Loop:
    """`recv` and `send` in a Python thread on a CPU of its own, until `end`."""

    def __init__(self, port: iavfio.Port, cpu: int) -> None:
        self.packets = self.polls = self.empty_polls = 0
        self._port, self._cpu = port, cpu
        self._ending = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        os.sched_setaffinity(0, {self._cpu})
        rx, tx = self._port.rx[0], self._port.tx[0]
        packets = polls = empty = 0
        while not self._ending:
            with rx.recv(BURST) as burst:
                if len(burst):
                    packets += tx.send(burst)
                else:
                    empty += 1
            polls += 1
        self.packets, self.polls, self.empty_polls = packets, polls, empty

    def end(self) -> None:
        """Joins it; the counts are final then."""
        self._ending = True
        self._thread.join()


def loops(rounds: int, seconds: float, cpus: str | None) -> dict[str, Any]:
    """Slices of both loops in turns."""
    driver, device = circulation.two_cpus(cpus)
    sides: dict[str, list[dict[str, float]]] = {"python": [], "c": []}
    with iavfio.softvf() as pf, pf.open() as port:
        circulation.pin(pf.pid, device)
        port.configure(ring=RING)
        port.start(wait_link=5.0)
        for turn in range(2 * rounds):
            circulation.refill(port, CIRCULATING)
            if (turn + turn // 2) % 2:
                with Worker(
                    "forward", [Lane(port.rx[0])], burst=BURST, macs="keep", cpu=driver
                ) as worker:
                    mpps, lost = circulation.watched(pf, 0, seconds, worker.close)
                    c = worker.counters
                counts = (c.received, c.loops, c.empty_loops)
            else:
                loop = Loop(port, driver)
                mpps, lost = circulation.watched(pf, 0, seconds, loop.end)
                counts = (loop.packets, loop.polls, loop.empty_polls)
            sides["c" if (turn + turn // 2) % 2 else "python"].append(
                {
                    "mpps": mpps,
                    "discards": lost,
                    "packets_a_poll": counts[0] / max(counts[1] - counts[2], 1),
                    "empty_share": counts[2] / max(counts[1], 1),
                }
            )
    ours, bare = ([slice["mpps"] for slice in sides[name]] for name in ("python", "c"))
    return sides | {
        "ratio_best": max(ours) / max(bare),
        "ratio_median": statistics.median(ours) / statistics.median(bare),
    }


def rows(out: dict[str, Any]) -> list[list[str]]:
    """The table."""
    added = out["calls"][-1]
    chosen, loop = out["selection"], out["loop"]
    lines = [
        [
            "recv + send + release of 256, over the C calls",
            f"{added['added_us_best']:.2f} / {added['added_us_median']:.2f} us",
            "1.0 us",
        ],
        [
            "`burst[burst.u16(off=12) == 0x0800]` of 256",
            f"{chosen['mpps_best']:.0f} / {chosen['mpps_median']:.0f} Mpps",
            "40 Mpps",
        ],
    ]
    for name, text in (("c", "C worker"), ("python", "Python loop")):
        mpps = [slice["mpps"] for slice in loop[name]]
        polled = statistics.median(slice["packets_a_poll"] for slice in loop[name])
        empty = statistics.median(slice["empty_share"] for slice in loop[name])
        lines.append(
            [
                f"{text} on the software VF: {polled:.0f} packets a poll, {empty:.0%} empty polls",
                f"{max(mpps):.2f} / {statistics.median(mpps):.2f} Mpps",
                "",
            ]
        )
    ratio = f"{loop['ratio_best']:.2f} / {loop['ratio_median']:.2f}"
    return [*lines, ["Python loop of the C worker", ratio, "0.90"]]


def main() -> None:
    """Prints a table and writes bench/results/bursts.json."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.bursts", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--slice", type=float, default=0.2, help="seconds (default 0.2)")
    parser.add_argument("--cpus", help="driver's CPU, software VF's CPU (default: the first two)")
    parser.add_argument("--docs", action="store_true", help="the table into performance.md")
    args = parser.parse_args()
    source = provenance({"vf0": SOFTWARE}) | {"load_before": record.load()}
    out: dict[str, Any] = {
        "calls": [Bench(burst).run(500 * args.rounds) for burst in (1, 32, BURST)],
        "selection": selection(500 * args.rounds),
        "loop": loops(args.rounds, args.slice, args.cpus),
    }
    source["load_after"] = record.load()
    lines = rows(out)
    print(f"{'':76} {'best / median':22} target")
    for what, value, target in lines:
        print(f"{what:76} {value:22} {target}")
    print(f"{source['cpu']}, load {source['load_before']} to {source['load_after']}; {SOFTWARE}")
    print(f"wrote {record.save('bursts', {'provenance': source} | out)}")
    if args.docs:
        text = record.origin(source, f"{args.rounds} rounds")
        table = record.table("bursts of 256|best / median|target", lines)
        record.fill(record.PAGE, "bursts-results", f"{text}\n\n{table}")


if __name__ == "__main__":
    main()
