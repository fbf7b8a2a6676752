# SPDX-License-Identifier: BSD-3-Clause
"""A burst of packets: NumPy columns over buffers that stay where the device put them.

A burst owns its buffers until it is released or sends them on. Nothing is copied and no object is
made per packet; one C call moves a whole burst (design decision 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from iavfio._driver import ffi, lib
from iavfio.errors import ConfigError, StateError

if TYPE_CHECKING:
    from iavfio.datapath.pool import Pool
    from iavfio.datapath.queues import QueuePair

METADATA: dict[str, int] = {
    "rss": lib.META_RSS,
    "ptype": lib.META_PTYPE,
    "csum": lib.META_CSUM,
    "vlan": lib.META_VLAN,
    "mark": lib.META_MARK,
    "time": lib.META_TIME,
}
_COLUMNS: dict[str, tuple[str, str, Any]] = {  # column -> C type, metadata name, dtype
    "rss": ("uint32_t *", "rss", np.uint32),
    "ptype": ("uint16_t *", "ptype", np.uint16),
    "csum": ("uint8_t *", "csum", np.uint8),
    "vlan": ("uint16_t *", "vlan", np.uint16),
    "mark": ("uint32_t *", "mark", np.uint32),
    "time": ("uint32_t *", "time", np.uint32),
}
_LENGTH_SHIFT = np.uint64(lib.HANDLE_LENGTH_SHIFT)
_OFFSET_SHIFT = np.uint64(lib.HANDLE_OFFSET_SHIFT)
_INDEX_MASK = np.uint64(lib.HANDLE_INDEX_MASK)
_FIELD_MASK = np.uint64(lib.HANDLE_FIELD_MASK)
MAX_CHAIN = 4  # segments behind the first: a frame has at most 5 (descriptors 8)
_WIDTHS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_DTYPES: dict[int, Any] = dict(_WIDTHS)


class Slab:
    """The arrays behind a burst: reused for a later burst once it is released."""

    __slots__ = (
        "arrays",
        "capacity",
        "chain",
        "columns",
        "handles",
        "owner",
        "p_handles",
        "segments",
    )

    def __init__(self, capacity: int, metadata: int, scattered: bool, owner: object = None) -> None:
        self.capacity = capacity
        self.owner = owner
        self.columns: Any = ffi.new("struct columns *")
        self.handles: NDArray[np.uint64] = np.zeros(capacity, dtype=np.uint64)
        self.p_handles: Any = ffi.cast("uint64_t *", ffi.from_buffer(self.handles))
        self.columns.handles = self.p_handles
        self.arrays: dict[str, NDArray[Any]] = {}
        for name, (ctype, wanted, dtype) in _COLUMNS.items():
            if metadata & METADATA[wanted]:
                self._add(name, ctype, dtype, capacity)
        if metadata:
            self._add("flags", "uint8_t *", np.uint8, capacity)
        self.chain: NDArray[np.uint64] | None = None
        self.segments: NDArray[np.uint8] | None = None
        if scattered:
            self.chain = self._add("chain", "uint64_t *", np.uint64, capacity * MAX_CHAIN)
            self.segments = self._add("segments", "uint8_t *", np.uint8, capacity)

    def _add(self, name: str, ctype: str, dtype: Any, size: int) -> NDArray[Any]:
        array: NDArray[Any] = np.zeros(size, dtype=dtype)
        setattr(self.columns, name, ffi.cast(ctype, ffi.from_buffer(array)))
        self.arrays[name] = array
        return array


class Home(Protocol):
    """Who made a burst, and takes its buffers and arrays back."""

    pool: Pool
    metadata: int

    def give_back(self, handles: Any, chain: Any, segments: Any, count: int) -> None:
        """Buffers of `count` packets go to the pool."""

    def recycle(self, slab: Slab) -> None:
        """The arrays may serve again."""


class Packets:
    """What a burst and a selection of one have in common: columns over packets."""

    __slots__ = ()

    def _locate(self) -> tuple[Burst, Any, int]:
        """The burst, a C pointer to the handles, their number."""
        raise NotImplementedError

    def _pick(self, column: NDArray[Any]) -> NDArray[Any]:
        """The part of one of the burst's columns that belongs to these packets."""
        raise NotImplementedError

    @property
    def handles(self) -> NDArray[np.uint64]:
        """Handles of the packets (first segments), read-only."""
        burst, _, _ = self._locate()
        part = self._pick(burst._live().handles)
        part.flags.writeable = False
        return part

    @property
    def lengths(self) -> NDArray[np.uint32]:
        """Frame lengths in bytes, without FCS; of all segments of chained packets."""
        burst, _, _ = self._locate()
        slab = burst._live()
        lengths = (self._pick(slab.handles) >> _LENGTH_SHIFT).astype(np.uint32)
        if slab.chain is not None and slab.segments is not None:
            rest = (slab.chain >> _LENGTH_SHIFT).astype(np.uint32).reshape(-1, MAX_CHAIN)
            used = np.arange(MAX_CHAIN) < slab.segments[:, None].astype(np.int64) - 1
            lengths += self._pick((rest * used).sum(axis=1, dtype=np.uint32))
        return lengths

    def column(self, name: str) -> NDArray[Any]:
        """A metadata column: rss, ptype, csum, vlan, mark, time, flags or segments, read-only.

        Raises ConfigError when it was not asked for with configure(metadata=...).
        """
        burst, _, _ = self._locate()
        array = burst._live().arrays.get(name)
        if array is None or name == "chain":
            raise ConfigError(
                f"this burst has no column {name!r}",
                "it is filled only when asked for at queue set-up",
                f"port.configure(metadata={{..., {name!r}}})",
            )
        part = self._pick(array)
        part.flags.writeable = False
        return part

    @property
    def rss(self) -> NDArray[np.uint32]:
        """RSS hashes; 0 where flags lack FLAG_RSS."""
        return self.column("rss")

    @property
    def ptype(self) -> NDArray[np.uint16]:
        """Packet types (spec: descriptors 13)."""
        return self.column("ptype")

    @property
    def csum(self) -> NDArray[np.uint8]:
        """Checksum verdicts, 2 bits each (0 unknown, 1 good, 2 bad): IP, L4, outer IP and UDP."""
        return self.column("csum")

    @property
    def vlan(self) -> NDArray[np.uint16]:
        """TCI of the stripped tag; valid where flags have FLAG_VLAN."""
        return self.column("vlan")

    @property
    def flags(self) -> NDArray[np.uint8]:
        """Which metadata are valid (RSS 1, VLAN 2, MARK 4, TIME 8), multicast 16, broadcast 32."""
        return self.column("flags")

    def field(self, offset: int, width: int, *, big_endian: bool = True) -> NDArray[Any]:
        """`width` (1, 2, 4, 8) bytes at `offset` of every packet as one column.

        Packets that end before it give 0. Raises ConfigError for another width or a bad offset.
        """
        burst, pointer, count = self._locate()
        if width not in _DTYPES or not 0 <= offset <= 0xFFFF:
            raise ConfigError(f"no field of {width} bytes at {offset}", "widths are 1, 2, 4, 8", "")
        out: NDArray[Any] = np.empty(count, dtype=_DTYPES[width])
        lib.pool_gather(
            burst._home.pool.raw, pointer, count, offset, width, big_endian, ffi.from_buffer(out)
        )
        return out

    def set_field(self, offset: int, width: int, values: Any, *, big_endian: bool = True) -> None:
        """Writes one value, or one per packet, at `offset`; packets too short stay as they are."""
        burst, pointer, count = self._locate()
        if width not in _DTYPES or not 0 <= offset <= 0xFFFF:
            raise ConfigError(f"no field of {width} bytes at {offset}", "widths are 1, 2, 4, 8", "")
        column = np.ascontiguousarray(np.broadcast_to(values, count), dtype=_DTYPES[width])
        lib.pool_scatter(
            burst._home.pool.raw, pointer, count, offset, width, big_endian, ffi.from_buffer(column)
        )

    def u8(self, offset: int) -> NDArray[np.uint8]:
        """One byte of every packet."""
        return self.field(offset, 1)

    def u16be(self, offset: int) -> NDArray[np.uint16]:
        """Two bytes in network order, e.g. the EtherType at 12."""
        return self.field(offset, 2)

    def u32be(self, offset: int) -> NDArray[np.uint32]:
        """Four bytes in network order, e.g. the IPv4 destination at 30."""
        return self.field(offset, 4)

    def u64be(self, offset: int) -> NDArray[np.uint64]:
        """Eight bytes in network order."""
        return self.field(offset, 8)

    def u16(self, off: int) -> NDArray[np.uint16]:
        """As u16be: fields of headers are in network order."""
        return self.field(off, 2)

    def u32(self, off: int) -> NDArray[np.uint32]:
        """As u32be."""
        return self.field(off, 4)

    def u64(self, off: int) -> NDArray[np.uint64]:
        """As u64be."""
        return self.field(off, 8)

    def headers(self, width: int = 64) -> NDArray[np.uint8]:
        """The first `width` bytes of every packet, a copy of shape (packets, width).

        What lies behind a shorter packet's end is 0.
        """
        burst, _, _ = self._locate()
        handles = self._pick(burst._live().handles)
        room = lib.POOL_ROOM
        if not 0 < width <= room:
            raise ConfigError(f"{width} bytes of headers", f"1 to {room} are possible", "")
        index = (handles & _INDEX_MASK).astype(np.intp)
        start = ((handles >> _OFFSET_SHIFT) & _FIELD_MASK).astype(np.intp)
        at = start[:, None] + np.arange(width)
        view = burst._home.pool.view
        rows: NDArray[np.uint8] = view[index[:, None], np.minimum(at, view.shape[1] - 1)]
        lengths = (handles >> _LENGTH_SHIFT).astype(np.intp)
        rows[np.arange(width) >= lengths[:, None]] = 0
        return rows

    def __len__(self) -> int:
        return self._locate()[2]


class Burst(Packets):
    """Packets received or built together. Release it, or use it as a context manager.

    `burst[mask]`, `burst[a:b]` and `burst[indices]` are selections to read or send; `send` takes
    packets out of the burst, the rest returns to the pool at release. Use after release raises
    StateError. A NumPy view kept longer stays valid memory with undefined content.
    """

    __slots__ = ("_given", "_home", "_map", "_n", "_short", "_slab")

    def __init__(self, home: Home, slab: Slab, count: int) -> None:
        self._home = home
        self._slab: Slab | None = slab
        self._n = count
        self._given = 0  # packets at the front that are no longer ours ...
        self._map: NDArray[np.bool_] | None = None  # ... or, once selections were sent, which
        # What a full ring did not take, None = all the rest: refused, unless it is sent later.
        self._short: tuple[QueuePair, NDArray[np.intp] | None] | None = None

    def _live(self) -> Slab:
        slab = self._slab
        if slab is None:
            raise StateError(
                "this burst was released",
                "its buffers belong to the pool or the device again",
                "copy what is needed longer: bytes(burst.bytes(i))",
            )
        return slab

    def _locate(self) -> tuple[Burst, Any, int]:
        return self, self._live().p_handles, self._n

    def _pick(self, column: NDArray[Any]) -> NDArray[Any]:
        return column[: self._n]

    @property
    def pool(self) -> Pool:
        """Where the buffers come from."""
        return self._home.pool

    @property
    def released(self) -> bool:
        """Whether the burst has given its buffers back."""
        return self._slab is None

    def bytes(self, index: int) -> memoryview:
        """One packet as a writable zero-copy view; of a chained one the first segment."""
        return self.segments_of(index)[0]

    def segments_of(self, index: int) -> list[memoryview]:
        """All segments of one packet as writable zero-copy views."""
        slab = self._live()
        if not -self._n <= index < self._n:
            raise IndexError(f"packet {index} of a burst of {self._n}")
        index %= self._n
        handles = [int(slab.handles[index])]
        if slab.chain is not None and slab.segments is not None:
            first = MAX_CHAIN * index
            more = max(int(slab.segments[index]), 1) - 1
            handles += [int(h) for h in slab.chain[first : first + more]]
        return [self._view(handle) for handle in handles]

    def _view(self, handle: int) -> memoryview:
        index = handle & lib.HANDLE_INDEX_MASK
        offset = handle >> lib.HANDLE_OFFSET_SHIFT & lib.HANDLE_FIELD_MASK
        length = handle >> lib.HANDLE_LENGTH_SHIFT
        return self._home.pool.view[index, offset : offset + length].data

    def __getitem__(self, which: Any) -> Selection:
        self._live()
        return Selection(self, _indices(which, self._n))

    def __iter__(self) -> Iterator[memoryview]:
        for i in range(self._n):
            yield self.bytes(i)

    def release(self) -> None:
        """Returns what was not sent to the pool. Twice is harmless."""
        slab = self._slab
        if slab is None:
            return
        self._slab = None
        if self._short is not None:
            self._count_refused(*self._short)
        at = self._given
        if self._map is not None:
            self._release_rest(slab, np.flatnonzero(~self._map))
        elif at < self._n:
            chain = segments = ffi.NULL
            if slab.segments is not None:
                chain = slab.columns.chain + MAX_CHAIN * at
                segments = slab.columns.segments + at
            self._home.give_back(slab.p_handles + at, chain, segments, self._n - at)
        self._home.recycle(slab)

    def _count_refused(self, pair: QueuePair, offered: NDArray[np.intp] | None) -> None:
        if self._map is None:
            left = self._n - self._given
        else:
            kept = ~self._map
            left = int(np.count_nonzero(kept if offered is None else kept[offered]))
        raw = pair.raw
        if left and raw is not None:
            lib.pair_refuse(raw, left)

    def _release_rest(self, slab: Slab, rest: NDArray[np.intp]) -> None:
        if rest.size == 0:
            return
        taken = Taken(slab, rest)
        self._home.give_back(taken.handles, taken.chain, taken.segments, rest.size)

    def _mark(self, indices: NDArray[np.intp]) -> None:
        """Those packets are no longer ours."""
        self._given_map()[indices] = True

    def _given_map(self) -> NDArray[np.bool_]:
        if self._map is None:
            self._map = np.zeros(self._n, dtype=np.bool_)
            self._map[: self._given] = True
        return self._map

    def __enter__(self) -> Burst:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.release()

    def __del__(self) -> None:
        if self._slab is not None:
            self.release()

    def __repr__(self) -> str:
        if self._slab is None:
            return "<Burst, released>"
        return f"<Burst of {self._n} packets>"


class Taken:
    """Contiguous copies of some packets' handles and chains, for one C call."""

    __slots__ = ("_keep", "chain", "handles", "segments")

    def __init__(self, slab: Slab, indices: NDArray[np.intp]) -> None:
        handles = np.ascontiguousarray(slab.handles[indices])
        self._keep: list[NDArray[Any]] = [handles]
        self.handles: Any = ffi.cast("uint64_t *", ffi.from_buffer(handles))
        self.chain: Any = ffi.NULL
        self.segments: Any = ffi.NULL
        if slab.chain is not None and slab.segments is not None:
            chain = np.ascontiguousarray(slab.chain.reshape(-1, MAX_CHAIN)[indices])
            segments = np.ascontiguousarray(slab.segments[indices])
            self._keep += [chain, segments]
            self.chain = ffi.cast("uint64_t *", ffi.from_buffer(chain))
            self.segments = ffi.cast("uint8_t *", ffi.from_buffer(segments))


class Selection(Packets):
    """Some packets of a burst, which goes on owning them."""

    __slots__ = ("_burst", "_handles", "_indices")

    def __init__(self, burst: Burst, indices: NDArray[np.intp]) -> None:
        self._burst = burst
        self._indices = indices
        self._handles: NDArray[np.uint64] | None = None

    def _locate(self) -> tuple[Burst, Any, int]:
        if self._handles is None:
            self._handles = np.ascontiguousarray(self._burst._live().handles[self._indices])
        self._burst._live()
        pointer = ffi.cast("uint64_t *", ffi.from_buffer(self._handles))
        return self._burst, pointer, len(self._indices)

    def _pick(self, column: NDArray[Any]) -> NDArray[Any]:
        return column[self._indices]

    @property
    def indices(self) -> NDArray[np.intp]:
        """Which packets of the burst."""
        return self._indices

    def __getitem__(self, which: Any) -> Selection:
        return Selection(self._burst, self._indices[_indices(which, len(self._indices))])

    def __repr__(self) -> str:
        return f"<Selection of {len(self._indices)} of {self._burst!r}>"


def _indices(which: Any, count: int) -> NDArray[np.intp]:
    """Packet numbers of a mask, slice, number or list of numbers. A repeated one raises."""
    if isinstance(which, slice):
        return np.arange(count, dtype=np.intp)[which]
    array = np.atleast_1d(np.asarray(which))
    if array.dtype == np.bool_:
        if array.shape != (count,):
            raise ConfigError(
                f"a mask of shape {array.shape} for {count} packets", "one value per packet", ""
            )
        return np.flatnonzero(array)
    if array.size == 0:
        return np.empty(0, dtype=np.intp)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ConfigError("packets are chosen by mask, slice or whole numbers", "", "")
    numbers = array.astype(np.intp)
    if numbers.min() < -count or numbers.max() >= count:
        raise IndexError(f"packet {int(numbers.max())} of a burst of {count}")
    numbers = np.where(numbers < 0, numbers + count, numbers)
    if np.unique(numbers).size != numbers.size:
        raise ConfigError(
            "a packet was chosen twice", "a buffer can be sent only once", "use np.unique(indices)"
        )
    return numbers
