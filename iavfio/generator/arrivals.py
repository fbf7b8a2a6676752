# SPDX-License-Identifier: BSD-3-Clause
"""Which packets of a stream arrived: each once, again, or behind a later one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from iavfio.generator.signature import MODULUS

BLOCK = 1 << 16  # packets whose arrival is noted together


class Arrivals:
    """The arrivals of one stream, exact however late or often a packet comes.

    `received` packets with a number that had not come before; `duplicated` ones that had;
    `reordered`: of the received, those with a number below one that came earlier (RFC 4737).
    Memory: a byte a packet in blocks of 65536 of which one is missing, nothing for whole blocks.
    """

    def __init__(self) -> None:
        self.received = self.duplicated = self.reordered = 0
        self._highest = -1
        self._blocks: dict[int, NDArray[np.bool_]] = {}
        self._left: dict[int, int] = {}  # missing packets of a block; 0: it is whole

    def add(self, numbers: NDArray[np.int64]) -> None:
        """Packets arrived with these numbers modulo 2**32, in this order."""
        if not len(numbers):
            return
        expected = self._highest + 1
        # The number of which this is the rest: the one that is nearest to the expected one.
        rounds = (expected - numbers + MODULUS // 2) // MODULUS
        numbers = np.maximum(numbers + rounds * MODULUS, numbers)
        fresh = numbers[self._note(numbers)]
        if not len(fresh):
            return
        before = np.maximum.accumulate(np.concatenate(([self._highest], fresh)))
        self.reordered += int(np.count_nonzero(fresh < before[:-1]))
        self._highest = int(before[-1])

    def _note(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Notes the packets as arrived; says of each whether it is the first of its number."""
        first = np.zeros(len(numbers), dtype=bool)
        first[np.unique(numbers, return_index=True)[1]] = True
        blocks = numbers // BLOCK
        for block in np.unique(blocks).tolist():
            here = np.flatnonzero((blocks == block) & first)
            if self._left.get(block) == 0:
                first[here] = False
                continue
            seen = self._blocks.setdefault(block, np.zeros(BLOCK, dtype=bool))
            places = numbers[here] - block * BLOCK
            first[here] = ~seen[places]
            seen[places] = True
            left = self._left.get(block, BLOCK) - int(np.count_nonzero(first[here]))
            self._left[block] = left
            if not left:
                del self._blocks[block]
        new = int(np.count_nonzero(first))
        self.received += new
        self.duplicated += len(numbers) - new
        return first
