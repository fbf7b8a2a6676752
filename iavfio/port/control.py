# SPDX-License-Identifier: BSD-3-Clause
"""The control path of a port: brings its VF up, down, and back after a reset, one at a time."""

from __future__ import annotations

import errno
import math
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from iavfio.datapath.pool import Pool
from iavfio.errors import DeviceLost, IavfioError, ResetError, ResetUnderWay, StateError
from iavfio.port import bounds
from iavfio.port.bringup import Hardware
from iavfio.port.desired import PROMISCUITY, Wish, apply_addresses, withdraw
from iavfio.port.events import Reset
from iavfio.port.housekeeping import PF_CLOSES, Housekeeping
from iavfio.port.identity import Identity
from iavfio.port.interrupts import Interrupts
from iavfio.port.limits import MOST_QUEUES, limits_of, too_few_queues
from iavfio.port.link import Link
from iavfio.port.loss import loss_of, why_of
from iavfio.port.mirroring import Mirroring
from iavfio.port.negotiation import Session
from iavfio.port.outage import Outage
from iavfio.port.own_address import OwnAddress
from iavfio.port.pf_counters import PfCounters
from iavfio.port.queue_set import QueueSet
from iavfio.port.recovery import Recovery
from iavfio.port.sampling import Sampling
from iavfio.port.settings import Limits, Settings, changed
from iavfio.port.shortages import say_less_than_usual
from iavfio.port.state import ALLOWED, State
from iavfio.port.status import PortStatus, Tell
from iavfio.port.traffic import Traffic
from iavfio.port.trust import Trust, probe_trust
from iavfio.port.trust_check import TrustCheck
from iavfio.port.watchdog import Watchdog
from iavfio.pyvfio import Device
from iavfio.stats import PortSegment, PortStats
from iavfio.virtchnl.deadline import Deadline
from iavfio.virtchnl.journal import Journal
from iavfio.virtchnl.messages.events import Event


class PortControl:
    """Everything that changes a port; `status` says how it stands. Port is its public face.

    `open` comes first and `close` last. What users may call takes the status' lock; what the
    watchdog's thread calls says so.
    """

    def __init__(self, device: Device, pool: Pool, name: str, seconds: float) -> None:
        self._opening = Deadline(seconds)
        device.limit(seconds, seconds)
        self.device = device
        self.pool = pool
        self.identity = Identity.of(device)
        self.address = OwnAddress(device.name)
        self.settings = Settings()
        self.resets: list[Reset] = []
        self.journal = Journal(device=device.name)
        self.status = PortStatus(name)
        self.bar = device.map_bar(0)
        self.interrupts = Interrupts(device, MOST_QUEUES + 1)
        self.session = Session(device, self.bar, self.journal, self.interrupts.restore)
        self.traffic = Traffic(self)
        self.recovery = Recovery(self)
        self.trust = TrustCheck(self.status)
        self.outage = Outage(self.status)
        self.mirroring = Mirroring(name, self._facts)
        self.sampling = Sampling()
        self._owner = os.getpid()
        self._gate = threading.Lock()  # whoever has it decides who closes
        self._closing = True  # or there is nothing to close yet
        self._to_close: list[Callable[[], object]] | None = None  # what is left of a close
        self._limit = bounds.CallLimit(device, lambda: self.closeable)
        self.segment: PortSegment
        self.stats: PortStats
        self.counters: PfCounters
        self.hardware: Hardware
        self.queues: QueueSet
        self.watchdog: Watchdog
        self.housekeeping: Housekeeping

    # ---- open and close

    def open(self, *, numbered: bool, stats_mode: int, release: Callable[[], None] | None) -> None:
        """Negotiates with the PF and begins to watch; gives everything back when that fails."""
        device, status = self.device, self.status
        try:
            self.housekeeping = Housekeeping(self, release)
            self.session.client.on_event = self._pf_event
            with self.session.within(self._opening.left * bounds.ANSWER_SHARE):
                self.session.negotiate()
            self.recovery.granted = self.session.report.granted
            self.address.given = self.session.resources.vsi.mac
            status.mac = self.address.wanted(self.settings)
            self.settings = self.limits.first_settings()
            self.segment = PortSegment.create(
                status.name,
                MOST_QUEUES,
                device=device.name,
                transport=device.transport,
                mode=stats_mode,
                labels={"family": self.identity.family},
                numbered=numbered,
            )
            self.stats = PortStats(self.segment)
            self.counters = PfCounters(self.session, self.segment, status)
            status.publish_in(self.segment)
            self.segment.set_pairs(1)
            self.hardware = Hardware(device.space, self.bar, self.interrupts.fds, self.segment)
            self.queues = QueueSet(status, self.pool, self.settings, self.limits)
            self.mirroring.open(self.segment, self.queues)
            status.move(State.STOPPED)
            events = self.interrupts.fds[0], device.request_event(), device.error_event()
            self.watchdog = Watchdog(status.name, self.bar, device.fd, *events)
            say_less_than_usual(status, self.session, self.settings, self.interrupts, self.bar)
            device.limit(math.inf)
        except BaseException as failure:
            bounds.give_back(device, failure)
            self._discard()
            raise
        self._closing = False
        try:
            self.watchdog.begin(self.housekeeping, self.mirroring.door)
        except BaseException as failure:  # nobody would watch over the port
            self.close(bounds.closing(failure))
            raise

    def _discard(self) -> None:
        """Undoes an open that failed: the device must forget us before our memory goes."""
        if hasattr(self, "watchdog"):
            self.watchdog.end()
            self.watchdog.free()
        try:
            self.session.close()
        except IavfioError:
            self.session.end_bus_master()
        self.mirroring.close()
        if hasattr(self, "segment"):
            self.segment.close()

    @property
    def closeable(self) -> bool:
        """Whether there is something to close, and it belongs to this process."""
        return os.getpid() == self._owner and not self._closing

    def close(self, seconds: float = bounds.CLOSE) -> bool:
        """Stops, tells the PF, gives all memory back. Whether it was the first.

        A reset that is being handled and a request that is under way are given up. What has not
        ended in `seconds` ends without the PF, or with the connection to a silent server. A signal
        hastens it; KeyboardInterrupt comes when all is done.
        """
        if os.getpid() != self._owner:
            return False
        first = False
        try:
            with self._gate:  # a signal may be answered here, but not between these two
                first = not self._closing
                self._closing = True
            if not first:
                return False
            deadline, finishing = Deadline(seconds), bounds.Finishing(self.device)
            self.device.limit(seconds)
            finishing.take(lambda: self._close(deadline))
            finishing.end()
        except BaseException:
            if first and self._to_close != []:
                self._closing = False  # the next call does what this one has left
                if self._to_close:
                    self.status.close()  # nobody uses what is closed by half
            raise
        return True

    def _close(self, deadline: Deadline) -> None:
        """Takes the steps that are left."""
        if self._to_close is None:
            self._to_close = self._steps_of_closing()
        self.session.abandoned.set()
        self.watchdog.end()
        with self.status.lock, self.session.within(deadline.left * bounds.PF_SHARE):
            self.session.abandoned.clear()
            self.traffic.wanted = False
            while self._to_close:
                try:
                    self._to_close[0]()
                except (IavfioError, OSError) as error:
                    self.status.note(f"not closed in order: {why_of(self.device, error)}")
                del self._to_close[0]

    def _steps_of_closing(self) -> list[Callable[[], object]]:
        """In order. Each may be taken twice: a signal may come before a step is crossed off."""
        return [
            self.traffic.end,
            self._take_back,
            self.session.close,
            self.mirroring.close,
            self.sampling.close,
            lambda: self.queues.close(),
            lambda: self.pool.forget(self.device.space),
            self.device.close,
            self.status.close,
            self.segment.close,
            self.watchdog.free,
        ]

    def _take_back(self) -> None:
        """The next user of the VF shall not find our addresses; a PF may keep them over resets."""
        session, config = self.session, self.device.config
        if self.status.state not in (State.STOPPED, State.RUNNING) or self.device.lost:
            return
        if config.bus_master and not session.client.suspect:
            withdraw(self.address.given, session, self.status.tell)

    def _facts(self) -> dict[str, str | int]:
        """What a capture in another process says of this port."""
        return {
            "device": self.device.name,
            "transport": self.device.transport,
            "family": self.identity.family,
            "mac": self.status.mac.hex(":"),
            "mbps": self.status.link.mbps,
        }

    # ---- settings

    @property
    def limits(self) -> Limits:
        """What the VF can have, with what REQUEST_QUEUES may give."""
        return limits_of(self.session, self.identity)

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Checks and keeps the settings of a stopped port; raises as `Port.configure` does."""
        with self._call(bounds.RESET):
            if self.status.state is not State.STOPPED:
                running = self.status.state is State.RUNNING
                raise StateError(
                    f"port {self.status.name} cannot be configured",
                    self.status.why_stopped(),
                    "call port.stop() first" if running else self.status.how_to_start(),
                )
            new = changed(self.settings, self.limits, changes)
            if new.queues > self.session.resources.queue_pairs:
                with self.session.within(bounds.RESET):
                    self._request_queues(new.queues)
            self.settings = new
            self.status.mac = self.address.wanted(new)
            self.sampling.end()
            self.queues.close()
            self.queues = QueueSet(self.status, self.pool, new, self.limits)
            self.mirroring.renew(self.queues)

    def _request_queues(self, queues: int) -> None:
        """The PF resets the VF to give it more queues, or names the number that it can.

        See docs/spec/reliability.md F8.
        """
        outcome = self.session.client.request_queues(queues)
        if not outcome.granted:
            raise too_few_queues(queues, outcome.queue_pairs)
        self.recover("queue request", coming=True)
        have = self.session.resources.queue_pairs
        if have < queues:
            raise too_few_queues(queues, have)

    def set_promiscuous(self, on: bool, all_multicast: bool | None) -> None:
        """Keeps both modes and tells the PF of a running port; raises as the port's method."""
        multicast = {} if all_multicast is None else {"all_multicast": all_multicast}
        self._adjust(PROMISCUITY.apply, promiscuous=on, **multicast)

    def set_extra_macs(self, macs: tuple[bytes, ...]) -> None:
        """Keeps further addresses and tells the PF of a running port; raises as its method."""
        self._adjust(apply_addresses, extra_macs=macs)

    def exchange_extra_macs(self, out: Collection[bytes], into: Sequence[bytes]) -> None:
        """Takes some further addresses away and adds others in one step; the rest stays."""
        with self._call(bounds.RESET):
            others = tuple(mac for mac in self.settings.extra_macs if mac not in out)
            self.set_extra_macs(others + tuple(mac for mac in into if mac not in others))

    def ask_trust(self) -> Trust:
        """Asks the PF whether the host trusts the VF; raises StateError as `refresh_stats` does."""
        deadline = Deadline(bounds.REFRESH + self.session.client.patience)
        with self._call(deadline.left, bounds.REFRESH_SLOW), self.session.within(deadline.left):
            return probe_trust(self.session.client, self.session.held)

    def _adjust(self, apply: Callable[[Wish, Session, Tell], object], **new: Any) -> None:
        """Changes settings, and while the port runs the PF; neither where the PF refuses."""
        with self._call(bounds.RESET):
            before = self.settings
            self.settings = replace(before, **new)
            if self.status.state is State.RUNNING:
                try:
                    apply(self.wish(False), self.session, self.status.tell)
                except BaseException:
                    self.settings = before
                    raise
                self.check_trust()

    def check_trust(self) -> None:
        """Says so where promiscuous or all-multicast mode is not in force, or no longer."""
        self.trust.check(self.wish(True), self.session)

    def wish(self, lenient: bool) -> Wish:
        """What the PF is to hold; `lenient`: what it refuses is told, and raises nothing."""
        settings, address = self.settings, self.address
        return Wish(settings, address.wanted(settings), address.is_made(settings), lenient)

    # ---- start and stop

    def start(self) -> None:
        """Brings the queues up and moves to RUNNING; raises as `Port.start` does."""
        with self._call(bounds.RESET, bounds.START + bounds.STOP):
            if State.RUNNING not in ALLOWED[self.status.state]:
                raise self.status.lifecycle.refusal(State.RUNNING)
            self.traffic.wanted = True
            try:
                with self.session.within(bounds.START):
                    try:
                        self.traffic.begin(lenient=False)
                        self.status.move(State.RUNNING)
                        self.check_trust()
                    except ResetUnderWay:
                        self.recover("during start", coming=True)
            except BaseException as error:
                self.traffic.wanted = False
                limit = bounds.HURRY if isinstance(error, KeyboardInterrupt) else math.inf
                try:
                    with self._limit.within(limit), self.session.within(min(limit, self._stopping)):
                        self._withdraw("start failed")
                except IavfioError as second:
                    self.status.note(f"after a start that failed: {second}")
                raise

    def stop(self) -> None:
        """Stops the queues, at worst by bus master; raises as `Port.stop` does."""
        if self.status.state is State.RESETTING:
            self.traffic.wanted = False  # the port comes back stopped; its queues stand already
        deadline = Deadline(self._stopping)
        # During a reset the requests are the recovery's: to end one of them would lose the device.
        limit = math.inf if self.status.state is State.RESETTING else deadline.left
        with self._limit.within(limit), self.status.lock.within(deadline.left) as taken:
            if taken:
                self._stop(deadline)
            elif self.status.state is not State.RESETTING:
                raise self.status.busy()

    @contextmanager
    def _call(self, waiting: float, most: float = bounds.RESET) -> Iterator[None]:
        """Holds the port; no access lasts beyond `most` seconds. A device that is lost fails it.

        Raises StateError when others hold the port for `waiting` seconds.
        """
        with self.status.exclusively(waiting), self._limit.whole(most):
            try:
                yield
            except DeviceLost:
                if self.device.lost:
                    self.device_lost()
                raise

    def _stop(self, deadline: Deadline) -> None:
        self.traffic.wanted = False
        if self.status.state is State.RUNNING:
            with self.session.within(deadline.left * bounds.PF_SHARE) as patience:
                self.counters.before_stop(patience.left * bounds.SAMPLE_SHARE)
                self._withdraw("during stop")
            if self.status.state is State.RUNNING:
                self.status.move(State.STOPPED)

    @property
    def _stopping(self) -> float:
        """Seconds that stopping may take; a PF that was slow of late gets more."""
        return bounds.STOP + 4 * self.session.client.patience

    def _withdraw(self, cause: str) -> None:
        """Takes the queues down; by a reset where the PF does not do it in order.

        See docs/spec/reliability.md F41.
        """
        try:
            self.traffic.take_down()
        except IavfioError as error:
            if self.device.lost:
                self.device_lost()  # close() takes the buffers back
                return
            if not isinstance(error, ResetUnderWay):
                self.status.note(f"{cause}: the queues could not be disabled in order: {error}")
            try:
                self.recover(cause, coming=isinstance(error, ResetUnderWay))
            except IavfioError as second:
                if self.device.lost:
                    return
                self.session.end_bus_master()
                self.traffic.drain()
                raise ResetError(
                    f"{self.status.name} has stopped, but not in order",
                    f"the PF did not disable the queues, and after a reset: {second.what}; "
                    "bus master is off, so the device reaches no memory",
                    "call port.recover() when the PF answers again, or close the port",
                ) from second

    # ---- statistics and events of the PF

    def refresh_stats(self, seconds: float | None = None) -> None:
        """Asks the PF for its counters and publishes them; raises as `Port.refresh_stats` does."""
        if not self.status.in_service(self.device.lost):
            return
        if seconds is None:
            seconds = bounds.REFRESH + self.session.client.patience
        deadline = Deadline(seconds)
        most = max(bounds.REFRESH_SLOW, 2 * seconds)
        with self._call(seconds, most), self.session.within(deadline.left):
            if self.status.in_service(self.device.lost):
                try:
                    self.counters.refresh()
                finally:
                    self.housekeeping.conditions.look()

    def _pf_event(self, event: Event) -> None:
        if event.kind == "link":
            self.status.set_link(Link.now(event.link_up, event.speed or 0))
            self.status.emit("link", str(self.status.link))
        elif event.kind == "reset" and self.status.state is not State.OPENING:
            self.housekeeping.reset_announced()
        elif event.kind == "close":
            self.status.begin("PF closes", PF_CLOSES)

    # ---- resets

    def recover(self, cause: str, *, coming: bool = False) -> Reset:
        """Resets the VF and rebuilds the port from its settings, also a failed one.

        `coming`: a reset has begun or will, so that none is asked for. Raises ResetError when it
        must give up, DeviceLost without a device, StateError in a state that allows no reset.
        """
        deadline = Deadline(bounds.RESET * bounds.ANSWER_SHARE)
        with self._call(bounds.RESET), self.session.within(deadline.left):
            return self.recovery.run(cause, coming)

    def device_lost(self) -> None:
        """Ends all register accesses: the device, or the process that played it, is gone.

        Called without the lock too: whoever holds it may be waiting for the device. See
        docs/spec/reliability.md F31, F63.
        """
        self.watchdog.disarm()
        self.bar.mark_lost()
        self.queues.halt(-errno.ENODEV)
        with suppress(StateError):  # closed meanwhile
            if self.status.state is not State.FAILED:
                self.status.fail("lost", loss_of(self.device, "the device is gone"))

    def after_fork_in_child(self) -> None:
        """Leaves the port to the parent, in a forked child (docs/spec/reliability.md F64)."""
        self._gate = threading.Lock()
        self._limit.disown()
        self.status.disown()
        self.queues.disown()
        self.mirroring.disown()
        self.sampling.disown()
