# SPDX-License-Identifier: BSD-3-Clause
"""A fleet that is ready to measure: ports that were opened once on all hosts, run after run."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

import iavfio
from iavfio.arguments import counted
from iavfio.datapath.pair import FCS
from iavfio.errors import IavfioError
from iavfio.fleet.clocks import Offset, compare
from iavfio.fleet.engine import Engine, HostLost, Pending, Remote, result, silent
from iavfio.fleet.orders import (
    HostCounts,
    LaneOrder,
    OpenOrder,
    PortFacts,
    TrialOrder,
    Trouble,
)
from iavfio.fleet.plan import FleetPlan
from iavfio.fleet.result import FleetResult
from iavfio.signatures import checked_class

OPENING = 60.0  # seconds that a host has to open its port
ASKING = 5.0  # that it has for its clock, and to close its port
CLOSING = 5.0
LEAD_NS = 50_000_000  # from the order to send until the common start
PATIENCE = 2.0  # seconds without a packet, some being missing, until they are given up
MOST_PATIENCE = 6.0
STEP = 0.02
LOOK = 0.05  # seconds between two looks at all hosts
PROBES = 32  # packets that a host sends before the first run
PROBING = 0.2
JOINING = 0.2

Progress = Callable[[float], None]


@checked_class
class Fleet:
    """The hosts of a plan, with their ports open; a context manager.

    `engine`: what reaches them, by default dask as the plan says. Entering opens all ports and
    compares all clocks, and raises IavfioError for the first host that cannot; leaving closes them,
    and ends a cluster that was started for it.
    """

    def __init__(self, plan: FleetPlan, engine: Engine | None = None) -> None:
        self.plan = plan
        self.facts: dict[str, PortFacts] = {}
        self.clocks: dict[str, Offset] = {}
        self._engine = engine
        self._remotes: dict[str, Remote] = {}
        self._lost: dict[str, str] = {}

    # ---- opening and closing

    def __enter__(self) -> Fleet:
        if self._engine is None:
            self._engine = engine_of(self.plan)
        try:
            self._join(tuple(host.name for host in self.plan.hosts))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the ports of all hosts and leaves the engine; twice is harmless.

        Hosts that cannot be reached any more close theirs themselves, and are no error here.
        """
        engine, self._engine = self._engine, None
        if engine is None:
            return
        try:
            with contextlib.suppress(IavfioError):
                self._stop()
                self._each("close", self._remotes, CLOSING)
        finally:
            for remote in self._remotes.values():
                remote.release()
            self._remotes.clear()
            engine.close()

    def _join(self, names: Iterable[str]) -> None:
        """Finds a place for these hosts, opens their ports and compares their clocks."""
        assert self._engine is not None
        hosts = [self.plan.host(name) for name in names]
        self._remotes |= self._engine.place(hosts)
        opened = {
            host.name: self._remotes[host.name].call(
                "open",
                OpenOrder(
                    host=host.name,
                    port=host.port,
                    queues=host.queues,
                    ring=host.ring,
                    mtu=host.mtu,
                    sizes=self.plan.size,
                    version=iavfio.__version__,
                ),
            )
            for host in hosts
        }
        for name, call in opened.items():
            facts = result(name, call, OPENING)
            if isinstance(facts, Trouble):
                raise IavfioError(f"host {name}: {facts.what}", facts.cause, facts.remedy)
            self.facts[name] = facts
            self._lost.pop(name, None)
        for name in opened:
            self.clocks[name] = self._clock(name)

    def _clock(self, name: str) -> Offset:
        remote = self._remotes[name]
        return compare(lambda: int(result(name, remote.now(), ASKING)))

    def compare_clocks(self) -> None:
        """Compares all clocks anew; those of lost hosts stay as they were."""
        for name in self._present():
            with contextlib.suppress(HostLost):
                self.clocks[name] = self._clock(name)

    @property
    def lost(self) -> Mapping[str, str]:
        """Hosts that were lost and are not back, each with the reason."""
        return dict(self._lost)

    def rejoin(self) -> bool:
        """Waits `plan.rejoin` seconds at most for lost hosts; returns whether all are back.

        A worker that a nanny starts again is one that is back.
        """
        end = time.monotonic() + self.plan.rejoin
        while self._lost:
            for name in self._lost:
                gone = self._remotes.pop(name, None)
                if gone is not None:
                    gone.release()
            try:
                self._join(tuple(self._lost))
            except IavfioError as error:
                told = getattr(error, "host", "")
                if time.monotonic() > end:
                    if told in self._lost:
                        self._lost[told] = f"{self._lost[told]}; not back: {error.cause}"
                    return False
                time.sleep(JOINING)
        return True

    # ---- runs

    def preflight(self) -> None:
        """Sends a few frames from every sender. Raises IavfioError when they do not arrive."""
        for name, facts in self.facts.items():
            if not facts.link_up:
                raise IavfioError(
                    f"host {name}: the link of {facts.name} is down",
                    "the PF says so: no cable, the peer is down, or the VF's link was disabled",
                    "on that host: ip link set PF up; ip link set PF vf N state auto",
                )
        done = self.run(sizes=(max(self.plan.size),), rate=0.0, seconds=PROBING, most=PROBES)
        if done.interrupted is not None:
            raise done.interrupted
        if done.failed:
            name, why = next(iter(done.failed.items()))
            raise IavfioError(f"host {name} failed before the first run", why)
        deaf = [
            host.name
            for host in self.plan.hosts
            if host.receives and not done.hosts[host.name].received
        ]
        if deaf:
            raise IavfioError(
                f"of {counted(done.sent, 'frame')} of {max(self.plan.size)} bytes none reached "
                f"{', '.join(deaf)}",
                done.balance,
                "look at the switch between the hosts, VLANs, MTU, spoof checks: iavfio why PORT "
                "on each; or leave this check out with --no-preflight",
            )

    @property
    def rate(self) -> float:
        """Packets a second of all senders that the plan asks for, 0: as fast as possible.

        Raises ConfigError for a share of line rate where no link tells its speed.
        """
        sizes = self.plan.size
        return self.plan.asked.pps(sum(sizes) / len(sizes) - FCS, self.link_mbps)

    @property
    def link_mbps(self) -> int:
        """Speed of the senders' links together, 0 where one is not known."""
        speeds = [self.facts[host.name].link_mbps for host in self.plan.hosts if host.sends]
        return sum(speeds) if all(speeds) else 0

    def run(
        self,
        sizes: tuple[int, ...] | None = None,
        rate: float | None = None,
        seconds: float | None = None,
        progress: Progress | None = None,
        most: int = 0,
    ) -> FleetResult:
        """One run on all hosts; what is not given is the plan's.

        All receive before the first sends, and all begin to send at one time by their clocks. A
        host that fails ends the run for all, and is told in the result, as is a signal. `most`:
        packets of each sender, 0: by time alone. `progress(seconds)` is called now and then.
        """
        sizes = self.plan.size if sizes is None else sizes
        rate = self.rate if rate is None else rate
        seconds = self.plan.duration if seconds is None else seconds
        orders = self._orders(sizes, rate, seconds, most)
        interrupted: KeyboardInterrupt | None = None
        counts: dict[str, HostCounts] = {}
        failed = dict(self._lost)
        try:
            if not failed:
                failed |= self._work(orders, seconds, progress)
        except KeyboardInterrupt as signal:
            interrupted = signal
        try:
            if failed or interrupted:
                self._stop()
            counts, missing = self._counts(self._present())
            failed |= missing
        except KeyboardInterrupt as signal:  # somebody does not want to wait for the counts
            interrupted = signal
        self._lost = dict(failed)  # until its port is opened anew
        return FleetResult(
            sizes=sizes,
            rate=rate,
            seconds=seconds,
            hosts={name: counts[name] for name in orders if name in counts and name not in failed},
            failed=failed,
            clocks=dict(self.clocks),
            link_mbps=self.link_mbps,
            max_loss=self.plan.goals.max_loss[0],
            interrupted=interrupted,
        )

    def _work(
        self, orders: Mapping[str, TrialOrder], seconds: float, progress: Progress | None
    ) -> dict[str, str]:
        """The run up to its last packet; returns which hosts failed, and why."""
        _, failed = self._each("begin", orders, self.plan.grace, orders)
        if failed:
            return failed
        start = time.time_ns() + LEAD_NS
        sending = {
            name: replace(order, start_ns=self.clocks[name].there(start))
            for name, order in orders.items()
            if order.sends
        }
        if progress is not None:
            progress(0.0)
        moved, failed = self._each("send", sending, seconds + self.plan.grace, sending)
        return failed or self._arrive(sum(each.sent for each in moved.values()))

    def _arrive(self, sent: int) -> dict[str, str]:
        """Waits until all that was sent is received, or nothing comes any more."""
        receivers = [host.name for host in self.plan.hosts if host.receives]
        began = last = time.monotonic()
        before = -1
        while True:
            moved, failed = self._each("moved", receivers, self.plan.grace)
            received = sum(each.received for each in moved.values())
            now = time.monotonic()
            if received != before:
                before, last = received, now
            waited = now - last > PATIENCE or now - began > MOST_PATIENCE
            if failed or received >= sent or waited:
                return failed
            time.sleep(STEP)

    def _orders(
        self, sizes: tuple[int, ...], rate: float, seconds: float, most: int
    ) -> dict[str, TrialOrder]:
        lanes = self.plan.lanes
        signature = secrets.randbits(63) | 1
        found = {}
        for host in self.plan.hosts:
            mine = [lane for lane in lanes if lane.sender == host.name]
            found[host.name] = TrialOrder(
                sends=host.sends,
                receives=host.receives,
                lanes=tuple(
                    LaneOrder(lane.queue, lane.number, self.facts[lane.to].mac) for lane in mine
                ),
                senders=len(lanes),
                signature=signature,
                sizes=sizes,
                seconds=seconds,
                rate=rate * len(mine) / len(lanes),
                burst=self.plan.burst,
                flows=self.plan.flows,
                ipv6=self.plan.ipv6,
                verify=self.plan.verify,
                cpus=host.cpus,
                most=most,
            )
        return found

    def _counts(self, names: Iterable[str]) -> tuple[dict[str, HostCounts], dict[str, str]]:
        return self._each("end", names, self.plan.grace)

    def _present(self) -> list[str]:
        return [name for name in self._remotes if name not in self._lost]

    def _stop(self) -> None:
        """Asks all hosts to send no more; those that do not answer are no news here."""
        self._each("stop", self._remotes, ASKING)

    def _each(
        self,
        method: str,
        names: Iterable[str],
        seconds: float,
        arguments: Mapping[str, Any] | None = None,
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Calls a method on hosts at one time; returns the answers, and why others failed.

        When one fails at work the others are asked to stop.
        """
        pending: dict[str, Pending] = {}
        answers: dict[str, Any] = {}
        failed: dict[str, str] = {}
        for name in names:
            given = () if arguments is None else (arguments[name],)
            try:
                pending[name] = self._remotes[name].call(method, *given)
            except HostLost as lost:
                failed[name] = lost.cause
        end = time.monotonic() + seconds
        while pending:
            wait = LOOK
            for name, call in list(pending.items()):
                try:
                    if not call.ready(wait):
                        wait = 0.0
                        if time.monotonic() < end:
                            continue
                        raise silent(name, seconds)
                    answer = call.result()
                    if isinstance(answer, Trouble):
                        failed[name] = str(answer)
                    else:
                        answers[name] = answer
                except HostLost as lost:
                    failed[name] = lost.cause
                del pending[name]
                if name in failed and method in ("begin", "send"):
                    self._lost[name] = failed[name]
                    self._stop_others(name)
        return answers, failed

    def _stop_others(self, name: str) -> None:
        for other, remote in self._remotes.items():
            if other != name:
                with contextlib.suppress(HostLost):
                    remote.call("stop")


def engine_of(plan: FleetPlan) -> Engine:
    """Dask as the engine of a plan. Raises IavfioError where it is not installed or not there."""
    try:
        from iavfio.fleet.dask_engine import DaskEngine
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("dask", "distributed"):
            raise
        raise IavfioError(
            "a fleet needs the package distributed",
            "it is not installed; it comes with the extra iavfio[fleet]",
            "install it here and on all hosts: pip install 'iavfio[fleet]'",
        ) from error
    return DaskEngine(plan.cluster, len(plan.hosts))
