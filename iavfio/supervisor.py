# SPDX-License-Identifier: BSD-3-Clause
"""Watches over a port: events of the PF, resets and their recovery, the PF's counters.

C sees a reset first and stops the queues (a Python thread can be late behind the GIL); this thread
then rebuilds the port from its settings (spec: virtchnl 8, reliability F20-F35).
"""

from __future__ import annotations

import errno
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from iavfio import pyvfio
from iavfio._driver import ffi, lib
from iavfio.errors import DeviceError, DeviceLost, IavfioError, ResetError
from iavfio.irq import MAILBOX_ENABLE, dyn_ctl
from iavfio.lifecycle import State

if TYPE_CHECKING:
    from iavfio.builder import BuiltPair
    from iavfio.port import Port, Reset

PERIOD_US = 4000  # of the register checks: a reset is seen within 10 ms (F21)
STATS_PERIOD = 1.0  # seconds between GET_STATS while nothing else happens
ATTEMPTS = 5
BACKOFF = 0.2  # seconds, doubled at each further attempt (F10)
STALE_NOTICE = 5.0  # an announced reset that has not come by then never will (F23)


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
        self._recovering = False
        self._announced = 0.0
        self._next_stats = 0.0
        lib.watch_arm(self._watch, 1)
        self._thread = threading.Thread(target=self._run, name=f"iavfio-{port.name}", daemon=True)
        self._thread.start()

    def add(self, built: BuiltPair) -> None:
        """A running pair: stopped by C when a reset is seen, checked for hangs."""
        lib.watch_add(self._watch, built.raw)

    def forget(self, built: BuiltPair) -> None:
        """The pair is about to stop on purpose."""
        if built.raw is not None and not self._ending:
            lib.watch_remove(self._watch, built.raw)

    def pause(self) -> None:
        """A reset is about to happen on purpose."""
        lib.watch_arm(self._watch, 0)

    def announced(self) -> None:
        """The PF says that a reset is coming (RESET_IMPENDING)."""
        if not self._recovering:
            self._announced = time.monotonic()

    def end(self) -> None:
        """Ends both threads. Not under the port's lock: a recovery may be waiting for it."""
        self._ending = True
        lib.watch_stop(self._watch)
        if threading.current_thread() is not self._thread:
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
            except (IavfioError, pyvfio.VfioError, OSError) as error:
                port.notes.append(f"housekeeping: {error}")
            del port

    def _handle(self, port: Port, events: int) -> None:
        if events & lib.WATCH_LOST:
            self._lost(port)
            return
        if events & lib.WATCH_REQUEST:
            self._requested(port)
            return
        if events & lib.WATCH_MAILBOX:
            self._mailbox(port)
        if events & lib.WATCH_RESET:
            self._reset_seen(port)
        now = time.monotonic()
        if now >= self._next_stats:
            self._next_stats = now + STATS_PERIOD
            self._mailbox(port)
            if port.lifecycle.state in (State.STOPPED, State.RUNNING):
                port._refresh_stats_quietly()

    def _mailbox(self, port: Port) -> None:
        if port.lifecycle.state not in (State.STOPPED, State.RUNNING):
            return
        if port._lock.acquire(timeout=0.05):  # whoever holds it handles the mailbox himself
            try:
                port.session.client.service()
                port.bar.write32(dyn_ctl(0), MAILBOX_ENABLE)
            except DeviceError:
                pass  # a reset or loss: the register checks will say which
            finally:
                port._lock.release()

    def _reset_seen(self, port: Port) -> None:
        cause = "announced by the PF" if self._was_announced() else "seen in the registers"
        with port._lock:
            if port.lifecycle.state not in (State.STOPPED, State.RUNNING):
                return
            if port.session.adminq.enabled():
                lib.watch_arm(self._watch, 1)  # somebody has recovered the port already
                return
            try:
                self.recover(cause)
            except IavfioError:
                pass  # the port is FAILED, and says why

    def _was_announced(self) -> bool:
        return bool(self._announced) and time.monotonic() - self._announced < STALE_NOTICE

    def recover(self, cause: str) -> Reset:
        """See Port.recover; the caller holds the port's lock."""
        from iavfio.port import Reset

        port = self._port()
        assert port is not None
        began = time.monotonic()
        lib.watch_arm(self._watch, 0)
        self._recovering = True
        was_running = port._want_running
        port._move(State.RESETTING, f"reset {cause}")
        port._emit("reset", cause)
        seen = lib.watch_reset_seen(self._watch)
        if seen:
            began = min(began, seen / 1e9)
        try:
            for built in port._pairs:
                self.forget(built)
                built.halt()
            port.session.wait_reset_begins()
            attempts = self._attempt(port)
        except BaseException as error:
            reason = str(error).splitlines()[0]
            port._move(State.FAILED, reason)
            port._emit("failed", reason)
            raise
        finally:
            self._recovering = False
            self._announced = 0.0
        record = Reset(cause, time.monotonic() - began, attempts)
        port.resets.append(record)
        port._move(State.RUNNING if was_running else State.STOPPED)
        port._publish_link()
        lib.watch_arm(self._watch, 1)
        port._emit("recovered", f"after {record.outage * 1e3:.1f} ms")
        return record

    def _attempt(self, port: Port) -> int:
        pause = BACKOFF
        for attempt in range(1, ATTEMPTS + 1):
            try:
                port._rebuild()
                return attempt
            except DeviceLost:
                raise
            except (IavfioError, pyvfio.VfioError) as error:
                if attempt == ATTEMPTS or isinstance(error, ResetError) or port.device.lost:
                    raise
                time.sleep(pause)
                pause *= 2
        raise AssertionError("unreachable")

    def _lost(self, port: Port) -> None:
        """No MMIO after this: the device, or the process that played it, is gone (F31, F63)."""
        lib.watch_arm(self._watch, 0)
        port.bar.mark_lost()
        for built in list(port._pairs):
            if built.raw is not None:
                lib.pair_stop(built.raw, -errno.ENODEV)
        if port.lifecycle.state not in (State.FAILED, State.CLOSED):
            port._move(State.FAILED, "the device is gone")
            port._emit("lost", "the device is gone")

    def _requested(self, port: Port) -> None:
        """The host wants the VF back (vfio 6, REQ)."""
        port._emit("request", "the host asks for the device")
        if port.release_on_request:
            port.close()
