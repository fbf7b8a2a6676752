# SPDX-License-Identifier: BSD-3-Clause
"""A port: one VF with its queues, as programs use it."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol, Unpack

from iavfio import pyvfio
from iavfio._driver import lib
from iavfio.datapath.pool import Pool
from iavfio.datapath.queues import RxQueue, TxQueue
from iavfio.errors import (
    ConfigError,
    DeviceError,
    IavfioError,
    ResetUnderWay,
    StateError,
)
from iavfio.port import atexit_close as exits
from iavfio.port import bringup as builder
from iavfio.port.events import EventLock, Reset
from iavfio.port.link import Link
from iavfio.port.negotiation import Identity, Session, own_mac
from iavfio.port.settings import Change, Limits, Settings, changed
from iavfio.port.state import ALLOWED, Lifecycle, State
from iavfio.port.status import Standing
from iavfio.port.watchdog import Supervisor
from iavfio.pyvfio import Device, forks
from iavfio.stats import PortSegment, PortStats
from iavfio.stats.monotonic import Monotonic
from iavfio.virtchnl.capabilities import CapabilityReport
from iavfio.virtchnl.journal import Journal

MSIX_ENABLE = 0x8000
MOST_QUEUES = 16  # without LARGE_NUM_QPAIRS (virtchnl 4)


class Closeable(Protocol):
    def close(self) -> None: ...


class Port(Standing):
    """A VF, real or software. Made by `iavfio.open`; a context manager.

    Settings may be changed while stopped; `start()` makes them so. After a reset of the VF the port
    rebuilds itself from them; `resets` tells each outage. `rx` and `tx` are its queues.
    """

    def __init__(
        self,
        device: Device,
        *,
        name: str,
        pool: Pool,
        numbered: bool = False,
        stats_mode: int = 0o600,
        release_on_request: bool = False,
    ) -> None:
        super().__init__(name)
        self.device = device
        self.pool = pool
        self.release_on_request = release_on_request
        self.identity = Identity.of(device)
        self.journal = Journal()
        self.settings = Settings()
        self.resets: list[Reset] = []
        self._want_running = False
        self._closing = threading.Lock()  # taken while there is nothing to close
        self._closing.acquire()
        self.dma_live = False  # ENABLE_QUEUES was sent: only DISABLE_QUEUES or a reset ends DMA
        self._monotonic = Monotonic()
        self._pairs: list[builder.BuiltPair] = []
        self.rx: tuple[RxQueue, ...] = ()
        self.tx: tuple[TxQueue, ...] = ()
        self._owner = os.getpid()
        self._on_close: list[Callable[[], None]] = []
        self.bar = device.map_bar(0)
        self._vectors = device.enable_msix(_vectors_of(device))
        self.session = Session(device, self.bar, self.journal)
        try:
            self._open(name, numbered, stats_mode)
        except BaseException:
            self._discard()
            raise
        forks.track(self)
        exits.close_at_exit(self)
        self._closing.release()
        self._supervisor.begin()

    def _open(self, name: str, numbered: bool, stats_mode: int) -> None:
        self.session.client.on_event = self._pf_event
        self.session.rewire = self._rewire
        self.session.negotiate()
        self.mac = self.session.resources.vsi.mac or own_mac(self.device.name)
        self.segment = PortSegment.create(
            name,
            MOST_QUEUES,
            device=self.device.name,
            transport=self.device.transport,
            mode=stats_mode,
            labels={"family": self.identity.family},
            numbered=numbered,
        )
        self.name = self.lifecycle.port = self.segment.name
        self.stats = PortStats(self.segment)
        self.segment.set_pairs(1)
        self._make_queues()
        self._move(State.STOPPED)
        self._publish_link()
        self._supervisor = Supervisor(self, self._vectors[0])

    def _discard(self) -> None:
        """After an open that failed: the device forgets us before our memory goes."""
        try:
            self.session.close()
        except IavfioError:
            self._end_dma()
        if hasattr(self, "segment"):
            self.segment.close()

    def _rewire(self) -> None:
        """A function-level reset may have taken the interrupts (F25); the kernel restores them."""
        config = self.device.config
        at = config.capability(pyvfio.device.CAP_MSIX)
        if at is not None and not config.read16(at + 2) & MSIX_ENABLE:
            self.device.set_irqs(pyvfio.device.IRQ_MSIX, 0, self._vectors)

    # ---- what it is

    @property
    def capabilities(self) -> CapabilityReport:
        """What was asked of the PF, what it granted and denied, and what each denial means."""
        return self.session.report

    @property
    def numa_node(self) -> int | None:
        """NUMA node of the device, None when it has none."""
        return self.device.numa_node

    @property
    def max_queues(self) -> int:
        """Queue pairs that this VF can have: its own, or what REQUEST_QUEUES may give."""
        own = self.session.resources.queue_pairs
        return MOST_QUEUES if self.session.has(lib.VC_CAP_REQ_QUEUES) else min(own, MOST_QUEUES)

    @property
    def max_ring(self) -> int:
        """Largest ring in descriptors (descriptors 10)."""
        return int(lib.RING_MAX if self.identity.family == "E810" else lib.RING_MAX_X710)

    def __repr__(self) -> str:
        return f"<Port {self.name}: {self.identity.family} VF, {self.state}, link {self.link}>"

    # ---- settings

    def configure(self, **changes: Unpack[Change]) -> None:
        """Sets what is given and keeps the rest; checked here, applied by `start()`.

        `queues`: pairs; `ring`, `rx_ring`, `tx_ring`: descriptors, multiples of 32 from 64; `mtu`:
        bytes of Ethernet payload; `metadata`: columns to fill, of rss ptype csum vlan mark time;
        `mac`, `extra_macs`: own and further addresses; `promiscuous`, `all_multicast`; `rss`: an
        Rss; `isa`: auto, scalar, avx2, avx512 or neon. Raises ConfigError for what cannot work,
        StateError while running; nothing is changed then.
        """
        with self._lock:
            if self.lifecycle.state is not State.STOPPED:
                running = self.lifecycle.state is State.RUNNING
                raise StateError(
                    f"port {self.name} cannot be configured",
                    self.why_stopped(),
                    "call port.stop() first" if running else self.how_to_start(),
                )
            limits = Limits(self.max_queues, self.max_ring, self.session.max_frame)
            new = changed(self.settings, limits, changes)
            builder.check_isa(new.isa)
            if new.queues > self.session.resources.queue_pairs:
                self._request_queues(new.queues)
            self.settings = new
            if new.mac is not None:
                self.mac = new.mac
            self._make_queues()

    def _request_queues(self, queues: int) -> None:
        """The PF resets the VF to give it more queues, or names the number that it can (F8)."""
        outcome = self.session.client.request_queues(queues)
        if not outcome.granted:
            raise ConfigError(
                f"the PF cannot give {queues} queue pairs",
                f"it offers {outcome.queue_pairs}",
                f"use queues={outcome.queue_pairs}",
            )
        self._supervisor.recover("queue request", coming=True)
        have = self.session.resources.queue_pairs
        if have < queues:
            raise ConfigError(
                f"the PF gave {have} queue pairs, not {queues}", "", f"use queues={have}"
            )

    def _make_queues(self) -> None:
        """Queue objects for the settings; they work once the port is started."""
        self._release_pairs()
        self._pairs = builder.make_pairs(self)
        self.rx = tuple(RxQueue(self, built.pair) for built in self._pairs)
        self.tx = tuple(TxQueue(self, built.pair, self.settings.frame) for built in self._pairs)

    def _release_pairs(self) -> None:
        for built in self._pairs:
            self._supervisor.forget(built)
            built.close()
        self._pairs = []

    def set_promiscuous(self, on: bool, *, all_multicast: bool | None = None) -> None:
        """Promiscuous mode, now and after every reset.

        An ice PF answers SUCCESS to an untrusted VF and does nothing (virtchnl 9): whether it works
        shows only by traffic, so this is never reported as proof.
        """
        with self._lock:
            multicast = on if all_multicast is None else all_multicast
            if self.lifecycle.state is State.RUNNING:
                self.session.client.promiscuous(on, multicast)
            self.settings = replace(self.settings, promiscuous=on, all_multicast=multicast)

    # ---- start and stop

    def start(self, *, wait_link: float = 0.0) -> None:
        """Configures the PF, fills the receive rings, enables the queues.

        `wait_link`: seconds to wait for the link, 0 = none. A reset that comes in between is waited
        for. Raises PfRefused, MailboxError, ResetError or StateError.
        """
        with self._lock:
            if State.RUNNING not in ALLOWED[self.lifecycle.state]:
                raise self.lifecycle.refusal(State.RUNNING)
            self._want_running = True
            try:
                self._bring_up()
                self._move(State.RUNNING)
            except ResetUnderWay:
                self._supervisor.recover("during start", coming=True)
            except BaseException:
                self._want_running = False
                try:
                    self._withdraw("start failed")
                except IavfioError as second:
                    self.note(f"after a start that failed: {second}")
                raise
        if wait_link:
            self.wait_link(wait_link)

    def _bring_up(self) -> None:
        """Desired state to device. Nothing is watched yet when it raises."""
        builder.bring_up(self, self._pairs)
        for built in self._pairs:
            self._supervisor.add(built)

    def _take_down(self) -> None:
        """Stops callers and workers, then DMA, then takes the buffers back (design decision 11)."""
        self._halt()
        if self.dma_live:
            self.session.client.disable_queues(self._all_queues, self._all_queues)
        self._drain()

    def _withdraw(self, cause: str) -> None:
        """Takes the queues down; by a reset where the PF does not do it in order (F41)."""
        try:
            self._take_down()
        except IavfioError as error:
            if self.device.lost:
                self._supervisor.lost()  # close() takes the buffers back
                return
            if not isinstance(error, ResetUnderWay):
                self.note(f"{cause}: the queues could not be disabled in order: {error}")
            self._supervisor.recover(cause, coming=isinstance(error, ResetUnderWay))

    def _halt(self) -> None:
        for built in self._pairs:
            self._supervisor.forget(built)
            built.halt()

    def _drain(self) -> None:
        """Only when DMA has ended: never started, disabled, reset, or without bus master."""
        self.dma_live = False
        for built in self._pairs:
            built.drain()

    def _end_dma(self) -> None:
        """When the PF does not answer: without bus master nothing is written (vfio 5)."""
        if not self.device.lost:
            try:
                self.device.config.bus_master = False
            except pyvfio.VfioError:
                pass  # a device that is gone writes nothing either

    @property
    def _all_queues(self) -> int:
        return (1 << self.settings.queues) - 1

    def stop(self) -> None:
        """Stops the queues; settings may be changed then. Counters and held bursts stay.

        Stopping a stopped port is harmless. A PF that does not disable the queues costs a reset of
        the VF. Raises ResetError when that fails too.
        """
        with self._lock:
            self._want_running = False
            if self.lifecycle.state is State.RUNNING:
                self._refresh_stats_quietly()
                self._withdraw("during stop")
                if self.lifecycle.state is State.RUNNING:
                    self._move(State.STOPPED)

    def close(self) -> None:
        """Stops, tells the PF, gives all memory back; raises nothing. Twice is harmless.

        A reset that is being handled and a request that is under way are given up.
        """
        if os.getpid() != self._owner or not self._closing.acquire(blocking=False):
            return
        self.session.abandoned.set()
        self._supervisor.end()
        with self._lock:
            self.session.abandoned.clear()
            self._want_running = False
            for step in (
                self._end_traffic,
                self.session.close,
                *(built.close for built in self._pairs),
                lambda: self.pool.forget(self.device.space),
                self.device.close,
            ):
                try:
                    step()
                except (IavfioError, OSError) as error:
                    self.note(f"not closed in order: {error}")
            self._pairs = []  # rx and tx stay: a thread that calls them late gets its StateError
            self._move(State.CLOSED)
            self.segment.close()
            self._supervisor.free()
            exits.forget(self)
        for call in self._on_close:
            call()

    def _end_traffic(self) -> None:
        orderly = self.lifecycle.state is State.RUNNING and not self.device.lost
        try:
            if orderly:
                self._refresh_stats_quietly()
                self._take_down()
        except IavfioError as error:
            self.note(f"the queues could not be disabled in order: {error}")
        self._halt()
        if self.dma_live:
            self._end_dma()
        self._drain()

    def __del__(self) -> None:
        """A port that was never closed must not leave its threads and DMA behind."""
        closing = getattr(self, "_closing", None)
        if closing is not None and not closing.locked() and os.getpid() == self._owner:
            warnings.warn(f"port {self.name} was not closed", ResourceWarning, stacklevel=1)
            self.close()

    # ---- link and statistics

    def refresh_stats(self) -> None:
        """Asks the PF for its counters now; they are published in `stats`."""
        with self._lock:
            if self.lifecycle.state in (State.STOPPED, State.RUNNING):
                raw = self.session.client.stats()
                self.segment.set_global(self._monotonic.feed(raw))

    def _refresh_stats_quietly(self) -> None:
        try:
            self.refresh_stats()
        except DeviceError:
            pass  # the last answer stays, and its age is shown

    def settle(self) -> None:
        """Merges counts that other threads made for idle queues."""
        for built in self._pairs:
            built.settle()

    # ---- resets

    def reset(self) -> Reset:
        """Asks the PF to reset this VF and rebuilds everything; returns the outage."""
        return self.recover("asked for by reset()")

    def recover(self, cause: str = "asked for by recover()") -> Reset:
        """Resets the VF and rebuilds the port from its settings, also a failed one.

        Raises ResetError when it must give up, DeviceLost when there is no device any more.
        """
        with self._lock:
            return self._supervisor.recover(cause)

    def own(self, resource: Closeable) -> None:
        """Something that closes with the port: the software VF that was started for it."""
        self._on_close.append(resource.close)

    # ---- used by the supervisor

    def _pf_event(self, event: Any) -> None:
        if event.kind == "link":
            self._set_link(Link.now(event.link_up, event.speed or 0))
            self.emit("link", str(self.link))
        elif event.kind == "reset" and self.lifecycle.state is not State.OPENING:
            self._supervisor.announced()

    def _rebuild(self) -> None:
        """One attempt to come back: the VF has been or is being reset (virtchnl 8)."""
        session = self.session
        session.wait_ready(after_reset=True)
        self._drain()
        self._monotonic.after_reset()
        before = session.report
        session.negotiate(after_reset=True)
        builder.compare(self, before)
        if self._want_running:
            self._bring_up()

    def after_fork_in_child(self) -> None:
        """The port is the parent's (F64)."""
        self.lifecycle = Lifecycle(self.name, State.CLOSED, "it belongs to the parent process")
        self._lock = EventLock(self.on_event)  # whoever held the old one does not exist here
        for built in self._pairs:
            built.pair.raw = None

    def __enter__(self) -> Port:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def _vectors_of(device: Device) -> int:
    """One for each possible queue and the mailbox: NORESIZE kernels need the most at once."""
    return min(device.irq(pyvfio.device.IRQ_MSIX).count, MOST_QUEUES + 1)
