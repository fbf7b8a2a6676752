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
from iavfio.generator.field import Field
from iavfio.generator.rows import IP_BYTES, Rows, checksum, put, put_ip, put_word, udp_checksum
from iavfio.generator.stream import L4_BYTES, Stream
from iavfio.generator.tunnel import ETHERTYPES, Tunnel

CHUNK = 1024  # frames that are sent between two looks: as many differ in their sequence
DRAWN = 16384  # frames after which random values come again
MOST_FRAMES = 1 << 16
MOST_BYTES = 1 << 28
NUMBERS = {"udp": 17, "tcp": 6, "icmp": 1}
ICMP6 = 58
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
    if recipe.tunnel is not None:
        _tunnel(rows, stream, sizes, recipe.tunnel)
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
    varying += [] if r.tunnel is None else r.tunnel.fields
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


def _ethernet(rows: Rows, stream: Stream, dst: bytes, src: bytes) -> None:
    rows[:, :12] = np.frombuffer(dst + src, np.uint8)
    at = 12
    for kind, ids in stream.recipe.tags:
        name = "qinq" if kind == 0x88A8 else "vlan"
        tci = [stream.pcp << 13 | each for each in _column(stream, name, ids, len(rows))]
        put(rows, at, 2, [kind] * len(rows))
        put(rows, at + 2, 2, tci)
        at += 4
    tunnel = stream.recipe.tunnel
    put_word(rows, at, _ethertype(stream) if tunnel is None else ETHERTYPES[tunnel.version])


def _ethertype(stream: Stream) -> int:
    """The EtherType before the stream's own packets."""
    return ETHERTYPES.get(stream.recipe.version, stream.ethertype)


def _protocol(stream: Stream) -> int:
    """The number of the protocol in the IP header."""
    if stream.proto == "icmp" and stream.recipe.version == 6:
        return ICMP6
    return NUMBERS[stream.proto]


def _ip(rows: Rows, stream: Stream, sizes: NDArray[np.int64]) -> None:
    recipe, frames = stream.recipe, len(rows)
    ends = (
        _column(stream, "src_ip", recipe.src_ip, frames),
        _column(stream, "dst_ip", recipe.dst_ip, frames),
    )
    at = recipe.headers - L4_BYTES[stream.proto] - IP_BYTES[recipe.version]
    put_ip(
        rows,
        at,
        recipe.version,
        sizes - at,
        _protocol(stream),
        ends,
        hops=stream.ttl,
        dscp=stream.dscp,
    )


def _tunnel(rows: Rows, stream: Stream, sizes: NDArray[np.int64], tunnel: Tunnel) -> None:
    tunnel.write(
        rows,
        14 + 4 * len(stream.recipe.tags),
        sizes,
        lambda name, field: _column(stream, name, field, len(rows)),
        inner=_ethertype(stream),
        hops=stream.ttl,
        dscp=stream.dscp,
    )


def _l4(rows: Rows, stream: Stream, sizes: NDArray[np.int64]) -> None:
    recipe, frames = stream.recipe, len(rows)
    at = recipe.headers - L4_BYTES[stream.proto]
    lengths = sizes - at
    if stream.proto == "icmp":
        rows[:, at] = ECHO_REQUEST[recipe.version]
        put(rows, at + 4, 2, _column(stream, "sport", recipe.sport, frames))  # the identifier
        place = 2
    else:
        put(rows, at, 2, _column(stream, "sport", recipe.sport, frames))
        put(rows, at + 2, 2, _column(stream, "dport", recipe.dport, frames))
        place = 6
        if stream.proto == "tcp":
            rows[:, at + 12 : at + 16] = 0x50, recipe.flags, 0xFF, 0xFF
            place = 16
        else:
            put_word(rows, at + 4, lengths)
    if stream.proto == "icmp" and recipe.version == 4:  # it alone knows no pseudo header
        put_word(rows, at + place, checksum(rows[:, at:]))
        return
    check = udp_checksum(rows, at, recipe.version, lengths, _protocol(stream))
    if stream.proto != "udp":
        check[check == 0xFFFF] = 0
    put_word(rows, at + place, check)
