# SPDX-License-Identifier: BSD-3-Clause
"""Fields of one packet, for handlers: the same functions in plain Python and compiled by Numba.

All are in network order and bounds-checked: outside the packet's data a read gives 0 and a write
does nothing. `data` is an array of uint8 (or any mutable bytes, in plain Python).
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Meta(NamedTuple):
    """What the device said about a packet. Columns that the port was not configured for are 0."""

    frame: int
    """Bytes of the whole frame; more than `length` for a packet of several segments."""
    rss: int
    mark: int
    time: int
    ptype: int
    vlan: int
    flags: int
    """Which of them are valid: RSS 1, VLAN 2, MARK 4, TIME 8; multicast 16, broadcast 32."""
    csum: int
    segments: int
    lane: int
    """Position, in the list given to `run`, of the queue that it came from."""


def _read(data: Any, offset: int, width: int) -> int:
    if offset < 0 or offset + width > len(data):
        return 0
    return int.from_bytes(bytes(data[offset : offset + width]), "big")


def _write(data: Any, offset: int, width: int, value: int) -> None:
    if offset < 0 or offset + width > len(data):
        return
    for i, byte in enumerate((int(value) % (1 << 8 * width)).to_bytes(width, "big")):
        data[offset + i] = byte


def u8(data: Any, offset: int) -> int:
    """One byte."""
    return _read(data, offset, 1)


def u16be(data: Any, offset: int) -> int:
    """Two bytes, e.g. the EtherType at 12."""
    return _read(data, offset, 2)


def u32be(data: Any, offset: int) -> int:
    """Four bytes, e.g. the IPv4 destination at 30."""
    return _read(data, offset, 4)


def u48be(data: Any, offset: int) -> int:
    """Six bytes, e.g. the destination MAC address at 0."""
    return _read(data, offset, 6)


def u64be(data: Any, offset: int) -> int:
    """Eight bytes."""
    return _read(data, offset, 8)


def set_u8(data: Any, offset: int, value: int) -> None:
    """Writes the low byte of `value`."""
    _write(data, offset, 1, value)


def set_u16be(data: Any, offset: int, value: int) -> None:
    """Writes the low two bytes of `value`."""
    _write(data, offset, 2, value)


def set_u32be(data: Any, offset: int, value: int) -> None:
    """Writes the low four bytes of `value`."""
    _write(data, offset, 4, value)


def set_u48be(data: Any, offset: int, value: int) -> None:
    """Writes the low six bytes of `value`."""
    _write(data, offset, 6, value)


def set_u64be(data: Any, offset: int, value: int) -> None:
    """Writes eight bytes."""
    _write(data, offset, 8, value)
