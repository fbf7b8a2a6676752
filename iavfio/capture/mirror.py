# SPDX-License-Identifier: BSD-3-Clause
"""A capture of a port that runs in another process, through a mirror of it (docs/adr/0009).

One thread takes frames out of the rings, in C, and writes them. The rings lie in memory of the
port's process, which writes them; nothing there is believed before it is checked.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import select
import socket
import stat
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from iavfio import __version__
from iavfio._driver import ffi, lib
from iavfio.arguments import Choice
from iavfio.capture import blocks
from iavfio.capture.capture import Captured, Counts
from iavfio.capture.ending import Ending, watch
from iavfio.capture.filter import Filter
from iavfio.capture.losses import told
from iavfio.capture.sink import ReaderGone, Sink
from iavfio.datapath.mirror import CONTROL, LEAST, Wanted
from iavfio.errors import ConfigError, IavfioError
from iavfio.foreign import a_list, an_object, flag, parsed, plain, whole
from iavfio.ranges import LIMIT, QUEUE, SNAPLEN
from iavfio.signatures import checked_call
from iavfio.stats import door
from iavfio.stats.listing import find
from iavfio.stats.reader import SegmentReader

DIRECTIONS = ("both", "rx", "tx")
VERSION = 1  # of what both processes say (iavfio/port/mirroring.py)
ANSWER = 10.0  # seconds that the port's process has; a reset may hold it up
LAST = 2.0  # seconds that it has to end the mirror
HURRY = 0.05  # ... after a signal
LOOK = 0.005  # seconds between two looks whether there was one
SILENT = "silent"  # the end of a mirror whose process did not say that it has ended it
MEMORY = 64 << 20  # bytes of all rings
LARGEST = 16 << 20  # bytes of a ring
LONGEST = 1 << 16  # bytes of an answer
BEYOND = 1 << 53  # frames or bytes that no port has ever moved
TURN_NS = 100_000_000  # between looks at the clock and the connection

Progress = Callable[[float, Counts], None]


class Mirror:
    """The rings of a running port, mapped; frames come in from the moment that it is made.

    `queues`: numbers, empty = all that the port has; `direction`: "rx", "tx" or "both"; `snaplen`:
    bytes of a frame that are kept; `memory`: bytes of all rings, about. `controls`: the control
    words of each ring (struct mirror_control), which the port's process writes. Queues that the
    port gets later are not in it. Raises ConfigError for a port or queue that there is not,
    IavfioError when its process does not grant it.
    """

    @checked_call
    def __init__(
        self,
        port: str,
        *,
        queues: Sequence[int] = (),
        direction: str = "both",
        filter: Filter | None = None,
        snaplen: int = 262144,
        memory: int = MEMORY,
    ) -> None:
        Choice("direction", DIRECTIONS)("direction", direction)
        SNAPLEN("snaplen", snaplen)
        queues = [QUEUE("queues", number) for number in queues]
        self.segment = find(port)
        if not self.segment.alive:
            raise ConfigError(
                f"port {port!r} runs no longer",
                f"{self.segment.process} has ended",
                "name a running port; 'iavfio stats' lists them",
            )
        count = (len(queues) or max(self.segment.pairs, 1)) * (2 if direction == "both" else 1)
        size = min(max(memory // count, LEAST), LARGEST)
        self.snaplen = snaplen
        self._wanted = Wanted(
            queues=tuple(sorted(set(queues))),
            rx=direction != "tx",
            tx=direction != "rx",
            snaplen=snaplen,
            steps=b"" if filter is None else filter.steps.tobytes(),
            ring=1 << (size.bit_length() - 1),
        )
        self._connection = door.connect(self.segment)
        self._ended = ""
        try:
            answer, fd = self._ask()
            try:
                self._map(answer, fd)
            finally:
                if fd >= 0:
                    os.close(fd)
        except BaseException:
            self._connection.close()
            raise

    def _ask(self) -> tuple[dict[str, Any], int]:
        wanted = self._wanted
        request = {
            "version": VERSION,
            "queues": wanted.queues,
            "rx": wanted.rx,
            "tx": wanted.tx,
            "snaplen": wanted.snaplen,
            "steps": wanted.steps.hex(),
            "ring": wanted.ring,
        }
        try:
            answer, fds = door.ask(
                self._connection,
                self.segment,
                request,
                seconds=ANSWER,
                longest=LONGEST,
                descriptors=1,
                wanted="for a mirror ",
                hint=f": iavfio why {self.segment.name}",
            )
        except IavfioError:  # a ConfigError is a ValueError, too
            raise
        except ValueError as error:
            raise self.nonsense(f"its answer is {error}") from None
        fd = fds[0] if fds else -1
        if fd < 0 or answer.get("version") != VERSION:
            if fd >= 0:
                os.close(fd)
            raise self.nonsense("its answer is no answer that this version knows")
        return answer, fd

    def nonsense(self, why: str) -> IavfioError:
        """The error for what the port's process must not write."""
        return IavfioError(
            f"port {self.segment.name!r} cannot be mirrored",
            why,
            "the process runs another version of iavfio, or something else in its place",
        )

    def _map(self, answer: dict[str, Any], fd: int) -> None:
        try:
            self.about = {key: plain(answer.get(key)) for key in ("device", "transport", "family")}
            self.mac = bytes.fromhex(plain(answer.get("mac")).replace(":", ""))[:6]
            self.mbps = whole(answer.get("mbps"), 0, 1 << 32)
            given = [a_list(each, 2) for each in a_list(answer.get("rings"), lib.MIRROR_RINGS)]
            self.sides = [(whole(queue, 0, 255), flag(sent)) for queue, sent in given]
            ring = whole(answer.get("ring"), LEAST, LARGEST)
            if len(self.mac) != 6 or not self.sides or ring & (ring - 1):
                raise ValueError("no description of a mirror")
        except ValueError as error:
            raise self.nonsense(f"its answer is {error}") from None
        size = len(self.sides) * (CONTROL + ring)
        info = os.fstat(fd)
        try:
            sealed = fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
        except OSError:
            sealed = 0
        if not stat.S_ISREG(info.st_mode) or info.st_size < size or not sealed:
            raise self.nonsense("its memory is too small, or could become so")
        self._memory = mmap.mmap(fd, size, flags=mmap.MAP_SHARED)
        base = ffi.from_buffer(self._memory)
        rings: Any = ffi.new("struct mirror_ring[]", len(self.sides))
        self.controls = []
        for number, (queue, sent) in enumerate(self.sides):
            at = number * (CONTROL + ring)
            control = ffi.cast("struct mirror_control *", base + at)
            rings[number].control = control
            rings[number].data = ffi.cast("uint8_t *", base + at + CONTROL)
            rings[number].size, rings[number].queue, rings[number].sent = ring, queue, sent
            self.controls.append(control)
        failure = ffi.new("int *")
        raw = lib.mirror_reader_new(rings, len(self.sides), self.snaplen, failure)
        if raw == ffi.NULL:
            raise IavfioError("a mirror cannot be read", os.strerror(-failure[0]))
        self.raw = ffi.gc(raw, lib.mirror_reader_free)

    # ---- what is known

    @property
    def counts(self) -> Counts:
        """What the port's queues moved since then; `taken`: frames that were read."""
        frames, moved, cut, tagged = (
            sum(min(int(getattr(each, name)), BEYOND) for each in self.controls)
            for name in ("frames", "bytes", "cut", "tagged")
        )
        return Counts(frames, moved, self.read, cut, tagged)

    @property
    def read(self) -> int:
        """Frames that were taken out of the rings."""
        return sum(lib.mirror_reader_frames(self.raw, i) for i in range(len(self.sides)))

    @property
    def waiting(self) -> int:
        """Frames in the rings that were not read."""
        return max(sum(int(each.written) for each in self.controls) - self.read, 0)

    @property
    def lost(self) -> dict[str, int]:
        """Frames that found no room, by queue (rq: received, sq: sent); of queues that lost any."""
        return {
            f"mirror_{'sq' if sent else 'rq'}{queue}": min(int(control.lost), BEYOND)
            for (queue, sent), control in zip(self.sides, self.controls, strict=True)
            if control.lost
        }

    @property
    def believable(self) -> bool:
        """Whether the other process counts what a port can have moved."""
        names = ("frames", "bytes", "cut", "tagged", "lost")
        return all(getattr(each, name) < BEYOND for each in self.controls for name in names)

    # ---- the end

    def ended(self) -> str:
        """Why the port's process ended it; "" while it has not. Waits for nothing."""
        if not self._ended and select.select([self._connection], [], [], 0)[0]:
            self._ended = self._last_word()
        return self._ended

    def end(self, hurried: Callable[[], bool] = lambda: False) -> bool:
        """No frame comes in any more, and the counts stay. Twice is harmless.

        Its process has LAST seconds to say so, and HURRY at most once `hurried` holds. False: it
        said nothing, and may write to the rings until it does.
        """
        if self._ended:
            return self._ended != SILENT
        with suppress(OSError):
            self._connection.send(b"end", socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
        left = round(LAST / LOOK)
        while left and not select.select([self._connection], [], [], LOOK)[0]:
            left = min(left - 1, round(HURRY / LOOK)) if hurried() else left - 1
        self._ended = self._last_word() if left else SILENT
        self._connection.close()
        return self._ended != SILENT

    def _last_word(self) -> str:
        try:
            raw, _ = door.receive(self._connection, LONGEST, 1)
            word = plain(an_object(parsed(raw)).get("ended")) if raw else "died"
        except (OSError, ValueError):
            word = "died"
        self._connection.close()
        return word or "died"


class MirrorCapture:
    """Captures a mirror into a file: `path`, `limit` and rotation as of Capture."""

    @checked_call
    def __init__(
        self,
        mirror: Mirror,
        path: str,
        *,
        filter: Filter | None = None,
        limit: int = 0,
        rotate_size: int = 0,
        rotate_seconds: float = 0.0,
    ) -> None:
        LIMIT("limit", limit)
        self.mirror = mirror
        self._limit = limit
        self._start = time.time_ns()
        self._deadline = 0
        self._ending = Ending()
        self._resets = _resets(mirror.segment)
        self._hurried = False  # a signal came
        self._done = threading.Event()  # a signal in the middle of Thread.join makes it lie
        expression = "" if filter is None else filter.expression
        self._sink = Sink(
            path, _header(mirror, expression), self._statistics, rotate_size, rotate_seconds
        )
        least = int(lib.mirror_reader_least(mirror.raw))
        size = min(1 << 20, rotate_size // 8) if rotate_size else 1 << 20
        self._buffer = np.empty(max(size, least), dtype=np.uint8)

    @property
    def counts(self) -> Counts:
        """What was captured so far; any thread may ask."""
        return self.mirror.counts

    @property
    def files(self) -> list[str]:
        """The files that were begun so far, the present one last."""
        return self._sink.files

    def _statistics(self) -> bytes:
        counts, lost = self.mirror.counts, self.mirror.lost
        return blocks.statistics(
            blocks.Statistics(
                start=self._start,
                end=time.time_ns(),
                received=counts.received,
                dropped=sum(lost.values()),
                accepted=counts.taken + sum(lost.values()),
                delivered=counts.taken,
                comment=f"lost: {told(lost)}",
            )
        )

    @checked_call
    def run(self, duration: float | None = None, progress: Progress | None = None) -> Captured:
        """Captures until the limit, for `duration` seconds, until Ctrl-C, or while the port lives.

        KeyboardInterrupt ends it early, and what was captured is written: the result says so in
        `interrupted`. `progress(seconds, counts)` is called about once a second. Raises IavfioError
        for a file that cannot be begun; what goes wrong later is in the result's `error`.
        """
        began = time.monotonic()
        self._deadline = 0 if duration is None else time.monotonic_ns() + int(duration * 1e9)
        interrupted: KeyboardInterrupt | None = None
        worker = threading.Thread(target=self._work, daemon=True)
        try:
            self._sink.open()
            worker.start()
            watch(self._done, began, lambda: self.counts, progress)
        except KeyboardInterrupt as signal:
            interrupted, self._hurried = signal, True
            self._ending.end("signal")
            if worker.ident is None:
                self._ending.start_late(worker, self._done, self._sink)
        except BaseException:
            self.mirror.end()
            raise
        seconds = time.monotonic() - began
        try:
            self._ending.await_written(self._done, self._sink, self._hurried)
        except KeyboardInterrupt as signal:
            again, interrupted, self._hurried = self._hurried, signal, True
            if not again:
                self._ending.await_written(self._done, self._sink, True)
        lost = self.mirror.lost
        return Captured(
            seconds=seconds,
            counts=self.counts,
            drops=lost,
            waiting=self.mirror.waiting,
            resets=max(_resets(self.mirror.segment) - self._resets, 0),
            written=self._sink.bytes,
            files=tuple(self._sink.files),
            ended_by=self._ending.by,
            error=self._ending.error,
            interrupted=interrupted,
        )

    # ---- the thread

    def _work(self) -> None:
        try:
            while not self._ending.by:
                self._turn()
            self._take_rest()
            self._sink.close()
            if not self.mirror.believable:
                raise self.mirror.nonsense("it counts more than any port can have moved")
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
            self.mirror.end(lambda: self._hurried)
            self._done.set()

    def _take_rest(self) -> None:
        """Writes what came in before the end."""
        if not self.mirror.end(lambda: self._hurried):  # it may go on: what is there now is all
            there = self.mirror.read + self.mirror.waiting
            self._limit = min(self._limit or there, there)
            if not there:
                return
        while self._fill(0):
            pass

    def _turn(self) -> None:
        until = time.monotonic_ns() + TURN_NS
        if self._deadline:
            until = min(until, self._deadline)
        self._fill(until)
        if self._limit and self.mirror.read >= self._limit:
            self._ending.end("count")
        elif self._deadline and time.monotonic_ns() >= self._deadline:
            self._ending.end("duration")
        elif why := self.mirror.ended():
            self._port_ended(why)

    def _fill(self, until: int) -> int:
        """Writes what a buffer holds, of what comes until then; the bytes."""
        raw = ffi.cast("uint8_t *", ffi.from_buffer(self._buffer))
        size, limit, prompt = self._buffer.size, self._limit, self._sink.prompt
        used = int(lib.mirror_reader_fill(self.mirror.raw, raw, size, limit, until, prompt))
        if used < 0:
            self._ending.fail(self.mirror.nonsense("what stands in its rings are no frames"))
            return 0
        if used:
            self._sink.write(self._buffer.data[:used])
        return used

    def _port_ended(self, why: str) -> None:
        segment = self.mirror.segment
        if why == "closed":
            self._ending.end("port")
        elif why == "stalled":
            self._ending.fail(
                IavfioError(
                    f"port {segment.name!r} has ended the mirror",
                    "frames waited in its rings for too long, and none was read",
                    "look at the reader of the pipe, or at the file system",
                )
            )
        else:
            self._ending.fail(
                IavfioError(
                    f"port {segment.name!r} is gone: {segment.process} has ended",
                    "it was killed, or ended without closing its port",
                )
            )


def _resets(segment: SegmentReader) -> int:
    with suppress(IavfioError):
        return segment.snapshot().resets
    return 0


def _header(mirror: Mirror, expression: str) -> bytes:
    about, segment = mirror.about, mirror.segment
    of = blocks.Interface(
        name=segment.name,
        description=f"{about['family']} VF {about['device']} over {about['transport']}, mirrored "
        f"from {segment.process}",
        mac=mirror.mac,
        speed=mirror.mbps * 1_000_000,
        snaplen=mirror.snaplen,
        filter=expression,
        comments=(
            "times are those at which a burst was received or sent; frames are without FCS",
            "VLAN tags that the device stripped are put back",
        ),
    )
    system = f"{os.uname().sysname} {os.uname().release}"
    return blocks.section(f"iavfio {__version__}", system) + blocks.interface(of)
