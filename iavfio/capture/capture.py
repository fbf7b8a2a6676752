# SPDX-License-Identifier: BSD-3-Clause
"""A capture: one thread receives and filters in C, another writes, and a third may wait.

The receiving thread leaves C once for each buffer of blocks. Where the writing thread falls behind
for longer than the buffers last, the receive rings fill up, and the device counts what it drops.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iavfio import __version__
from iavfio._driver import ffi, lib
from iavfio.capture import blocks
from iavfio.capture.ending import Ending, watch
from iavfio.capture.filter import TAG_TYPE, Filter
from iavfio.capture.losses import losses, told
from iavfio.capture.outages import wait_out
from iavfio.capture.sink import ReaderGone, Sink
from iavfio.datapath.thread import running
from iavfio.errors import DeviceError, IavfioError, StateError
from iavfio.exhaustion import exhaustion, thread_shortage
from iavfio.port.port import Port
from iavfio.ranges import LIMIT, SNAPLEN
from iavfio.signatures import checked_call
from iavfio.stats import Snapshot

BUFFERS = 8
BUFFER_BYTES = 4 << 20
TURN_NS = 100_000_000  # a buffer is handed over when it is so old, also half full
PF_SECONDS = 0.5  # that the PF has for its last counters

Progress = Callable[[float, "Counts"], None]
Buffer = NDArray[np.uint8]


@dataclass(frozen=True)
class Counts:
    """Frames so far: received; their bytes without FCS; written; cut to snaplen; tags put back."""

    received: int = 0
    bytes: int = 0
    taken: int = 0
    cut: int = 0
    tagged: int = 0


@dataclass(frozen=True)
class Captured:
    """A capture that has ended.

    `ended_by`: "count", "duration", "signal", "reader" or "error"; `drops`: frames that came to the
    VF and are not in the file, by counter; `waiting`: frames that lay in the receive rings at the
    end; `error`: what ended it early, None when nothing did.
    """

    seconds: float
    counts: Counts
    drops: dict[str, int]
    waiting: int
    resets: int
    written: int
    files: tuple[str, ...]
    ended_by: str
    error: IavfioError | None
    interrupted: KeyboardInterrupt | None

    @property
    def dropped(self) -> int:
        """All frames of `drops`."""
        return sum(self.drops.values())


class Capture:
    """Captures from a running port into a file.

    `queues`: numbers of receive queues, empty = all; `snaplen`: bytes of a frame that are kept;
    `limit`: frames to take, 0 = no limit; `cpus`: where the receiving thread runs. `rotate_size`
    and `rotate_seconds`: see Sink. The queues belong to the capture while it runs. Raises
    ConfigError for what cannot be captured so.
    """

    @checked_call
    def __init__(
        self,
        port: Port,
        path: str,
        *,
        queues: Sequence[int] = (),
        filter: Filter | None = None,
        snaplen: int = 262144,
        limit: int = 0,
        rotate_size: int = 0,
        rotate_seconds: float = 0.0,
        cpus: Sequence[int] = (),
    ) -> None:
        SNAPLEN("snaplen", snaplen)
        LIMIT("limit", limit)
        self._port = port
        self._cpus = tuple(cpus)
        self._filter = filter
        self._limit = limit
        self._pairs = [port.rx[number].pair for number in queues or range(len(port.rx))]
        self._raw = self._new(snaplen)
        self._before = self._after = self._sample()
        self._start = time.time_ns()
        self._ran = False
        self._deadline = 0
        self._ending = Ending()
        self._lasting = False  # the PF's counters of the end are known
        self._free: queue.SimpleQueue[Buffer] = queue.SimpleQueue()
        # Events, since a signal in the middle of Thread.join makes it lie (Python issue 90882).
        self._received, self._written = threading.Event(), threading.Event()
        self._full: queue.SimpleQueue[tuple[Buffer, int] | None] = queue.SimpleQueue()
        header = self._header(snaplen)
        self._sink = Sink(path, header, self._statistics, rotate_size, rotate_seconds)
        least = int(lib.capture_least(self._raw))
        size = BUFFER_BYTES if not rotate_size else min(BUFFER_BYTES, max(rotate_size // 8, least))
        self._buffers = [np.empty(size, dtype=np.uint8) for _ in range(BUFFERS)]

    def _new(self, snaplen: int) -> object:
        settings = self._port.settings
        config = ffi.new("struct capture_config *")
        config.pairs = len(self._pairs)
        for i, pair in enumerate(self._pairs):
            config.pair[i] = running(pair)
        config.filter = ffi.NULL if self._filter is None else self._filter.raw
        config.snaplen, config.limit = snaplen, self._limit
        config.tag_type = TAG_TYPE if "vlan" in settings.metadata else 0
        config.max_frame = settings.frame
        error = ffi.new("int *")
        raw = lib.capture_new(config, error)
        if raw == ffi.NULL:
            failure = OSError(-error[0], os.strerror(-error[0]))
            what = "a capture cannot be set up"
            raise exhaustion(failure, what) or IavfioError(what, str(failure.strerror))
        return ffi.gc(raw, lib.capture_free)

    # ---- what is known

    @property
    def counts(self) -> Counts:
        """What was captured so far; any thread may ask."""
        raw = lib.capture_counts(self._raw)
        return Counts(raw.received, raw.bytes, raw.taken, raw.cut, raw.tagged)

    @property
    def files(self) -> list[str]:
        """The files that were begun so far, the present one last."""
        return self._sink.files

    def _sample(self) -> Snapshot:
        try:
            self._port.refresh_stats(PF_SECONDS)
        except (DeviceError, StateError):
            pass  # the summary says what the PF said last
        return self._port.stats.snapshot()

    def _header(self, snaplen: int) -> bytes:
        port = self._port
        device = f"{port.identity.family} VF {port.device.name} over {port.device.transport}"
        rule = "times are those at which a burst was received; frames are without FCS"
        tags = "VLAN tags that the device stripped are put back"
        of = blocks.Interface(
            name=port.name,
            description=device,
            mac=port.mac,
            speed=port.link.mbps * 1_000_000,
            snaplen=snaplen,
            filter="" if self._filter is None else self._filter.expression,
            comments=(rule, tags) if "vlan" in port.settings.metadata else (rule,),
        )
        system = f"{os.uname().sysname} {os.uname().release}"
        return blocks.section(f"iavfio {__version__}", system) + blocks.interface(of)

    def _statistics(self) -> bytes:
        counts = self.counts
        now = self._after if self._lasting else self._port.stats.snapshot()
        drops = losses(now.since(self._before))
        lost = sum(drops.values())
        return blocks.statistics(
            blocks.Statistics(
                start=self._start,
                end=time.time_ns(),
                received=counts.received + lost,
                dropped=lost,
                accepted=counts.taken,
                delivered=counts.taken,
                comment=f"lost: {told(drops)}",
            )
        )

    # ---- running

    @checked_call
    def run(self, duration: float | None = None, progress: Progress | None = None) -> Captured:
        """Captures until the limit, for `duration` seconds, or until Ctrl-C; None = no end.

        KeyboardInterrupt ends it early, and what was captured is written: the result says so in
        `interrupted`. `progress(seconds, counts)` is called about once a second. Raises IavfioError
        for a file that cannot be begun, StateError at a second call; what goes wrong later is in
        the result's `error`.
        """
        if self._ran:
            raise StateError("a capture runs once", "its file is ended", "make another Capture")
        self._ran = True
        began = time.monotonic()
        self._deadline = 0 if duration is None else time.monotonic_ns() + int(duration * 1e9)
        for buffer in self._buffers:
            self._free.put(buffer)
        receiver = threading.Thread(target=self._receive, daemon=True)
        writer = threading.Thread(target=self._write, daemon=True)
        interrupted: KeyboardInterrupt | None = None
        try:
            self._sink.open()
            self._start_threads(writer, receiver)
            watch(self._received, began, lambda: self.counts, progress)
        except KeyboardInterrupt as signal:
            interrupted = signal
            self._port.device.limit(PF_SECONDS)  # its server may be silent
            self._ending.end("signal")
        seconds = time.monotonic() - began
        try:
            self._finish(receiver, writer, interrupted is not None)
        except KeyboardInterrupt as signal:
            first, interrupted = interrupted is None, signal
            if first:
                self._port.device.limit(PF_SECONDS)
                self._finish(receiver, writer, True)
        return Captured(
            seconds=seconds,
            counts=self.counts,
            drops=losses(self._after.since(self._before)),
            waiting=self._waiting(),
            resets=self._after.resets - self._before.resets,
            written=self._sink.bytes,
            files=tuple(self._sink.files),
            ended_by=self._ending.by,
            error=self._ending.error,
            interrupted=interrupted,
        )

    def _start_threads(self, writer: threading.Thread, receiver: threading.Thread) -> None:
        """Starts both or none. Raises IavfioError, and the file is closed."""
        try:
            writer.start()
            receiver.start()
        except RuntimeError as error:  # Python's word for a thread that cannot start
            if writer.ident is not None:
                self._full.put(None)
                self._written.wait()
            else:
                self._sink.abandon()
            raise thread_shortage("a capture cannot begin") from error

    def _finish(self, receiver: threading.Thread, writer: threading.Thread, hurried: bool) -> None:
        """Everything that was captured is written, with the counters of the end."""
        if receiver.ident is not None:
            self._received.wait()
        self._after = self._sample()
        self._lasting = True
        self._full.put(None)
        if writer.ident is None:  # the signal came before it began
            self._ending.start_late(writer, self._written, self._sink)
        self._ending.await_written(self._written, self._sink, hurried)

    def _waiting(self) -> int:
        found = 0
        for pair in self._pairs:
            try:
                found += self._port.rx[pair.index].waiting
            except IavfioError:
                pass  # a queue that stopped has nothing
        return found

    # ---- the receiving thread

    def _receive(self) -> None:
        try:
            if self._cpus:
                os.sched_setaffinity(0, self._cpus)  # of this thread
            while not self._ending.by:
                self._turn()
        except IavfioError as error:
            self._ending.lost(error)
        except Exception as error:
            self._ending.broke(error)
        finally:
            self._received.set()

    def _turn(self) -> None:
        """Fills one buffer."""
        buffer = self._buffer()
        if buffer is None:
            return
        until = time.monotonic_ns() + TURN_NS
        if self._deadline:
            until = min(until, self._deadline)
        raw = ffi.cast("uint8_t *", ffi.from_buffer(buffer))
        used = lib.capture_fill(self._raw, raw, buffer.size, until, self._sink.prompt)
        if used > 0:
            self._full.put((buffer, int(used)))
        else:
            self._free.put(buffer)
        if used < 0:
            self._pause(int(used))
        if self._limit and self.counts.taken >= self._limit:
            self._ending.end("count")
        elif self._deadline and time.monotonic_ns() >= self._deadline:
            self._ending.end("duration")

    def _buffer(self) -> Buffer | None:
        """An empty buffer; None while the writing thread has all of them."""
        try:
            return self._free.get(timeout=TURN_NS / 1e9)
        except queue.Empty:
            if self._deadline and time.monotonic_ns() >= self._deadline:
                self._ending.end("duration")
            return None

    def _pause(self, code: int) -> None:
        """A queue cannot be received from: waits out a reset. Raises for a port that has ended."""
        wait_out(self._port, code)
        for i, pair in enumerate(self._pairs):
            if pair.raw is not None:
                lib.capture_rebind(self._raw, i, pair.raw)

    # ---- the writing thread

    def _write(self) -> None:
        try:
            while (part := self._full.get()) is not None:
                buffer, used = part
                self._sink.write(buffer.data[:used])
                self._free.put(buffer)
            self._sink.close()
        except ReaderGone:
            self._ending.end("reader")
            self._sink.abandon()
        except IavfioError as error:
            self._ending.fail(error)
            self._sink.abandon()
        except Exception as error:
            self._ending.broke(error)
            self._sink.abandon()
        finally:
            self._written.set()
