# SPDX-License-Identifier: BSD-3-Clause
"""Capture files: each kind read whole, and none that is cut or odd read wrong in silence."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.utils import RawPcapNgWriter

from iavfio.capture.packet_file import Frames, load
from iavfio.errors import ConfigError, IavfioError
from tests.capture.files import write_pcap

FRAMES = [bytes([i]) * (60 + i) for i in range(9)]
FEW = FRAMES[:3]
SECOND = 1_000_000_000


def read(path: Path) -> list[bytes]:
    frames = load(path)
    return [frames[i] for i in range(len(frames))]


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    total = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + total + body + total


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, resolution: int | None = None, link: int = 1, offset: int = 0) -> bytes:
    options = b""
    if resolution is not None:
        options += struct.pack(f"{order}HHBxxx", 9, 1, resolution)
    if offset:
        options += struct.pack(f"{order}HHq", 14, 8, offset)
    return block(order, 1, struct.pack(f"{order}HHI", link, 0, 0) + options + bytes(4))


def enhanced(order: str, data: bytes, ticks: int = 0, number: int = 0) -> bytes:
    head = struct.pack(
        f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data)
    )
    return block(order, 6, head + data)


@pytest.mark.parametrize("nano", [False, True])
@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
def test_classic_files_of_every_kind(
    tmp_path: Path, nano: bool, endianness: str, packed: bool
) -> None:
    path = tmp_path / "a"
    write_pcap(path, FRAMES, nano=nano, endianness=endianness)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert read(path) == FRAMES
    assert load(path).times.tolist() == [(i + 1) * SECOND for i in range(len(FRAMES))]


def test_a_file_of_scapys_pcapng_writer(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with RawPcapNgWriter(str(path)) as writer:
        writer.write_header(None)
        for i, data in enumerate(FRAMES):
            writer.write_packet(data, sec=i, usec=5)
    assert read(path) == FRAMES


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("resolution", "ticks", "ns"),
    [
        (None, 1_500_000, 1_500_000_000),
        (6, 7, 7000),
        (9, 123_456_789_012, 123_456_789_012),
        (3, 4, 4_000_000),
        (12, 5_000, 5),
        (0x80 | 10, 512, 500_000_000),
    ],
)
def test_times_of_every_resolution(
    tmp_path: Path, order: str, resolution: int | None, ticks: int, ns: int
) -> None:
    path = tmp_path / "a"
    path.write_bytes(
        section(order) + interface(order, resolution) + enhanced(order, FRAMES[0], ticks)
    )
    frames = load(path)
    assert (frames[0], int(frames.times[0])) == (FRAMES[0], ns)
    path.write_bytes(
        section(order) + interface(order, resolution, offset=3) + enhanced(order, FRAMES[0], ticks)
    )
    assert int(load(path).times[0]) == ns + 3 * SECOND


def test_sections_interfaces_and_other_blocks(tmp_path: Path) -> None:
    """A second section has interfaces of its own, and another byte order."""
    old = struct.pack("<HHIIII", 0, 0, 0, 9, 60, 60) + FRAMES[0]
    simple = struct.pack("<I", 61) + FRAMES[1]
    path = tmp_path / "a"
    path.write_bytes(
        section("<") + block("<", 0x0BAD, b"what nobody knows") + interface("<")
        + interface("<", link=113) + enhanced("<", FRAMES[2], number=0)
        + enhanced("<", b"x" * 20, number=1) + block("<", 2, old) + block("<", 3, simple)
        + block("<", 4, bytes(8)) + section(">") + interface(">") + enhanced(">", FRAMES[3])
    )  # fmt: skip
    assert read(path) == [FRAMES[2], FRAMES[0], FRAMES[1], FRAMES[3]]
    assert load(path).others == 1


def whole(kind: str) -> bytes:
    if kind == "pcap":
        rows = [struct.pack("<IIII", i, 0, len(f), len(f)) + f for i, f in enumerate(FEW)]
        return struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(rows)
    return section("<") + interface("<", 9) + b"".join(enhanced("<", f) for f in FEW)


@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_a_file_cut_anywhere_is_read_to_a_record_or_refused_with_its_number(
    tmp_path: Path, kind: str
) -> None:
    raw, path = whole(kind), tmp_path / "a"
    clean = 0
    for cut in range(len(raw)):
        path.write_bytes(raw[:cut])
        try:
            found = read(path)
        except ConfigError as error:
            assert cut < 4
            assert "is no capture file" in error.what
        except IavfioError as error:
            assert "is cut or damaged at record" in error.what
            assert str(cut) in error.cause or "ends after" in error.cause
        else:
            assert found == FEW[: len(found)]
            clean += 1
    assert clean == (len(FEW) if kind == "pcap" else len(FEW) + 1)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["pcap", "pcapng"]),
    at=st.integers(0, 400),
    change=st.binary(min_size=1, max_size=8),
)
def test_a_damaged_file_gives_frames_of_the_file_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, kind: str, at: int, change: bytes
) -> None:
    raw = bytearray(whole(kind))
    raw[at : at + len(change)] = change
    path = tmp_path_factory.getbasetemp() / f"damaged-{kind}"
    path.write_bytes(raw)
    try:
        frames = load(path)
    except IavfioError as error:
        assert error.what and error.cause
        return
    assert inside(frames, len(raw))


def inside(frames: Frames, size: int) -> bool:
    return all(
        int(at) + int(length) <= size
        for at, length in zip(frames.offsets, frames.lengths, strict=True)
    )


BAD = {
    "empty": (b"", "it has 0 bytes"),
    "text": (b"hello, world", "it begins with 68 65 6c 6c"),
    "no Ethernet": (whole("pcap")[:20] + b"\x71\0\0\0", "its link type is 113"),
    "unknown interface": (section("<") + enhanced("<", b"x" * 60), "of interface 0, which is not"),
    "block of 13 bytes": (section("<") + b"\x06\0\0\0\x0d\0\0\0" + bytes(8), "13 bytes does not"),
    "two lengths": (section("<")[:-4] + b"\x20\0\0\0", "is not that at its beginning"),
    "order": (b"\n\r\r\n\x1c\0\0\0abcd" + bytes(16), "byte order mark"),
    "gzip": (gzip.compress(whole("pcap"))[:50], "gzip data are cut or damaged"),
    "long option": (
        section("<") + block("<", 1, struct.pack("<HHIHH", 1, 0, 0, 9, 99)), "option 9 is longer"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "words"), BAD.values(), ids=BAD)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, raw: bytes, words: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(raw)
    with pytest.raises(IavfioError) as error:
        load(path)
    assert words in str(error.value)
    assert str(path) in error.value.what
