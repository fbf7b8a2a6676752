# SPDX-License-Identifier: BSD-3-Clause
"""A port's watchdog: the C watchdog, which checks registers, and the watchdog thread, which acts.

The C watchdog sees a reset first and stops the queues, since a Python thread can be late behind the
GIL; the watchdog thread then calls the methods of a Watcher (docs/spec/virtchnl.md 8).
"""

from __future__ import annotations

import errno
import os
import threading
import time
import weakref
from typing import Any, Protocol

from iavfio._driver import ffi, lib
from iavfio.datapath.pair import QueuePair
from iavfio.errors import IavfioError
from iavfio.exhaustion import exhaustion, thread_shortage
from iavfio.logs import logger
from iavfio.pyvfio import Bar
from iavfio.pyvfio.bar import SLICE_MS
from iavfio.pyvfio.eventfds import taken

# The period of the register checks: a reset is seen within 10 ms (docs/spec/reliability.md F21).
PERIOD_US = 4000
TICK = 1.0  # seconds between periodic work while nothing else happens
IDLE_MS = 500  # one wait for what the C watchdog sees
PATIENCE = 4.0  # seconds: more than any access of a watchdog thread takes during a close
OWED_MS = 5  # the same while messages could not be looked at

log = logger("port")


class Watcher(Protocol):
    """Who is called, in the watchdog thread, about what the C watchdog saw."""

    def device_lost(self) -> None:
        """Registers read all ones, or the other side hung up."""

    def device_broken(self) -> None:
        """The host reports an error of the device that only a reset ends (docs/spec/vfio.md 6)."""

    def device_wanted(self) -> None:
        """The host asks for the device back (docs/spec/vfio.md 6)."""

    def mailbox_fired(self) -> bool:
        """Vector 0 fired: messages may wait. False: it has to be called again soon."""

    def reset_seen(self) -> None:
        """The registers show a reset."""

    def traffic_seen(self) -> None:
        """The first packet after `await_traffic` has moved."""

    def queue_stalled(self) -> None:
        """A send queue made no progress, nor after a nudge (docs/spec/libie-counters.md 6)."""

    def knocked(self) -> None:
        """Another process waits at the port's door."""

    def tick(self) -> None:
        """TICK seconds have passed."""

    def note(self, text: str) -> None:
        """Something went wrong that is nobody's request."""


class Watchdog:
    """The watchdog of a port: its C watchdog and its watchdog thread, which is Python's.

    `mailbox_fd` is vector 0's eventfd; `request_fd` and `error_fd` tell of the host's request and
    of errors, where there are such. The watcher is held by a weak reference: the thread ends with
    it. Raises IavfioError when the C thread cannot start.
    """

    def __init__(
        self,
        name: str,
        bar: Bar,
        device_fd: int,
        mailbox_fd: int,
        request_fd: int | None,
        error_fd: int | None,
    ) -> None:
        self._name = name
        self._error_fd = error_fd
        error = ffi.new("int *")
        self._watch: Any = lib.watchdog_new(
            ffi.cast("struct vfio_regio *", bar.regio),
            device_fd,
            -1 if request_fd is None else request_fd,
            mailbox_fd,
            PERIOD_US,
            error,
        )
        if self._watch == ffi.NULL:
            what = f"{name}: the watchdog thread cannot start"
            if error[0] == -errno.EAGAIN:
                raise thread_shortage(what)
            failure = OSError(-error[0], os.strerror(-error[0]))
            raise exhaustion(failure, what) or IavfioError(what, str(failure))
        self._owner = os.getpid()
        self._ending = False
        self._next_tick = 0.0
        self._mailbox_owed = False  # vector 0 has fired, and nobody has enabled it again
        self._thread = threading.Thread(target=self._run, name=f"iavfio-{name}", daemon=True)
        self._watcher: weakref.ref[Watcher] | None = None

    def begin(self, watcher: Watcher, door: int) -> None:
        """Watches from now on, and calls the watcher's methods; `door`: a listening socket, or -1.

        The door stays open until `end`.
        """
        self._watcher = weakref.ref(watcher)
        lib.watchdog_listen(self._watch, door)
        self.arm()
        self._thread.start()

    def arm(self) -> None:
        """Registers are checked from now on; a reset that was seen before is forgotten."""
        lib.watchdog_arm(self._watch, 1)

    def disarm(self) -> None:
        """Registers are not read until `arm`: a reset is being handled, or the device is gone."""
        lib.watchdog_arm(self._watch, 0)

    @property
    def reset_since(self) -> float:
        """When the present reset was first seen, in seconds of time.monotonic; 0 without one."""
        return float(lib.watchdog_reset_seen(self._watch)) / 1e9

    @property
    def stalled(self) -> bool:
        """Whether a send queue stands still now; what `queue_stalled` tells of may be over."""
        return bool(lib.watchdog_hung(self._watch))

    def await_traffic(self, packets: int) -> None:
        """Tells once when the pairs' counters of packets come to more than `packets`."""
        lib.watchdog_await_traffic(self._watch, packets)

    @property
    def traffic_since(self) -> float:
        """When the awaited traffic was seen, in s of time.monotonic; 0 while it has not been."""
        return float(lib.watchdog_traffic_seen(self._watch)) / 1e9

    def add(self, pair: QueuePair) -> None:
        """A running pair: C stops it when it sees a reset, and checks it for stalls."""
        lib.watchdog_add(self._watch, pair.raw)

    def remove(self, pair: QueuePair) -> None:
        """The pair is about to stop on purpose."""
        if pair.raw is not None and not self._ending:
            lib.watchdog_remove(self._watch, pair.raw)

    def end(self) -> None:
        """Ends both threads. Not under the port's lock: a recovery may be waiting for it.

        A watchdog thread that does not end, since a callback of the user's does not return or a
        lock is held for good, is left behind after PATIENCE seconds with the C watchdog.
        """
        self._ending = True
        while lib.watchdog_stop(self._watch, SLICE_MS):
            pass  # signals are answered between two slices (docs/spec/reliability.md F66)
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(PATIENCE)

    def free(self) -> None:
        """Gives the C watch back, after `end` and the last `remove`. Twice is harmless."""
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            return  # it is going to look at the C watch once more
        watch, self._watch = self._watch, ffi.NULL
        lib.watchdog_free(watch)

    def __del__(self) -> None:
        """One whose port could not be opened must not go on; a forked child has no threads."""
        if hasattr(self, "_thread") and os.getpid() == self._owner and not self._thread.is_alive():
            self.free()

    def _run(self) -> None:
        assert self._watcher is not None
        while not self._ending:
            events = lib.watchdog_wait(self._watch, OWED_MS if self._mailbox_owed else IDLE_MS)
            watcher = self._watcher()
            if watcher is None or self._ending:
                return
            if events < 0:
                assert events == -errno.EINTR
                continue
            try:
                if self._error_fd is not None and taken(self._error_fd):
                    watcher.device_broken()
                if not self._ending:
                    self._dispatch(watcher, events)
            except (IavfioError, OSError) as error:
                watcher.note(f"watchdog: {error}")
            except Exception:
                log.exception("the watchdog of %s failed", self._name)  # and goes on
            del watcher

    def _dispatch(self, watcher: Watcher, events: int) -> None:
        """Tells the watcher what was seen, until a callback of the user's closes the port."""
        if events & lib.WATCHDOG_LOST:
            watcher.device_lost()
            return
        if events & lib.WATCHDOG_REQUEST:
            watcher.device_wanted()
            return
        if events & lib.WATCHDOG_MAILBOX or self._mailbox_owed:
            self._mailbox_owed = not watcher.mailbox_fired()
        for event, tell in (
            (lib.WATCHDOG_RESET, watcher.reset_seen),
            (lib.WATCHDOG_TRAFFIC, watcher.traffic_seen),
            (lib.WATCHDOG_HANG, watcher.queue_stalled),
            (lib.WATCHDOG_KNOCK, watcher.knocked),
        ):
            if events & event and not self._ending:
                tell()
        now = time.monotonic()
        if now >= self._next_tick and not self._ending:
            self._next_tick = now + TICK
            watcher.tick()
