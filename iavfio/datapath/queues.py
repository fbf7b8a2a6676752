# SPDX-License-Identifier: BSD-3-Clause
"""The receive and the send side of a queue pair, as programs use them."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from iavfio._driver import ffi, lib
from iavfio.arguments import wrong_type
from iavfio.datapath.burst import Burst
from iavfio.datapath.columns import Columns
from iavfio.datapath.frames import build
from iavfio.datapath.packets import Packets
from iavfio.datapath.pair import BURST, QueuePair
from iavfio.datapath.pool import ROOM
from iavfio.errors import ConfigError, DeviceLost, IavfioError, StateError
from iavfio.ranges import RECV, SLEEP

if TYPE_CHECKING:
    from iavfio.datapath.arrivals import Arrivals

_recv: Any = lib.pair_recv  # an attribute of lib costs a look-up each time


class PortState(Protocol):
    """What a queue asks its port when a C call says that it cannot go on."""

    @property
    def name(self) -> str:
        """The port's name, for errors."""

    def pause(self, timeout: float) -> bool:
        """Whether a reset is being handled; waits at most `timeout` seconds for its end."""

    def why_stopped(self) -> str:
        """Why queues do not work now, for an error."""

    def how_to_start(self) -> str:
        """What makes queues work, for an error."""


class _Side:
    """What a receive queue and a send queue share."""

    direction = ""

    def __init__(self, port: PortState, pair: QueuePair) -> None:
        self._port = port
        self._pair = pair
        self.index = pair.index

    @property
    def pair(self) -> QueuePair:
        """The queue pair that this is a side of."""
        return self._pair

    @property
    def isa(self) -> str:
        """The instruction set of its code path: scalar, avx2, avx512 or neon; "" before start."""
        return self._pair.isa

    def _stopped(self) -> StateError:
        return StateError(
            f"{self._port.name}: {self.direction} queue {self.index} is not running",
            self._port.why_stopped(),
            self._port.how_to_start(),
        )

    def _failed(self, code: int) -> IavfioError:
        if code == -errno.EBUSY:
            return StateError(
                f"{self._port.name}: {self.direction} queue {self.index} is in use",
                "another thread, task or worker is inside it",
                "a queue belongs to one caller: give each one a queue of its own",
            )
        if code == -errno.ENODEV:
            return DeviceLost(
                f"{self._port.name} is gone", self._port.why_stopped(), "close it and open it again"
            )
        if code in (-errno.ESHUTDOWN, -errno.EBADF):
            return self._stopped()
        return IavfioError(
            f"{self._port.name}: {self.direction} queue {self.index} failed ({code})"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.index} of {self._port.name}>"


class RxQueue(_Side):
    """The receive side of a queue pair. One caller at a time."""

    direction = "receive"

    def __init__(self, port: PortState, pair: QueuePair) -> None:
        super().__init__(port, pair)
        self._descriptor: int | None = None
        self._awaited = False

    def recv(self, max: int = BURST, timeout: float | None = None) -> Burst:
        """Up to `max` packets as one burst, possibly none.

        timeout None: looks once and returns. Else sleeps on the interrupt until a packet comes or
        `timeout` seconds have passed; negative: no limit. During a VF reset it returns an empty
        burst (after waiting). Raises StateError when the port is stopped or another thread is in
        this queue, DeviceLost when the device is gone, ConfigError for a `max` that is no number
        of packets or a `timeout` that is no number of seconds.
        """
        pair = self._pair
        raw = pair.raw
        if raw is None:
            raise self._stopped()
        try:
            if max < 1 or max is True:
                RECV("max", max)
            spare = pair.spare
            columns = (
                spare.pop() if spare and max <= pair.capacity else pair.columns(RECV("max", max))
            )
            if timeout is None:
                count = _recv(raw, columns.raw, max)
            else:
                count = self._wait(raw, columns, max, timeout)
        except (TypeError, ValueError):  # NumPy's comparison of an array raises the latter
            if max.__class__ is int:
                raise
            return self.recv(RECV("max", max), timeout)
        if count >= 0:
            return Burst(pair, columns, count)
        pair.recycle(columns)
        if count == -errno.ESHUTDOWN and self._port.pause(timeout or 0.0):
            return Burst(pair, pair.columns(1), 0)
        raise self._failed(count)

    def live(self) -> Any:
        """The C pair. Raises StateError before the first start, and after close."""
        if self._pair.raw is None:
            raise self._stopped()
        return self._pair.raw

    def check(self, code: int, timeout: float) -> None:
        """Raises what a negative errno of a C call means, as `recv` does.

        While a reset is handled it waits at most `timeout` seconds for its end, and returns.
        """
        if code != -errno.ESHUTDOWN or not self._port.pause(timeout):
            raise self._failed(code)

    @property
    def waiting(self) -> int:
        """Packets that the device has written and nobody has received; 0 before start.

        Raises as `recv` does, but is 0 during a reset.
        """
        raw = self._pair.raw
        count = 0 if raw is None else int(lib.pair_waiting(raw))
        if count == -errno.ESHUTDOWN:
            return 0
        if count < 0:
            raise self._failed(count)
        return count

    def fileno(self) -> int:
        """A descriptor for select, poll and epoll: readable when packets may wait.

        It stays readable until a `recv` came back empty, and while the port is stopped, so that
        whoever waits looks and learns why. The same over resets, stop and start. From the first
        call on the queue's interrupt stays armed. Raises StateError before the first start,
        IavfioError when there can be none.
        """
        if self._descriptor is None:
            self._descriptor = self.watch()
        return self._descriptor

    def watch(self) -> int:
        """Returns `fileno`; the interrupt stays armed until `unwatch` was called as often."""
        self.live()
        return self._pair.watch()

    def unwatch(self) -> None:
        """Ends one `watch`."""
        self._pair.unwatch()

    def bursts(self, max: int = BURST) -> Arrivals:
        """For `async for`: bursts of up to `max` packets as they arrive, none of them empty.

        It needs a running asyncio loop and no thread; `async for burst in queue` is the same. The
        caller releases the bursts. Raises as `recv` does, when the port is stopped too; StateError
        when another task waits for this queue. A task that is cancelled leaves the queue free.
        """
        from iavfio.datapath.arrivals import Arrivals  # asyncio takes 40 ms to import

        return Arrivals(self, RECV("max", max))

    def __aiter__(self) -> Arrivals:
        return self.bursts()

    @contextlib.contextmanager
    def awaited(self) -> Iterator[None]:
        """The body waits for this queue in a task. Raises StateError while another one does."""
        if self._awaited:
            raise self._failed(-errno.EBUSY)
        self._awaited = True
        try:
            yield
        finally:
            self._awaited = False

    @property
    def interrupted(self) -> bool:
        """Whether a reset, or a stop, keeps the queue from running now."""
        raw = self._pair.raw
        return raw is None or int(lib.pair_waiting(raw)) == -errno.ESHUTDOWN

    def _wait(self, raw: Any, columns: Columns, most: int, timeout: float) -> int:
        """Calls pair_recv_wait, again after signals that did not raise (as PEP 475 has it)."""
        timeout = SLEEP("timeout", timeout)
        end = time.monotonic() + timeout if timeout >= 0 else None
        left = timeout
        while True:
            nanos = -1 if end is None else int(left * 1e9)
            count = int(lib.pair_recv_wait(raw, columns.raw, most, nanos))
            if count != -errno.EINTR:
                return count
            if end is not None:
                left = end - time.monotonic()
                if left <= 0:
                    return 0


class TxQueue(_Side):
    """The send side of a queue pair. One caller at a time."""

    direction = "send"

    def __init__(self, port: PortState, pair: QueuePair) -> None:
        super().__init__(port, pair)
        self._refused: Any = ffi.new("uint32_t *")

    @property
    def max_frame(self) -> int:
        """The longest frame in bytes, without FCS, that this queue sends."""
        return self._pair.settings.max_frame

    @overload
    def send(self, packets: Packets) -> int: ...

    @overload
    def send(self, packets: Sequence[Any] | NDArray[np.uint8]) -> int: ...

    def send(self, packets: Any) -> int:
        """Hands packets to the device, in order; returns how many it took.

        `packets`: a burst or a selection of one; or frames as `build` takes them, which are copied.
        What the ring does not take of these is not sent, and counted as refused_full. Packets of a
        burst leave it; the rest stays in it: it may be sent again, or is released with the
        burst and counted as refused_full. Fewer than all means that the ring is full, or 0 during
        a reset. Without a link the ring takes packets as ever: the device drops them, or does not
        empty the ring. Raises StateError for a released burst, for packets sent before, or when
        another thread is in this queue; ConfigError for a burst of another pool, and for what is
        no burst; DeviceLost.
        """
        pair = self._pair
        raw = pair.raw
        if raw is None:
            raise self._stopped()
        refused = self._refused
        try:
            post = packets.post
        except AttributeError:
            return self._send_frames(packets)
        count = post(pair, raw, refused)
        if count < 0:
            return self._not_sent(count)
        sent: int = count - refused[0]
        return sent

    def send_aside(self, frame: bytes | bytearray | memoryview) -> bool:
        """Sends a copy of one frame, from any thread: who uses the queue is not refused for it.

        False when the ring is full, or during a reset. Raises ConfigError for a frame that one
        buffer or the MTU has no room for, IavfioError when the pool is empty, and otherwise as
        `send` does: StateError also while a worker has the queue.
        """
        if not isinstance(frame, bytes | bytearray | memoryview):
            raise wrong_type("frame", frame, "a bytes-like object", "send_aside(bytes(packet))")
        raw = self._pair.raw
        if raw is None:
            raise self._stopped()
        code = int(lib.pair_send_aside(raw, ffi.from_buffer(frame), len(frame)))
        if code == -errno.EAGAIN:
            return False
        if code == -errno.ENOBUFS:
            raise IavfioError(
                f"{self._port.name}: the pool has no buffer for a frame",
                "the application and the rings hold them all",
                "release bursts, or open the port with a larger pool",
            )
        if code == -errno.EMSGSIZE:
            limit = min(self.max_frame, ROOM)
            raise ConfigError(
                f"a frame of {len(frame)} bytes cannot be sent aside", f"17 to {limit} bytes can"
            )
        return code == 0 or bool(self._not_sent(code))

    def _send_frames(self, frames: Any) -> int:
        check_several(frames)
        with self.build(frames) as burst:
            return self.send(burst)

    def _not_sent(self, code: int) -> int:
        if code == -errno.ESHUTDOWN and self._port.pause(0.0):
            return 0
        raise self._failed(code)

    def clean(self) -> int:
        """Reaps completions; returns how many packets were completed. `send` does so by itself.

        Raises as `send` does.
        """
        raw = self._pair.raw
        if raw is None:
            raise self._stopped()
        count = int(lib.pair_clean(raw))
        return count if count >= 0 else self._not_sent(count)

    @property
    def in_flight(self) -> int:
        """Packets handed to the device and not completed."""
        raw = self._pair.raw
        return 0 if raw is None else int(lib.pair_in_flight(raw))

    def build(self, packets: Sequence[Any] | NDArray[np.uint8], lengths: Any = None) -> Burst:
        """Frames of the caller's as a burst: a list of them, or rows of a 2-D uint8 array.

        A frame is a bytes-like object (bytes, bytearray, memoryview, a row of an array), or what
        has `__bytes__`: a packet of scapy or dpkt.

        `lengths` cuts rows to their frame length, one number per row or one for all. Frames longer
        than a buffer become chains. Raises ConfigError naming the frame that is too short
        (17 bytes) or too long for the MTU, and IavfioError when the pool is empty; no buffer is
        lost then.
        """
        return build(self._pair, packets, lengths)


def check_several(frames: object) -> None:
    """Raises ConfigError for what is no collection of frames: above all for one frame alone."""
    one = isinstance(frames, bytearray | memoryview) or hasattr(type(frames), "__bytes__")
    if one or not hasattr(type(frames), "__iter__"):
        raise wrong_type(
            "packets",
            frames,
            "a burst or a selection of one, or a list of frames",
            "give a list: queue.send([frame])",
        )
