# SPDX-License-Identifier: BSD-3-Clause
"""The arrays behind a burst: one per column that C fills, reused from burst to burst."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from iavfio._driver import ffi, lib

METADATA: dict[str, int] = {
    "rss": lib.META_RSS,
    "ptype": lib.META_PTYPE,
    "csum": lib.META_CSUM,
    "vlan": lib.META_VLAN,
    "mark": lib.META_MARK,
    "time": lib.META_TIME,
}
COLUMNS: dict[str, tuple[str, Any]] = {  # metadata name -> C type, dtype
    "rss": ("uint32_t *", np.uint32),
    "ptype": ("uint16_t *", np.uint16),
    "csum": ("uint8_t *", np.uint8),
    "vlan": ("uint16_t *", np.uint16),
    "mark": ("uint32_t *", np.uint32),
    "time": ("uint32_t *", np.uint32),
}
MAX_CHAIN = 4  # segments behind the first: a frame has at most 5 (docs/spec/descriptors.md 8)


class Columns:
    """Arrays for up to `capacity` packets, and the C struct that points to them.

    `metadata` holds bits of `enum meta_bit`; `scattered` adds the arrays for chained packets.
    `owner` is the queue pair that may use the arrays again.
    """

    __slots__ = (
        "arrays",
        "capacity",
        "chain",
        "handles",
        "owner",
        "p_handles",
        "raw",
        "segments",
    )

    def __init__(self, capacity: int, metadata: int, scattered: bool, owner: object = None) -> None:
        self.capacity = capacity
        self.owner = owner
        self.raw: Any = ffi.new("struct columns *")
        self.handles: NDArray[np.uint64] = np.zeros(capacity, dtype=np.uint64)
        self.p_handles: Any = ffi.cast("uint64_t *", ffi.from_buffer(self.handles))
        self.raw.handles = self.p_handles
        self.arrays: dict[str, NDArray[Any]] = {}
        for name, (ctype, dtype) in COLUMNS.items():
            if metadata & METADATA[name]:
                self._add(name, ctype, dtype, capacity)
        if metadata:
            self._add("flags", "uint8_t *", np.uint8, capacity)
        self.chain: NDArray[np.uint64] | None = None
        self.segments: NDArray[np.uint8] | None = None
        if scattered:
            self.chain = self._add("chain", "uint64_t *", np.uint64, capacity * MAX_CHAIN)
            self.segments = self._add("segments", "uint8_t *", np.uint8, capacity)

    def _add(self, name: str, ctype: str, dtype: Any, size: int) -> NDArray[Any]:
        array: NDArray[Any] = np.zeros(size, dtype=dtype)
        setattr(self.raw, name, ffi.cast(ctype, ffi.from_buffer(array)))
        self.arrays[name] = array
        return array

    def from_packet(self, at: int) -> tuple[Any, Any, Any]:
        """C pointers to handles, chains and segment counts of packet `at` and those behind it.

        The last two are NULL where no packet can be chained.
        """
        if self.segments is None:
            return self.p_handles + at, ffi.NULL, ffi.NULL
        return self.p_handles + at, self.raw.chain + MAX_CHAIN * at, self.raw.segments + at


class Gathered:
    """Contiguous copies of some packets' handles and chains, for one C call."""

    __slots__ = ("_arrays", "chain", "handles", "segments")

    def __init__(self, columns: Columns, indices: NDArray[np.intp]) -> None:
        handles = np.ascontiguousarray(columns.handles[indices])
        self._arrays: list[NDArray[Any]] = [handles]  # what the pointers below point into
        self.handles: Any = ffi.cast("uint64_t *", ffi.from_buffer(handles))
        self.chain: Any = ffi.NULL
        self.segments: Any = ffi.NULL
        if columns.chain is not None and columns.segments is not None:
            chain = np.ascontiguousarray(columns.chain.reshape(-1, MAX_CHAIN)[indices])
            segments = np.ascontiguousarray(columns.segments[indices])
            self._arrays += [chain, segments]
            self.chain = ffi.cast("uint64_t *", ffi.from_buffer(chain))
            self.segments = ffi.cast("uint8_t *", ffi.from_buffer(segments))
