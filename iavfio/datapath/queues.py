# SPDX-License-Identifier: BSD-3-Clause
"""Queue pairs: rings in DMA memory, and the receive and send side as Python sees them."""

from __future__ import annotations

import errno
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from iavfio._driver import ffi, lib
from iavfio.datapath.burst import MAX_CHAIN, Burst, Packets, Slab, Taken
from iavfio.datapath.pool import ROOM, Pool
from iavfio.errors import ConfigError, DeviceLost, IavfioError, StateError
from iavfio.pyvfio import AddressSpace

RX_DESCRIPTOR, TX_DESCRIPTOR = 32, 16
BURST = 256
MIN_FRAME: int = lib.TX_MIN_FRAME
_NULL: Any = ffi.NULL
_recv, _send = lib.pair_recv, lib.pair_send  # an attribute of lib costs a look-up each time


class Rings:
    """Descriptor memory of one queue pair: receive ring, then send ring, each page aligned."""

    def __init__(self, space: AddressSpace, rx_entries: int, tx_entries: int) -> None:
        self.rx_entries, self.tx_entries = rx_entries, tx_entries
        rx_bytes = -(-rx_entries * RX_DESCRIPTOR // 4096) * 4096
        self.memory = space.allocate(rx_bytes + tx_entries * TX_DESCRIPTOR)
        self._space = space
        try:
            self._iova = space.map(self.memory)
        except BaseException:
            self.memory.close()
            raise
        self.rx_iova, self.tx_iova = self._iova, self._iova + rx_bytes
        self.rx_address = self.memory.address
        self.tx_address = self.memory.address + rx_bytes

    def close(self) -> None:
        """Only after the device can no longer reach them. Raises VfioError."""
        try:
            self._space.unmap(self._iova, self.memory.size)
        finally:
            self.memory.close()


class PortState(Protocol):
    """What a queue asks its port when a C call says that it cannot go on."""

    name: str

    def pause(self, timeout: float) -> bool:
        """During a reset: waits at most `timeout` seconds for its end; False without a reset."""

    def why_stopped(self) -> str:
        """Why queues do not work now, for an error."""

    def how_to_start(self) -> str:
        """What makes them work, for an error."""


class QueuePair:
    """One C queue pair and its rings; `raw` is None while the port is not started."""

    def __init__(self, index: int, pool: Pool, metadata: int, scattered: bool) -> None:
        self.index = index
        self.pool = pool
        self.metadata = metadata
        self.scattered = scattered
        self.rings: Rings | None = None
        self.raw: Any = None
        self.capacity = BURST
        self.slabs: list[Slab] = []
        self._closed: list[Any] = []  # freed with this object: other threads may be inside a call

    def close(self) -> None:
        """The C pair gives back what it holds; later calls find it closed."""
        raw, self.raw = self.raw, None
        if raw is not None:
            lib.pair_close(raw)
            self._closed.append(ffi.gc(raw, lib.pair_free))

    def slab(self, capacity: int) -> Slab:
        """Arrays for a burst of up to `capacity` packets."""
        if capacity > self.capacity:
            self.capacity = capacity
            self.slabs.clear()
        try:
            return self.slabs.pop()
        except IndexError:
            return Slab(self.capacity, self.metadata, self.scattered, self)

    def recycle(self, slab: Slab) -> None:
        """The arrays may serve again."""
        if slab.owner is self and slab.capacity == self.capacity:
            self.slabs.append(slab)

    def give_back(self, handles: Any, chain: Any, segments: Any, count: int) -> None:
        """Buffers of `count` packets go to the pair's cache, or past it when the pair is gone."""
        raw = self.raw
        if raw is None:
            lib.pool_give(self.pool.raw, handles, count, ffi.NULL)
            if segments != ffi.NULL:
                for i in range(count):
                    more = max(segments[i], 1) - 1
                    lib.pool_give(self.pool.raw, chain + MAX_CHAIN * i, more, ffi.NULL)
        elif segments == ffi.NULL:
            lib.pair_release(raw, handles, count)
        else:
            lib.pair_release_chains(raw, handles, chain, segments, count)


class _Side:
    """What both directions share."""

    direction = ""

    def __init__(self, port: PortState, pair: QueuePair) -> None:
        self._port = port
        self._pair = pair
        self.index = pair.index

    @property
    def pair(self) -> QueuePair:
        """The queue pair."""
        return self._pair

    @property
    def isa(self) -> str:
        """The instruction set of its code path: scalar, avx2, avx512 or neon; "" before start."""
        raw = self._pair.raw
        return "" if raw is None else str(ffi.string(lib.pair_isa_name(raw)).decode())

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
                "another thread or a worker is inside it",
                "a queue belongs to one caller: give each thread a queue of its own",
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

    def recv(self, max: int = BURST, timeout: float | None = None) -> Burst:
        """Up to `max` packets as one burst, possibly none.

        timeout None: looks once and returns. Else sleeps on the interrupt until a packet comes or
        `timeout` seconds have passed; negative: no limit. During a VF reset it returns an empty
        burst (after waiting); raises StateError when the port is stopped or another thread is in
        this queue, DeviceLost when the device is gone.
        """
        pair = self._pair
        raw = pair.raw
        if raw is None:
            raise self._stopped()
        if max < 1:
            raise ConfigError(f"recv of {max} packets", "at least 1 is needed", "recv(max=256)")
        slabs = pair.slabs
        slab = slabs.pop() if slabs and max <= pair.capacity else pair.slab(max)
        if timeout is None:
            count = _recv(raw, slab.columns, max)
        else:
            count = self._wait(raw, slab, max, timeout)
        if count >= 0:
            return Burst(pair, slab, count)
        pair.recycle(slab)
        if count == -errno.ESHUTDOWN and self._port.pause(timeout or 0.0):
            return Burst(pair, pair.slab(1), 0)
        raise self._failed(count)

    def _wait(self, raw: Any, slab: Slab, most: int, timeout: float) -> int:
        """pair_recv_wait, resumed after signals that did not raise (as PEP 475 does)."""
        end = time.monotonic() + timeout if timeout >= 0 else None
        left = timeout
        while True:
            nanos = -1 if end is None else int(left * 1e9)
            count = int(lib.pair_recv_wait(raw, slab.columns, most, nanos))
            if count != -errno.EINTR:
                return count
            if end is not None:
                left = end - time.monotonic()
                if left <= 0:
                    return 0


class TxQueue(_Side):
    """The send side of a queue pair. One caller at a time."""

    direction = "send"

    def __init__(self, port: PortState, pair: QueuePair, max_frame: int) -> None:
        super().__init__(port, pair)
        self.max_frame = max_frame
        self._refused: Any = ffi.new("uint32_t *")

    def send(self, packets: Packets) -> int:
        """Hands packets to the device, in order; returns how many it took.

        Those leave the burst; the rest stays in it: it may be sent again, or is released with the
        burst and counted as refused_full. Fewer than all means that the ring is full (a device
        whose link is down does not empty it), or 0 during a reset. Raises StateError for a released
        burst, for packets sent before, or when another thread is in this queue.
        """
        raw = self._pair.raw
        if raw is None:
            raise self._stopped()
        if packets.__class__ is not Burst or packets._map is not None:
            return self._send_some(raw, packets)
        slab = packets._slab or packets._live()
        if packets._home.pool is not self._pair.pool:
            raise self._foreign()
        at = packets._given
        refused = self._refused
        if at or slab.segments is not None:
            count = self._send_rest(raw, slab, at, packets._n - at)
        else:
            count = _send(raw, slab.p_handles, _NULL, _NULL, packets._n, refused)
        if count < 0:
            return self._not_sent(count)
        packets._given = at = at + count
        if at < packets._n:
            packets._short = (self._pair, None)
        return count - refused[0]  # type: ignore[no-any-return]

    def _send_rest(self, raw: Any, slab: Slab, at: int, count: int) -> int:
        """Packets from `at` on, with their chains where there are any."""
        chain = segments = _NULL
        if slab.segments is not None:
            chain = slab.columns.chain + MAX_CHAIN * at
            segments = slab.columns.segments + at
        return int(_send(raw, slab.p_handles + at, chain, segments, count, self._refused))

    def _send_some(self, raw: Any, packets: Packets) -> int:
        burst, _, _ = packets._locate()
        slab = burst._live()
        if burst._home.pool is not self._pair.pool:
            raise self._foreign()
        indices: NDArray[np.intp]
        if packets is burst:
            indices = np.flatnonzero(~burst._given_map())
        else:
            indices = packets._pick(np.arange(len(burst), dtype=np.intp))
            if burst._given_map()[indices].any():
                raise StateError(
                    "a packet of this selection was sent before",
                    "its buffer belongs to the device now",
                    "send each packet once",
                )
        if indices.size == 0:
            return 0
        taken = Taken(slab, indices)
        count = lib.pair_send(
            raw, taken.handles, taken.chain, taken.segments, indices.size, self._refused
        )
        if count < 0:
            return self._not_sent(count)
        burst._mark(indices[:count])
        if count < indices.size:
            burst._short = (self._pair, indices[count:])
        return int(count - self._refused[0])

    def _not_sent(self, code: int) -> int:
        if code == -errno.ESHUTDOWN and self._port.pause(0.0):
            return 0
        raise self._failed(code)

    def _foreign(self) -> ConfigError:
        return ConfigError(
            f"{self._port.name} cannot reach the pool of this burst",
            "ports send only from the pool that they were opened with",
            "open both ports with the same pool: iavfio.open(..., pool=pool)",
        )

    def clean(self) -> int:
        """Reaps completions; returns how many packets were completed. `send` does so by itself."""
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
        """Frames of the caller's as a burst: bytes-like objects, or rows of a 2-D uint8 array.

        `lengths` cuts rows to their frame length. Frames longer than a buffer become chains. Raises
        ConfigError naming the frame that is too short (17 bytes) or too long for the MTU, and
        IavfioError when the pool is empty; no buffer is lost then.
        """
        if isinstance(packets, np.ndarray):
            flat, stride, sizes = _rows(packets, lengths)
            starts = np.arange(len(sizes), dtype=np.uint64) * np.uint64(stride)
        else:
            items = [memoryview(item).cast("B") for item in packets]
            sizes = np.fromiter((item.nbytes for item in items), dtype=np.uint32, count=len(items))
            flat = np.frombuffer(b"".join(items), dtype=np.uint8)
            ends = np.cumsum(sizes, dtype=np.uint64)
            starts = ends - sizes
        self._check_sizes(sizes)
        if sizes.size and int(sizes.max()) > ROOM:
            return self._build_chains(flat, starts, sizes)
        slab = self._pair.slab(max(int(sizes.size), 1))
        if slab.segments is not None:
            slab.segments[: sizes.size] = 1
        if "flags" in slab.arrays:
            slab.arrays["flags"][: sizes.size] = 0  # no metadata: the arrays served another burst
        self._allocate(slab.p_handles, sizes.size)
        self._fill(slab.p_handles, flat, starts, sizes)
        return Burst(self._pair, slab, sizes.size)

    def _check_sizes(self, sizes: NDArray[np.uint32]) -> None:
        if sizes.size == 0:
            return
        for bad, why in (
            (
                int(sizes.argmin()),
                f"a frame has at least {MIN_FRAME} bytes (it would be an MDD event)",
            ),
            (int(sizes.argmax()), f"the longest frame at this MTU has {self.max_frame} bytes"),
        ):
            if not MIN_FRAME <= sizes[bad] <= self.max_frame:
                raise ConfigError(
                    f"packet {bad} of {sizes[bad]} bytes cannot be sent",
                    why,
                    "pad it, split it, or raise the MTU: port.configure(mtu=...)",
                )

    def _allocate(self, handles: Any, count: int) -> None:
        if count == 0:
            return
        raw = self._pair.raw
        got = lib.pair_alloc(raw, handles, count) if raw is not None else 0
        if got < 0:
            got = 0
        if got < count:
            got += lib.pool_take(self._pair.pool.raw, handles + got, count - got, ffi.NULL)
        if got < count:
            lib.pool_give(self._pair.pool.raw, handles, got, ffi.NULL)
            raise IavfioError(
                f"no buffers for {count} packets",
                f"the pool has {self._pair.pool.idle} of {self._pair.pool.size} idle",
                "release bursts sooner, or open with a larger pool=iavfio.Pool(buffers=...)",
            )

    def _fill(
        self, handles: Any, flat: NDArray[np.uint8], starts: NDArray[np.uint64], sizes: Any
    ) -> None:
        if sizes.size == 0:
            return
        starts = np.ascontiguousarray(starts, dtype=np.uint64)
        sizes = np.ascontiguousarray(sizes, dtype=np.uint32)
        lib.pool_fill(
            self._pair.pool.raw,
            handles,
            ffi.from_buffer(flat),
            0,
            ffi.cast("uint64_t *", ffi.from_buffer(starts)),
            ffi.cast("uint32_t *", ffi.from_buffer(sizes)),
            sizes.size,
        )

    def _build_chains(
        self, flat: NDArray[np.uint8], starts: NDArray[np.uint64], sizes: NDArray[np.uint32]
    ) -> Burst:
        """Each frame is cut into pieces of a buffer's room; the last piece is the rest."""
        counts = -(-sizes.astype(np.int64) // ROOM)
        owner = np.repeat(np.arange(sizes.size), counts)
        piece = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        part = np.minimum(sizes[owner].astype(np.int64) - piece * ROOM, ROOM)
        handles = np.zeros(owner.size, dtype=np.uint64)
        pointer = ffi.cast("uint64_t *", ffi.from_buffer(handles))
        self._allocate(pointer, owner.size)
        self._fill(pointer, flat, starts[owner] + (piece * ROOM).astype(np.uint64), part)
        slab = Slab(sizes.size, 0, scattered=True)
        assert slab.chain is not None and slab.segments is not None
        slab.handles[:] = handles[piece == 0]
        slab.segments[:] = counts
        behind = piece > 0
        slab.chain[owner[behind] * MAX_CHAIN + piece[behind] - 1] = handles[behind]
        return Burst(self._pair, slab, sizes.size)


def _rows(
    packets: NDArray[np.uint8], lengths: Any
) -> tuple[NDArray[np.uint8], int, NDArray[np.uint32]]:
    if packets.ndim != 2 or packets.dtype != np.uint8:
        raise ConfigError(
            f"an array of shape {packets.shape} and type {packets.dtype} is no list of frames",
            "one row of uint8 per frame is needed",
            "",
        )
    rows, width = packets.shape
    sizes = np.full(rows, width, dtype=np.uint32)
    if lengths is not None:
        given = np.asarray(lengths)
        if given.shape not in ((), (rows,)) or (
            given.size and (given.max() > width or given.min() < 0)
        ):
            raise ConfigError(
                f"lengths do not fit {rows} rows of {width} bytes",
                "one number per row, or one for all",
                "",
            )
        sizes[:] = given
    return np.ascontiguousarray(packets).reshape(-1), width, sizes
