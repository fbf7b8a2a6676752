# SPDX-License-Identifier: BSD-3-Clause
"""A host's part of a fleet: one port, opened once, that takes part in run after run.

It knows nothing of what carries its orders. Times are CLOCK_REALTIME's, in nanoseconds.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import iavfio
from iavfio.bench.provenance import provenance
from iavfio.bench.run import COMPLETION, DRAIN_LIMIT, JOIN, QUIET, describe
from iavfio.capture.losses import losses
from iavfio.capture.sending import lost, on_wire, sample
from iavfio.datapath.pair import FCS
from iavfio.datapath.pool import Pool, buffers_for
from iavfio.datapath.thread import Counters
from iavfio.datapath.worker import Lane, Quota, VerifyTable, Worker
from iavfio.errors import ConfigError, IavfioError, StateError
from iavfio.fleet.orders import HostCounts, Moved, OpenOrder, PortFacts, TrialOrder, Trouble
from iavfio.opening import open_port
from iavfio.port.draining import drain
from iavfio.port.limits import mtu_for, room_for
from iavfio.port.port import Port
from iavfio.stats import Snapshot

LINK_SECONDS = 5.0
SPIN_NS = 200_000  # before the start, in which sleeping would be too coarse
TICK = 0.005
SETTLING = 1.0  # seconds that a PF has to count what was completed
T = TypeVar("T")


class Station:
    """The port of one host. Calls are made one after the other, but for `stop` and `moved`.

    What goes wrong is returned as Trouble and not raised, so that any engine can carry it.
    """

    def __init__(self) -> None:
        self._port: Port | None = None
        self._run: _Run | None = None
        self._stopping = threading.Event()

    def open(self, order: OpenOrder) -> PortFacts | Trouble:
        """Opens and starts the port, and waits a while for its link."""
        return _told(lambda: self._open(order))

    def _open(self, order: OpenOrder) -> PortFacts:
        if order.version != iavfio.__version__:
            raise ConfigError(
                f"its iavfio is {iavfio.__version__}, and not {order.version}",
                "hosts of a fleet count alike only with one version",
                f"install it there: pip install iavfio=={order.version}",
            )
        self.close()
        port = open_port(order.port, pool=Pool(buffers_for(order.queues * order.ring)))
        self._port = port
        longest, limits = max(order.sizes) - FCS, port.control.limits
        mtu = order.mtu or mtu_for(longest, port.settings, limits)
        port.configure(queues=order.queues, ring=order.ring, mtu=mtu)
        if longest > port.settings.frame:
            sizes = "leave mtu out of [traffic]: the sizes decide then"
            raise ConfigError(
                f"frames of {longest + FCS} bytes cannot be sent",
                f"{port.name} has room for {port.settings.frame + FCS}, with FCS",
                room_for(longest, port.name, limits) if order.mtu is None else sizes,
            )
        port.start()
        link = port.wait_link(LINK_SECONDS)
        return PortFacts(
            name=port.name,
            mac=port.mac,
            link_up=link.up,
            link_mbps=link.mbps,
            isa="/".join(sorted({queue.isa for queue in port.rx})),
            provenance=provenance({port.name: describe(port)}),
        )

    def begin(self, order: TrialOrder) -> Trouble | None:
        """Gets ready for a run: a port that only receives does so from now on."""
        return _told(lambda: self._begin(order))

    def _begin(self, order: TrialOrder) -> None:
        if self._port is None:
            raise StateError("its port is not open")
        self._stopping.clear()
        self._drop()
        self._run = _Run(self._port, order)
        if not order.sends:
            self._run.start(order)

    def send(self, order: TrialOrder) -> Moved | Trouble:
        """Waits until `order.start_ns`, sends, and returns when the window is over."""
        return _told(lambda: self._send(order))

    def _send(self, order: TrialOrder) -> Moved:
        if self._run is None:
            raise StateError("no run was begun")
        if self._until(order.start_ns):
            self._run.start(order)
            self._run.watch(self._stopping)
        return self._run.moved

    def moved(self) -> Moved | Trouble:
        """How far the run has come."""
        return Moved(0, 0) if self._run is None else _told(lambda: self._moved())

    def _moved(self) -> Moved:
        return Moved(0, 0) if self._run is None else self._run.moved

    def end(self) -> HostCounts | Trouble:
        """Ends the run: lets what is on its way arrive, and returns what was counted."""
        return _told(self._end)

    def _end(self) -> HostCounts:
        if self._run is None:
            raise StateError("no run was begun")
        run, self._run = self._run, None
        return run.end()

    def stop(self) -> None:
        """Ends the sending of a run, from another thread; `end` tells what was done."""
        self._stopping.set()

    def close(self) -> None:
        """Closes the port; twice is harmless."""
        self._stopping.set()
        self._drop()
        port, self._port = self._port, None
        if port is not None:
            port.close()

    def _drop(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.close()

    def _until(self, start_ns: int) -> bool:
        """Waits for a time; False when it was stopped before."""
        left = start_ns - time.time_ns()
        if left > SPIN_NS and self._stopping.wait((left - SPIN_NS) / 1e9):
            return False
        while time.time_ns() < start_ns:
            pass
        return not self._stopping.is_set()


class _Run:
    """The workers of a run on one port, and what its counters were before."""

    def __init__(self, port: Port, order: TrialOrder) -> None:
        self._port, self._order = port, order
        self._before = sample(port)
        self._workers: list[Worker] = []
        self._table = VerifyTable(order.senders, order.flows) if order.verify else None
        self._quota = Quota(order.most) if order.most else None

    def start(self, order: TrialOrder) -> None:
        """Starts a worker on each CPU, with the queue pairs dealt out in turn."""
        mode = "sink"
        if order.sends:
            mode = "loopback" if order.receives else "txonly"
        lanes = [
            (Lane(self._port.rx[each.queue], None, each.dst, self._port.mac), each.number)
            for each in order.lanes
        ] or [(Lane(rx), 0) for rx in self._port.rx]
        cpus: list[int | None] = list(order.cpus) or [None]
        cpus = cpus[: len(lanes)]
        for n, cpu in enumerate(cpus):
            # A worker numbers its lanes on from a base: its share is a block, not every nth.
            mine = lanes[n * len(lanes) // len(cpus) : (n + 1) * len(lanes) // len(cpus)]
            self._workers.append(
                Worker(
                    mode,
                    [lane for lane, _ in mine],
                    burst=order.burst,
                    sizes=[size - FCS for size in order.sizes],
                    signature=order.signature,
                    verify=self._table,
                    sender_base=mine[0][1],
                    flows=order.flows,
                    ipv6=order.ipv6,
                    open_loop=True,
                    limit=(self._quota or 0) if order.sends else 0,
                    window=order.seconds if order.sends else 0.0,
                    rate=order.rate * len(mine) / len(lanes) if order.sends else 0.0,
                    cpu=cpu,
                )
            )

    def watch(self, stopping: threading.Event) -> None:
        """Waits until every worker has closed its window, or has ended."""
        while not all(worker.window or worker.ended for worker in self._workers):
            if stopping.wait(TICK):
                for worker in self._workers:
                    worker.finish(QUIET, DRAIN_LIMIT)
        for worker in self._workers:
            if self._order.receives:
                break  # it goes on until the others have sent
            worker.finish(0.0, COMPLETION)

    @property
    def moved(self) -> Moved:
        """Packets that the workers have sent and received so far."""
        counters = _sum([worker.counters for worker in self._workers])
        return Moved(counters.sent, counters.received)

    def end(self) -> HostCounts:
        """Drains, ends the workers and settles the account with the PF."""
        for worker in self._workers:
            worker.finish(QUIET, DRAIN_LIMIT)
        for worker in self._workers:
            worker.wait(DRAIN_LIMIT + JOIN)
        windows = [worker.window or worker.counters for worker in self._workers]
        self.close()
        total = _sum([worker.counters for worker in self._workers])
        unsent = drain(self._port, COMPLETION)
        order = self._order
        moved = self._settled(total.sent)
        window = _sum(windows)
        notes = list(self._port.notes)
        if total.error:
            notes.append(f"a worker ended early: {os.strerror(-total.error)}")
        return HostCounts(
            sent=total.sent if order.sends else 0,
            window_sent=window.sent if order.sends else 0,
            window_bytes=window.sent_bytes if order.sends else 0,
            window_s=(window.stop_ns - window.start_ns) / 1e9 if order.sends else 0.0,
            started_ns=_wall(window.start_ns) if order.sends and window.start_ns else 0,
            received=total.received if order.receives else 0,
            foreign=total.foreign if order.receives else 0,
            duplicated=total.duplicated,
            reordered=total.reordered,
            corrupted=total.corrupted,
            lost=_losses(order, moved, total.sent, unsent),
            resets=moved.resets,
            notes=tuple(notes),
        )

    def close(self) -> None:
        """Ends the workers; twice is harmless."""
        for worker in self._workers:
            worker.close()
        if self._table is not None:
            self._table.close()
            self._table = None

    def _settled(self, sent: int) -> Snapshot:
        """What the counters moved by, once the PF accounts for what was sent.

        A PF counts a moment later than the device completes.
        """
        end = time.monotonic() + SETTLING
        while True:
            moved = sample(self._port).since(self._before)
            told = on_wire(moved) + sum(lost(moved).values())
            if told >= sent or moved.resets or time.monotonic() >= end:
                return moved
            time.sleep(TICK)


def _losses(order: TrialOrder, moved: Snapshot, sent: int, unsent: int) -> dict[str, int]:
    """What the host lost of the run, by the counter that says so."""
    found = dict(losses(moved)) if order.receives else {}
    if order.sends:
        found |= lost(moved)
        if unsent:
            found["not_completed"] = unsent
        rest = sent - on_wire(moved) - sum(lost(moved).values()) - unsent
        if rest > 0 and not moved.resets:
            found["not_counted_by_the_pf"] = rest
    return found


def _wall(monotonic_ns: int) -> int:
    """A time of CLOCK_MONOTONIC as one of CLOCK_REALTIME."""
    return time.time_ns() - time.monotonic_ns() + monotonic_ns


def _sum(parts: Sequence[Counters]) -> Counters:
    total, *rest = parts or [Counters()]
    for counters in rest:
        total = total + counters
    return total


def _told(work: Callable[[], T]) -> T | Trouble:
    """What `work` returns, or the error that it raises as a value."""
    try:
        return work()
    except IavfioError as error:
        return Trouble(error.what, error.cause, str(error.remedy))
    except Exception as error:
        return Trouble(f"{type(error).__name__}: {error}")
