# SPDX-License-Identifier: BSD-3-Clause
"""Whether a neighbour is served while a client storms, measured with the neighbour's own clock.

    python -m tests.hostile.neighbour [--seconds N] [--rounds N] [--storm NAME ...]

For each storm there are rounds, of a quiet half and one with the storm, on one software VF, so that
whatever the machine does besides hits both alike. The neighbour reads a register and sends a burst
of frames in turn; it naps for 0.1 ms (0.16 with the kernel's slack) before it looks at what it
sent, so a burst takes as long at least. The storm is a process of its own. What comes is a table in
Markdown, then histograms, then a verdict on what docs/spec/reliability.md (D6) promises: no
register read takes 10 ms, and bursts are sent at half the speed or better. The exit status is 0
where it holds, 1 where it does not, and 75 where the machine itself makes reads of a quiet software
VF wait as long: then the measurement shows nothing. A read in whose time a hypervisor took the
processor away is counted apart.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, perf_counter, sleep

from iavfio.softvf import softvf
from tests.hostile.raw_driver import RawDriver
from tests.hostile.storms import STORMS, storm_elsewhere
from tests.softvf.function.mailbox_rings import DYN_CTL01, RSTAT

BOUNDS_MS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000)
PROMISED_SECONDS = 0.010  # of the longest read
PROMISED_FACTOR = 2.0  # of the time of a burst, in the middle
BURST = 256  # frames: what a data path does while its driver naps once
UNICASTS = (BURST, b"", 60)
BROADCASTS = (64, b"\xff" * 6, 1500)  # where the storm is what receives
SETTLED = 0.5  # seconds in which the end of a storm ends: what it left is freed, which is no quiet
LONG = 0.005  # seconds of a read after which it is looked whether the processor was there
STAT = Path("/proc/stat")
TICK = 1.0 / os.sysconf("SC_CLK_TCK")
HOLDS, BROKEN, SHOWS_NOTHING = 0, 1, 75


@dataclass
class Samples:
    """Seconds of each register read and of each burst of frames.

    Registers are read in turn: one that the control loop answers alone, and one for which it waits
    for the data thread's round.
    """

    reads: list[float] = field(default_factory=list)
    frames: list[float] = field(default_factory=list)
    stolen: int = 0  # reads that are not among these: a hypervisor had the processor

    def take(
        self, victim: RawDriver, seconds: float, count: int = BURST, to: bytes = b"", size: int = 60
    ) -> None:
        """Reads and sends in turn for a time, at least once; frames as send_frames() takes them."""
        end, before = monotonic() + seconds, stolen()
        while True:
            start = perf_counter()
            victim.client.read32(RSTAT if len(self.frames) % 2 else DYN_CTL01)
            self.add(perf_counter() - start, before, before := stolen())
            number = len(self.frames)
            self.frames.append(victim.send_frames(number, count, 60, to, size))
            if monotonic() >= end:
                return

    def add(self, seconds: float, before: float, after: float) -> None:
        """A read, and the processor time that was stolen until it began and until it ended."""
        if seconds >= LONG and after - before >= seconds / 2:
            self.stolen += 1
        else:
            self.reads.append(seconds)


def stolen(path: Path = STAT) -> float:
    """Seconds that a hypervisor ran something else in, of all processors (proc_stat(5))."""
    return int(path.read_text(encoding="ascii").split(None, 9)[8]) * TICK


@dataclass
class Measured:
    """What the neighbour saw of one storm."""

    name: str
    quiet: Samples = field(default_factory=Samples)
    stormy: Samples = field(default_factory=Samples)

    @property
    def slower_frames(self) -> float:
        """How many times as long a burst of frames takes, in the middle."""
        return statistics.median(self.stormy.frames) / statistics.median(self.quiet.frames)

    def row(self) -> str:
        """A row of the table, in ms."""
        medians = [statistics.median(each.reads) * 1e3 for each in (self.quiet, self.stormy)]
        late = sorted(self.stormy.reads)[int(len(self.stormy.reads) * 0.99)] * 1e3
        most = [max(each.reads) * 1e3 for each in (self.quiet, self.stormy)]
        return (
            f"| {self.name} | {medians[0]:.3f} | {medians[1]:.3f} | {late:.2f} "
            f"| {most[0]:.2f} | {most[1]:.2f} | {self.slower_frames:.2f} |"
        )

    def broken(self) -> list[str]:
        """What of the promise does not hold, in words."""
        longest = max(self.stormy.reads)
        out = []
        if longest >= PROMISED_SECONDS:
            out.append(f"{self.name}: a register read took {longest * 1e3:.1f} ms")
        if self.slower_frames > PROMISED_FACTOR:
            out.append(f"{self.name}: a burst takes {self.slower_frames:.2f} times as long")
        return out


HEAD = (
    "| storm | median, quiet | median | p99 | longest, quiet | longest | burst, times as long |\n"
    "|---|---|---|---|---|---|---|"
)


def verdict(results: Sequence[Measured]) -> tuple[int, list[str]]:
    """The exit status, and why, in words."""
    quiet = max(max(each.quiet.reads) for each in results)
    if quiet >= PROMISED_SECONDS:
        text = f"a register read of a quiet software VF took {quiet * 1e3:.1f} ms"
        return SHOWS_NOTHING, [f"this shows nothing: the machine is loaded, {text}"]
    broken = [text for each in results for text in each.broken()]
    return (BROKEN, broken) if broken else (HOLDS, ["what D6 promises holds"])


def histogram(samples: list[float]) -> str:
    """Counts below each of BOUNDS_MS, and of the rest."""
    counts = [0] * (len(BOUNDS_MS) + 1)
    for each in samples:
        counts[sum(each * 1e3 >= bound for bound in BOUNDS_MS)] += 1
    return " ".join(f"{count:6}" for count in counts)


def measure(name: str, seconds: float, rounds: int) -> Measured:
    """A neighbour's times, in `rounds` of a quiet half and a stormy one that share `seconds`."""
    out = Measured(name)
    with softvf(vfs=8, uplink="none", options={"reset_ms": 1}) as pf:
        paths = [Path(each.removeprefix("vfio-user:")) for each in pf.sockets]
        victim = RawDriver(paths[1])
        victim.client.sock.settimeout(60)
        victim.open()
        others = [RawDriver(path) for path in paths[2:]] if "TSO" in name else []
        for other in others:
            other.open(entries=4096)
        frames = BROADCASTS if "into" in name else UNICASTS
        for _ in range(rounds):
            out.quiet.take(victim, seconds / rounds / 2, *frames)
            with storm_elsewhere(name, paths[0]):
                out.stormy.take(victim, seconds / rounds / 2, *frames)
            sleep(SETTLED)
        for each in (victim, *others):
            each.close()
    return out


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="of each storm, quiet halves too"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each storm")
    parser.add_argument("--storm", action="append", choices=list(STORMS), help="all if not given")
    wanted = parser.parse_args()
    if wanted.rounds < 1:
        parser.error("--rounds must be 1 or more")
    print(
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; register reads, in ms\n\n{HEAD}"
    )
    results = []
    for name in wanted.storm or STORMS:
        results.append(measure(name, wanted.seconds, wanted.rounds))
        print(results[-1].row(), flush=True)
    print(f"\n{'':40} " + " ".join(f"{f'<{bound:g}':>6}" for bound in BOUNDS_MS) + "   more")
    for each in results:
        for what, samples in (("quiet", each.quiet), ("storm", each.stormy)):
            print(f"{each.name:34} {what:5} {histogram(samples.reads)}")
    apart = sum(each.stolen for one in results for each in (one.quiet, one.stormy))
    if apart:
        print(f"\n{apart} reads are left out: a hypervisor took the processor away meanwhile")
    status, why = verdict(results)
    print("\n" + "\n".join(why))
    return status


if __name__ == "__main__":
    raise SystemExit(main())
