# SPDX-License-Identifier: BSD-3-Clause
"""Counters of all queues of a port as NumPy arrays: one C call for all, nothing made per queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from iavfio._driver import ffi
from iavfio.stats.names import BLOCKS, Counter
from iavfio.stats.patience import Patience

if TYPE_CHECKING:
    from iavfio.stats.reader import SegmentReader


def _dtype(struct: str, table: tuple[Counter, ...]) -> np.dtype[Any]:
    return np.dtype(
        {
            "names": [counter.name for counter in table],
            "formats": ["u8"] * len(table),
            "offsets": [ffi.offsetof(struct, counter.name) for counter in table],
            "itemsize": ffi.sizeof(struct),
        }
    )


class CounterArrays:
    """`rq` and `sq`: one record a queue pair, one field a counter (iavfio.stats.names).

    `read()` brings both up to date in place: `arrays.rq["packets"].sum()`. There are as many
    records as the port had queue pairs when this was made. Each is consistent in itself.
    """

    def __init__(self, reader: SegmentReader) -> None:
        self._reader = reader
        self.pairs = reader.pairs
        arrays: dict[str, NDArray[Any]] = {}
        self._blocks: list[tuple[str, str, Any]] = []
        for block, struct, table in BLOCKS:
            arrays[block] = np.zeros(self.pairs, dtype=_dtype(struct, table))
            pointer = ffi.cast("uint64_t *", ffi.from_buffer(arrays[block]))
            self._blocks.append((block, struct, pointer))
        self.rq, self.sq = arrays["rq"], arrays["sq"]
        self.read()

    def read(self) -> tuple[str, ...]:
        """Copies all counters; returns the labels ("rq3") of records with an unfinished update."""
        torn: list[str] = []
        patience = Patience()
        for block, struct, pointer in self._blocks:
            torn += self._reader.copy_blocks(block, struct, pointer, self.pairs, patience)
        return tuple(torn)
