# SPDX-License-Identifier: BSD-3-Clause
"""Captures for the wire that are no classic pcap: played as the others, or refused in words."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import pytest
from scapy.utils import RawPcapNgWriter, RawPcapReader

import iavfio
from iavfio.errors import ConfigError
from iavfio.softvf.capture_input import classic
from tests.port.rig import collect, udp
from tests.softvf.dataplane.test_wire import pcap

BROADCAST = b"\xff" * 6
FRAMES = [udp(BROADCAST, bytes.fromhex("0200000000aa"), sport=i) for i in range(40)]


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    total = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + total + body + total


def pcapng(order: str = "<", link: int = 1) -> bytes:
    """Frames at 2, 3, 4 ... seconds by Enhanced Packet Blocks in ns, with a block nobody knows."""
    out = block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))
    out += block(order, 1, struct.pack(f"{order}HHIHHBxxxI", link, 0, 0, 9, 1, 9, 0))
    out += block(order, 0x0BAD, b"12345")
    for i, data in enumerate(FRAMES, 2):
        ticks = i * 1_000_000_000
        head = struct.pack(
            f"{order}IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data)
        )
        out += block(order, 6, head + data)
    return out


GOOD = {
    "pcapng": pcapng(),
    "pcapng, big endian": pcapng(">"),
    "pcapng, packed": gzip.compress(pcapng()),
    "pcap, packed": gzip.compress(pcap(FRAMES)),
    "pcap, big endian, packed in two members": gzip.compress(pcap(FRAMES[:9], ">"))
    + gzip.compress(pcap(FRAMES, ">")[24 + 9 * (16 + len(FRAMES[0])) :]),
}


@pytest.mark.parametrize("raw", GOOD.values(), ids=GOOD)
def test_every_kind_reaches_the_vf_whole_and_in_order(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "in"
    path.write_bytes(raw)
    with (
        iavfio.softvf(vfs=1, uplink=f"pcap:{path},start=1") as pf,
        iavfio.open(pf.sockets[0]) as port,
    ):
        port.start(wait_link=10)
        assert collect(port.rx, len(FRAMES)) == FRAMES
        wire = pf.control("wire")["wire"]
    assert (wire["received"], wire["capture_ended"], wire["capture_damaged"]) == (40, 1, 0)


def test_times_and_lengths_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(pcapng())
    with classic(f"pcap:start=all,{path},out") as uplink:
        start, made, out = uplink.removeprefix("pcap:").split(",")
        found = [(data, meta.sec, meta.wirelen) for data, meta in RawPcapReader(made)]
    assert (start, out) == ("start=all", "out")
    assert found == [(data, i, len(data)) for i, data in enumerate(FRAMES, 2)]


def test_a_file_of_another_writer(tmp_path: Path) -> None:
    path = tmp_path / "in"
    with RawPcapNgWriter(str(path)) as writer:
        writer.write_header(None)
        for data in FRAMES:
            writer.write_packet(data, sec=7, usec=8)
    with classic(f"pcap:{path}") as uplink:
        found = [(data, meta.sec) for data, meta in RawPcapReader(uplink.removeprefix("pcap:"))]
    assert found == [(data, 7) for data in FRAMES]


@pytest.mark.parametrize("uplink", ["none", "loopback", "gen:size=64", "pcap:,out", "pcap:/nowhere",
                                    "pcap:", "pcap:start=1"])  # fmt: skip
def test_other_uplinks_stay_as_they_are(uplink: str) -> None:
    with classic(uplink) as same:
        assert same == uplink


def test_a_classic_file_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(pcap(FRAMES))
    with classic(f"pcap:{path}") as same:
        assert same == f"pcap:{path}"


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_is_cut_anywhere_is_refused_or_whole(tmp_path: Path, packed: bool) -> None:
    raw, path = pcapng()[: 28 + 32 + 20 + 3 * 100], tmp_path / "in"
    raw = gzip.compress(raw) if packed else raw
    whole = 0
    for cut in range(4, len(raw)):
        path.write_bytes(raw[:cut])
        try:
            with classic(f"pcap:{path}"):
                whole += 1
        except ConfigError as error:
            assert "it is cut or damaged" in error.what
            assert "at block" in error.cause or "gzip data" in error.cause
    assert whole == (0 if packed else 6)  # as many blocks end inside


BAD = {
    "link type": (pcapng(link=113), "link type 113, not Ethernet"),
    "packed text": (gzip.compress(b"hello"), "no capture file"),
    "interface": (pcapng()[:28] + block("<", 6, bytes(20)), "at block 2 what it says"),
    "length": (pcapng()[:28] + b"\6\0\0\0\x0d\0\0\0" + bytes(8), "at block 2 a length of 13"),
}


@pytest.mark.parametrize(("raw", "words"), BAD.values(), ids=BAD)
def test_a_wrong_file_keeps_a_pf_from_starting(tmp_path: Path, raw: bytes, words: str) -> None:
    path = tmp_path / "in"
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=words) as error:
        iavfio.softvf(vfs=1, uplink=f"pcap:{path}")
    assert str(path) in error.value.what


def test_a_file_s_name_may_hold_any_bytes(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff\xfe")
    path.write_bytes(pcap(FRAMES))
    with iavfio.softvf(vfs=1, uplink=f"pcap:{path}") as pf:
        assert pf.running
    with pytest.raises(ConfigError, match="No such file"):
        iavfio.softvf(vfs=1, uplink=f"pcap:{path}-nowhere")
