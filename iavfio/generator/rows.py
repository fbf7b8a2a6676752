# SPDX-License-Identifier: BSD-3-Clause
"""Frames as rows of bytes, into which a header field of all of them is written at a time."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from iavfio.generator.field import matrix

Rows: TypeAlias = NDArray[np.uint8]
Numbers: TypeAlias = NDArray[np.int64]

IP_BYTES = {0: 0, 4: 20, 6: 40}  # of an IP header by its version
UDP, ETHERNET = 8, 14  # bytes of their headers


def put(rows: Rows, at: int, width: int, values: list[int]) -> None:
    """Writes a number of `width` bytes into each row."""
    rows[:, at : at + width] = np.frombuffer(matrix(values, width), np.uint8).reshape(-1, width)


def put_word(rows: Rows, at: int, values: Numbers | int) -> None:
    """Writes 16 bits into each row."""
    rows[:, at], rows[:, at + 1] = np.right_shift(values, 8) & 0xFF, np.bitwise_and(values, 0xFF)


def ones_sum(part: Rows) -> Numbers:
    """The sum of each row's 16-bit words; a last odd byte is the upper half of one."""
    upper: Numbers = part[:, 0::2].sum(axis=1, dtype=np.int64) << 8
    lower: Numbers = part[:, 1::2].sum(axis=1, dtype=np.int64)
    return upper + lower


def checksum(part: Rows, more: Numbers | int = 0) -> Numbers:
    """The Internet checksum (RFC 1071) of each row, and of the sum `more`."""
    total: Numbers = ones_sum(part) + more
    while (total > 0xFFFF).any():
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def udp_checksum(rows: Rows, at: int, version: int, lengths: Numbers, protocol: int) -> Numbers:
    """The checksum of what begins at `at`, with the pseudo header of the IP header before it.

    `lengths`: bytes from there to the end of each frame. 0 is told as 0xFFFF, as UDP wants it.
    """
    width = 8 if version == 4 else 32
    check = checksum(rows[:, at:], ones_sum(rows[:, at - width : at]) + lengths + protocol)
    check[check == 0] = 0xFFFF  # 0 would say that there is none (RFC 768)
    return check


def put_ip(
    rows: Rows,
    at: int,
    version: int,
    lengths: Numbers,
    protocol: int,
    ends: tuple[list[int], list[int]],
    *,
    hops: int,
    dscp: int,
) -> None:
    """Writes IP headers; `lengths`: bytes from `at` to the end of each frame."""
    src, dst = ends
    if version == 4:
        rows[:, at : at + 2] = 0x45, dscp << 2
        put_word(rows, at + 2, lengths)
        rows[:, at + 8 : at + 10] = hops, protocol
        put(rows, at + 12, 4, src)
        put(rows, at + 16, 4, dst)
        put_word(rows, at + 10, checksum(rows[:, at : at + 20]))
        return
    rows[:, at : at + 2] = 0x60 | dscp >> 2, (dscp & 3) << 6
    put_word(rows, at + 4, lengths - 40)
    rows[:, at + 6 : at + 8] = protocol, hops
    put(rows, at + 8, 16, src)
    put(rows, at + 24, 16, dst)
