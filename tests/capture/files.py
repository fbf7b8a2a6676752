# SPDX-License-Identifier: BSD-3-Clause
"""Capture files as scapy reads them, which has none of our code, and their statistics block."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scapy.utils import RawPcapNgReader, RawPcapWriter

STATISTICS = 5


@dataclass(frozen=True)
class Record:
    data: bytes
    time_ns: int
    length: int  # on the wire
    interface: str


def records(path: Path | str) -> list[Record]:
    """All frames of a pcapng file whose times are in nanoseconds."""
    found = []
    with RawPcapNgReader(str(path)) as reader:
        meta: Any
        for data, meta in reader:
            assert meta.linktype == 1
            assert meta.tsresol == 1_000_000_000
            name = meta.ifname.decode() if meta.ifname else ""
            found.append(Record(data, meta.tshigh << 32 | meta.tslow, meta.wirelen, name))
    return found


def blocks(path: Path | str) -> list[tuple[int, bytes]]:
    """Type and body of each block of a file, which must be whole and agree on their lengths."""
    raw = Path(path).read_bytes()
    found, at = [], 0
    while at < len(raw):
        kind, total = struct.unpack_from("=II", raw, at)
        assert total % 4 == 0 and total >= 12 and at + total <= len(raw)
        assert struct.unpack_from("=I", raw, at + total - 4)[0] == total
        found.append((kind, raw[at + 8 : at + total - 4]))
        at += total
    return found


def options(body: bytes, at: int) -> dict[int, bytes]:
    """Options of a block's body from `at` on; of several of a kind the last one."""
    found = {}
    while at < len(body):
        code, length = struct.unpack_from("=HH", body, at)
        if not code:
            break
        found[code] = body[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4
    return found


def statistics(path: Path | str) -> dict[str, int]:
    """The counters of a file's interface statistics block, which is its last block."""
    kind, body = blocks(path)[-1]
    assert kind == STATISTICS
    names = {4: "received", 5: "dropped", 6: "accepted", 7: "os_dropped", 8: "delivered"}
    given = options(body, 12)
    return {name: struct.unpack("=Q", given[code])[0] for code, name in names.items()}


def write_pcap(path: Path | str, frames: list[bytes], **how: Any) -> None:
    """A classic pcap file by scapy, with times one second apart from 1 s on."""
    with RawPcapWriter(str(path), linktype=1, **how) as writer:
        writer.write_header(b"")
        for number, data in enumerate(frames, 1):
            writer.write_packet(data, sec=number, usec=0)
