# SPDX-License-Identifier: BSD-3-Clause
"""The writer's side of the shared stats segment (layout: csrc/driver/segment.h).

The hot path writes its counters straight into the segment, so that a dump of a running port costs
it nothing; readers map the file read-only and take no lock (docs/design.md 6, docs/adr/0003).
"""

from __future__ import annotations

import mmap
import os
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from iavfio._driver import ffi, lib
from iavfio.errors import ConfigError
from iavfio.logs import logger
from iavfio.pyvfio.bus_error import BusErrorGuard
from iavfio.stats import liveness
from iavfio.stats.layout import HEADER, PAGE, STATES, State, describe
from iavfio.stats.listing import reclaim
from iavfio.stats.names import GLOBAL
from iavfio.stats.publish import Draft, claim
from iavfio.stats.runtime import SUFFIX, UserDir, check_name, own_dir

log = logger("port")

MOST = (1 << 64) - 1  # of a counter
READABLE = 0o644  # what a segment's mode may grant at most

_open_segments: weakref.WeakSet[PortSegment] = weakref.WeakSet()


class PortSegment:
    """A port's counters in shared memory, from open to close of the port.

    `rq_address(i)` and `sq_address(i)` are what C writes to; a block belongs to a queue index for
    the port's life, so totals survive stop, reset and resize (docs/spec/libie-counters.md 2).
    """

    def __init__(self, home: UserDir, name: str, memory: mmap.mmap, lock: int) -> None:
        self.path = home.path / f"{name}{SUFFIX}"
        self.home = home
        self._memory = memory
        self._base = ffi.from_buffer(memory)
        self._header: Any = ffi.cast("struct segment_header *", self._base)
        self._pf: Any = ffi.cast("struct pf_counters *", self._base + self._header.pf_offset)
        self._lock: int | None = lock
        self._kept: Any = ffi.new("char[]", len(memory))
        ffi.memmove(self._kept, self._base, len(memory))
        self._kept_header: Any = ffi.cast("struct segment_header *", self._kept)
        self._hidden = False
        # Who may write to the file may cut it short as well, under the hot path's counters.
        self._guard = BusErrorGuard(self._base, self._kept)
        _open_segments.add(self)

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

        `mode`: who may read it, as of chmod. A dead owner's segment of that name, and those of the
        same device, are replaced. Raises StateError when a living process owns the name, or takes
        name-2, name-3, ... when `numbered`; ConfigError for a name or mode that cannot be;
        IavfioError when there is no room for it.
        """
        check_name(name)
        if not mode & 0o400 or mode & ~READABLE:
            raise ConfigError(
                f"a stats segment cannot have mode {mode:#o}",
                "its owner reads it, others may at most read it",
                "use stats_mode=0o600, 0o640 or 0o644",
            )
        home = own_dir()

        def draft_of(name: str) -> Draft:
            text = describe(name, device, transport, labels or {})
            return Draft(pairs, text, mode)

        name, lock, memory = claim(home, name, draft_of, numbered=numbered)
        try:
            segment = cls(home, name, memory, lock)
        except BaseException:
            with suppress(OSError):
                (home.path / (name + SUFFIX)).unlink()
            os.close(lock)
            raise
        try:
            if device:
                reclaim(device)
        except BaseException:
            segment.close()
            raise
        return segment

    @property
    def memory(self) -> mmap.mmap:
        """What its writer has mapped: the file, or private memory after the file was cut short."""
        return self._memory

    @property
    def hidden(self) -> bool:
        """Whether the file was cut short: the counters go on in this process alone from then on.

        Others find a file that is no segment.
        """
        lock, size = self._lock, len(self._memory)
        if lock is None or self._hidden:
            return self._hidden
        if os.fstat(lock).st_size < size:
            for page in range(0, size, PAGE):  # one that is gone is a SIGBUS, and all are replaced
                self._memory[page]
        if self._guard.lost:
            # The page in which a file ends now is zero behind its end, the header as well.
            ffi.memmove(self._base, self._kept, HEADER)
            os.ftruncate(lock, 0)  # made longer again it would look whole, and stand still
            self._hidden = True
        return self._hidden

    @property
    def name(self) -> str:
        """The port's name, as `iavfio stats` takes it."""
        return self.path.name.removesuffix(SUFFIX)

    def rq_address(self, index: int) -> int:
        """Address of queue pair `index`'s struct rq_counters. Raises IndexError."""
        return self._block(self._header.rq_offset, self._header.rq_stride, index)

    def sq_address(self, index: int) -> int:
        """Address of queue pair `index`'s struct sq_counters. Raises IndexError."""
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
        pairs = max(int(self._header.pairs), min(pairs, self.capacity))
        self._header.pairs = self._kept_header.pairs = pairs

    def set_state(self, state: State) -> None:
        """Publishes the port's state, and counts a reset when one begins."""
        new = STATES.index(state)
        if state == "resetting" and self._header.state != new:
            self._update_pf(resets=int(self._pf.resets) + 1)
        self._header.state = self._kept_header.state = new

    def set_global(self, values: Sequence[int], sampled_at: float | None = None) -> None:
        """Publishes the PF's GET_STATS answer: 12 values in its order, at `time.monotonic()`.

        What does not fit into 64 bits stays at their end: only a PF that lies gets there.
        """
        if len(values) != len(GLOBAL):
            raise ValueError(f"{len(values)} PF counters, not {len(GLOBAL)}")
        when = time.monotonic() if sampled_at is None else sampled_at
        self._update_pf(values=[min(value, MOST) for value in values], sampled_ns=int(when * 1e9))

    def set_link(self, up: bool, mbps: int, mac: bytes) -> None:
        """Publishes link state, speed in Mb/s and the port's MAC address; counts a change."""
        changes = int(self._pf.link_changes) + (bool(self._pf.link_up) != up)
        address = mac.ljust(8, b"\0")[:8]
        self._update_pf(link_up=int(up), link_mbps=mbps, link_changes=changes, mac=address)

    def _update_pf(self, **fields: Any) -> None:
        new: Any = ffi.new("struct pf_counters *")
        ffi.memmove(new, self._pf, ffi.sizeof("struct pf_counters"))
        for field, value in fields.items():
            setattr(new, field, value)
        words = ffi.sizeof("struct pf_counters") // 8
        lib.counters_write(ffi.cast("uint64_t *", self._pf), ffi.cast("uint64_t *", new), words)

    def close(self) -> None:
        """Withdraws the segment. Its memory stays for whoever still has it mapped.

        Twice is harmless; a call that a signal ended is made again for what it has left.
        """
        lock = self._lock
        if lock is None:
            return  # closed already, or this process is a forked child: the port is its parent's
        try:
            folder = self.home.open()
            try:
                if liveness.same_file(lock, folder, self.path.name):
                    with suppress(FileNotFoundError):  # as a rule it was withdrawn before
                        os.unlink(liveness.door_of(self.path.name), dir_fd=folder)
                    os.unlink(self.path.name, dir_fd=folder)
            finally:
                os.close(folder)
        except FileNotFoundError:
            pass  # the directory went before the port did: there is nothing left to withdraw
        except OSError as error:
            why = f"{self.path} stays, as a dead port's: {error}"
            log.warning("%s; remove it: iavfio stats --clean", why)
        self._lock = None
        os.close(lock)

    def disown(self) -> None:
        """Leaves the lock, in a forked child, to the parent, which alone writes."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def _in_child() -> None:
    for segment in list(_open_segments):
        segment.disown()


os.register_at_fork(after_in_child=_in_child)
