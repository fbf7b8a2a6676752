# SPDX-License-Identifier: BSD-3-Clause
"""Stops and resets of every kind that a VF may ask for, and what is left after them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from iavfio.datapath.worker import Lane, Worker
from iavfio.port.port import Port
from iavfio.port.probe import within
from iavfio.pyvfio import Unsupported
from iavfio.pyvfio.opening import normal_bdf
from iavfio.qualify.checks import aftermath
from iavfio.qualify.checks.traffic import both_ways
from iavfio.qualify.frames import frame
from iavfio.qualify.outcome import NotRun, Seen, require
from iavfio.qualify.vfs import Vfs, exchange

STARTS = 5
FRAMES = 64
NOTICE = 20.0  # seconds in which a port comes back from a reset that it did not ask for
SYSFS = Path("/sys/bus/pci")


def restarts(vfs: Vfs, seen: Seen) -> None:
    """Stop and start, five times: frames arrive each time, and no buffer is lost."""
    source, sink = vfs.start()
    vfs.stop()
    free = vfs.pool.idle
    for _ in range(STARTS):
        source, sink = vfs.start()
        _works(source, sink)
        vfs.stop()
        require(vfs.pool.idle == free, f"{free - vfs.pool.idle} buffers are missing after a stop")


def own_reset(vfs: Vfs, seen: Seen) -> None:
    """RESET_VF: the port comes back with settings, address, interrupts, counters and traffic."""

    def reset(source: Port, sink: Port) -> float:
        return max(port.reset().outage for port in {id(p): p for p in (source, sink)}.values())

    _survives(vfs, seen, reset, "after RESET_VF")


def function_reset(vfs: Vfs, seen: Seen) -> None:
    """A function-level reset behind the driver's back is noticed, and the port comes back."""
    if not vfs.receiver.device.info().resettable:
        raise NotRun("VFIO names this device not resettable")

    def reset(source: Port, sink: Port) -> float:
        known = len(sink.resets)
        try:
            sink.device.reset()
        except Unsupported as error:
            raise NotRun(str(error)) from error
        within(NOTICE, lambda: len(sink.resets) > known or sink.state == "failed")
        back = len(sink.resets) > known and sink.state == "running"
        require(back, f"the port did not come back within {NOTICE:g} s: {sink.why_stopped()}")
        return sink.resets[-1].outage

    _survives(vfs, seen, reset, "after the FLR")


def _survives(vfs: Vfs, seen: Seen, reset: Callable[[Port, Port], float], when: str) -> None:
    """All that was in force before `reset`, which returns the outage in seconds, is so after it."""
    wanted = aftermath.Wanted.of(vfs)
    source, sink = wanted.start(vfs)
    aftermath.in_force(vfs, wanted, "before the reset")
    addresses = source.mac, sink.mac, source.session.resources.queue_pairs
    counted = aftermath.totals(sink)
    seen.figures["outage_ms"] = round(reset(source, sink) * 1e3, 1)
    now = source.mac, sink.mac, source.session.resources.queue_pairs
    require(now == addresses, f"{when}: the VF's address or its queues are others")
    _link_and_drain(source, sink)
    first = aftermath.pf_counts(sink)
    aftermath.in_force(vfs, wanted, when)
    aftermath.pf_counts_on(first, aftermath.pf_counts(sink), when)
    aftermath.no_step_back(counted, aftermath.totals(sink), when)
    aftermath.no_late_dma(vfs, when)


def reset_under_traffic(vfs: Vfs, seen: Seen) -> None:
    """A reset while frames are sent and received loses no buffer for good."""
    source, sink = vfs.start()
    vfs.stop()
    free = vfs.pool.idle
    source, sink = vfs.start()
    lane = Lane(source.rx[0], None, sink.mac, source.mac)
    worker = Worker("loopback", [lane])
    try:
        require(within(2.0, lambda: worker.counters.sent > 1000), "no traffic could be made")
        sink.reset()
        within(0.3, lambda: False)
    finally:
        worker.close()
    _link_and_drain(source, sink)
    _works(source, sink)
    vfs.stop()
    require(vfs.pool.idle == free, f"{free - vfs.pool.idle} buffers are missing after the reset")


def reopening(vfs: Vfs, seen: Seen) -> None:
    """Closed and opened again, the VF has the same address, and nothing of its past is in force."""
    source, sink = vfs.start()
    before = source.mac, sink.mac
    vfs.close()
    both_ways(vfs, seen)
    require((vfs.sender.mac, vfs.receiver.mac) == before, "the address is another after reopening")


def unbind(vfs: Vfs, seen: Seen) -> None:
    """The host takes the VF away under traffic: the port closes, and the VF can be bound again."""
    bdf = normal_bdf(vfs.targets[-1])
    if bdf is None:
        raise NotRun("a software VF has no kernel driver that could be unbound from it")
    home = (SYSFS / "devices" / bdf / "driver").resolve()
    switches = home / "unbind", home / "bind"
    if not all(os.access(switch, os.W_OK) for switch in switches):
        raise NotRun(f"{switches[0]} cannot be written: sudo iavfio qualify ... --only unbind")
    source, sink = vfs.start()
    events: list[str] = []
    sink.on_event.append(lambda event: events.append(event.kind))
    refusals: list[str] = []
    writer = threading.Thread(target=_write, args=(switches[0], bdf, refusals), daemon=True)
    worker = Worker("loopback", [Lane(source.rx[0], None, sink.mac, source.mac)])
    try:
        require(within(2.0, lambda: worker.counters.sent > 1000), "no traffic could be made")
        writer.start()
        asked = within(NOTICE, lambda: "request" in events or bool(refusals))
    finally:
        worker.close()
        vfs.close()
        if writer.ident is not None:
            writer.join(NOTICE)
        gone = not writer.is_alive()
        back: list[str] = []
        if not refusals:
            _write(switches[1], bdf, back)
    if refusals:
        raise NotRun(f"the host does not unbind the VF: {refusals[0]}")
    require(not back, f"the VF cannot be bound again: {back}")
    require(asked, "the host's request for the VF was not noticed")
    require(gone, f"the host could not unbind the VF within {NOTICE:g} s")
    both_ways(vfs, seen)


def _write(path: Path, text: str, refusals: list[str]) -> None:
    try:
        path.write_text(text, encoding="ascii")
    except OSError as error:
        refusals.append(str(error))


def _works(source: Port, sink: Port) -> None:
    frames = [frame(sink.mac, source.mac, i) for i in range(FRAMES)]
    got = [data for _, data, _ in exchange(source.tx[0], sink.rx, frames)]
    require(got == frames, f"{len(got)} of {FRAMES} frames arrived, or out of order")


def _link_and_drain(source: Port, sink: Port) -> None:
    """Waits for the links, and releases what was on its way."""
    for port in (source, sink):
        require(port.wait_link(NOTICE).up, f"the link of {port.name} stays down")
    within(0.2, lambda: False)
    for queue in sink.rx:
        while True:
            with queue.recv() as burst:
                if not len(burst):
                    break
