# SPDX-License-Identifier: BSD-3-Clause
"""Watches over a port: events of the PF, resets and their recovery, the PF's counters.

C sees a reset first and stops the queues (a Python thread can be late behind the GIL); this thread
then rebuilds the port from its settings (spec: virtchnl 8, reliability F20-F35).
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from iavfio._driver import ffi, lib
from iavfio.errors import (
    DeviceError,
    DeviceLost,
    IavfioError,
    MailboxTimeout,
    ResetError,
    ResetUnderWay,
    StateError,
)
from iavfio.port.events import Reset
from iavfio.port.state import ALLOWED, State
from iavfio.port.vectors import MAILBOX_ENABLE, dyn_ctl

if TYPE_CHECKING:
    from iavfio.port.bringup import BuiltPair
    from iavfio.port.port import Port

PERIOD_US = 4000  # of the register checks: a reset is seen within 10 ms (F21)
STATS_PERIOD = 1.0  # seconds between GET_STATS while nothing else happens
ATTEMPTS = 5
STORM_DEADLINE = 10.0  # seconds in which resets may interrupt the recovery from resets
SHORT = 0.002  # seconds after such an interruption
BACKOFF = 0.2  # seconds, doubled at each further attempt (F10)
STALE_NOTICE = 5.0  # an announced reset that has not come by then never will (F23)
HUNG = 3.0  # seconds: two stalls of a send queue within it, and the nudge did not help (F43)
SILENT = 3  # GET_STATS in a row without an answer

ALIVE = (State.STOPPED, State.RUNNING)

log = logging.getLogger("iavfio.port")


class Supervisor:
    """One C watch and one Python thread for a port."""

    def __init__(self, port: Port, mailbox_fd: int) -> None:
        self._port = weakref.ref(port)
        self._name = port.name
        error = ffi.new("int *")
        request = port.device.request_event()
        self._watch: Any = lib.watch_new(
            ffi.cast("struct vfio_regio *", port.bar.regio),
            port.device.fd,
            -1 if request is None else request,
            mailbox_fd,
            PERIOD_US,
            error,
        )
        if self._watch == ffi.NULL:
            raise IavfioError(f"{port.name}: no housekeeping thread", os.strerror(-error[0]))
        self._ending = False
        self._announced = 0.0
        self._stalled = 0.0
        self._unanswered = 0
        self._next_stats = 0.0
        self._thread = threading.Thread(target=self._run, name=f"iavfio-{port.name}", daemon=True)

    def begin(self) -> None:
        """The port is complete: watch it."""
        lib.watch_arm(self._watch, 1)
        self._thread.start()

    def add(self, built: BuiltPair) -> None:
        """A running pair: stopped by C when a reset is seen, checked for hangs."""
        lib.watch_add(self._watch, built.raw)

    def forget(self, built: BuiltPair) -> None:
        """The pair is about to stop on purpose."""
        if built.raw is not None and not self._ending:
            lib.watch_remove(self._watch, built.raw)

    def announced(self) -> None:
        """The PF says that a reset is coming (RESET_IMPENDING)."""
        self._announced = time.monotonic()

    def end(self) -> None:
        """Ends both threads. Not under the port's lock: a recovery may be waiting for it."""
        self._ending = True
        lib.watch_stop(self._watch)
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    def free(self) -> None:
        """After `end`, and after the last `forget`."""
        lib.watch_free(self._watch)

    # ---- the thread

    def _run(self) -> None:
        while not self._ending:
            events = lib.watch_wait(self._watch, 500)
            port = self._port()
            if port is None or self._ending:
                return
            if events == -errno.EINTR or events < 0:
                continue
            try:
                self._handle(port, events)
            except (IavfioError, OSError) as error:
                port.note(f"housekeeping: {error}")
            except Exception:
                log.exception("housekeeping of %s failed", self._name)  # and goes on
            del port

    def _handle(self, port: Port, events: int) -> None:
        if events & lib.WATCH_LOST:
            self.lost()
            port._lock.deliver()
            return
        if events & lib.WATCH_REQUEST:
            self._requested(port)
            return
        if events & lib.WATCH_MAILBOX:
            self._mailbox(port)
        if events & lib.WATCH_RESET:
            self._reset_seen(port)
        if events & lib.WATCH_HANG:
            self._hung(port)
        now = time.monotonic()
        if now >= self._next_stats:
            self._next_stats = now + STATS_PERIOD
            self._mailbox(port)
            self._sample(port)

    def _sample(self, port: Port) -> None:
        """GET_STATS; a mailbox that is broken for good is found here when nobody else uses it."""
        with port._lock:
            if port.lifecycle.state not in ALIVE:
                return
            try:
                port.refresh_stats()
                self._unanswered = 0
            except MailboxTimeout:
                self._unanswered += 1  # its age is shown with the last answer
            except DeviceError:
                pass  # a reset or loss: the register checks will say which
            # Silence alone is no reason: i40e answers nothing after malicious driver detection, and
            # traffic may go on. It is noted; a queue that is broken means a reset (F11).
            if self._unanswered == SILENT:
                port.note("the PF answers no requests")
            if port.session.client.needs_reset:
                self._try(port, "the admin queue failed")

    def _mailbox(self, port: Port) -> None:
        with port._lock.within(0.05) as taken:  # whoever holds it handles the mailbox himself
            if not taken or port.lifecycle.state not in ALIVE:
                return
            try:
                port.session.client.service()
                port.bar.write32(dyn_ctl(0), MAILBOX_ENABLE)
            except IavfioError:
                pass  # a reset or loss: the register checks will say which

    def _reset_seen(self, port: Port) -> None:
        with port._lock:
            # 0 when somebody has recovered the port while this thread waited for the lock.
            if port.lifecycle.state not in ALIVE or not lib.watch_reset_seen(self._watch):
                return
            cause = "announced by the PF" if self._was_announced() else "seen in the registers"
            self._try(port, cause, coming=True)

    def _hung(self, port: Port) -> None:
        """C has nudged the vector; when that does not help within a period, only a reset will."""
        now = time.monotonic()
        again, self._stalled = now - self._stalled < HUNG, now
        if again:
            with port._lock:
                if port.lifecycle.state is State.RUNNING:
                    self._stalled = 0.0
                    self._try(port, "a send queue stands still")

    def _try(self, port: Port, cause: str, *, coming: bool = False) -> None:
        try:
            self.recover(cause, coming=coming)
        except IavfioError as error:
            log.info("%s: %s", self._name, error)  # the port is FAILED, and says why

    def _was_announced(self) -> bool:
        return bool(self._announced) and time.monotonic() - self._announced < STALE_NOTICE

    def recover(self, cause: str, *, coming: bool = False) -> Reset:
        """See Port.recover; the caller holds the port's lock.

        `coming`: a reset has begun or will, so that none is asked for (F22).
        """
        port = self._port()
        assert port is not None
        if State.RESETTING not in ALLOWED[port.lifecycle.state]:
            raise port.lifecycle.refusal(State.RESETTING)
        if port.device.lost:
            self.lost()
            raise DeviceLost(f"{port.name} is gone", "", "close it; open it again when it is back")
        began = time.monotonic()
        lib.watch_arm(self._watch, 0)
        seen = lib.watch_reset_seen(self._watch)
        if seen:
            began = min(began, seen / 1e9)
        port._move(State.RESETTING, f"reset {cause}")
        port.emit("reset", cause)
        try:
            port._halt()
            attempts = self._attempt(port, coming)
            record = Reset(cause, time.monotonic() - began, attempts)
            port._move(State.RUNNING if port._want_running else State.STOPPED)
        except BaseException as error:
            self._failed(port, error)
            raise
        finally:
            self._announced = 0.0
        port.resets.append(record)
        port._publish_link()
        lib.watch_arm(self._watch, 1)
        port.emit("recovered", f"after {record.outage * 1e3:.1f} ms")
        return record

    def _attempt(self, port: Port, coming: bool) -> int:
        """Each attempt starts from a VF that was reset: nothing of the one before may live on.

        A reset that comes in the middle is no failed attempt; a storm of them ends at a deadline.
        """
        end = time.monotonic() + STORM_DEADLINE
        failures = 0
        while True:
            try:
                if not (port.session.was_reset() or (coming and port.session.wait_reset_begins())):
                    port.session.force_reset()
                port._rebuild()
                return failures + 1
            except (DeviceLost, ResetError, StateError):
                raise
            except ResetUnderWay:
                if time.monotonic() > end or port.device.lost:
                    raise
                port._halt()
                port.session.pause(SHORT)
            except IavfioError as error:
                failures += 1
                if failures == ATTEMPTS or port.device.lost:
                    raise
                port.session.journal.note(f"attempt {failures} to come back failed: {error}")
                port._halt()
                port.session.pause(BACKOFF * 2 ** (failures - 1))
            coming = False

    def _failed(self, port: Port, error: BaseException) -> None:
        """It stays so until recover() or close(): no endless loop of resets (F10)."""
        for built in port._pairs:
            self.forget(built)
            built.halt()
        if isinstance(error, DeviceLost) or port.device.lost:
            self.lost()
        elif port.lifecycle.state not in (State.FAILED, State.CLOSED):
            reason = (str(error) or type(error).__name__).splitlines()[0]
            port._move(State.FAILED, reason)
            port.emit("failed", reason)

    def lost(self) -> None:
        """No MMIO after this: the device, or the process that played it, is gone (F31, F63).

        Without the lock: whoever holds it may be waiting for the device.
        """
        port = self._port()
        assert port is not None
        lib.watch_arm(self._watch, 0)
        port.bar.mark_lost()
        for built in list(port._pairs):
            built.halt(-errno.ENODEV)
        try:
            if port.lifecycle.state is not State.FAILED:
                port._move(State.FAILED, "the device is gone")
                port.emit("lost", "the device is gone")
        except StateError:
            pass  # closed meanwhile

    def _requested(self, port: Port) -> None:
        """The host wants the VF back (vfio 6, REQ)."""
        port.emit("request", "the host asks for the device")
        if port.release_on_request:
            port.close()
        else:
            port._lock.deliver()
