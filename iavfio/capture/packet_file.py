# SPDX-License-Identifier: BSD-3-Clause
"""Capture files in memory: pcap and pcapng of either byte order, also compressed by gzip."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iavfio.errors import ConfigError, IavfioError
from iavfio.logs import on_one_line
from iavfio.signatures import checked_call

GZIP = b"\x1f\x8b"
PCAP = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}  # magic: ns of a tick
SECTION, INTERFACE, PACKET, SIMPLE, ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
ORDER_MAGIC = 0x1A2B3C4D
ETHERNET = 1
LINK_BITS = 0xFFFF  # of a pcap header's word; the others say something of the FCS
OPTION_RESOLUTION, OPTION_OFFSET = 9, 14
CONVERT = "convert it: editcap -F pcapng IN OUT"

Row = tuple[int, int, int, int]  # offset, bytes in the file, bytes on the wire, time in ns


@dataclass(frozen=True)
class Frames:
    """The Ethernet frames of a file: frame i is `data[offsets[i] : offsets[i] + lengths[i]]`.

    `wire`: bytes that it had on the wire, without FCS; `times`: ns since 1970. `others`: frames of
    interfaces that are no Ethernet, which are left out.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint32]
    wire: NDArray[np.uint32]
    times: NDArray[np.int64]
    others: int = 0

    def __len__(self) -> int:
        return len(self.offsets)

    def chosen(self, which: NDArray[np.bool_]) -> Frames:
        """Returns the frames for which `which` is true."""
        return Frames(
            self.data,
            np.ascontiguousarray(self.offsets[which]),
            np.ascontiguousarray(self.lengths[which]),
            np.ascontiguousarray(self.wire[which]),
            np.ascontiguousarray(self.times[which]),
            self.others,
        )

    def __getitem__(self, index: int) -> bytes:
        at = int(self.offsets[index])
        return self.data[at : at + int(self.lengths[index])].tobytes()


@checked_call
def load(path: str | Path) -> Frames:
    """Reads a whole file.

    Raises ConfigError for one that is no capture, and IavfioError for one that is cut or damaged,
    with the number of the record.
    """
    name = str(path)
    try:
        endless = Path(path).is_char_device()
        raw = b"" if endless else Path(path).read_bytes()
    except (FileNotFoundError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{on_one_line(name)} cannot be read", why) from error
    except OSError as error:
        raise IavfioError(f"{name} cannot be read", error.strerror or str(error)) from error
    if endless:
        raise ConfigError(f"{name} is no capture", "it is a device, and has no end", CONVERT)
    if raw[:2] == GZIP:
        raw = _unpacked(name, raw)
    data = np.frombuffer(bytearray(raw), dtype=np.uint8)
    if len(raw) < 4:
        raise _no_capture(name, f"it has {len(raw)} bytes")
    if struct.unpack_from("<I", raw)[0] == SECTION:
        reader = _Pcapng(name, raw)
        return _frames(data, list(reader.rows()), reader.others)
    return _frames(data, list(_pcap(name, raw)), 0)


def _frames(data: NDArray[np.uint8], rows: list[Row], others: int) -> Frames:
    table: NDArray[Any] = np.array(rows, dtype=np.int64).reshape(-1, 4)
    return Frames(
        data,
        table[:, 0].astype(np.uint64),
        table[:, 1].astype(np.uint32),
        table[:, 2].astype(np.uint32),
        np.ascontiguousarray(table[:, 3]),
        others,
    )


def _unpacked(name: str, raw: bytes) -> bytes:
    try:
        return gzip.decompress(raw)
    except (EOFError, zlib.error, gzip.BadGzipFile, struct.error) as error:
        raise IavfioError(
            f"{name} cannot be unpacked", f"its gzip data are cut or damaged: {error}"
        ) from error


def _no_capture(name: str, why: str) -> ConfigError:
    return ConfigError(
        f"{name} is no capture file", why, "pcap, pcapng and both packed by gzip can be read"
    )


def _cut(name: str, number: int, why: str) -> IavfioError:
    return IavfioError(
        f"{name} is cut or damaged at record {number}",
        why,
        f"what stands before it can be saved: editcap -r {name} OUT 1-{number - 1}"
        if number > 1
        else "it holds no whole record",
    )


def _not_ethernet(name: str, link: int) -> ConfigError:
    return ConfigError(
        f"{name} holds no Ethernet frames",
        f"its link type is {link}, and Ethernet's is {ETHERNET}",
        "a VF sends Ethernet frames only",
    )


# ---- classic pcap


def _pcap(name: str, raw: bytes) -> Iterator[Row]:
    order = next((each for each in "<>" if struct.unpack_from(f"{each}I", raw)[0] in PCAP), "")
    if not order:
        raise _no_capture(name, f"it begins with {raw[:4].hex(' ')}, which no such file does")
    if len(raw) < 24:
        raise _cut(name, 1, f"its header of 24 bytes ends after {len(raw)}")
    tick = PCAP[struct.unpack_from(f"{order}I", raw)[0]]
    link = struct.unpack_from(f"{order}I", raw, 20)[0] & LINK_BITS
    if link != ETHERNET:
        raise _not_ethernet(name, link)
    header = struct.Struct(f"{order}IIII")
    at, size, number = 24, len(raw), 0
    while at < size:
        number += 1
        if at + 16 > size:
            raise _cut(name, number, f"its header of 16 bytes ends after {size - at}")
        seconds, fraction, captured, length = header.unpack_from(raw, at)
        at += 16
        if captured > size - at:
            raise _cut(
                name, number, f"it has {captured} bytes, and the file ends after {size - at}"
            )
        yield at, captured, length, seconds * 1_000_000_000 + fraction * tick
        at += captured


# ---- pcapng


@dataclass(frozen=True)
class _Interface:
    link: int
    snaplen: int
    resolution: int  # of times: ticks a second
    offset: int  # seconds that are added to times


class _Pcapng:
    """The frames of a pcapng file, block by block."""

    def __init__(self, name: str, raw: bytes) -> None:
        self._name, self._raw = name, raw
        self._order = "<"
        self._interfaces: list[_Interface] = []
        self._number = 0  # of the block in hand, from 1
        self._at = 0
        self.others = 0

    def rows(self) -> Iterator[Row]:
        """Offset, captured bytes, length and time of each frame of Ethernet."""
        size = len(self._raw)
        while self._at < size:
            self._number += 1
            kind, total = self._header(size)
            end = self._at + total - 4
            if kind == SECTION:
                self._interfaces = []
            elif kind == INTERFACE:
                self._interfaces.append(self._interface(end))
            elif kind in (ENHANCED, PACKET, SIMPLE):
                row = self._frame(kind, end)
                if row is not None:
                    yield row
            self._at += total

    def _header(self, size: int) -> tuple[int, int]:
        """Type and length of the block; a section header sets the byte order."""
        at, raw = self._at, self._raw
        if at + 12 > size:
            raise self._wrong(f"its header of 12 bytes ends after {size - at}")
        if struct.unpack_from("<I", raw, at)[0] == SECTION:
            magic = struct.unpack_from("<I", raw, at + 8)[0]
            if magic not in (ORDER_MAGIC, 0x4D3C2B1A):
                raise self._wrong(f"its byte order mark is {magic:#010x}")
            self._order = "<" if magic == ORDER_MAGIC else ">"
        kind, total = struct.unpack_from(f"{self._order}II", raw, at)
        if total < 12 or total % 4:
            raise self._wrong(f"a block of {total} bytes does not exist")
        if at + total > size:
            raise self._wrong(f"it has {total} bytes, and the file ends after {size - at}")
        if struct.unpack_from(f"{self._order}I", raw, at + total - 4)[0] != total:
            raise self._wrong("the length at its end is not that at its beginning")
        return kind, total

    def _interface(self, end: int) -> _Interface:
        if self._at + 16 > end:
            raise self._wrong("it is too short for an interface")
        link, _, snaplen = struct.unpack_from(f"{self._order}HHI", self._raw, self._at + 8)
        resolution, offset, at = 1_000_000, 0, self._at + 16
        while at + 4 <= end:
            code, length = struct.unpack_from(f"{self._order}HH", self._raw, at)
            if not code:
                break
            if at + 4 + length > end:
                raise self._wrong(f"its option {code} is longer than the block")
            value = self._raw[at + 4 : at + 4 + length]
            if code == OPTION_RESOLUTION and length == 1:
                power = value[0] & 0x7F
                resolution = 1 << power if value[0] & 0x80 else 10**power
            elif code == OPTION_OFFSET and length == 8:
                offset = struct.unpack(f"{self._order}q", value)[0]
            at += 4 + length + -length % 4
        return _Interface(link, snaplen, resolution, offset)

    def _frame(self, kind: int, end: int) -> Row | None:
        at, order = self._at + 8, self._order
        head = 4 if kind == SIMPLE else 20
        if at + head > end:
            raise self._wrong("it is too short for a frame")
        ticks = number = 0
        if kind == SIMPLE:
            (length,) = struct.unpack_from(f"{order}I", self._raw, at)
            captured = min(length, end - at - head)
        else:
            form = f"{order}IIIII" if kind == ENHANCED else f"{order}HxxIIII"
            number, high, low, captured, length = struct.unpack_from(form, self._raw, at)
            ticks = high << 32 | low
        if number >= len(self._interfaces):
            raise self._wrong(f"it is of interface {number}, which is not described before it")
        if captured > end - at - head:
            raise self._wrong(f"its frame has {captured} bytes, and the block ends before")
        of = self._interfaces[number]
        if of.link != ETHERNET:
            self.others += 1
            return None
        if kind == SIMPLE and of.snaplen:
            captured = min(captured, of.snaplen)
        time = of.offset * 1_000_000_000 + ticks * 1_000_000_000 // of.resolution
        if not -(1 << 63) <= time < 1 << 63:
            raise self._wrong("its time is no time")
        return at + head, captured, length, time

    def _wrong(self, why: str) -> IavfioError:
        return _cut(self._name, self._number, why)
