# SPDX-License-Identifier: BSD-3-Clause
"""How a segment is laid out, and how it describes itself (csrc/driver/segment.h)."""

from __future__ import annotations

import json
from typing import Literal

from iavfio._driver import ffi
from iavfio.stats.names import BLOCKS, GLOBAL, PORT, Counter

MAGIC = b"IAVFSTAT"
State = Literal["opening", "stopped", "running", "resetting", "failed"]
STATES: tuple[State, ...] = ("opening", "stopped", "running", "resetting", "failed")
HEADER: int = ffi.sizeof("struct segment_header")
LINE, PAGE = 64, 4096
MOST_PAIRS = 1 << 12  # queue pairs of a port, far beyond what a VF has
MOST_TEXT = 1 << 16  # bytes of the description


def offsets_of(pairs: int, text_size: int) -> dict[str, int]:
    """Sizes and offsets in bytes, by the header's field names: cache lines, then whole pages."""
    pf = _whole(HEADER, LINE)
    rq = _whole(pf + ffi.sizeof("struct pf_counters"), LINE)
    rq_stride = _whole(ffi.sizeof("struct rq_counters"), LINE)
    sq_stride = _whole(ffi.sizeof("struct sq_counters"), LINE)
    sq = rq + rq_stride * pairs
    text = sq + sq_stride * pairs
    return {
        "size": _whole(text + text_size, PAGE),
        "pf_offset": pf,
        "rq_offset": rq,
        "rq_stride": rq_stride,
        "sq_offset": sq,
        "sq_stride": sq_stride,
        "text_offset": text,
        "text_size": text_size,
    }


def _whole(value: int, unit: int) -> int:
    return -(-value // unit) * unit


LARGEST = offsets_of(MOST_PAIRS, MOST_TEXT)["size"]  # bytes of a segment; a reader maps no more


def describe(name: str, device: str, transport: str, labels: dict[str, str]) -> bytes:
    """The segment's description of itself: JSON with every counter's name, unit and offset."""
    blocks = {
        block: [_row(counter, ffi.offsetof(struct, counter.name)) for counter in table]
        for block, struct, table in BLOCKS
    }
    values = ffi.offsetof("struct pf_counters", "values")
    blocks["global"] = [_row(counter, values + 8 * i) for i, counter in enumerate(GLOBAL)]
    blocks["port"] = [_row(each, ffi.offsetof("struct pf_counters", each.name)) for each in PORT]
    text = {
        "port": name,
        "device": device,
        "transport": transport,
        "labels": labels,
        "sequence": "word 0 of each block; even = stable; read, copy, compare",
        "liveness": "a write lock on byte 0 (fcntl F_OFD_GETLK shows it) while the writer lives",
        "blocks": blocks,
    }
    return json.dumps(text).encode()


def _row(counter: Counter, offset: int) -> dict[str, str | int]:
    row: dict[str, str | int] = {
        "name": counter.name,
        "group": counter.group,
        "unit": counter.unit,
        "offset": offset,
        "meaning": counter.meaning,
    }
    if counter.note:
        row["note"] = counter.note
    return row
