# SPDX-License-Identifier: BSD-3-Clause
"""Start-up and footprint: how long until the first packet, what idling costs, what memory is held.

Each figure is taken N times and shown beside its limit. Openings are timed in fresh processes from
the call of iavfio.open until the first packet has come back; "modules loaded" means that the
process has imported what it uses (`import iavfio` alone loads nothing), else that counts as well.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import iavfio
from bench import record
from iavfio.bench.provenance import SOFTWARE, provenance

QUEUES = 256
IDLE_SECONDS = 2.0


@dataclass(frozen=True)
class Figure:
    """One measurement; smaller is better. `limit` None: shown without a limit."""

    what: str
    unit: str
    limit: float | None
    values: tuple[float, ...]
    note: str = ""

    @property
    def best(self) -> float:
        """The least."""
        return min(self.values)

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def outcome(self) -> str:
        """Whether the limit was met, by the best and by the median."""
        if self.limit is None:
            return ""
        if self.best > self.limit:
            return "missed"
        return "met" if self.median <= self.limit else "met by the best"

    def cells(self) -> list[str]:
        """What a table shows."""
        limit = "" if self.limit is None else f"{self.limit:g} {self.unit}"
        spread = f"{self.best:.3g} / {self.median:.3g} / {max(self.values):.3g} {self.unit}"
        return [self.what, spread, limit, self.outcome]


def first_packet(target: str) -> tuple[float, iavfio.Port]:
    """Milliseconds from iavfio.open to the packet that came back, and the port."""
    start = time.perf_counter()
    port = iavfio.open(target)
    port.start(wait_link=5.0)
    frame = port.mac + port.mac + b"\x08\x00" + bytes(50)
    with port.tx[0].build([frame]) as burst:
        port.tx[0].send(burst)
    with port.rx[0].recv(timeout=2.0) as burst:
        took = (time.perf_counter() - start) * 1e3
        if len(burst) != 1 or bytes(burst.bytes(0))[:14] != frame[:14]:
            raise SystemExit("startup: the packet did not come back")
    return took, port


def once(target: str, loaded: bool) -> None:
    """Opens the target and prints the times as JSON; meant for a fresh process."""
    if loaded:
        for name in ("numpy", "iavfio.opening", "iavfio.port.port"):
            import_module(name)
    took, port = first_packet(target)
    port.close()
    times = [took]
    if target != "softvf":  # its reset has only begun
        again, port = first_packet(target)
        port.close()
        times.append(again)
    print(json.dumps(times))


def times(target: str, loaded: bool, rounds: int) -> list[list[float]]:
    """Returns the times of `rounds` fresh processes, a list for each."""
    command = [sys.executable, "-m", "bench.startup", "--once", target]
    command += ["--loaded"] if loaded else []
    out = []
    for _ in range(rounds):
        done = subprocess.run(command, capture_output=True, text=True, cwd=record.ROOT, check=False)
        if done.returncode:
            raise SystemExit(f"startup: {done.stderr.strip()}")
        out.append(json.loads(done.stdout))
    return out


def openings(rounds: int) -> Iterator[Figure]:
    """iavfio.open to the first packet."""
    way = "open to first packet"
    with iavfio.softvf() as pf:
        loaded = times(pf.sockets[0], True, rounds)
        cold = times(pf.sockets[0], False, rounds)
    first, again = zip(*loaded, strict=True)
    yield Figure(f"{way}, running software VF, modules loaded", "ms", 50, first)
    yield Figure(f"{way}, reopened at once: the VF's reset of 30 ms included", "ms", None, again)
    yield Figure(f"{way}, running software VF, fresh process", "ms", None, _firsts(cold))
    own = [times("softvf", loaded, rounds) for loaded in (True, False)]
    yield Figure(f"{way}, private child, modules loaded", "ms", 250, _firsts(own[0]))
    yield Figure(f"{way}, private child, fresh process", "ms", 250, _firsts(own[1]))


def _firsts(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(row[0] for row in rows)


def help_text(rounds: int) -> Figure:
    """The command line's own start."""
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        command = [sys.executable, "-m", "iavfio.cli", "--help"]
        subprocess.run(command, capture_output=True, check=True)
        took.append((time.perf_counter() - start) * 1e3)
    return Figure("iavfio --help", "ms", 120, tuple(took))


def idling(rounds: int) -> Iterator[Figure]:
    """Processor time of a whole process whose worker waits for packets, and of its device."""
    from iavfio.datapath.worker import Lane, Worker

    ours, theirs = [], []
    with iavfio.softvf() as pf, pf.open() as port:
        port.start(wait_link=5.0)
        with Worker("forward", [Lane(port.rx[0])]) as worker:
            for _ in range(rounds):
                time.sleep(0.2)
                before, device = time.process_time(), _cpu_of(pf.pid)
                start = time.monotonic()
                time.sleep(IDLE_SECONDS)
                seconds = time.monotonic() - start
                ours.append((time.process_time() - before) / seconds * 100)
                theirs.append((_cpu_of(pf.pid) - device) / seconds * 100)
            assert worker.counters.state == 1, "the worker ended"
    yield Figure("idle process with a sleeping worker", "% CPU", 1, tuple(ours))
    yield Figure("the software VF meanwhile: it polls", "% CPU", None, tuple(theirs))


def _cpu_of(pid: int) -> float:
    return time.clock_gettime((~pid << 3) | 2)  # the clock of another process, as man clock_getres


@contextmanager
def _own_runtime() -> Iterator[None]:
    from iavfio.stats.runtime import ENVIRONMENT

    before = os.environ.get(ENVIRONMENT)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[ENVIRONMENT] = folder
        try:
            yield
        finally:
            del os.environ[ENVIRONMENT]
            if before is not None:
                os.environ[ENVIRONMENT] = before


def counters(rounds: int) -> Iterator[Figure]:
    """Consistent copies of the counters of 256 queue pairs: 512 blocks, 128 kB."""
    from iavfio.stats import PortSegment, SegmentReader

    with _own_runtime():
        segment = PortSegment.create("bench", QUEUES)
        try:
            segment.set_pairs(QUEUES)
            reader = SegmentReader(segment.path)
            arrays = reader.arrays()
            took = [_us(arrays.read) for _ in range(100 * rounds)]
            named = [_us(reader.snapshot) for _ in range(rounds)]
        finally:
            segment.close()
    yield Figure("counters of 256 queue pairs, as arrays", "us", 20, tuple(took))
    yield Figure("the same as a dict for each queue", "us", None, tuple(named))


def _us(call: Any) -> float:
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e3


def memory() -> Iterator[Figure]:
    """What a port holds as configured, and the whole process."""
    from iavfio.port.footprint import Footprint

    pool = iavfio.Pool(4096)
    with iavfio.softvf() as pf, pf.open(pool=pool) as port:
        port.configure(queues=4, ring=1024)
        port.start(wait_link=5.0)
        held = Footprint.of([port])
        wanted = 4096 * 2176 + 4 * 1024 * (32 + 16)
        note = str(held)
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield Figure(
        "DMA memory, 4096 buffers, 4 pairs of 1024",
        "MB",
        wanted / 1e6 + 0.1,
        (held.dma / 1e6,),
        note,
    )
    yield Figure(
        "the whole process at its most, Python and NumPy included", "MiB", None, (resident,)
    )


def main() -> None:
    """Prints a table and writes bench/results/startup.json."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.startup", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--docs", action="store_true", help="the table into performance.md")
    parser.add_argument("--once", metavar="TARGET", help=argparse.SUPPRESS)
    parser.add_argument("--loaded", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        once(args.once, args.loaded)
        return
    source = provenance({"vf0": SOFTWARE}) | {"load_before": record.load()}
    figures = [
        *openings(args.rounds),
        help_text(args.rounds),
        *idling(max(args.rounds // 3, 1)),
        *counters(args.rounds),
        *memory(),
    ]
    source["load_after"] = record.load()
    rows = [figure.cells() for figure in figures]
    print(f"{'':66} {'best / median / worst':28} {'limit':10}")
    for what, spread, limit, outcome in rows:
        print(f"{what:66} {spread:28} {limit:10} {outcome}")
    print(f"{source['cpu']}, load {source['load_before']} to {source['load_after']}; {SOFTWARE}")
    out = {"provenance": source, "figures": [asdict(figure) for figure in figures]}
    print(f"wrote {record.save('startup', out)}")
    if args.docs:
        text = record.origin(source, f"{args.rounds} rounds")
        table = record.table("figure|best / median / worst|limit|", rows)
        record.fill(record.PAGE, "startup-results", f"{text}\n\n{table}")


if __name__ == "__main__":
    main()
