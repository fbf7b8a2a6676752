# SPDX-License-Identifier: BSD-3-Clause
"""A stream's frames, built once before a run, all at a time: headers, checksums and signatures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iavfio.datapath.pair import FCS
from iavfio.errors import ConfigError
from iavfio.generator import signature
from iavfio.generator.field import Field, matrix
from iavfio.generator.stream import L4_BYTES, Stream

Rows = NDArray[np.uint8]
CHUNK = 1024  # frames that are sent between two looks: as many differ in their sequence
DRAWN = 16384  # frames after which random values come again
MOST_FRAMES = 1 << 16
MOST_BYTES = 1 << 28
NUMBERS = {"udp": 17, "tcp": 6, "icmp": 1}
ICMP6 = 58
ETHERTYPES = {4: 0x0800, 6: 0x86DD}
ECHO_REQUEST = {4: 8, 6: 128}


@dataclass(frozen=True)
class Crafted:
    """Frames of a stream: frame i is `data[offsets[i] : offsets[i] + lengths[i]]`, without FCS.

    `signatures`: where in `data` each frame's signature begins, None for frames without one.
    Packet n of the stream is frame n modulo their number.
    """

    data: Rows
    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint32]
    signatures: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: int) -> bytes:
        at = int(self.offsets[index])
        return self.data[at : at + int(self.lengths[index])].tobytes()


def craft(stream: Stream, number: int, run: int, own: bytes, peer: bytes) -> Crafted:
    """The frames of a stream, the `number`-th of a run with the mark `run`.

    `own` and `peer`: the MAC addresses where the stream names none. Raises ConfigError for more
    different frames than there is room for.
    """
    recipe = stream.recipe
    if recipe.template is not None:
        return _from_template(stream, own)
    frames = _frame_count(stream)
    sizes = np.array(_column(stream, "size", recipe.size, frames), dtype=np.int64) - FCS
    stride = (int(sizes.max()) + 7) // 8 * 8
    if frames * stride > MOST_BYTES:
        raise ConfigError(
            f"the frames of stream {stream.name or number} take {frames * stride} bytes",
            f"{frames} different frames; a stream can have {MOST_BYTES} bytes",
            "narrow its ranges, or make its frames shorter",
        )
    rows = np.zeros((frames, stride), dtype=np.uint8)
    rows[:, recipe.headers :] = np.arange(stride - recipe.headers) & 0xFF
    rows[np.arange(stride) >= sizes[:, None]] = 0
    _ethernet(rows, stream, recipe.dst_mac or peer, recipe.src_mac or own)
    starts = sizes - signature.BYTES
    signature.write(rows, starts, run, number)
    if recipe.version:
        _ip(rows, stream, sizes)
        _l4(rows, stream, sizes)
    at = np.arange(frames, dtype=np.int64) * stride
    return Crafted(rows.reshape(-1), at.astype(np.uint64), sizes.astype(np.uint32), at + starts)


def _from_template(stream: Stream, own: bytes) -> Crafted:
    template = stream.recipe.template
    assert template is not None
    data = template.data.copy()
    places = ((stream.recipe.dst_mac, 0), (stream.recipe.src_mac or own, 6))
    for mac, at in places:
        if mac is None or (at and stream.src_mac == "keep"):
            continue
        index = template.offsets.astype(np.int64)[:, None] + at + np.arange(6)
        data[index] = np.frombuffer(mac, np.uint8)
    return Crafted(data, template.offsets, template.lengths, None)


def _frame_count(stream: Stream) -> int:
    """How many frames there are to be: whole periods, and no fewer than are sent at a time."""
    r = stream.recipe
    varying = [r.size, r.src_ip, r.dst_ip, r.sport, r.dport, *(ids for _, ids in r.tags)]
    period = 1
    for field in varying:
        period = math.lcm(period, field.period)
    if period > MOST_FRAMES:
        raise ConfigError(
            f"stream {stream.name or 'without a name'} has {period} different frames",
            f"its fields repeat together only then, and {MOST_FRAMES} are possible",
            "make ranges shorter or of equal lengths, draw from them (random:), or use two streams",
        )
    least = DRAWN if any(field.random for field in varying) else CHUNK
    return period * -(-least // period)


def _column(stream: Stream, name: str, field: Field, frames: int) -> list[int]:
    return field.values(frames, f"{stream.seed} {name}")


def _put(rows: Rows, at: int, width: int, values: list[int]) -> None:
    rows[:, at : at + width] = np.frombuffer(matrix(values, width), np.uint8).reshape(-1, width)


def _put_word(rows: Rows, at: int, values: NDArray[np.int64]) -> None:
    rows[:, at], rows[:, at + 1] = values >> 8 & 0xFF, values & 0xFF


def _ethernet(rows: Rows, stream: Stream, dst: bytes, src: bytes) -> None:
    rows[:, :12] = np.frombuffer(dst + src, np.uint8)
    at = 12
    for kind, ids in stream.recipe.tags:
        name = "qinq" if kind == 0x88A8 else "vlan"
        tci = [stream.pcp << 13 | each for each in _column(stream, name, ids, len(rows))]
        _put(rows, at, 2, [kind] * len(rows))
        _put(rows, at + 2, 2, tci)
        at += 4
    kind = ETHERTYPES.get(stream.recipe.version, stream.ethertype)
    _put(rows, at, 2, [kind] * len(rows))


def _protocol(stream: Stream) -> int:
    """The number of the protocol in the IP header."""
    if stream.proto == "icmp" and stream.recipe.version == 6:
        return ICMP6
    return NUMBERS[stream.proto]


def _ip(rows: Rows, stream: Stream, sizes: NDArray[np.int64]) -> None:
    recipe, frames = stream.recipe, len(rows)
    at = 14 + 4 * len(recipe.tags)
    src = _column(stream, "src_ip", recipe.src_ip, frames)
    dst = _column(stream, "dst_ip", recipe.dst_ip, frames)
    if recipe.version == 4:
        rows[:, at : at + 2] = 0x45, stream.dscp << 2
        _put_word(rows, at + 2, sizes - at)
        rows[:, at + 8 : at + 10] = stream.ttl, _protocol(stream)
        _put(rows, at + 12, 4, src)
        _put(rows, at + 16, 4, dst)
        _put_word(rows, at + 10, _checksum(rows[:, at : at + 20]))
        return
    rows[:, at : at + 2] = 0x60 | stream.dscp >> 2, (stream.dscp & 3) << 6
    _put_word(rows, at + 4, sizes - at - 40)
    rows[:, at + 6 : at + 8] = _protocol(stream), stream.ttl
    _put(rows, at + 8, 16, src)
    _put(rows, at + 24, 16, dst)


def _l4(rows: Rows, stream: Stream, sizes: NDArray[np.int64]) -> None:
    recipe, frames = stream.recipe, len(rows)
    at = recipe.headers - L4_BYTES[stream.proto]
    lengths = sizes - at
    if stream.proto == "icmp":
        rows[:, at] = ECHO_REQUEST[recipe.version]
        _put(rows, at + 4, 2, _column(stream, "sport", recipe.sport, frames))  # the identifier
        place = 2
    else:
        _put(rows, at, 2, _column(stream, "sport", recipe.sport, frames))
        _put(rows, at + 2, 2, _column(stream, "dport", recipe.dport, frames))
        place = 6
        if stream.proto == "tcp":
            rows[:, at + 12 : at + 16] = 0x50, recipe.flags, 0xFF, 0xFF
            place = 16
        else:
            _put_word(rows, at + 4, lengths)
    pseudo = np.zeros(frames, dtype=np.int64)
    if not (stream.proto == "icmp" and recipe.version == 4):
        width = 8 if recipe.version == 4 else 32
        pseudo = _sum(rows[:, at - width : at]) + lengths + _protocol(stream)
    check = _checksum(rows[:, at:], pseudo)
    if stream.proto == "udp":
        check[check == 0] = 0xFFFF  # 0 would say that there is none (RFC 768)
    _put_word(rows, at + place, check)


def _sum(part: Rows) -> NDArray[np.int64]:
    """The sum of each row's 16-bit words; a last odd byte is the upper half of one."""
    upper: NDArray[np.int64] = part[:, 0::2].sum(axis=1, dtype=np.int64) << 8
    lower: NDArray[np.int64] = part[:, 1::2].sum(axis=1, dtype=np.int64)
    return upper + lower


def _checksum(part: Rows, more: NDArray[np.int64] | int = 0) -> NDArray[np.int64]:
    """The Internet checksum (RFC 1071) of each row, and of the sum `more`."""
    total: NDArray[np.int64] = _sum(part) + more
    while (total > 0xFFFF).any():
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
