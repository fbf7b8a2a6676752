# SPDX-License-Identifier: BSD-3-Clause
"""How a segment gets its name: complete, allocated and locked before any reader can see it."""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iavfio._driver import ffi, lib
from iavfio.errors import IavfioError, StateError
from iavfio.exhaustion import exhaustion
from iavfio.stats import liveness
from iavfio.stats.layout import HEADER, MAGIC, offsets_of
from iavfio.stats.runtime import SUFFIX, UserDir, cannot_publish

LONGEST = 64  # of a port's name, in characters
TRIES, NAP = 500, 0.002  # seconds between looks at a file that another process removes just now


@dataclass(frozen=True)
class Draft:
    """What a segment will hold: blocks for `pairs` queue pairs, its description, its mode."""

    pairs: int
    text: bytes
    mode: int


def claim(
    home: UserDir, name: str, draft_of: Callable[[str], Draft], *, numbered: bool
) -> tuple[str, int, mmap.mmap]:
    """Publishes a draft under `name`: the name, the lock's descriptor, and the mapped memory.

    With `numbered`, a taken name becomes name-2, name-3 and so on. Raises StateError when a living
    process has the name, IavfioError when there is no room or no right.
    """
    base, number = name, 1
    try:
        folder = home.open()
    except OSError as error:
        raise cannot_publish(home.path, error) from error
    try:
        while True:
            owner = _living_owner(folder, home.path, name)
            if owner is None:
                published = _publish(folder, home.path, name, draft_of(name))
                if published is not None:
                    return name, *published
            elif numbered:
                number += 1
                name = f"{base[: LONGEST - len(str(number)) - 1]}-{number}"
            else:
                raise StateError(
                    f"port {name!r} is already open",
                    f"{owner} runs it",
                    "close it there, or give this port another name (name=..., --name)",
                )
    finally:
        os.close(folder)


def _publish(folder: int, home: Path, name: str, draft: Draft) -> tuple[int, mmap.mmap] | None:
    """None when somebody else has taken the name meanwhile."""
    offsets = offsets_of(draft.pairs, len(draft.text))
    hidden = f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        lock = os.open(hidden, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
    except OSError as error:
        raise cannot_publish(home, error, offsets["size"]) from error
    try:
        liveness.hold(lock)
        # Before it is mapped: on a full mount a page that is missing would show as SIGBUS later.
        os.posix_fallocate(lock, 0, offsets["size"])
        # A mapping keeps what it was made from, also in a forked child: it must not be the lock.
        second = os.open(hidden, flags, dir_fd=folder)
        try:
            memory = _map(second, offsets["size"])
        finally:
            os.close(second)
        _fill(memory, offsets, draft)
        os.fchmod(lock, draft.mode)
        os.link(hidden, f"{name}{SUFFIX}", src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException as error:
        os.close(lock)
        if isinstance(error, FileExistsError):
            return None
        if isinstance(error, OSError):
            raise cannot_publish(home, error, offsets["size"]) from error
        raise
    finally:
        with suppress(OSError):
            os.unlink(hidden, dir_fd=folder)
    return lock, memory


def _map(fd: int, size: int) -> mmap.mmap:
    try:
        return mmap.mmap(fd, size)
    except OSError as error:
        what = "the counters of this port cannot be mapped"
        files = exhaustion(error, what) if error.errno == errno.EMFILE else None
        raise files or IavfioError(
            what,
            f"{size} bytes of address space are needed: {error.strerror}",
            "raise the limits of this process: ulimit -v unlimited",
        ) from error


def _fill(memory: mmap.mmap, offsets: dict[str, int], draft: Draft) -> None:
    at = offsets["text_offset"]
    memory[at : at + len(draft.text)] = draft.text
    header: Any = ffi.cast("struct segment_header *", ffi.from_buffer(memory))
    for field, value in offsets.items():
        setattr(header, field, value)
    header.version = lib.SEGMENT_VERSION
    header.owner_pid = os.getpid()
    header.owner_start = liveness.process_start(os.getpid())
    header.owner_pidns = liveness.pid_namespace()
    header.capacity = draft.pairs
    ffi.buffer(header.magic)[:] = MAGIC


def _living_owner(folder: int, home: Path, name: str) -> str | None:
    """Who runs the port of that name; None when nobody does. A dead owner's file is removed."""
    file = f"{name}{SUFFIX}"
    try:
        for _ in range(TRIES):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            try:
                fd = os.open(file, flags, dir_fd=folder)
            except FileNotFoundError:
                return None
            try:
                if liveness.is_alive(fd):
                    return _owner_text(os.pread(fd, HEADER, 0))
            finally:
                os.close(fd)
            if not liveness.remove_if_dead(folder, file):
                time.sleep(NAP)
    except OSError as error:
        raise _in_the_way(home / file, error) from error
    raise _in_the_way(home / file, OSError(errno.EBUSY, "another process is removing it"))


def _owner_text(raw: bytes) -> str:
    if len(raw) < HEADER:
        return "another process"
    header: Any = ffi.cast("struct segment_header *", ffi.from_buffer(raw))
    return liveness.process_text(int(header.owner_pid), int(header.owner_pidns))


def _in_the_way(path: Path, error: OSError) -> IavfioError:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return cannot_publish(path.parent, error)
    return IavfioError(
        f"{path} is in the way of this port's counters",
        str(error.strerror),
        f"move it away: mv {path} {path}.old" if path.is_dir() else f"remove it: rm {path}",
    )
