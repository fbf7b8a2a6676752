# SPDX-License-Identifier: BSD-3-Clause
"""Counters: the driver's, the PF's, and the frames that were really sent agree."""

from __future__ import annotations

from iavfio.port.probe import within
from iavfio.qualify.frames import frame
from iavfio.qualify.outcome import Seen, require
from iavfio.qualify.vfs import Vfs, exchange

COUNT = 300
SIZE = 100
SOON = 3.0  # seconds in which a PF brings its counters up to date
FCS = 4


def counters(vfs: Vfs, seen: Seen) -> None:
    """300 frames of 100 bytes are 300 in every counter that they pass."""
    source, sink = vfs.start()
    for port in {id(port): port for port in (source, sink)}.values():
        port.refresh_stats()
    before = source.stats.snapshot(), sink.stats.snapshot()
    frames = [frame(sink.mac, source.mac, i, SIZE) for i in range(COUNT)]
    got = exchange(source.tx[0], sink.rx, frames)
    require(len(got) == COUNT, f"{len(got)} of {COUNT} frames arrived")
    within(SOON, lambda: source.tx[0].clean() >= 0 and not source.tx[0].in_flight)

    def settled() -> bool:
        source.refresh_stats()
        sink.refresh_stats()
        sent = source.stats.snapshot().pf["tx_unicast"] - before[0].pf["tx_unicast"]
        received = sink.stats.snapshot().pf["rx_unicast"] - before[1].pf["rx_unicast"]
        return sent >= COUNT and received >= COUNT

    within(SOON, settled)
    out, into = source.stats.snapshot(), sink.stats.snapshot()
    moved = {
        "sq_packets": out.sq[0]["packets"] - before[0].sq[0]["packets"],
        "rq_packets": into.rq[0]["packets"] - before[1].rq[0]["packets"],
        "tx_unicast": out.pf["tx_unicast"] - before[0].pf["tx_unicast"],
        "rx_unicast": into.pf["rx_unicast"] - before[1].pf["rx_unicast"],
    }
    for name, value in moved.items():
        require(value == COUNT, f"{name} moved by {value}, not {COUNT}")
    for name, now, then in (
        ("tx_bytes", out.pf, before[0].pf),
        ("rx_bytes", into.pf, before[1].pf),
    ):
        each = (now[name] - then[name]) / COUNT
        seen.facts[f"{name}_with_fcs"] = each == SIZE + FCS
        require(each in (SIZE, SIZE + FCS), f"{name}: {each:g} a frame of {SIZE} bytes")
