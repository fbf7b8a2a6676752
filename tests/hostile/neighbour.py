# SPDX-License-Identifier: BSD-3-Clause
"""How long a neighbour waits while a client storms: the neighbour's own histograms, storm by storm.

    python -m tests.hostile.neighbour [--seconds N] [--storm NAME ...]

For each storm, and for a quiet software VF first, the neighbour reads a register and sends a frame
in turn. Times are the client's, with all that the machine does besides; a busy machine shows.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from iavfio.softvf import softvf
from tests.hostile.raw_driver import RawDriver
from tests.hostile.storms import STORMS, storm
from tests.softvf.function.mailbox_rings import RSTAT

BOUNDS = (
    0.05,
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    1000,
)  # ms; the last column is for the rest
PROMISED_MS = 10


def histogram(samples: list[float]) -> str:
    """Counts below each bound."""
    counts = [0] * (len(BOUNDS) + 1)
    for each in samples:
        counts[sum(each * 1e3 >= bound for bound in BOUNDS)] += 1
    return " ".join(f"{count:6}" for count in counts)


def tell(name: str, what: str, samples: list[float]) -> None:
    samples.sort()
    median, p99, most = (
        samples[int(len(samples) * share)] * 1e3 for share in (0.5, 0.99, 0.999999)
    )
    late = sum(each * 1e3 >= PROMISED_MS for each in samples)
    print(
        f"{name:34} {what:5} {len(samples):6} {median:7.2f} {p99:7.2f} {most:8.2f} {late:5} "
        f"{histogram(samples)}",
        flush=True,
    )


def sample(victim: RawDriver, seconds: float) -> tuple[list[float], list[float]]:
    reads: list[float] = []
    frames: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        victim.client.read32(RSTAT)
        reads.append(time.perf_counter() - start)
        frames.append(victim.send_frame(len(frames), 60))
    return reads, frames


def measure(name: str | None, seconds: float) -> None:
    with softvf(vfs=8, uplink="none", options={"reset_ms": 1}) as pf:
        paths = [Path(each.removeprefix("vfio-user:")) for each in pf.sockets]
        victim = RawDriver(paths[1])
        victim.client.sock.settimeout(60)
        victim.open()
        others = []
        for path in paths[2:] if name and "TSO" in name else []:
            others.append(RawDriver(path))
            others[-1].open(entries=4096)
        if name is None:
            reads, frames = sample(victim, seconds)
        else:
            with storm(name, paths[0]):
                reads, frames = sample(victim, seconds)
        tell(name or "quiet", "read", reads)
        tell("", "frame", frames)
        victim.close()
        for each in others:
            each.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each storm")
    parser.add_argument("--storm", action="append", choices=list(STORMS), help="all if not given")
    wanted = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; times in ms")
    print(
        f"{'storm':34} {'':5} {'n':>6} {'median':>7} {'p99':>7} {'most':>8} {'>=10':>5} "
        + " ".join(f"{f'<{bound:g}':>6}" for bound in BOUNDS)
        + "   more"
    )
    measure(None, wanted.seconds)
    for name in wanted.storm or STORMS:
        measure(name, wanted.seconds)


if __name__ == "__main__":
    main()
