# SPDX-License-Identifier: BSD-3-Clause
"""Copies of what a port's queues move, in shared memory for one other process (docs/adr/0009)."""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from iavfio._driver import ffi, lib
from iavfio.errors import ConfigError, IavfioError

CONTROL: int = lib.MIRROR_CONTROL
LEAST: int = lib.MIRROR_LEAST
MOST = 1 << 30  # bytes of all rings
TAG_TYPE = 0x8100  # of a tag that the device has stripped
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@dataclass(frozen=True)
class Wanted:
    """What is copied: of `queues` what they receive (`rx`) and send (`tx`).

    `snaplen`: bytes of a frame; `steps`: a filter's program as `struct filter_step`, empty = every
    frame; `ring`: bytes of each ring, a power of two.
    """

    queues: tuple[int, ...]
    rx: bool
    tx: bool
    snaplen: int
    steps: bytes
    ring: int

    @property
    def sides(self) -> list[tuple[int, bool]]:
        """A queue's number, and whether it is the send side, of each ring, in their order."""
        sides = [side for side, wanted in ((False, self.rx), (True, self.tx)) if wanted]
        return [(queue, sent) for queue in self.queues for sent in sides]

    @property
    def size(self) -> int:
        """Bytes of memory for all rings."""
        return len(self.sides) * (CONTROL + self.ring)


def starts(wanted: Wanted) -> Iterable[int]:
    """Where each ring's control words are; its data stand CONTROL bytes behind."""
    return range(0, wanted.size, CONTROL + wanted.ring)


class MirrorRings:
    """The rings in the process that fills them. `fd`: the memory, which nobody can make shorter.

    Raises ConfigError for a filter or sizes that cannot be, IavfioError without memory.
    """

    def __init__(self, wanted: Wanted) -> None:
        if wanted.size > MOST or not wanted.sides:
            raise ConfigError(
                "a mirror cannot be so large",
                f"{len(wanted.sides)} rings of {wanted.ring} bytes are wanted, {MOST} bytes can be",
                "mirror fewer queues, or ask for smaller rings",
            )
        self._mirrors: dict[tuple[int, bool], Any] = {}
        self._controls: list[Any] = []
        self.fd = -1
        try:
            self._make(wanted)
        except OSError as error:
            self.close()
            raise IavfioError(
                f"there is no memory for a mirror: {wanted.size} bytes", str(error.strerror)
            ) from error
        except BaseException:
            self.close()
            raise

    def _make(self, wanted: Wanted) -> None:
        self.fd = os.memfd_create("iavfio-mirror", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.posix_fallocate(self.fd, 0, wanted.size)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, SEALS)
        # Its pages are there before the first frame: a fault would hold a worker up.
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        self._memory = mmap.mmap(self.fd, wanted.size, flags=flags)
        self._base = ffi.from_buffer(self._memory)
        for side, at in zip(wanted.sides, starts(wanted), strict=True):
            self._mirrors[side] = self._mirror(wanted, at)

    def _mirror(self, wanted: Wanted, at: int) -> Any:
        config: Any = ffi.new("struct mirror_config *")
        control = ffi.cast("struct mirror_control *", self._base + at)
        config.control = control
        config.data = ffi.cast("uint8_t *", self._base + at + CONTROL)
        config.size, config.snaplen = wanted.ring, wanted.snaplen
        config.tag_type, config.max_frame = TAG_TYPE, lib.RX_MAX_FRAME
        if wanted.steps:
            config.filter = ffi.cast("struct filter_step *", ffi.from_buffer(wanted.steps))
            config.steps = len(wanted.steps) // ffi.sizeof("struct filter_step")
        error = ffi.new("int *")
        raw = lib.mirror_new(config, error)
        if raw == ffi.NULL:
            raise ConfigError("a mirror cannot be set up", os.strerror(-error[0]))
        self._controls.append(control)
        return raw

    def of(self, queue: int) -> tuple[Any, Any]:
        """The C mirrors of a queue's receive and send side; NULL where there is none."""
        return self._mirrors.get((queue, False), ffi.NULL), self._mirrors.get(
            (queue, True), ffi.NULL
        )

    def reading(self) -> tuple[int, ...]:
        """A number for each ring that stays the same while frames wait and none are read."""
        return tuple(int(each.tail) if each.tail != each.head else -1 for each in self._controls)

    def close(self) -> None:
        """Gives the memory back, when no pair has a mirror of it any more. Twice is harmless."""
        while self._mirrors:
            _, mirror = self._mirrors.popitem()
            lib.mirror_free(mirror)
        self._controls.clear()
        if hasattr(self, "_base"):
            ffi.release(self._base)
            del self._base
        if hasattr(self, "_memory"):
            self._memory.close()
            del self._memory
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
