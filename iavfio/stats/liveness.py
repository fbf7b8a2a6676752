# SPDX-License-Identifier: BSD-3-Clause
"""Whether the process that wrote a segment still lives, by a lock that ends with it.

The writer holds an open-file-description lock on byte 0 of its file (fcntl(2), F_OFD_SETLK). The
kernel takes it away when the process ends, however it ends, and shows it to every reader, also in
another PID namespace. Only one who may write to the file can hold such a lock. Byte 1 is locked by
whoever removes a dead port's file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path

LOCK = struct.Struct("hhqqi")  # struct flock of 64-bit Linux: type, whence, start, length, pid
ALIVE, REMOVAL = 0, 1


def door_of(name: str) -> str:
    """The name of the socket that belongs to the segment file `name` (iavfio/stats/door.py)."""
    return f"{Path(name).stem}.door"


def hold(fd: int) -> None:
    """Marks the file as that of a living writer, until the last copy of `fd` is closed."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, ALIVE, 1, 0))


def is_alive(fd: int) -> bool:
    """Whether a writer holds the file open; changes nothing and needs the right to read only.

    A kernel that cannot say, because it has no room for locks, says yes: nothing of a port that
    may live is removed.
    """
    asked = LOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, ALIVE, 1, 0)
    try:
        kind: int = LOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))[0]
    except OSError:
        return True
    return kind != fcntl.F_UNLCK


def remove_if_dead(folder: int, name: str, begins: bytes = b"") -> bool:
    """Removes a file whose writer has ended; False when it lives or another removes it just now,
    and when it does not begin with `begins`.

    `folder` is the descriptor of its directory. A writer locks its file before the file gets this
    name and never again, so what is dead stays dead; the lock on byte 1 makes sure that the name
    still means the file that was looked at. Raises OSError when this user may not do it.
    """
    try:
        fd = _open_to_lock(folder, name)
    except FileNotFoundError:
        return False
    try:
        if begins and os.pread(fd, len(begins), 0) != begins:
            return False
        if not _lock_removal(fd) or is_alive(fd) or not same_file(fd, folder, name):
            return False
        with suppress(FileNotFoundError):  # while the name is still taken
            os.unlink(door_of(name), dir_fd=folder)
        os.unlink(name, dir_fd=folder)
        return True
    finally:
        os.close(fd)


def _open_to_lock(folder: int, name: str) -> int:
    """Opens a segment so that it can be locked; one of this user that has a read-only mode and is
    dead becomes writable for it. Raises OSError.
    """
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(name, os.O_RDWR | flags, dir_fd=folder)
    except PermissionError:
        fd = os.open(name, os.O_RDONLY | flags, dir_fd=folder)
        try:
            if os.fstat(fd).st_uid != os.geteuid():
                raise
            if is_alive(fd):
                return os.dup(fd)
            os.fchmod(fd, 0o600)
        finally:
            os.close(fd)
        return os.open(name, os.O_RDWR | flags, dir_fd=folder)


def _lock_removal(fd: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, REMOVAL, 1, 0))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def same_file(fd: int, folder: int, name: str) -> bool:
    """Whether a name in a directory still means the open file."""
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def process_start(pid: int) -> int:
    """Start time of a living process in clock ticks since boot (proc(5)), 0 when unknown."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(text[text.rindex(")") + 2 :].split()[19])


def pid_namespace() -> int:
    """The inode number of this process's PID namespace, 0 when unknown."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


def process_text(pid: int, namespace: int) -> str:
    """A process for people: its number means nothing in another PID namespace."""
    here = pid_namespace()
    foreign = namespace and here and namespace != here
    return f"process {pid} of another PID namespace" if foreign else f"process {pid}"
