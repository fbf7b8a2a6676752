# SPDX-License-Identifier: BSD-3-Clause
"""Capture files as replay takes them: read, given other addresses, and timed."""

from __future__ import annotations

import gzip
import struct

import numpy as np

from iavfio.capture.packet_file import load
from iavfio.capture.rewrite import parse_rule, rewrite
from iavfio.capture.schedule import due_times, parse_rate, parse_timing
from iavfio.errors import IavfioError
from tests.fuzz.file_targets import written
from tests.fuzz.target import Target

OWN = bytes.fromhex("020000000001")
RULES = [
    parse_rule(text)
    for text in (
        "src-mac=own",
        "dst-mac=02:00:00:00:00:02",
        "ip=0.0.0.0/0,0.0.0.0/0",
        "ip=10.0.0.0/8,192.0.0.0/8",
        "ip-dst=2001:db8::/32,fd00:1::/32",
        "ip-src=::/0,::/0",
    )
]
TIMINGS = [parse_timing("original"), parse_timing("x0.001"), parse_timing("x1000000")]
TIMINGS += [parse_timing("max"), parse_rate("1bps"), parse_rate("0.001"), parse_rate("10Gbit/s")]
ORDER_MAGIC = 0x1A2B3C4D


def replayed(data: bytes) -> None:
    """What is read lies in the file, keeps its length, and is due in an order that C can keep."""
    try:
        frames = load(written("replayed", data))
    except IavfioError as error:
        assert error.what
        assert error.cause
        return
    ends = frames.offsets + frames.lengths
    assert not len(frames) or int(ends.max()) <= len(frames.data)
    size = len(frames.data)
    rewrite(frames, RULES, OWN)
    assert len(frames.data) == size
    for timing in TIMINGS if len(frames) else ():
        due, round_ns = due_times(frames, timing)
        assert 0 <= round_ns < 1 << 64
        if due is not None:
            assert bool(np.all(due[1:] >= due[:-1]))
            assert int(due[-1]) <= round_ns


def _block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    total = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + total + body + total


def _frame(version: int) -> bytes:
    macs = bytes(12)
    udp = struct.pack(">HHHH", 1, 2, 8, 7)
    if version == 4:
        header = struct.pack(">BBHHHBBHII", 0x45, 0, 28, 0, 0, 9, 17, 7, 0x0A000001, 0x0A000002)
        return macs + b"\x08\x00" + header + udp
    header = struct.pack(">IHBB", 6 << 28, 8, 17, 9) + bytes.fromhex("20010db8") * 8
    return macs + b"\x81\x00\x00\x05\x86\xdd" + header + udp


def _pcapng(order: str) -> bytes:
    options = struct.pack(f"{order}HHBxxxHHqI", 9, 1, 9, 14, 8, -9, 0)
    blocks = [
        _block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", ORDER_MAGIC, 1, 0, -1)),
        _block(order, 1, struct.pack(f"{order}HHI", 1, 0, 64) + options),
    ]
    for time, frame in ((0, _frame(4)), (1 << 63, _frame(6))):
        head = struct.pack(f"{order}IIIII", 0, time >> 32, 0, len(frame), len(frame))
        blocks.append(_block(order, 6, head + frame))
    blocks.append(_block(order, 3, struct.pack(f"{order}I", 42) + _frame(4)))
    return b"".join(blocks)


def replayed_seeds() -> list[bytes]:
    seeds = []
    for order in "<>":
        head = struct.pack(order + "IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
        records = [
            struct.pack(order + "IIII", seconds, 2, len(frame), len(frame)) + frame
            for seconds, frame in ((1, _frame(4)), (0xFFFFFFFF, _frame(6)), (3, _frame(4)))
        ]
        seeds += [head + b"".join(records), _pcapng(order)]
    return [*seeds, gzip.compress(seeds[0]), gzip.compress(seeds[1])]


TARGETS = (
    Target(
        "replayed",
        replayed,
        replayed_seeds,
        "any capture file, packed or not, to replay: its reader, its rewriting, its timing",
        "an exception that is no IavfioError, a frame outside of the file, frames out of order",
    ),
)
