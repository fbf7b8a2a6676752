# SPDX-License-Identifier: BSD-3-Clause
"""A run: workers over all queues of one or two ports, and the accounts that are closed after it."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from iavfio.bench.arrivals import STILL, arrivals, arrived_since
from iavfio.bench.plan import Plan
from iavfio.bench.provenance import SOFTWARE, hardware, provenance
from iavfio.bench.result import Result
from iavfio.datapath.latency import LatencyTable
from iavfio.datapath.pair import FCS
from iavfio.datapath.thread import DRAINING, Counters
from iavfio.datapath.worker import Lane, Quota, VerifyTable, Worker
from iavfio.errors import DeviceError, IavfioError, StateError
from iavfio.port.bounds import Finishing
from iavfio.port.draining import await_count, drain
from iavfio.port.footprint import Footprint
from iavfio.port.port import Port
from iavfio.stats import Snapshot

STEP = 0.002  # seconds between two looks at what is missing
TICK = 0.02  # seconds: how late Ctrl-C may be noticed
QUIET = 0.1  # seconds without a packet, all being accounted for, after which none is too many
PATIENCE = 2.0  # the same while some are missing: a busy host may stop a software VF for long
DRAIN_LIMIT = 6.0  # seconds of draining at most, outside of the measured window
HURRIED_QUIET, HURRIED_LIMIT = 0.01, 0.04  # the same after Ctrl-C
JOIN = 0.2  # seconds beyond the bound of draining until a worker's end is no longer waited for
COMPLETION = 2.0  # seconds in which a device completes what is posted; after Ctrl-C
HURRIED_COMPLETION = 0.02
SENT = ("tx_unicast", "tx_multicast", "tx_broadcast", "tx_discards", "tx_errors")
MISSED, MISSED_PACKETS = 0.01, 8  # what is told of an asked rate: a share, and packets
HURRIED_DEVICE = 0.05  # seconds after Ctrl-C until a silent server is given up
UNANSWERED = "the software VF did not answer within 50 ms of the signal, and was not waited for"

Progress = Callable[[float, Counters], None]


def run(plan: Plan, ports: Sequence[Port], progress: Progress | None = None) -> Result:
    """Runs `plan` on started ports; returns the result also when it is interrupted.

    The measured window is `plan.seconds`, or ends with the packet `plan.count`; draining comes
    after it and is bounded. `progress(seconds, counters)` is called about once a second.
    KeyboardInterrupt (Ctrl-C, or SIGTERM where the caller made it one) ends the run early; the
    result says so in `interrupted`. Raises ConfigError for what cannot be run, IavfioError when a
    worker cannot start.
    """
    plan = plan.checked(ports)
    origin = provenance({port.name: describe(port) for port in ports})
    for port in ports:
        port.refresh_stats()
    before = {port.name: port.stats.snapshot() for port in ports}
    waiting = _waiting(ports)
    dst = plan.dst if plan.mode == "txonly" else None
    arrived = arrivals(dst, ports)
    notes: list[str] = []
    finishing = Finishing(*(port.device for port in ports), seconds=HURRIED_LIMIT + HURRIED_DEVICE)
    with ExitStack() as stack:
        lanes = _lanes(plan, ports)
        times = LatencyTable(len(lanes), plan.flows) if plan.latency else None
        workers = _start(plan, lanes, times, stack)
        try:
            watch(workers, progress)
        except KeyboardInterrupt as signal:
            finishing.hasten(signal)
        drained = finishing.take(lambda: _drain(plan, workers, finishing.signal is not None))
        windows = [worker.window or worker.counters for worker in workers]
        counters = _sum([worker.counters for worker in workers])
    if plan.rate and finishing.signal is None:
        notes += _missed_rate(plan.rate, windows)
    if counters.error and finishing.signal is not None and any(map(_given_up, ports)):
        counters = replace(counters, error=0)  # it ended as it was to, without its device
    elif counters.error:
        notes.append(f"a worker ended early: {os.strerror(-counters.error)}")

    def settle(port: Port) -> int:
        hurried = finishing.signal is not None
        unsent = drain(port, HURRIED_COMPLETION if hurried else COMPLETION)
        try:
            if hurried:
                port.refresh_stats(HURRIED_LIMIT)
            else:
                _await_counts(port, before[port.name])
        except (DeviceError, StateError) as error:
            why = UNANSWERED if hurried and _given_up(port) else error.what
            notes.append(f"{port.name}: the PF's counters are old: {why}")
        return unsent

    in_flight = sum(finishing.take(partial(settle, port)) for port in ports)
    left = _waiting(ports)

    def arrival() -> int | None:
        if finishing.signal is not None:
            return None
        return arrived_since(arrived, counters.sent - in_flight, dst, ports)

    come = finishing.take(arrival)
    return Result(
        plan=plan,
        isa="/".join(sorted({queue.isa for port in ports for queue in port.rx})),
        window=_sum(windows),
        total=counters,
        drained=drained,
        interrupted=finishing.signal,
        unsent=in_flight,
        waiting=(waiting, left),
        arrived=come,
        before=before,
        after={port.name: port.stats.snapshot() for port in ports},
        link_mbps={port.name: port.link.mbps for port in ports},
        capacity=sum(
            len(port.rx) * (port.settings.rx_ring + port.settings.tx_ring) for port in ports
        ),
        provenance=origin,
        queues=len(ports[0].rx),
        ring=ports[0].settings.rx_ring,
        memory=Footprint.of(ports),
        latency=None if times is None else times.latency,
        notes=tuple(notes),
    )


def _given_up(port: Port) -> bool:
    """Whether this side has given up a server that may only be busy."""
    return bool(port.device.loss)


def _missed_rate(asked: float, windows: Sequence[Counters]) -> list[str]:
    """What is to say of a rate that the workers did not reach; nothing where they did."""
    window = _sum(windows)
    seconds = (window.stop_ns - window.start_ns) / 1e9
    short = asked * seconds - window.sent
    if seconds <= 0 or short < MISSED_PACKETS or short < MISSED * asked * seconds:
        return []
    share = window.sent / (asked * seconds)
    takes = "the device, the link or this host's CPUs make no more"
    return [f"{share:.1%} of the asked rate was reached: {takes}"]


def _await_counts(port: Port, before: Snapshot) -> None:
    """Has the PF's counters renewed until they have all that was posted since `before`, or have not
    moved for STILL seconds: a path may be slow. Raises as `refresh_stats` does.
    """

    def moved() -> Snapshot:
        return port.stats.snapshot().since(before)

    def counted() -> int:
        port.refresh_stats()
        pf = moved().pf
        return sum(pf[name] for name in SENT)

    await_count(
        counted,
        lambda count: count >= sum(queue["packets"] for queue in moved().sq),
        still=STILL,
        limit=DRAIN_LIMIT,
        step=TICK,
    )


def _lanes(plan: Plan, ports: Sequence[Port]) -> list[Lane]:
    """Every queue pair with its counterpart and addresses.

    What is forwarded leaves by the peer's queue, so from the peer's address: a spoof check lets no
    other pass. It goes to where it came from unless a destination was asked for.
    """
    lanes: list[Lane] = []
    for port, peer in zip(ports, reversed(ports), strict=True):
        for i, rx in enumerate(port.rx):
            tx = peer.tx[i % len(peer.tx)] if peer is not port else None
            if plan.mode == "forward":
                lanes.append(Lane(rx, tx, plan.dst or bytes(6), plan.src or peer.mac))
            else:
                lanes.append(Lane(rx, tx, plan.destination(peer), plan.src or port.mac))
    return lanes


def _start(
    plan: Plan, lanes: Sequence[Lane], times: LatencyTable | None, stack: ExitStack
) -> list[Worker]:
    """Starts one worker a CPU, with the queue pairs dealt out in turn; returns the workers."""
    cpus: list[int | None] = list(plan.cpus) or [None]
    cpus = cpus[: len(lanes)]
    table = None
    if plan.verify:
        table = VerifyTable(len(lanes), plan.flows)
        stack.callback(table.close)
    if times is not None:
        stack.callback(times.close)
    quota = Quota(plan.count) if plan.count else None
    signature = secrets.randbits(63) | 1
    workers: list[Worker] = []
    base = 0
    for n, cpu in enumerate(cpus):
        mine = lanes[n :: len(cpus)]
        worker = Worker(
            plan.mode,
            mine,
            burst=plan.burst,
            macs="own",
            sizes=[size - FCS for size in plan.sizes],
            signature=signature,
            verify=table,
            latency=times,
            sender_base=base,
            flows=plan.flows,
            ipv6=plan.ipv6,
            open_loop=plan.open_loop,
            limit=quota or 0,
            window=plan.seconds,
            rate=plan.rate * len(mine) / len(lanes),
            cpu=cpu,
        )
        workers.append(stack.enter_context(worker))
        base += len(mine)
    return workers


def watch(workers: Sequence[Worker], progress: Progress | None) -> None:
    """Waits until every worker has closed its window or has ended."""
    began = shown = time.monotonic()
    while not all(worker.window or worker.ended for worker in workers):
        now = time.monotonic()
        if progress is not None and now - shown >= 1.0:
            shown = now
            progress(now - began, _sum([worker.counters for worker in workers]))
        time.sleep(TICK)


def _drain(plan: Plan, workers: Sequence[Worker], hurried: bool) -> bool:
    """Lets packets that are on their way arrive; returns whether nothing more came at the end.

    Silence alone says little: a software VF whose thread is without a CPU is silent, too. So
    packets that are missing are waited for longer, and no longer than they are. Frames that
    somebody else generates may never stop coming: where the run does not make its own, there is
    nothing to wait for, but that forward sends on what it has received. Ctrl-C ends the draining of
    a run that is `hurried` at once, and is raised out of another one, which may be drained again.
    """
    quiet, limit = (HURRIED_QUIET, HURRIED_LIMIT) if hurried else (QUIET, DRAIN_LIMIT)
    if not plan.generates:
        quiet = 0.0
    began = time.monotonic()
    try:
        if plan.mode == "loopback" and not hurried:
            _await_missing(workers, limit)
        for worker in workers:
            worker.finish(quiet, limit)
        for worker in workers:
            worker.wait(limit + JOIN)
    except KeyboardInterrupt:
        if not hurried:
            raise
    took = time.monotonic() - began
    for worker in workers:
        worker.close()
    return not plan.generates or took < limit


def _await_missing(workers: Sequence[Worker], limit: float) -> None:
    """Waits until what the workers have sent is received, or nothing comes any more."""
    for worker in workers:
        worker.finish(PATIENCE, limit)
    end = time.monotonic() + limit + JOIN
    while time.monotonic() < end and not all(worker.ended for worker in workers):
        counters = _sum([worker.counters for worker in workers])
        if counters.state >= DRAINING and counters.received >= counters.sent:
            return
        time.sleep(STEP)


def _waiting(ports: Sequence[Port]) -> int:
    """Packets that lie in receive rings: the PF has counted them, and nobody has received them."""
    found = 0
    for queue in (queue for port in ports for queue in port.rx):
        try:
            found += queue.waiting
        except IavfioError:
            pass  # a queue that stopped has nothing
    return found


def _sum(parts: Sequence[Counters]) -> Counters:
    first, *rest = parts
    for counters in rest:
        first = first + counters
    return first


def describe(port: Port) -> str:
    """The device of a port for the provenance."""
    kind = SOFTWARE if port.device.transport == "vfio-user" else hardware()
    return f"{port.identity.family} VF over {port.device.transport}, {kind}"
