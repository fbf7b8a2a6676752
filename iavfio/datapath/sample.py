# SPDX-License-Identifier: BSD-3-Clause
"""The first frames that one side of a queue moves from a moment on, for a look at their headers.

It is a mirror (docs/adr/0009) in memory of this process, which ends of itself when it is full: the
queue's burst functions are the plain ones again from then on.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iavfio._driver import ffi, lib
from iavfio.datapath.mirror import CONTROL
from iavfio.errors import IavfioError

SIZE = 1 << 18  # bytes of records: some 2,500 frames
SNAPLEN = 96  # bytes of a frame: Ethernet, tags, IPv6, an extension header and ports
RECORD = 16  # bytes before each frame: struct mirror_record
CAPTURED = 2  # the record's word that says how many bytes follow


@dataclass(frozen=True)
class Frames:
    """Beginnings of frames: `start` and `length` of each in `flat`, in bytes."""

    flat: NDArray[np.uint8]
    start: NDArray[np.intp]
    length: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.start)


class Sample:
    """One side's ring. Raises IavfioError without memory."""

    def __init__(self) -> None:
        try:
            # All pages from the start: a fault would hold a worker up.
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
            self._memory = mmap.mmap(-1, CONTROL + SIZE, flags=flags)
        except OSError as error:
            raise IavfioError("there is no memory for a sample", str(error.strerror)) from error
        self._base: Any = ffi.from_buffer(self._memory)
        self._control: Any = ffi.cast("struct mirror_control *", self._base)
        config: Any = ffi.new("struct mirror_config *")
        config.control = self._control
        config.data = ffi.cast("uint8_t *", self._base + CONTROL)
        config.size, config.snaplen, config.once = SIZE, SNAPLEN, 1
        config.max_frame = lib.RX_MAX_FRAME
        error_number = ffi.new("int *")
        self.raw: Any = lib.mirror_new(config, error_number)
        """The C mirror, to be attached to one pair."""
        if self.raw == ffi.NULL:
            raise IavfioError("a sample cannot be set up", os.strerror(-error_number[0]))

    @property
    def written(self) -> int:
        """Frames that it has so far."""
        return int(self._control.written)

    @property
    def full(self) -> bool:
        """Whether there was no room for a frame."""
        return bool(self._control.lost)

    def frames(self) -> Frames:
        """Copies of what it has. Nobody may write meanwhile: it is full, or detached."""
        head = int(self._control.head)
        data = np.frombuffer(self._memory, np.uint8, head, CONTROL).copy()
        words = memoryview(data.tobytes()).cast("I")
        start = []
        length = []
        at = 0
        while at < head:
            captured = words[(at >> 2) + CAPTURED]
            start.append(at + RECORD)
            length.append(captured)
            at += RECORD + (captured + RECORD - 1 & -RECORD)
        return Frames(data, np.array(start, np.intp), np.array(length, np.intp))

    def close(self) -> None:
        """Gives the memory back, when no pair has it any more. Twice is harmless."""
        raw, self.raw = self.raw, ffi.NULL
        if raw != ffi.NULL:
            lib.mirror_free(raw)
            self._control = None
            ffi.release(self._base)
            self._memory.close()


def joined(parts: Sequence[Frames]) -> Frames:
    """The frames of all parts."""
    if not parts:
        return Frames(np.zeros(0, np.uint8), np.zeros(0, np.intp), np.zeros(0, np.intp))
    offsets = np.cumsum([0, *(len(part.flat) for part in parts[:-1])])
    return Frames(
        np.concatenate([part.flat for part in parts]),
        np.concatenate([part.start + at for part, at in zip(parts, offsets, strict=True)]),
        np.concatenate([part.length for part in parts]),
    )
