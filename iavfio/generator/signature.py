# SPDX-License-Identifier: BSD-3-Clause
"""The last 12 bytes of a frame, by which a receiver knows its run, its stream and its number.

Run and stream, 16 bits each, the number and its complement, 32 bits each, in network order. Number
and complement together add the same to any Internet checksum: numbers change and checksums stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BYTES = 12
HIGHEST = 0xFFFFFFFF
MODULUS = 1 << 32


@dataclass(frozen=True)
class Signed:
    """The signatures of some frames: those of the run that are whole, in order of arrival.

    `mine`: which of the frames these were.
    """

    streams: NDArray[np.int64]
    numbers: NDArray[np.int64]
    mine: NDArray[np.bool_]


def write(rows: NDArray[np.uint8], starts: NDArray[np.int64], run: int, stream: int) -> None:
    """Writes signatures with number 0 into the rows, each at its place."""
    text = run.to_bytes(2, "big") + stream.to_bytes(2, "big") + bytes(4) + b"\xff" * 4
    index = starts[:, None] + np.arange(BYTES)
    rows[np.arange(len(rows))[:, None], index] = np.frombuffer(text, np.uint8)


def renumber(
    data: NDArray[np.uint8], starts: NDArray[np.int64], numbers: NDArray[np.int64]
) -> None:
    """Writes other numbers into the signatures that begin at `starts`."""
    low = (numbers % MODULUS).astype(">u4")
    both = np.stack((low, ~low), axis=1).astype(">u4")
    data[starts[:, None] + np.arange(4, BYTES)] = both.view(np.uint8).reshape(-1, 8)


def read(tails: NDArray[np.uint8], run: int) -> Signed:
    """The signatures in rows of 12 bytes, of those frames that carry one of this run."""
    words = np.ascontiguousarray(tails).view(">u2").astype(np.int64)
    numbers = words[:, 2] << 16 | words[:, 3]
    others = words[:, 4] << 16 | words[:, 5]
    known = (words[:, 0] == run) & (numbers ^ others == HIGHEST)
    return Signed(words[known, 1], numbers[known], known)
