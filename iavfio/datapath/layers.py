# SPDX-License-Identifier: BSD-3-Clause
"""The headers of a burst's packets as columns: found by NumPy for all packets at once.

Tags are walked (802.1Q, 802.1ad and the older 0x9100), IPv4's options are skipped, so are IPv6's
extension headers. A column is a masked array: masked is a packet that has no such field.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from iavfio._driver import lib
from iavfio.datapath.pool import STRIDE

if TYPE_CHECKING:
    from iavfio.datapath.packets import Packets

Masked = np.ma.MaskedArray[Any, Any]
Bools = NDArray[np.bool_]
Offsets = NDArray[np.intp]

TAGS = (0x8100, 0x88A8, 0x9100)
MOST_TAGS = 4
LEAST_TYPE = 0x0600  # below it the field is the length of an 802.3 frame
IP4, IP6 = 0x0800, 0x86DD
IP4_HEADER, IP6_HEADER = 20, 40
FRAGMENT, AUTHENTICATION = 44, 51  # IPv6's numbers of next headers
MOST_EXTENSIONS = 8
INDEX_MASK = np.uint64(lib.HANDLE_INDEX_MASK)
FIELD_MASK = np.uint64(lib.HANDLE_FIELD_MASK)
OFFSET_SHIFT = np.uint64(lib.HANDLE_OFFSET_SHIFT)
LENGTH_SHIFT = np.uint64(lib.HANDLE_LENGTH_SHIFT)


def _table(*numbers: int) -> Bools:
    """Returns 256 flags, one for each value of a byte; those of `numbers` are set."""
    table = np.zeros(256, dtype=np.bool_)
    table[list(numbers)] = True
    return table


WITH_PORTS = _table(6, 17, 33, 132, 136)  # TCP, UDP, DCCP, SCTP, UDP-Lite
# Hop-by-hop, routing, destination, mobility, HIP, shim6: their length is in units of 8 bytes.
EXTENSIONS = _table(0, 43, 60, 135, 139, 140, FRAGMENT, AUTHENTICATION)


class FrameHeaders:
    """Headers of frames that lie in `flat`, each from `start` on for `length` bytes.

    What is found is kept, so that several columns cost one walk; it is not looked for again when
    frames are changed.
    """

    def __init__(self, flat: NDArray[np.uint8], start: Offsets, length: Offsets) -> None:
        self._flat = flat
        self._start, self._length = start, length
        self._walk_tags()

    # ---- reading

    def read(self, at: Any, width: int, where: Bools) -> NDArray[np.uint8]:
        """`width` bytes at these offsets of the frames, a row each; zeros where not `where`."""
        first = np.where(where, self._start + at, 0)
        rows: NDArray[np.uint8] = self._flat[first[:, None] + np.arange(width)]
        rows[~where] = 0
        return rows

    def _fits(self, at: Any, width: int) -> Bools:
        fits: Bools = np.asarray(at) + width <= self._length
        return fits

    def _number(self, at: Any, width: int, where: Bools) -> NDArray[Any]:
        """A field of 1, 2 or 4 bytes as a number."""
        rows = self.read(at, width, where)
        return rows.view(f">u{width}").reshape(-1).astype(f"u{width}")

    # ---- Ethernet

    def _walk_tags(self) -> None:
        count = len(self._length)
        at: Offsets = np.full(count, 12, dtype=np.intp)
        self._ethernet: Bools = self._fits(at, 2)
        kind = self._number(at, 2, self._ethernet)
        self._tags: list[tuple[Bools, NDArray[np.uint16]]] = []  # which packets, and their TCI
        tagged = self._ethernet
        for _ in range(MOST_TAGS):
            tagged = tagged & _is_tag(kind) & self._fits(at, 6)
            if not tagged.any():
                break
            self._tags.append((tagged, self._number(at + 2, 2, tagged)))
            at = at + 4 * tagged
            kind = np.where(tagged, self._number(at, 2, tagged), kind)
        self._kind = kind
        self.l3_offset: Offsets = at + 2
        """Where the header behind Ethernet and tags begins, in bytes."""

    @property
    def eth_dst(self) -> Masked:
        """Destination addresses as numbers of 48 bits: `int.from_bytes(mac)`."""
        return self._mac(0)

    @property
    def eth_src(self) -> Masked:
        """Source addresses, as `eth_dst`."""
        return self._mac(6)

    def _mac(self, at: int) -> Masked:
        rows = np.zeros((len(self._length), 8), dtype=np.uint8)
        rows[:, 2:] = self.read(at, 6, self._ethernet)
        return _masked(rows.view(">u8").reshape(-1).astype(np.uint64), self._ethernet)

    @property
    def eth_type(self) -> Masked:
        """EtherTypes behind all tags; masked where an 802.3 frame has a length there."""
        return _masked(self._kind, self._ethernet & (self._kind >= LEAST_TYPE))

    def vlan_id(self, number: int = 0) -> Masked:
        """VLAN of the outermost tag (0) or of those behind it, stripped or in the frame."""
        columns = self._all_tags()
        none = np.zeros(len(self._length), dtype=bool), np.zeros(len(self._length), np.uint16)
        has, tci = columns[number] if number < len(columns) else none
        return _masked((tci & 0xFFF).astype(np.uint16), has)

    def _all_tags(self) -> list[tuple[Bools, NDArray[np.uint16]]]:
        """Which frames have a tag, and its TCI, from the outermost on."""
        return list(self._tags)

    @property
    def tag_count(self) -> NDArray[np.intp]:
        """How many VLAN tags stand in each frame."""
        counts: NDArray[np.intp] = np.zeros(len(self._length), np.intp)
        for has, _ in self._tags:
            counts += has
        return counts

    # ---- IP

    @cached_property
    def is_ip4(self) -> Bools:
        """Which packets have an IPv4 header that is whole."""
        at = self.l3_offset
        maybe = self._ethernet & (self._kind == IP4) & self._fits(at, IP4_HEADER)
        first = self._number(at, 1, maybe)
        size = (first & 15).astype(np.intp) * 4
        good: Bools = maybe & (first >> 4 == 4) & (size >= IP4_HEADER) & self._fits(at + size, 0)
        return good

    @cached_property
    def is_ip6(self) -> Bools:
        """Which packets have an IPv6 header that is whole."""
        maybe = self._ethernet & (self._kind == IP6) & self._fits(self.l3_offset, IP6_HEADER)
        good: Bools = maybe & (self._number(self.l3_offset, 1, maybe) >> 4 == 6)
        return good

    @property
    def ip4_src(self) -> Masked:
        """IPv4 source addresses as numbers: `int(ipaddress.ip_address(...))`."""
        return _masked(self._number(self.l3_offset + 12, 4, self.is_ip4), self.is_ip4)

    @property
    def ip4_dst(self) -> Masked:
        """IPv4 destination addresses, as `ip4_src`."""
        return _masked(self._number(self.l3_offset + 16, 4, self.is_ip4), self.is_ip4)

    @property
    def ip6_src(self) -> Masked:
        """IPv6 source addresses, a row of 16 bytes each: `ipaddress.ip_address(bytes(row))`."""
        return _masked(self.read(self.l3_offset + 8, 16, self.is_ip6), self.is_ip6)

    @property
    def ip6_dst(self) -> Masked:
        """IPv6 destination addresses, as `ip6_src`."""
        return _masked(self.read(self.l3_offset + 24, 16, self.is_ip6), self.is_ip6)

    @cached_property
    def _transport(self) -> tuple[NDArray[np.uint8], Offsets, Bools, Bools]:
        """Protocol and offset of what IP carries, which have one, and which are fragments."""
        l3, four = self.l3_offset, self.is_ip4
        size = (self._number(l3, 1, four) & 15).astype(np.intp) * 4
        fragment: Bools = (self._number(l3 + 6, 2, four) & 0x3FFF) != 0
        protocol = self._number(l3 + 9, 1, four)
        six, at6, known, fragment6 = self._walk_extensions()
        protocol = np.where(self.is_ip6, six, protocol)
        return protocol, np.where(four, l3 + size, at6), four | known, fragment | fragment6

    def _walk_extensions(self) -> tuple[NDArray[np.uint8], Offsets, Bools, Bools]:
        """Protocol behind IPv6's extension headers, its offset, which have one, fragments."""
        known = self.is_ip6
        kind = self._number(self.l3_offset + 6, 1, known)
        at: Offsets = self.l3_offset + IP6_HEADER
        fragment = np.zeros(len(at), dtype=bool)
        walking = known
        for _ in range(MOST_EXTENSIONS):
            walking = walking & EXTENSIONS[kind]
            if not walking.any():
                return kind, at, known, fragment
            whole = self._fits(at, 8)
            known, walking = known & (whole | ~walking), walking & whole
            rows = self.read(at, 4, walking)
            place = rows[:, 2].astype(np.int64) << 8 | rows[:, 3]
            split = walking & (kind == FRAGMENT)
            fragment = fragment | (split & (place & 0xFFF9 != 0))  # RFC 6946: alone it is none
            units = rows[:, 1].astype(np.intp)
            size = np.where(kind == AUTHENTICATION, (units + 2) * 4, (units + 1) * 8)
            at = at + np.where(walking, np.where(split, 8, size), 0)
            kind = np.where(walking, rows[:, 0], kind)
            walking = walking & ~(split & (place & 0xFFF8 != 0))  # behind it is data
        return kind, at, known & ~walking, fragment

    @property
    def ip_proto(self) -> Masked:
        """Protocols that IP carries: 6 TCP, 17 UDP, 1 ICMP, 58 ICMPv6, ..."""
        protocol, _, known, _ = self._transport
        return _masked(protocol, known)

    @property
    def is_fragment(self) -> Bools:
        """Which packets are fragments, the first one of a datagram included."""
        return self._transport[3]

    @property
    def l4_offset(self) -> Masked:
        """Where the header behind IP begins, in bytes."""
        _, at, known, _ = self._transport
        return _masked(at, known)

    @cached_property
    def has_ports(self) -> Bools:
        """Which packets are TCP, UDP, UDP-Lite, SCTP or DCCP, and no fragments."""
        protocol, at, known, fragment = self._transport
        # A packet ends where IP says, and padding follows; 0: the sender left the length open.
        l3, four = self.l3_offset, self.is_ip4
        said = np.where(four, self._number(l3 + 2, 2, four), 0).astype(np.intp)
        payload = self._number(l3 + 4, 2, self.is_ip6).astype(np.intp)
        said = np.where(payload > 0, payload + IP6_HEADER, said)
        inside = (said == 0) | (at + 4 <= l3 + said)
        ports: Bools = WITH_PORTS[protocol] & known & ~fragment & inside
        return ports & self._fits(at, 4)

    @property
    def l4_src(self) -> Masked:
        """Source ports; masked where there are none, as in fragments."""
        return _masked(self._number(self._transport[1], 2, self.has_ports), self.has_ports)

    @property
    def l4_dst(self) -> Masked:
        """Destination ports, as `l4_src`."""
        return _masked(self._number(self._transport[1] + 2, 2, self.has_ports), self.has_ports)


class Layers(FrameHeaders):
    """Headers of some packets; made by `layers()` of a burst or a selection of one.

    Headers are read in a packet's first segment, which has 2048 bytes. A tag that the device
    stripped counts as the outermost, where the metadata have "vlan". Raises StateError after the
    release of the burst.
    """

    def __init__(self, packets: Packets) -> None:
        self._packets = packets
        handles = packets.handles
        start = ((handles >> OFFSET_SHIFT) & FIELD_MASK).astype(np.intp)
        super().__init__(
            packets.pool.view.reshape(-1),
            (handles & INDEX_MASK).astype(np.intp) * STRIDE + start,
            (handles >> LENGTH_SHIFT).astype(np.intp),
        )

    def read(self, at: Any, width: int, where: Bools) -> NDArray[np.uint8]:
        """`width` bytes at these offsets of the packets, a row each; zeros where not `where`."""
        self._packets.live()
        return super().read(at, width, where)

    def _all_tags(self) -> list[tuple[Bools, NDArray[np.uint16]]]:
        columns = super()._all_tags()
        if "vlan" in self._packets.live().arrays:
            stripped = (self._packets.flags & lib.FLAG_VLAN) != 0
            if stripped.any():
                return _behind(stripped, self._packets.vlan, columns)
        return columns


def _is_tag(kind: NDArray[Any]) -> Bools:
    found: Bools = (kind == TAGS[0]) | (kind == TAGS[1]) | (kind == TAGS[2])
    return found


def _masked(data: NDArray[Any], valid: Bools) -> Masked:
    """`data` where `valid`, a mask of the same shape elsewhere."""
    mask = ~valid if data.ndim == 1 else np.repeat(~valid[:, None], data.shape[1], axis=1)
    return np.ma.MaskedArray(np.where(mask, np.zeros((), data.dtype), data), mask=mask)


def _behind(
    first: Bools, tci: NDArray[np.uint16], rest: list[tuple[Bools, NDArray[np.uint16]]]
) -> list[tuple[Bools, NDArray[np.uint16]]]:
    """Tags with another in front of them, for the packets of `first`."""
    shifted = []
    has_before, tci_before = first, np.where(first, tci, 0)
    for has, value in rest:
        shifted.append((has_before | (~first & has), np.where(first, tci_before, value)))
        has_before, tci_before = first & has, value
    return [*shifted, (has_before, tci_before)]
