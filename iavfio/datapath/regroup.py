# SPDX-License-Identifier: BSD-3-Clause
"""Packets of several bursts as one burst, and copies of packets.

Nothing of the hot path: for what stands between a queue and a program, such as `iavfio.faults`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from iavfio.datapath.burst import Burst
from iavfio.datapath.columns import MAX_CHAIN, Columns
from iavfio.datapath.frames import build
from iavfio.datapath.packets import Packets
from iavfio.datapath.pair import QueuePair

OF_CHAINS = ("chain", "segments")


def join(pair: QueuePair, parts: Sequence[Packets]) -> Burst:
    """Moves the packets of all parts, in order, into a burst of their own, which owns the buffers.

    `pair` takes the buffers back at release, and its metadata columns are kept where the parts have
    them (0 where not). Raises StateError for a part that was released or sent; the parts before it
    are then given back to the pool.
    """
    most = max(sum(len(part) for part in parts), 1)
    chained = any(part.live().segments is not None for part in parts)
    columns = pair.columns(most)
    if chained and columns.segments is None:
        pair.recycle(columns)
        columns = Columns(most, pair.settings.metadata, scattered=True)
    count = 0
    try:
        for part in parts:
            source, rows = part.hand_over()
            _carry(source, rows, columns, count)
            count += len(rows)
    except BaseException:
        Burst(pair, columns, count).release()
        raise
    return Burst(pair, columns, count)


def _carry(source: Columns, rows: NDArray[np.intp], columns: Columns, at: int) -> None:
    """Copies rows of one burst's arrays to those of another, from row `at`."""
    here = slice(at, at + len(rows))
    columns.handles[here] = source.handles[rows]
    _carry_metadata(source, rows, columns, at)
    if columns.chain is not None and columns.segments is not None:
        if source.chain is None or source.segments is None:
            columns.segments[here] = 1
        else:
            columns.segments[here] = source.segments[rows]
            chains = columns.chain.reshape(-1, MAX_CHAIN)
            chains[here] = source.chain.reshape(-1, MAX_CHAIN)[rows]


def _carry_metadata(source: Columns, rows: NDArray[np.intp], columns: Columns, at: int) -> None:
    for name, array in columns.arrays.items():
        if name not in OF_CHAINS:
            array[at : at + len(rows)] = source.arrays[name][rows] if name in source.arrays else 0


def copy(pair: QueuePair, burst: Burst, rows: NDArray[np.intp]) -> Burst:
    """Copies of the packets with these numbers, in buffers of their own, with their metadata.

    Raises IavfioError when the pool has too few buffers, and StateError after release.
    """
    frames = [b"".join(burst.segments_of(int(row))) for row in rows]
    with build(pair, frames, None) as built:
        copies = join(pair, [built])
    _carry_metadata(burst.live(), rows, copies.live(), 0)
    return copies
