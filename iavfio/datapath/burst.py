# SPDX-License-Identifier: BSD-3-Clause
"""A burst of packets: NumPy columns over buffers that stay where the device put them.

A burst owns its buffers until it is released or sends them on. Nothing is copied and no object is
made per packet; one C call moves a whole burst (docs/design.md 5).
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from html import escape
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iavfio._driver import ffi, lib
from iavfio.arguments import counted, wrong_type
from iavfio.datapath.columns import MAX_CHAIN, Columns, Gathered
from iavfio.datapath.packets import Packets
from iavfio.datapath.pair import QueuePair
from iavfio.datapath.pool import Pool
from iavfio.errors import ConfigError, NoSuchPacket, StateError

_NULL: Any = ffi.NULL
_send: Any = lib.pair_send  # an attribute of lib costs a look-up each time


class Burst(Packets):
    """Packets received or built together. Release it, or use it as a context manager.

    `burst[mask]`, `burst[a:b]` and `burst[indices]` are selections to read or send; `send` takes
    packets out of the burst, the rest returns to the pool at release. Use after release raises
    StateError. A NumPy view that is held longer stays valid memory with undefined content.
    """

    __slots__ = ("_columns", "_given", "_map", "_n", "_pair", "_short")

    def __init__(self, pair: QueuePair, columns: Columns, count: int) -> None:
        self._pair = pair
        self._columns: Columns | None = columns
        self._n = count
        self._given = 0  # packets at the front that are no longer ours ...
        self._map: NDArray[np.bool_] | None = None  # ... or, once selections were sent, which
        # What a full ring did not take, None = all the rest: refused, unless it is sent later.
        self._short: tuple[QueuePair, NDArray[np.intp] | None] | None = None

    def live(self) -> Columns:
        columns = self._columns
        if columns is None:
            raise StateError(
                "this burst was released",
                "its buffers belong to the pool or the device again",
                "copy what is needed longer: bytes(burst.bytes(i))",
            )
        return columns

    @property
    def pool(self) -> Pool:
        return self._pair.pool

    def _pointer(self) -> Any:
        return self.live().p_handles

    def _pick(self, column: NDArray[Any]) -> NDArray[Any]:
        return column[: self._n]

    def __len__(self) -> int:
        self.live()
        return self._n

    @property
    def released(self) -> bool:
        """Whether the burst has given its buffers back."""
        return self._columns is None

    def bytes(self, index: int) -> memoryview:
        """Returns one packet as a writable zero-copy view; of a chained one the first segment."""
        return self.segments_of(index)[0]

    def segments_of(self, index: int) -> list[memoryview]:
        """All segments of one packet as writable zero-copy views.

        Raises ConfigError, which is an IndexError, where the burst has no packet of that number.
        """
        columns = self.live()
        if type(index) is not int:
            index = _number(index)
        if not -self._n <= index < self._n:
            raise NoSuchPacket(index, self._n)
        index %= self._n
        handles = [int(columns.handles[index])]
        if columns.chain is not None and columns.segments is not None:
            first = MAX_CHAIN * index
            more = max(int(columns.segments[index]), 1) - 1
            handles += [int(h) for h in columns.chain[first : first + more]]
        return [self._view(handle) for handle in handles]

    def _view(self, handle: int) -> memoryview:
        index = handle & lib.HANDLE_INDEX_MASK
        offset = handle >> lib.HANDLE_OFFSET_SHIFT & lib.HANDLE_FIELD_MASK
        length = handle >> lib.HANDLE_LENGTH_SHIFT
        return self._pair.pool.view[index, offset : offset + length].data

    def __getitem__(self, which: Any) -> Selection:
        self.live()
        return Selection(self, _indices(which, self._n))

    def __iter__(self) -> Iterator[memoryview]:
        for i in range(self._n):
            yield self.bytes(i)

    # ---- sending

    def post(self, pair: QueuePair, raw: Any, refused: Any) -> int:
        columns = self._columns
        if columns is None:
            columns = self.live()
        if pair is not self._pair:
            self._check_pool(pair)
        if self._map is not None:
            return self.post_some(np.flatnonzero(~self._map), pair, raw, refused)
        at, n = self._given, self._n
        if at or columns.segments is not None:
            count = int(_send(raw, *columns.from_packet(at), n - at, refused))
        else:
            count = _send(raw, columns.p_handles, _NULL, _NULL, n, refused)
        if count >= 0:
            self._given = at = at + count
            if at < n:
                self._short = (pair, None)
        return count

    def post_some(self, indices: NDArray[np.intp], pair: QueuePair, raw: Any, refused: Any) -> int:
        """Posts the packets with these numbers as `post` does; StateError for one sent before."""
        columns = self.live()
        self._check_pool(pair)
        given = self._ours(indices)
        refused[0] = 0
        if indices.size == 0:
            return 0
        part = Gathered(columns, indices)
        count = int(_send(raw, part.handles, part.chain, part.segments, indices.size, refused))
        if count >= 0:
            given[indices[:count]] = True
            if count < indices.size:
                self._short = (pair, indices[count:])
        return count

    @property
    def left(self) -> int:
        """Packets that are still the burst's: neither sent nor handed over."""
        self.live()
        gone = self._given if self._map is None else int(np.count_nonzero(self._map))
        return self._n - gone

    def hand_over(self) -> tuple[Columns, NDArray[np.intp]]:
        return self.hand_over_some(np.flatnonzero(~self._given_map()))

    def hand_over_some(self, indices: NDArray[np.intp]) -> tuple[Columns, NDArray[np.intp]]:
        """Hands over the packets with these numbers, as `hand_over` does all."""
        columns = self.live()
        self._ours(indices)[indices] = True
        return columns, indices

    def release_some(self, indices: NDArray[np.intp]) -> None:
        """Gives back the packets with these numbers; StateError where one is gone already."""
        columns = self.live()
        self._ours(indices)[indices] = True
        if indices.size:
            part = Gathered(columns, indices)
            self._pair.give_back(part.handles, part.chain, part.segments, indices.size)

    def _ours(self, indices: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Returns which packets are gone. Raises StateError when one with these numbers is."""
        given = self._given_map()
        if given[indices].any():
            raise StateError(
                "a packet of this selection was sent before",
                "its buffer belongs to the device now",
                "send each packet once",
            )
        return given

    def _check_pool(self, pair: QueuePair) -> None:
        if pair.pool is not self._pair.pool:
            raise ConfigError(
                f"{pair.name} cannot reach the pool of this burst",
                "ports send only from the pool that they were opened with",
                "open both ports with the same pool: iavfio.open(..., pool=pool)",
            )

    def _given_map(self) -> NDArray[np.bool_]:
        if self._map is None:
            self._map = np.zeros(self._n, dtype=np.bool_)
            self._map[: self._given] = True
        return self._map

    # ---- release

    def release(self) -> None:
        """Returns what was not sent to the pool. Twice is harmless."""
        columns = self._columns
        if columns is None:
            return
        self._columns = None
        pair = self._pair
        if self._short is not None:
            self._count_refused(*self._short)
        if self._map is not None:
            rest = np.flatnonzero(~self._map)
            if rest.size:
                part = Gathered(columns, rest)
                pair.give_back(part.handles, part.chain, part.segments, rest.size)
        else:
            at, n = self._given, self._n
            if at < n:
                if at or columns.segments is not None:
                    pair.give_back(*columns.from_packet(at), n - at)
                else:
                    pair.give_back(columns.p_handles, _NULL, _NULL, n)
        pair.recycle(columns)

    def _count_refused(self, pair: QueuePair, offered: NDArray[np.intp] | None) -> None:
        if self._map is None:
            left = self._n - self._given
        else:
            ours = ~self._map
            left = int(np.count_nonzero(ours if offered is None else ours[offered]))
        if left:
            pair.refuse(left)

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
        if self._columns is not None:
            self.release()

    def __repr__(self) -> str:
        return "<Burst, released>" if self.released else f"<Burst of {self._n} packets>"

    def _repr_html_(self) -> str:
        """The first packets as a table, for notebooks."""
        if self.released:
            return escape(repr(self))
        from iavfio.datapath.display import packets_html

        return packets_html(self, f"Burst of {counted(self._n, 'packet')}")


class Selection(Packets):
    """Some packets of a burst, which goes on owning them."""

    __slots__ = ("_burst", "_handles", "_indices")

    def __init__(self, burst: Burst, indices: NDArray[np.intp]) -> None:
        self._burst = burst
        self._indices = indices
        self._handles: NDArray[np.uint64] | None = None

    def live(self) -> Columns:
        return self._burst.live()

    @property
    def pool(self) -> Pool:
        return self._burst.pool

    @property
    def indices(self) -> NDArray[np.intp]:
        """The packets' numbers in the burst."""
        return self._indices

    def post(self, pair: QueuePair, raw: Any, refused: Any) -> int:
        return self._burst.post_some(self._indices, pair, raw, refused)

    def hand_over(self) -> tuple[Columns, NDArray[np.intp]]:
        return self._burst.hand_over_some(self._indices)

    def release(self) -> None:
        """Gives the buffers of these packets back; they leave the burst, which keeps the others.

        Raises StateError where one of them has left before.
        """
        self._burst.release_some(self._indices)

    def _pointer(self) -> Any:
        columns = self.live()
        if self._handles is None:
            self._handles = np.ascontiguousarray(columns.handles[self._indices])
        return ffi.cast("uint64_t *", ffi.from_buffer(self._handles))

    def _pick(self, column: NDArray[Any]) -> NDArray[Any]:
        return column[self._indices]

    def __len__(self) -> int:
        self.live()
        return len(self._indices)

    def __getitem__(self, which: Any) -> Selection:
        return Selection(self._burst, self._indices[_indices(which, len(self._indices))])

    def __repr__(self) -> str:
        return f"<Selection of {len(self._indices)} of {self._burst!r}>"

    def _repr_html_(self) -> str:
        """The first packets as a table, for notebooks."""
        if self._burst.released:
            return escape(repr(self))
        from iavfio.datapath.display import packets_html

        return packets_html(self, f"Selection of {counted(len(self), 'packet')}")


def _number(index: Any) -> int:
    """The number of a packet, NumPy's too. Raises ConfigError for what is none."""
    if isinstance(index, bool | np.bool_) or not hasattr(type(index), "__index__"):
        raise wrong_type("index", index, "the number of a packet")
    try:
        return operator.index(index)
    except TypeError:  # an array has the method without being a number
        raise wrong_type("index", index, "the number of a packet") from None


def _indices(which: Any, count: int) -> NDArray[np.intp]:
    """Packet numbers of a mask, slice, number or list of numbers. A repeated one raises."""
    if isinstance(which, slice):
        return np.arange(count, dtype=np.intp)[which]
    if isinstance(which, np.ma.MaskedArray) and which.dtype == np.bool_:
        which = which.filled(False)  # a packet without the field is not meant
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
        low = int(numbers.min())
        raise NoSuchPacket(low if low < -count else int(numbers.max()), count)
    numbers = np.where(numbers < 0, numbers + count, numbers)
    if np.unique(numbers).size != numbers.size:
        raise ConfigError(
            "a packet was chosen twice", "a buffer can be sent only once", "use np.unique(indices)"
        )
    return numbers
