# SPDX-License-Identifier: BSD-3-Clause
"""Lines for a stream whose reader may read no more, written by threads that have other work.

A write to a full pipe, or to a terminal after Ctrl-S, lasts as long as its reader likes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import stat
import time

STDERR = 2
AT_ONCE = select.PIPE_BUF  # bytes that a pipe which takes something takes whole
WAITING = (stat.S_ISFIFO, stat.S_ISCHR)  # kinds of files that keep a writer waiting


class Outlet:
    """Writes lines to a file descriptor. What it does not take is dropped, and counted.

    `seconds`: how long a line waits until the stream takes something; 0 = not at all. After one
    that waited in vain none waits until a line is taken. What is taken then says first how many are
    missing; `dropped` is how many were since the start.
    """

    def __init__(self, fd: int = STDERR, seconds: float = 0.0) -> None:
        self._fd, self._seconds = fd, seconds
        self._missing = 0  # dropped since a line was taken
        self._rest = b""  # of a line that was taken in part
        self.dropped = 0

    def write(self, line: str) -> None:
        """Writes a line, which may hold some, without the line end behind it. Raises nothing."""
        if self._rest:
            self._rest = self._push(self._rest)
        if not self._rest:
            remark = f"iavfio: {self._missing} lines are missing here: nobody read stderr\n"
            text = f"{remark if self._missing else ''}{line}\n"
            data = text.encode(errors="backslashreplace")
            left = self._push(data)
            if len(left) < len(data):
                self._rest, self._missing = left, 0
                return
        self._missing += 1
        self.dropped += 1

    def _push(self, data: bytes) -> bytes:
        """Writes what the stream takes; returns the rest."""
        target = self._fd
        end = time.monotonic() + (0.0 if self._missing else self._seconds)
        try:
            target = self._opened()
            while data and _takes(target, max(end - time.monotonic(), 0.0)):
                data = data[os.write(target, data[:AT_ONCE]) :]
        except OSError:  # closed, or another process was faster
            pass
        finally:
            if target != self._fd:
                os.close(target)
        return data

    def _opened(self) -> int:
        """The stream, open so that no write to it waits, where that can be had.

        That is a property of the open file, which other processes share: so it is opened anew. A
        socket and another user's pipe cannot be; of these it is only known beforehand that they
        take something.
        """
        mode = os.fstat(self._fd).st_mode
        if any(waits(mode) for waits in WAITING):
            with contextlib.suppress(OSError):
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
                return os.open(f"/proc/self/fd/{self._fd}", flags)
        return self._fd


def _takes(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(seconds * 1e3))


class Handler(logging.Handler):
    """Logs to an outlet."""

    def __init__(self, outlet: Outlet, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._outlet = outlet

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):  # a record that cannot be formatted costs itself only
            self._outlet.write(self.format(record))
