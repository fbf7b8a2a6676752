# SPDX-License-Identifier: BSD-3-Clause
"""The reader's side of the stats segment: read-only, without locks, from any process.

Reading never opens a device: that would reset it (design decision 6).
"""

from __future__ import annotations

import json
import mmap
import os
import time
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iavfio._driver import ffi, lib
from iavfio.errors import IavfioError
from iavfio.stats.names import BLOCKS, GLOBAL
from iavfio.stats.runtime import known_ports, process_start, segment_path
from iavfio.stats.segment import MAGIC, STATES, PortSegment
from iavfio.stats.snapshot import Naming, Snapshot

if TYPE_CHECKING:
    from iavfio.stats.arrays import CounterArrays

TRIES = 10_000  # a writer's update takes well under a microsecond
NAPS, NAP = 100, 0.002  # ... unless it is preempted inside it: so often, so many seconds


class SegmentReader:
    """A port's segment mapped read-only; `snapshot()` as often as wanted."""

    def __init__(self, path: Path) -> None:
        self._map = _map(path)
        self._base = ffi.from_buffer(self._map)
        self._header: Any = ffi.cast("struct segment_header *", self._base)
        size = len(self._map)
        header = self._header
        if bytes(ffi.buffer(header.magic)) != MAGIC or header.version != lib.SEGMENT_VERSION:
            raise _unreadable(path, "another version of iavfio wrote it, or it is damaged")
        pairs = header.capacity
        ends = (
            header.pf_offset + ffi.sizeof("struct pf_counters"),
            header.rq_offset + header.rq_stride * pairs,
            header.sq_offset + header.sq_stride * pairs,
            header.text_offset + header.text_size,
        )
        if max(ends) > size or header.pairs > pairs:
            raise _unreadable(path, "its offsets point outside the file")
        self._capacity = int(pairs)
        start = header.text_offset
        self._text = json.loads(bytes(self._map[start : start + header.text_size]))

    def snapshot(self) -> Snapshot:
        """Copies all counters, each block consistent in itself."""
        header = self._header
        torn: list[str] = []
        pf = self._copy("pf", "struct pf_counters", header.pf_offset, torn)
        queues: dict[str, list[dict[str, int]]] = {}
        pairs = self.pairs
        for block, struct, table in BLOCKS:
            words = ffi.sizeof(struct) // 8
            copies: Any = ffi.new("uint64_t[]", max(words * pairs, 1))
            torn += self.copy_blocks(block, struct, copies, pairs)
            names = [counter.name for counter in table]
            chosen = itemgetter(*(ffi.offsetof(struct, name) // 8 for name in names))
            queues[block] = [
                dict(zip(names, chosen(ffi.unpack(copies + words * i, words)), strict=True))
                for i in range(pairs)
            ]
        pid = int(header.owner_pid)
        sampled = int(pf.sampled_ns)
        return Snapshot(
            port=self._text["port"],
            device=self._text["device"],
            transport=self._text["transport"],
            labels=self._text["labels"],
            state=STATES[header.state] if header.state < len(STATES) else "unknown",
            pid=pid,
            alive=process_start(pid) == int(header.owner_start),
            age=time.monotonic() - sampled / 1e9 if sampled else None,
            link_up=bool(pf.link_up),
            link_mbps=int(pf.link_mbps),
            mac=bytes(pf.mac)[:6].hex(":"),
            pf={counter.name: int(pf.values[i]) for i, counter in enumerate(GLOBAL)},
            rq=tuple(queues["rq"]),
            sq=tuple(queues["sq"]),
            torn=tuple(torn),
        )

    def arrays(self) -> CounterArrays:
        """Counters of all queues as NumPy arrays that can be read again and again, in place."""
        from iavfio.stats.arrays import CounterArrays

        return CounterArrays(self)

    @property
    def pairs(self) -> int:
        """Queue pairs that there are counters of."""
        return min(int(self._header.pairs), self._capacity)

    def copy_blocks(self, block: str, struct: str, out: Any, count: int) -> list[str]:
        """Consistent copies of the first `count` blocks "rq" or "sq"; labels of the torn ones.

        `out`: uint64_t pointer to as many blocks of `struct`.
        """
        offset = int(getattr(self._header, f"{block}_offset"))
        stride = int(getattr(self._header, f"{block}_stride"))
        words = ffi.sizeof(struct) // 8
        torn: list[str] = []
        at = 0
        while at < count:
            first = ffi.cast("uint64_t *", self._base + offset + stride * at)
            at += lib.counters_read_blocks(
                first, stride, out + words * at, words, count - at, TRIES
            )
            if at < count:
                copy = self._copy(f"{block}{at}", struct, offset + stride * at, torn)
                ffi.memmove(out + words * at, copy, words * 8)
                at += 1
        return torn

    def _copy(self, label: str, struct: str, offset: int, torn: list[str]) -> Any:
        copy: Any = ffi.new(f"{struct} *")
        words = ffi.sizeof(struct) // 8
        block = ffi.cast("uint64_t *", self._base + offset)
        for _ in range(NAPS):
            if lib.counters_read(block, ffi.cast("uint64_t *", copy), words, TRIES) == 0:
                return copy
            if process_start(int(self._header.owner_pid)) != int(self._header.owner_start):
                break
            time.sleep(NAP)  # the writer was preempted inside its update
        torn.append(label)
        ffi.memmove(copy, block, words * 8)  # the last words a dead writer left behind
        return copy


class PortStats:
    """`port.stats`: the counters of a port of this process, read the way any other process does."""

    def __init__(self, segment: PortSegment) -> None:
        self._reader = SegmentReader(segment.path)

    def snapshot(self) -> Snapshot:
        """A consistent copy of all counters."""
        return self._reader.snapshot()

    def arrays(self) -> CounterArrays:
        """Counters of all queues as NumPy arrays, for those who read them often."""
        return self._reader.arrays()

    def as_dict(self, *, names: Naming = "libie", pool: bool = False, own: bool = True) -> Any:
        """See Snapshot.as_dict."""
        return self.snapshot().as_dict(names=names, pool=pool, own=own)

    def to_json(self, *, names: Naming = "libie", pool: bool = False, own: bool = True) -> str:
        """See Snapshot.to_json."""
        return self.snapshot().to_json(names=names, pool=pool, own=own)

    def __str__(self) -> str:
        return self.snapshot().text()


def read(port: str) -> Snapshot:
    """Counters of a running port, by its name.

    Raises IavfioError when no such port runs (naming those that do). A segment whose owner died is
    read all the same: `alive` is False then.
    """
    return SegmentReader(segment_path(port)).snapshot()


def _map(path: Path) -> mmap.mmap:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        running = known_ports()
        raise IavfioError(
            f"no port named {path.stem!r} is running",
            f"running ports: {', '.join(running)}" if running else "no port is running",
            "name a running one; a dump never opens a device, because that would reset it",
        ) from None
    except PermissionError:
        raise IavfioError(
            f"the stats of {path.stem!r} may not be read by this user",
            "its owner published them for itself only",
            "run as that user, or open the port with stats_mode=0o640",
        ) from None
    try:
        size = os.fstat(fd).st_size
        if size < ffi.sizeof("struct segment_header"):
            raise _unreadable(path, "it is too short")
        return mmap.mmap(fd, size, prot=mmap.PROT_READ)
    finally:
        os.close(fd)


def _unreadable(path: Path, cause: str) -> IavfioError:
    return IavfioError(f"{path} is no readable stats segment", cause, f"remove it: rm {path}")
