# SPDX-License-Identifier: BSD-3-Clause
"""The reader's side of the stats segment: read-only, without locks, from any process.

Reading never opens a device, which would reset it (docs/design.md 6). What another user wrote is
checked once, copied, and only then used; what can change later is bounded at each use.
"""

from __future__ import annotations

import mmap
import os
import stat
import time
import weakref
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iavfio._driver import ffi, lib
from iavfio.arguments import counted
from iavfio.errors import IavfioError
from iavfio.exhaustion import exhaustion
from iavfio.foreign import an_object, parsed, plain
from iavfio.pyvfio.bus_error import BusErrorGuard
from iavfio.signatures import checked_call
from iavfio.stats import liveness
from iavfio.stats.layout import HEADER, LARGEST, MAGIC, MOST_PAIRS, MOST_TEXT, STATES
from iavfio.stats.names import BLOCKS, GLOBAL
from iavfio.stats.patience import Patience
from iavfio.stats.runtime import SUFFIX, UserDir, user_name
from iavfio.stats.snapshot import Naming, Snapshot

if TYPE_CHECKING:
    from iavfio.stats.arrays import CounterArrays
    from iavfio.stats.segment import PortSegment

REOPEN = "a running port has it; to see its counters, close that port and open it again"


class SegmentReader:
    """A port's segment mapped read-only; `snapshot()` as often as wanted.

    `owner`: the user who must own the file, None for any. Raises IavfioError for a file that is no
    segment, OSError when it cannot be opened. `memory`: the segment as its own process has it
    mapped, which is read in place of the file.
    """

    def __init__(
        self, path: Path, owner: int | None = None, memory: mmap.mmap | None = None
    ) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        weakref.finalize(self, os.close, fd)
        self._fd = fd
        info = os.fstat(fd)
        if stat.S_ISDIR(info.st_mode):
            raise _unreadable(path, "it is a directory", f"move it away: mv {path} {path}.old")
        if not stat.S_ISREG(info.st_mode) or owner not in (None, info.st_uid):
            raise _unreadable(path, "it is another user's, or no regular file")
        size = info.st_size if memory is None else len(memory)
        if size < HEADER:
            raise _unreadable(path, "it is too short", self._remedy())
        if size > LARGEST:
            raise _unreadable(path, f"it is longer than {LARGEST} bytes, as no segment is")
        self.name = path.name.removesuffix(SUFFIX)
        self.home = UserDir(path.parent, info.st_uid)
        self.user = user_name(info.st_uid)
        self._path = path
        self._map = memory or mmap.mmap(fd, size, prot=mmap.PROT_READ)
        self._base = ffi.from_buffer(self._map)
        self._guard = BusErrorGuard(self._base) if memory is None else None
        self._live: Any = ffi.cast("struct segment_header *", self._base)
        self._header: Any = ffi.new("struct segment_header *")
        ffi.memmove(self._header, self._live, HEADER)
        self._check(path, size)
        self._text = self._read_text(path)
        self._check_whole()

    def _check_whole(self) -> None:
        if self._guard is not None and self._guard.lost:
            raise _unreadable(self._path, "it was cut short while it was read", self._remedy())

    def _remedy(self) -> str:
        """For a file that is too short; "" where no process has it open any more."""
        return REOPEN if self.alive else ""

    def _check(self, path: Path, size: int) -> None:
        """Offsets are taken from a copy, so that no writer can move them after this."""
        header = self._header
        if bytes(ffi.buffer(header.magic)) != MAGIC or header.version != lib.SEGMENT_VERSION:
            raise _unreadable(path, "another version of iavfio wrote it, or it is damaged")
        pairs, pf = header.capacity, ffi.sizeof("struct pf_counters")
        parts = [(header.pf_offset, pf, pf, 1)]
        for block, struct, _ in BLOCKS:
            offset, stride = getattr(header, f"{block}_offset"), getattr(header, f"{block}_stride")
            parts.append((offset, stride, ffi.sizeof(struct), pairs))
        for offset, stride, least, count in parts:
            if stride < least or offset % 8 or stride % 8 or offset + stride * count > size:
                raise _unreadable(path, "its offsets point outside the file", self._remedy())
        if pairs > MOST_PAIRS or header.text_size > MOST_TEXT:
            raise _unreadable(path, "it claims more queues or text than a port can have")
        if header.text_offset + header.text_size > size:
            raise _unreadable(path, "its offsets point outside the file", self._remedy())

    def _read_text(self, path: Path) -> dict[str, Any]:
        start = self._header.text_offset
        try:
            text = an_object(parsed(self._map[start : start + self._header.text_size]))
            labels = an_object(text["labels"])
            return {key: plain(text[key]) for key in ("device", "transport")} | {
                "labels": {plain(key): plain(value) for key, value in labels.items()}
            }
        except (ValueError, KeyError):
            raise _unreadable(path, "its description is damaged") from None

    @property
    def device(self) -> str:
        """PCI address or socket path of the port's device."""
        return str(self._text["device"])

    @property
    def alive(self) -> bool:
        """Whether the process that writes it still runs."""
        return liveness.is_alive(self._fd)

    @property
    def last_state(self) -> str:
        """The port's state as its process wrote it last."""
        state = int(self._live.state)
        return STATES[state] if state < len(STATES) else "unknown"

    @property
    def process(self) -> str:
        """The process that writes it, in words."""
        return liveness.process_text(int(self._header.owner_pid), int(self._header.owner_pidns))

    def snapshot(self, patience: Patience | None = None) -> Snapshot:
        """Copies all counters, each block consistent in itself but for those that `torn` names.

        `patience`: the time for writers inside an update, which several segments may share; one
        of its own by default. Raises IavfioError when another user, whose file it is, has cut it
        short meanwhile.
        """
        patience = patience or Patience()
        torn: list[str] = []
        pf = self._copy("pf", "struct pf_counters", int(self._header.pf_offset), torn, patience)
        queues: dict[str, list[dict[str, int]]] = {}
        pairs = self.pairs
        for block, struct, table in BLOCKS:
            words = ffi.sizeof(struct) // 8
            copies: Any = ffi.new("uint64_t[]", max(words * pairs, 1))
            torn += self.copy_blocks(block, struct, copies, pairs, patience)
            names = [counter.name for counter in table]
            chosen = itemgetter(*(ffi.offsetof(struct, name) // 8 for name in names))
            queues[block] = [
                dict(zip(names, chosen(ffi.unpack(copies + words * i, words)), strict=True))
                for i in range(pairs)
            ]
        self._check_whole()
        sampled = int(pf.sampled_ns)
        return Snapshot(
            port=self.name,
            device=self.device,
            transport=self._text["transport"],
            labels=self._text["labels"],
            last_state=self.last_state,
            alive=self.alive,
            pid=int(self._header.owner_pid),
            process=self.process,
            user=self.user,
            age=max(time.monotonic() - sampled / 1e9, 0.0) if sampled else None,
            link_up=bool(pf.link_up),
            link_mbps=int(pf.link_mbps),
            mac=bytes(pf.mac)[:6].hex(":"),
            resets=int(pf.resets),
            link_changes=int(pf.link_changes),
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
        return min(int(self._live.pairs), int(self._header.capacity))

    def copy_blocks(
        self, block: str, struct: str, out: Any, count: int, patience: Patience
    ) -> list[str]:
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
                first, stride, out + words * at, words, count - at, patience.tries
            )
            if at < count:
                copy = self._copy(f"{block}{at}", struct, offset + stride * at, torn, patience)
                ffi.memmove(out + words * at, copy, words * 8)
                at += 1
        return torn

    def _copy(
        self, label: str, struct: str, offset: int, torn: list[str], patience: Patience
    ) -> Any:
        copy: Any = ffi.new(f"{struct} *")
        words = ffi.sizeof(struct) // 8
        block = ffi.cast("uint64_t *", self._base + offset)
        while lib.counters_read(block, ffi.cast("uint64_t *", copy), words, patience.tries) != 0:
            if not self.alive or not patience.nap():
                torn.append(label)
                ffi.memmove(copy, block, words * 8)  # the last words that its writer left behind
                break
        return copy


class PortStats:
    """`port.stats`: the counters of a port of this process, read the way any other process does."""

    def __init__(self, segment: PortSegment) -> None:
        try:
            self._reader = SegmentReader(segment.path, memory=segment.memory)
        except OSError as error:
            what = f"{segment.path}, this port's own counters, cannot be read"
            raise exhaustion(error, what) or IavfioError(
                what, error.strerror or str(error), "open the port again"
            ) from error

    def snapshot(self) -> Snapshot:
        """A consistent copy of all counters."""
        return self._reader.snapshot()

    def arrays(self) -> CounterArrays:
        """Counters of all queues as NumPy arrays, for those who read them often."""
        return self._reader.arrays()

    @checked_call
    def as_dict(self, *, names: Naming = "libie", pool: bool = False, own: bool = True) -> Any:
        """The counters and the port's state as a dict: Snapshot.as_dict says which keys."""
        return self.snapshot().as_dict(names=names, pool=pool, own=own)

    @checked_call
    def to_json(self, *, names: Naming = "libie", pool: bool = False, own: bool = True) -> str:
        """The same as one JSON object."""
        return self.snapshot().to_json(names=names, pool=pool, own=own)

    def __str__(self) -> str:
        return self.snapshot().text()

    def __repr__(self) -> str:
        now = self.snapshot()
        return f"<PortStats of {now.port}: {now.state}, {counted(len(now.rq), 'queue pair')}>"

    def _repr_html_(self) -> str:
        """The counters as tables, for notebooks."""
        return self.snapshot()._repr_html_()


def _unreadable(path: Path, cause: str, remedy: str = "") -> IavfioError:
    return IavfioError(
        f"{path} is no readable stats segment", cause, remedy or f"remove it: rm {path}"
    )
