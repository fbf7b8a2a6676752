# SPDX-License-Identifier: BSD-3-Clause
"""Verified traffic for a long time, and what the process holds at its begin and end."""

from __future__ import annotations

import time
from collections import Counter

from iavfio.bench.plan import Plan
from iavfio.bench.run import run
from iavfio.datapath.thread import Counters
from iavfio.qualify.checks.timing import distinct
from iavfio.qualify.outcome import Failed, NotRun, Seen, require
from iavfio.qualify.usage import Usage
from iavfio.qualify.vfs import Vfs

FIRST = 1.0  # seconds of the first slice, after which everything that runs need has been made
SLICE = 10.0  # seconds of verified traffic between two looks at the result
SHORTEST = 0.2
SIZES = (64, 570, 1500)


def soak(vfs: Vfs, seen: Seen) -> None:
    """Every packet of the whole time arrives once, unchanged, in order, or a counter names it.

    Memory, descriptors and mappings do not grow beyond usage.MOST meanwhile.
    """
    if not vfs.soak:
        raise NotRun("--soak 0")
    ports = distinct(vfs.start(mtu=min(1500, *(port.control.limits.mtu for port in vfs.ports))))
    known = [len(port.resets) for port in ports]  # of the checks before
    end = time.monotonic() + vfs.soak
    packets = lost = 0
    begin: Usage | None = None

    def tell(seconds: float, counters: Counters) -> None:
        vfs.tell(f"of {vfs.soak:g} s, {packets + counters.received:,} packets")

    try:
        while (left := end - time.monotonic()) > 0:
            longest = FIRST if begin is None else SLICE
            result = run(
                Plan(
                    mode="loopback",
                    sizes=SIZES,
                    duration=max(SHORTEST, min(longest, left)),
                    verify=True,
                    max_loss=1.0,
                ),
                ports,
                tell,
            )
            packets += result.delivered
            lost += result.lost
            begin = begin or Usage.now()
            if result.interrupted is not None:
                raise result.interrupted
            tell(0.0, Counters())
            if not result.sound:
                raise Failed(f"after {packets} packets: {'; '.join(result.reasons)}")
    finally:  # also what a signal ends is told
        now = Usage.now()
        begin = begin or now
        seen.figures |= {"packets": float(packets), "lost_packets": float(lost)}
        seen.figures |= begin.figures("begin") | now.figures("end")
    resets = Counter(
        reset.cause
        for port, before in zip(ports, known, strict=True)
        for reset in port.resets[before:]
    )
    causes = ", ".join(f"{count} because {cause}" for cause, count in resets.items())
    require(not resets, f"resets that nobody asked for: {causes}")
    grown = now.grown(begin)
    require(not grown, f"this process holds more and more: {'; '.join(grown)}")
