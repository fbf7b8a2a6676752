# SPDX-License-Identifier: BSD-3-Clause
"""Captures for the wire that are no classic pcap: played as the others, or refused in words."""

from __future__ import annotations

import gzip
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from scapy.utils import RawPcapNgWriter, RawPcapReader

import iavfio
from iavfio.errors import ConfigError
from iavfio.softvf.capture_input import classic
from iavfio.softvf.dataplane import DataPlane
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


@contextmanager
def written(path: Path, raw: bytes) -> Iterator[None]:
    """A pipe into which somebody writes, who is slow to begin and closes it at the end."""
    os.mkfifo(path)

    def write() -> None:
        time.sleep(0.1)
        path.write_bytes(raw)

    writer = threading.Thread(target=write)
    writer.start()
    yield
    writer.join()


@pytest.mark.parametrize("raw", [*GOOD.values(), pcap(FRAMES)], ids=[*GOOD, "pcap"])
def test_a_pipe_of_every_kind_is_played_whole_and_more_than_once(
    tmp_path: Path, raw: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in"
    with written(path, raw), classic(f"pcap:{path},loop=2") as uplink:
        made = uplink.removeprefix("pcap:").removesuffix(",loop=2")
        found = [data for data, _ in RawPcapReader(made)]
        DataPlane(1, bar_size=0x10000, uplink=uplink).stop()  # which can wind it back
    assert found == FRAMES
    told = f"iavfio: {path} is a pipe: it is read to its end before any VF is there\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("raw", [b"", b"x", b"no capture at all"])
def test_a_pipe_that_brings_no_capture(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "in"
    with (
        written(path, raw),
        pytest.raises(ConfigError, match="what the pipe brought is no capture file"),
        classic(f"pcap:{path}"),
    ):
        pass


@pytest.mark.parametrize(
    "words", ["pcap:{in},{out}", "pcap:,{out}", "pcap:start=1,{in},loop=2,{out}"]
)
def test_nothing_is_recorded_into_a_pipe(tmp_path: Path, words: str) -> None:
    """Its reader could make every VF wait."""
    (tmp_path / "in").write_bytes(pcap(FRAMES))
    os.mkfifo(tmp_path / "out")
    uplink = words.replace("{in}", str(tmp_path / "in")).replace("{out}", str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="whose reader could make all VFs wait"):
        iavfio.softvf(vfs=1, uplink=uplink)


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
