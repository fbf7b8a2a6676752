# SPDX-License-Identifier: BSD-3-Clause
"""Dask as the engine of a fleet: a Station is an actor on a worker (the extra iavfio[fleet]).

An actor lives as long as its client: when the program that measures is killed, the scheduler
releases it, and its port is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from multiprocessing import resource_tracker
from typing import Any

from distributed import Client, LocalCluster, get_worker
from distributed.utils import LoopRunner

from iavfio.errors import IavfioError
from iavfio.fleet.engine import HostLost
from iavfio.fleet.placement import assign
from iavfio.fleet.plan import Cluster, Host
from iavfio.fleet.station import Station

CONNECT = 10.0  # seconds to reach a scheduler
ARRIVAL = 30.0  # seconds in which workers of a cluster come
LOOK = 0.25  # seconds between two looks at whether a worker is still there
# A wait that is over: distributed's sync() has neither result nor error where its own wait was
# cancelled in that moment, and returns a variable that it never set.
WAITED = (TimeoutError, UnboundLocalError)
STEP = 0.01


class Post:
    """The actor: a Station whose calls block no other call, nor the worker's event loop."""

    def __init__(self) -> None:
        self._station = Station()
        self._worker = get_worker()

    async def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the Station in a thread; an actor that was released stops sending."""
        work = asyncio.ensure_future(asyncio.to_thread(getattr(self._station, method), *arguments))
        while not work.done():
            await asyncio.wait({work}, timeout=LOOK)
            if not any(actor is self for actor in self._worker.state.actors.values()):
                self._station.stop()
        return work.result()

    async def now(self) -> int:
        """CLOCK_REALTIME in nanoseconds."""
        return time.time_ns()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._station.close()


class DaskEngine:
    """The workers of a scheduler, or of a cluster that is started here and ends with this."""

    def __init__(self, cluster: Cluster, hosts: int) -> None:
        """Connects; `hosts`: workers that a cluster has at least. Raises IavfioError."""
        self._spec, self._hosts = cluster, hosts
        self._cluster: Any = None
        self._loop = _deaf_loop()
        self._placed: dict[str, str] = {}  # worker addresses by host
        self._names: dict[str, str] = {}  # of the workers that hosts had first
        self._there: frozenset[str] = frozenset()
        self._looked = -LOOK
        try:
            if cluster.kind:
                self._cluster = _whole(lambda: _started(cluster, hosts, self._loop.loop))
            self._client = Client(
                self._cluster or cluster.scheduler,
                timeout=CONNECT,
                set_as_default=False,
                loop=self._loop.loop,
            )
        except BaseException as error:
            self._end_cluster()
            if isinstance(error, IavfioError) or not isinstance(error, Exception):
                raise
            where = cluster.scheduler or f"the {cluster.kind} cluster"
            raise IavfioError(
                f"the fleet's engine cannot be reached: {where}",
                str(error) or type(error).__name__,
                "look whether the scheduler runs and this host reaches it: dask scheduler"
                if cluster.scheduler
                else "look at the engine's options, and whether its hosts have iavfio[fleet]",
            ) from error

    def place(self, hosts: Sequence[Host]) -> Mapping[str, Remote]:
        """A new Station for each host, on the worker that the host names.

        Waits a while for workers that are not there yet. A host that comes again gets the worker of
        the name that it had, or with a resource any that is free. Raises HostLost.
        """
        for host in hosts:
            self._placed.pop(host.name, None)
        end = time.monotonic() + (ARRIVAL if self._cluster is not None else CONNECT)
        while True:
            try:
                workers = self._workers()
                found = assign(
                    [
                        replace(host, worker=self._names.get(host.name, host.worker))
                        for host in hosts
                    ],
                    workers,
                    frozenset(self._placed.values()),
                )
                break
            except HostLost:
                if time.monotonic() > end:
                    raise
                time.sleep(STEP)
        self._placed |= found
        for host in hosts:
            name = str(workers[found[host.name]].get("name", ""))
            if not host.resource and "://" not in name:  # dask's own names are addresses
                self._names.setdefault(host.name, name)
        begun = {host.name: self._post(host, found[host.name]) for host in hosts}
        return {name: remote.arrived() for name, remote in begun.items()}

    def _post(self, host: Host, address: str) -> Remote:
        future = self._client.submit(
            Post, workers=[address], allow_other_workers=False, actor=True, pure=False
        )
        return Remote(self, host.name, address, future)

    def _workers(self) -> dict[str, dict[str, Any]]:
        """The workers of the moment by address."""
        known: dict[str, dict[str, Any]] = self._client.scheduler_info(n_workers=-1)["workers"]
        return known

    def has(self, address: str) -> bool:
        """Whether a worker was there a moment ago. Raises IavfioError when the scheduler is not."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return address in self._there
        try:
            self._there, self._looked = frozenset(self._client.nthreads()), now
            return address in self._there
        except (OSError, TimeoutError, RuntimeError, asyncio.CancelledError) as error:
            raise IavfioError(
                "the fleet's scheduler is lost", str(error) or type(error).__name__
            ) from error

    def current(self) -> AbstractContextManager[Any]:
        """Inside, actors find this client: the program may have another as its default."""
        context: AbstractContextManager[Any] = self._client.as_current()
        return context

    def close(self) -> None:
        """Leaves the scheduler, or ends the cluster that was started here."""
        with contextlib.suppress(Exception):
            self._client.close(timeout=CONNECT)
        self._end_cluster()

    def _end_cluster(self) -> None:
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            with contextlib.suppress(Exception):
                cluster.close()
        with contextlib.suppress(Exception):
            self._loop.stop()


class Remote:
    """A Station that an actor has."""

    def __init__(self, engine: DaskEngine, host: str, address: str, future: Any) -> None:
        self._engine, self._future = engine, future
        self.host, self.address = host, address
        self._actor: Any = None

    def arrived(self) -> Remote:
        """Waits until the actor is there. Raises HostLost."""
        end = time.monotonic() + ARRIVAL
        while True:
            try:
                with self._engine.current():
                    self._actor = self._future.result(timeout=LOOK)
                return self
            except WAITED:
                self.check()
                if time.monotonic() > end:
                    raise self.lost(f"did not answer in {ARRIVAL:.0f} s") from None
            except Exception as error:
                raise HostLost(
                    self.host,
                    f"its worker {self.address} cannot measure: {error}",
                    "install iavfio[fleet] of this version there",
                ) from error

    def call(self, method: str, *arguments: Any) -> Pending:
        """Begins a call of a method of the Station."""
        with self._lost(), self._engine.current():
            return Pending(self, self._actor.call(method, *arguments))

    def now(self) -> Pending:
        """Begins to ask for the host's clock."""
        with self._lost(), self._engine.current():
            return Pending(self, self._actor.now())

    def release(self) -> None:
        """Lets dask forget the actor."""
        self._actor = None
        with contextlib.suppress(Exception):
            self._future.release()

    def check(self) -> None:
        """Raises HostLost where the worker is gone."""
        if not self._engine.has(self.address):
            raise self.lost("ended, or its connection broke")

    def lost(self, why: str) -> HostLost:
        """The error for a worker of which `why` is known."""
        return HostLost(
            self.host,
            f"its worker {self.address} {why}",
            "look at that host and at the worker's log, and start it again: dask worker",
        )

    @contextlib.contextmanager
    def _lost(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, OSError, AttributeError) as error:  # dask knows that it is gone
            raise self.lost(f"is gone: {error}") from error


class Pending:
    """A call of an actor's method."""

    def __init__(self, remote: Remote, future: Any) -> None:
        self._remote, self._future = remote, future
        self._value: Any = None
        self._done = False

    def ready(self, seconds: float) -> bool:
        """Whether it has returned, after waiting so long at most. Raises HostLost."""
        end = time.monotonic() + seconds
        while not self._done:
            left = min(LOOK, end - time.monotonic())
            if not self._future.done():
                self._remote.check()
                if left <= 0:
                    return False
            try:
                self._value = self._future.result(timeout=max(left, STEP))
                self._done = True
            except WAITED:
                pass
            except (OSError, RuntimeError, ValueError) as error:
                raise self._remote.lost(f"is gone: {error or type(error).__name__}") from error
        return True

    def result(self) -> Any:
        """What it returned."""
        return self._value


def _deaf_loop() -> LoopRunner:
    """An event loop in a thread that Ctrl-C does not reach, nor the processes that it starts.

    A terminal sends it to all of them; this program's main thread ends them in order.
    """
    resource_tracker.ensure_running()  # which would let the signal in again, in this thread
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        runner = LoopRunner()
        runner.start()
        return runner
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _whole(start: Callable[[], Any]) -> Any:
    """What `start` returns. A signal waits for that: dask cannot end a cluster that is half one."""
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(start)
        try:
            return starting.result()
        except KeyboardInterrupt:
            with contextlib.suppress(Exception):
                starting.result().close()
            raise


def _started(spec: Cluster, hosts: int, loop: Any) -> Any:
    """The cluster of a plan, with a worker for each host."""
    options = {"loop": loop} | dict(spec.options)
    if spec.kind == "local":
        usual: dict[str, Any] = {
            "n_workers": hosts,
            "threads_per_worker": 1,
            "dashboard_address": None,
            "silence_logs": logging.CRITICAL,  # what is worth a word, the report has
        }
        return LocalCluster(**(usual | options))
    if spec.kind == "ssh":
        from distributed import SSHCluster

        usual = {"worker_options": {"nthreads": 1}, "scheduler_options": {"dashboard": False}}
        return SSHCluster(list(spec.hosts), **(usual | options))
    try:
        from dask_kubernetes.operator import KubeCluster
    except ModuleNotFoundError as error:
        raise IavfioError(
            "a Kubernetes cluster needs the package dask-kubernetes",
            "it is not installed",
            "install it: pip install dask-kubernetes",
        ) from error
    return KubeCluster(**({"n_workers": hosts} | options))
