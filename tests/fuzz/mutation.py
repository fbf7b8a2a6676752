# SPDX-License-Identifier: BSD-3-Clause
"""Inputs made from others, the same for the same seed: for every test run, and without atheris."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tests.fuzz.target import MOST

EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 1 << 31, (1 << 32) - 1, (1 << 64) - 1)


def mutations(inputs: Sequence[bytes], seed: int = 0) -> Iterator[bytes]:
    """Yields without end: first the inputs, then one of them with one to four changes."""
    yield from inputs
    dice = random.Random(seed)
    while True:
        data = bytearray(dice.choice(inputs))
        for _ in range(dice.randint(1, 4)):
            _change(data, dice, inputs)
        yield bytes(data[:MOST])


def _change(data: bytearray, dice: random.Random, inputs: Sequence[bytes]) -> None:
    at = dice.randrange(len(data) + 1)
    match dice.randrange(7):
        case 0 if at < len(data):
            data[at] ^= 1 << dice.randrange(8)
        case 1 if at < len(data):
            data[at] = dice.randrange(256)
        case 2:
            width = dice.choice((1, 2, 4, 8))
            edge = dice.choice(EDGES) & ((1 << 8 * width) - 1)
            data[at : at + width] = edge.to_bytes(width, dice.choice(("little", "big")))
        case 3:
            data[at:at] = dice.randbytes(dice.randint(1, 16))
        case 4:
            del data[at : at + dice.randint(1, 16)]
        case 5:
            other = dice.choice(inputs)
            begin = dice.randrange(len(other) + 1)
            data[at:] = other[begin:]
        case _:
            data[at:at] = data[at : at + dice.randint(1, 32)] * dice.randint(1, 4)
