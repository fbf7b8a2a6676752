# SPDX-License-Identifier: BSD-3-Clause
"""The writer's side of the shared stats segment (layout: csrc/driver/segment.h).

The hot path writes its counters straight into the segment, so that a dump of a running port costs
it nothing; readers map the file read-only and take no lock (design decision 6).
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from iavfio._driver import ffi, lib
from iavfio.errors import StateError
from iavfio.stats.names import BLOCKS, GLOBAL
from iavfio.stats.runtime import process_start, runtime_dir, segment_path

MAGIC = b"IAVFSTAT"
State = Literal["opening", "stopped", "running", "resetting", "failed"]
STATES: tuple[State, ...] = ("opening", "stopped", "running", "resetting", "failed")
PAGE = 4096


class PortSegment:
    """A port's counters in shared memory, from open to close of the port.

    `rq_address(i)` and `sq_address(i)` are what C writes to; a block belongs to a queue index for
    the port's life, so totals survive stop, reset and resize (libie-stats 2).
    """

    def __init__(self, path: Path, memory: mmap.mmap) -> None:
        self.path = path
        self._memory = memory
        self._base = ffi.from_buffer(memory)
        self._header: Any = ffi.cast("struct segment_header *", self._base)
        self._pf: Any = ffi.cast("struct pf_counters *", self._base + self._header.pf_offset)
        self._owner = os.getpid()
        self._closed = False

    @classmethod
    def create(
        cls,
        name: str,
        pairs: int,
        *,
        device: str = "",
        transport: str = "",
        mode: int = 0o600,
        labels: dict[str, str] | None = None,
        numbered: bool = False,
    ) -> PortSegment:
        """Publishes the segment of port `name` with blocks for `pairs` queue pairs.

        Raises StateError when a living process owns that name, or takes name-2, name-3, ... when
        `numbered`; a dead owner's segment is replaced.
        """
        base = name
        with _directory_lock():
            for number in range(2, 1 << 16):
                path = segment_path(name, create=True)
                owner = living_owner(path)
                if owner is None or not numbered:
                    break
                name = f"{base}-{number}"
            text = describe(name, device, transport, labels or {})
            offsets = _layout(pairs, len(text))
            if owner is not None:
                raise StateError(
                    f"port {name!r} is already open",
                    f"process {owner} runs it",
                    f"end that process (kill {owner}), or give this port another name (name=...)",
                )
            path.unlink(missing_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            try:
                os.fchmod(fd, mode)
                os.ftruncate(fd, offsets["size"])
                memory = mmap.mmap(fd, offsets["size"])
            finally:
                os.close(fd)
            memory[offsets["text_offset"] : offsets["text_offset"] + len(text)] = text
            header: Any = ffi.cast("struct segment_header *", ffi.from_buffer(memory))
            for field, value in offsets.items():
                setattr(header, field, value)
            header.version = lib.SEGMENT_VERSION
            header.owner_pid = os.getpid()
            header.owner_start = process_start(os.getpid()) or 0
            header.capacity = pairs
            ffi.buffer(header.magic)[:] = MAGIC  # last: a segment without it is not there yet
        return cls(path, memory)

    @property
    def name(self) -> str:
        """The port's name, as `iavfio stats` takes it."""
        return self.path.stem

    def rq_address(self, index: int) -> int:
        """Address of queue pair `index`'s struct rq_counters."""
        return self._block(self._header.rq_offset, self._header.rq_stride, index)

    def sq_address(self, index: int) -> int:
        """Address of queue pair `index`'s struct sq_counters."""
        return self._block(self._header.sq_offset, self._header.sq_stride, index)

    def _block(self, offset: int, stride: int, index: int) -> int:
        if not 0 <= index < self._header.capacity:
            raise IndexError(f"queue pair {index} has no counters: 0..{self._header.capacity - 1}")
        return int(ffi.cast("uintptr_t", self._base)) + offset + stride * index

    @property
    def capacity(self) -> int:
        """Queue pairs that have blocks."""
        return int(self._header.capacity)

    def set_pairs(self, pairs: int) -> None:
        """How many pairs readers show; never fewer than before, so totals never go back."""
        self._header.pairs = max(int(self._header.pairs), min(pairs, self.capacity))

    def set_state(self, state: State) -> None:
        """Publishes the port's state."""
        self._header.state = STATES.index(state)

    def set_global(self, values: Sequence[int], sampled_at: float | None = None) -> None:
        """Publishes the PF's GET_STATS answer: 12 values in its order, at `time.monotonic()`."""
        if len(values) != len(GLOBAL):
            raise ValueError(f"{len(values)} PF counters, not {len(GLOBAL)}")
        when = time.monotonic() if sampled_at is None else sampled_at
        self._update_pf(values=list(values), sampled_ns=int(when * 1e9))

    def set_link(self, up: bool, mbps: int, mac: bytes) -> None:
        """Publishes link state, speed in Mb/s and the port's MAC address."""
        self._update_pf(link_up=int(up), link_mbps=mbps, mac=mac.ljust(8, b"\0")[:8])

    def _update_pf(self, **fields: Any) -> None:
        new: Any = ffi.new("struct pf_counters *")
        ffi.memmove(new, self._pf, ffi.sizeof("struct pf_counters"))
        for field, value in fields.items():
            setattr(new, field, value)
        words = ffi.sizeof("struct pf_counters") // 8
        lib.counters_write(ffi.cast("uint64_t *", self._pf), ffi.cast("uint64_t *", new), words)

    def close(self) -> None:
        """Withdraws the segment. The memory stays for whoever still has it mapped."""
        if self._closed:
            return
        self._closed = True
        if os.getpid() == self._owner:  # a forked child must not withdraw its parent's
            self.path.unlink(missing_ok=True)


def _layout(pairs: int, text_size: int) -> dict[str, int]:
    def up(value: int) -> int:
        return (value + 63) // 64 * 64

    pf = up(ffi.sizeof("struct segment_header"))
    rq = up(pf + ffi.sizeof("struct pf_counters"))
    rq_stride = up(ffi.sizeof("struct rq_counters"))
    sq_stride = up(ffi.sizeof("struct sq_counters"))
    sq = rq + rq_stride * pairs
    text = sq + sq_stride * pairs
    size = (text + text_size + PAGE - 1) // PAGE * PAGE
    return {
        "size": size,
        "pf_offset": pf,
        "rq_offset": rq,
        "rq_stride": rq_stride,
        "sq_offset": sq,
        "sq_stride": sq_stride,
        "text_offset": text,
        "text_size": text_size,
    }


def describe(name: str, device: str, transport: str, labels: dict[str, str]) -> bytes:
    """The segment's description of itself: JSON with every counter's name, unit and offset."""
    blocks = {
        block: [
            {
                "name": counter.name,
                "group": counter.group,
                "unit": counter.unit,
                "offset": ffi.offsetof(struct, counter.name),
                "meaning": counter.meaning,
            }
            for counter in table
        ]
        for block, struct, table in BLOCKS
    }
    blocks["global"] = [
        {
            "name": counter.name,
            "group": counter.group,
            "unit": counter.unit,
            "offset": ffi.offsetof("struct pf_counters", "values") + 8 * index,
            "meaning": counter.meaning,
        }
        for index, counter in enumerate(GLOBAL)
    ]
    text = {
        "port": name,
        "device": device,
        "transport": transport,
        "labels": labels,
        "sequence": "word 0 of each block; even = stable; read, copy, compare",
        "blocks": blocks,
    }
    return json.dumps(text).encode()


def living_owner(path: Path) -> int | None:
    """The process that owns a segment file, None when there is no file or its owner is dead."""
    try:
        raw = path.read_bytes()[: ffi.sizeof("struct segment_header")]
    except FileNotFoundError:
        return None
    if len(raw) < ffi.sizeof("struct segment_header") or raw[: len(MAGIC)] != MAGIC:
        return None
    header: Any = ffi.cast("struct segment_header *", ffi.from_buffer(raw))
    pid = int(header.owner_pid)
    return pid if process_start(pid) == int(header.owner_start) else None


@contextmanager
def _directory_lock() -> Iterator[None]:
    """Two openers must not both find a name free. Readers never take this."""
    fd = os.open(runtime_dir(create=True) / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
