# SPDX-License-Identifier: BSD-3-Clause
"""Packets as columns: what a burst and a selection of one have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from iavfio._driver import ffi, lib
from iavfio.arguments import Range, shown, unknown
from iavfio.datapath.columns import MAX_CHAIN, METADATA, Columns
from iavfio.datapath.header_columns import HeaderColumns
from iavfio.errors import ConfigError

if TYPE_CHECKING:
    from iavfio.datapath.layers import Layers
    from iavfio.datapath.pair import QueuePair
    from iavfio.datapath.pool import Pool

LENGTH_SHIFT = np.uint64(lib.HANDLE_LENGTH_SHIFT)
OFFSET_SHIFT = np.uint64(lib.HANDLE_OFFSET_SHIFT)
INDEX_MASK = np.uint64(lib.HANDLE_INDEX_MASK)
FIELD_MASK = np.uint64(lib.HANDLE_FIELD_MASK)
HEADERS = Range(1, lib.POOL_ROOM, "bytes of headers")
OFFSET = Range(0, 0xFFFF, "bytes")
FURTHER = {  # columns that come without being asked for, and when they do not
    "flags": "it comes with each column that configure(metadata=...) asks for, and none was",
    "segments": "it comes where the MTU allows frames longer than a buffer",
}
WIDTHS: dict[int, Any] = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


class Packets(HeaderColumns):
    """Columns over packets whose buffers a burst owns; every call raises StateError after it."""

    __slots__ = ()

    @property
    def pool(self) -> Pool:
        """The pool that the buffers come from."""
        raise NotImplementedError

    def live(self) -> Columns:
        """The arrays of the burst. Raises StateError once it was released."""
        raise NotImplementedError

    def post(self, pair: QueuePair, raw: Any, refused: Any) -> int:
        """Gives the packets to the send side of a C pair; used by TxQueue.send.

        Returns how many the pair took, or a negative errno. `refused[0]` is then how many of those
        it did not send. Raises ConfigError for the pair of another pool.
        """
        raise NotImplementedError

    def hand_over(self) -> tuple[Columns, NDArray[np.intp]]:
        """These packets leave their burst, and the caller owns their buffers.

        Returns the burst's arrays and the rows of the packets in them; to be read at once, for the
        arrays serve another burst after the release of this one. Raises StateError after release,
        and for a selection with a packet that has left before.
        """
        raise NotImplementedError

    def _pick(self, column: NDArray[Any]) -> NDArray[Any]:
        """The rows of one of the burst's columns that belong to these packets."""
        raise NotImplementedError

    def _pointer(self) -> Any:
        """A C pointer to the handles of these packets, one behind the other."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    @property
    def handles(self) -> NDArray[np.uint64]:
        """Handles of the packets (of their first segments), one each, read-only."""
        part = self._pick(self.live().handles)
        part.flags.writeable = False
        return part

    @property
    def lengths(self) -> NDArray[np.uint32]:
        """Frame lengths in bytes, without FCS; of all segments of chained packets."""
        columns = self.live()
        lengths = (self._pick(columns.handles) >> LENGTH_SHIFT).astype(np.uint32)
        if columns.chain is not None and columns.segments is not None:
            rest = (columns.chain >> LENGTH_SHIFT).astype(np.uint32).reshape(-1, MAX_CHAIN)
            used = np.arange(MAX_CHAIN) < columns.segments[:, None].astype(np.int64) - 1
            lengths += self._pick((rest * used).sum(axis=1, dtype=np.uint32))
        return lengths

    def column(self, name: str) -> NDArray[Any]:
        """A metadata column: rss, ptype, csum, vlan, mark, time, flags or segments, read-only.

        Raises ConfigError when it was not asked for with configure(metadata=...), and for a name
        that no column has.
        """
        arrays = self.live().arrays
        if not isinstance(name, str) or name not in (*METADATA, *FURTHER):
            raise unknown("column", name, (*METADATA, *FURTHER))
        array = arrays.get(name)
        if array is None:
            raise ConfigError(
                f"this burst has no column {name!r}",
                FURTHER.get(name, "a column is filled only when it was asked for at queue set-up"),
                "" if name in FURTHER else f"port.configure(metadata={{..., {name!r}}})",
            )
        part = self._pick(array)
        part.flags.writeable = False
        return part

    @property
    def rss(self) -> NDArray[np.uint32]:
        """RSS hashes; 0 where flags lack RSS (bit 0)."""
        return self.column("rss")

    @property
    def ptype(self) -> NDArray[np.uint16]:
        """Packet types as the device numbers them (docs/spec/descriptors.md 13)."""
        return self.column("ptype")

    @property
    def csum(self) -> NDArray[np.uint8]:
        """Checksum results, 2 bits each (0 unknown, 1 good, 2 bad).

        From bit 0: IP, L4, outer IP, outer UDP.
        """
        return self.column("csum")

    @property
    def vlan(self) -> NDArray[np.uint16]:
        """TCI of the stripped tag; valid where flags have VLAN (bit 1)."""
        return self.column("vlan")

    @property
    def flags(self) -> NDArray[np.uint8]:
        """Which metadata are valid (RSS 1, VLAN 2, MARK 4, TIME 8), multicast 16, broadcast 32."""
        return self.column("flags")

    def field(self, offset: int, width: int, *, big_endian: bool = True) -> NDArray[Any]:
        """`width` (1, 2, 4, 8) bytes at `offset` of every packet as one column.

        Packets that end before the field give 0. Raises ConfigError for another width or offset.
        """
        _check_field(offset, width)
        pointer, count = self._pointer(), len(self)
        out: NDArray[Any] = np.empty(count, dtype=WIDTHS[width])
        lib.pool_gather(
            self.pool.raw, pointer, count, offset, width, big_endian, ffi.from_buffer(out)
        )
        return out

    def set_field(self, offset: int, width: int, values: Any, *, big_endian: bool = True) -> None:
        """Writes one value, or one per packet, at `offset`; packets too short stay as they are."""
        _check_field(offset, width)
        pointer, count = self._pointer(), len(self)
        column = _column(values, count, WIDTHS[width])
        lib.pool_scatter(
            self.pool.raw, pointer, count, offset, width, big_endian, ffi.from_buffer(column)
        )

    def u8(self, offset: int) -> NDArray[np.uint8]:
        """One byte of every packet; 0 where a packet ends before it, as in `field`."""
        return self.field(offset, 1)

    def u16be(self, offset: int) -> NDArray[np.uint16]:
        """Two bytes in network order, e.g. the EtherType at 12; 0 where a packet is too short."""
        return self.field(offset, 2)

    def u32be(self, offset: int) -> NDArray[np.uint32]:
        """Four bytes in network order, e.g. the IPv4 destination at 30; 0 where it is too short."""
        return self.field(offset, 4)

    def u64be(self, offset: int) -> NDArray[np.uint64]:
        """Eight bytes in network order; 0 where a packet is too short."""
        return self.field(offset, 8)

    def u16(self, off: int) -> NDArray[np.uint16]:
        """The same as u16be: fields of headers are in network order."""
        return self.field(off, 2)

    def u32(self, off: int) -> NDArray[np.uint32]:
        """The same as u32be."""
        return self.field(off, 4)

    def u64(self, off: int) -> NDArray[np.uint64]:
        """The same as u64be."""
        return self.field(off, 8)

    def layers(self) -> Layers:
        """The headers of these packets, found once for several columns: Ethernet, tags, IP, ports.

        Not looked for again when packets change. Raises StateError after release.
        """
        from iavfio.datapath.layers import Layers

        return Layers(self)

    def headers(self, width: int = 64) -> NDArray[np.uint8]:
        """The first `width` bytes of every packet, a copy of shape (packets, width).

        Bytes behind the end of a shorter packet are 0. Raises ConfigError for another width.
        """
        handles = self._pick(self.live().handles)
        width = HEADERS("width", width)
        index = (handles & INDEX_MASK).astype(np.intp)
        start = ((handles >> OFFSET_SHIFT) & FIELD_MASK).astype(np.intp)
        at = start[:, None] + np.arange(width)
        view = self.pool.view
        rows: NDArray[np.uint8] = view[index[:, None], np.minimum(at, view.shape[1] - 1)]
        lengths = (handles >> LENGTH_SHIFT).astype(np.intp)
        rows[np.arange(width) >= lengths[:, None]] = 0
        return rows


def _column(values: Any, count: int, kind: Any) -> NDArray[Any]:
    """Returns one value of this width a packet. Raises ConfigError for values that do not fit."""
    try:
        given = np.broadcast_to(values, count)
    except (ValueError, TypeError, OverflowError):
        given = np.empty(0, dtype=object)
    most = int(np.iinfo(kind).max)
    if given.dtype != kind and (
        given.dtype.kind not in "iu"
        or len(given) != count
        or (count and not (int(given.min()) >= 0 and int(given.max()) <= most))
    ):
        raise ConfigError(
            f"{shown(values)} cannot be written into a field",
            f"one whole number from 0 to {most} is needed, or one for each of {count} packets",
        )
    return np.ascontiguousarray(given, dtype=kind)


def _check_field(offset: int, width: int) -> None:
    if offset.__class__ is not int or not OFFSET.low <= offset <= OFFSET.high:
        OFFSET("offset", offset)
    if width not in WIDTHS:
        raise ConfigError(
            f"width={shown(width)} is not possible",
            "a field has 1, 2, 4 or 8 bytes",
        )
