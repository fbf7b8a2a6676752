# SPDX-License-Identifier: BSD-3-Clause
"""The caller's frames as a burst: copied into buffers, long ones cut into chains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iavfio._driver import ffi, lib
from iavfio.arguments import several, shown, wrong_type
from iavfio.datapath.burst import Burst
from iavfio.datapath.columns import MAX_CHAIN, Columns
from iavfio.datapath.pair import FCS, PairSettings, QueuePair
from iavfio.datapath.pool import ROOM
from iavfio.errors import ConfigError, IavfioError
from iavfio.ranges import MTU

MIN_FRAME: int = lib.TX_MIN_FRAME
RX_MAX_FRAME: int = lib.RX_MAX_FRAME


def build(pair: QueuePair, packets: Sequence[Any] | NDArray[np.uint8], lengths: Any) -> Burst:
    """The burst that `TxQueue.build` returns; see there."""
    if isinstance(packets, np.ndarray):
        flat, stride, sizes = _rows(packets, lengths)
        starts = np.arange(len(sizes), dtype=np.uint64) * np.uint64(stride)
    else:
        if lengths is not None:
            raise ConfigError(
                "lengths cannot be given for separate frames",
                "each bytes-like object is a frame of its own length",
                "leave lengths out, or give rows of a 2-D uint8 array",
            )
        items = [_bytes_of(i, item) for i, item in enumerate(_frames(packets))]
        sizes = np.fromiter((len(item) for item in items), dtype=np.uint32, count=len(items))
        flat = np.frombuffer(b"".join(items), dtype=np.uint8)
        starts = np.cumsum(sizes, dtype=np.uint64) - sizes
    _check_sizes(sizes, pair.settings)
    if sizes.size and int(sizes.max()) > ROOM:
        return _build_chains(pair, flat, starts, sizes)
    columns = pair.columns(max(int(sizes.size), 1))
    if columns.segments is not None:
        columns.segments[: sizes.size] = 1
    if "flags" in columns.arrays:
        columns.arrays["flags"][: sizes.size] = 0  # no metadata: the arrays served another burst
    _take(pair, columns.p_handles, sizes.size)
    _fill(pair, columns.p_handles, flat, starts, sizes)
    return Burst(pair, columns, sizes.size)


def _frames(packets: Any) -> list[Any]:
    if isinstance(packets, memoryview) or hasattr(type(packets), "__bytes__"):  # one frame
        raise wrong_type("packets", packets, "a list of frames", "give a list: build([frame])")
    return several("packets", packets, "frames")


def _bytes_of(index: int, item: Any) -> memoryview:
    try:
        return memoryview(item).cast("B")
    except (TypeError, ValueError, BufferError):
        if hasattr(type(item), "__bytes__") and not isinstance(item, memoryview):
            return memoryview(_made(index, item))
        raise ConfigError(
            f"packet {index} is not possible",
            f"a frame is a bytes-like object in one piece, or has __bytes__, not the "
            f"{type(item).__name__} {shown(item)}",
            "give bytes: send([bytes(packet)])",
        ) from None


def _made(index: int, item: Any) -> bytes:
    """The bytes that an object makes of itself, as a packet of scapy does."""
    try:
        return bytes(item)
    except Exception as error:  # whatever somebody else's code raises
        raise ConfigError(
            f"packet {index} is not possible",
            f"bytes() of the {type(item).__name__} {shown(item)} failed: {error}",
            "mend the packet: its own library cannot encode it",
        ) from error


def _rows(
    packets: NDArray[np.uint8], lengths: Any
) -> tuple[NDArray[np.uint8], int, NDArray[np.uint32]]:
    if packets.ndim != 2 or packets.dtype != np.uint8:
        raise ConfigError(
            f"an array of shape {packets.shape} and type {packets.dtype} is not a list of frames",
            "one row of uint8 per frame is needed",
        )
    rows, width = packets.shape
    sizes = np.full(rows, width, dtype=np.uint32)
    if lengths is not None:
        try:
            given = np.asarray(lengths)
        except (ValueError, TypeError, OverflowError):
            given = np.asarray("")
        if (
            given.dtype.kind not in "iu"
            or given.shape not in ((), (rows,))
            or (given.size and (given.max() > width or given.min() < 0))
        ):
            raise ConfigError(
                f"lengths do not fit {rows} rows of {width} bytes",
                "one whole number per row is needed, or one for all",
            )
        sizes[:] = given
    return np.ascontiguousarray(packets).reshape(-1), width, sizes


def _check_sizes(sizes: NDArray[np.uint32], settings: PairSettings) -> None:
    """Raises ConfigError that names the first frame which is too short or too long."""
    if sizes.size == 0:
        return
    shortest, largest = int(sizes.argmin()), int(sizes.argmax())
    if sizes[shortest] < MIN_FRAME:
        raise ConfigError(
            f"packet {shortest} of {sizes[shortest]} bytes cannot be sent",
            f"a frame has at least {MIN_FRAME} bytes (the device would report the VF as malicious)",
            f"pad it to {MIN_FRAME} bytes or more",
        )
    longest = settings.max_frame
    if sizes[largest] > longest:
        raise ConfigError(
            f"packet {largest} of {sizes[largest]} bytes cannot be sent",
            f"the longest frame at this MTU has {longest} bytes, without FCS",
            _mtu_for(int(sizes[largest]), settings),
        )


def _mtu_for(frame: int, settings: PairSettings) -> str:
    """The advice for a frame that is too long: MTU and frame differ by a constant."""
    overhead = RX_MAX_FRAME - FCS - MTU.high
    if frame > RX_MAX_FRAME - FCS:
        return f"split it: no MTU of these cards lets more than {RX_MAX_FRAME - FCS} bytes through"
    if frame > settings.pf_frame:
        return f"split it: this PF lets no more than {settings.pf_frame} bytes through"
    mtu = settings.max_frame - overhead
    return f"split it, or raise the MTU from {mtu}: port.configure(mtu={frame - overhead})"


def _take(pair: QueuePair, handles: Any, count: int) -> None:
    if count and not pair.take(handles, count):
        raise IavfioError(
            f"no buffers for {count} packets",
            f"the pool has {pair.pool.idle} of {pair.pool.size} idle",
            "release bursts sooner, or open with a larger pool=iavfio.Pool(buffers=...)",
        )


def _fill(
    pair: QueuePair,
    handles: Any,
    flat: NDArray[np.uint8],
    starts: NDArray[np.uint64],
    sizes: NDArray[Any],
) -> None:
    if sizes.size == 0:
        return
    starts = np.ascontiguousarray(starts, dtype=np.uint64)
    sizes = np.ascontiguousarray(sizes, dtype=np.uint32)
    lib.pool_fill(
        pair.pool.raw,
        handles,
        ffi.from_buffer(flat),
        0,
        ffi.cast("uint64_t *", ffi.from_buffer(starts)),
        ffi.cast("uint32_t *", ffi.from_buffer(sizes)),
        sizes.size,
    )


def _build_chains(
    pair: QueuePair, flat: NDArray[np.uint8], starts: NDArray[np.uint64], sizes: NDArray[np.uint32]
) -> Burst:
    """Cuts each frame into pieces of a buffer's room; the last piece is the rest."""
    counts = -(-sizes.astype(np.int64) // ROOM)
    owner = np.repeat(np.arange(sizes.size), counts)
    piece = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    part = np.minimum(sizes[owner].astype(np.int64) - piece * ROOM, ROOM)
    handles = np.zeros(owner.size, dtype=np.uint64)
    pointer = ffi.cast("uint64_t *", ffi.from_buffer(handles))
    _take(pair, pointer, owner.size)
    _fill(pair, pointer, flat, starts[owner] + (piece * ROOM).astype(np.uint64), part)
    columns = Columns(sizes.size, 0, scattered=True)
    assert columns.chain is not None and columns.segments is not None
    columns.handles[:] = handles[piece == 0]
    columns.segments[:] = counts
    behind = piece > 0
    columns.chain[owner[behind] * MAX_CHAIN + piece[behind] - 1] = handles[behind]
    return Burst(pair, columns, sizes.size)
