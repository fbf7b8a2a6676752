# SPDX-License-Identifier: BSD-3-Clause
"""Files that a command writes beside what it prints, at its end."""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Callable
from pathlib import Path

from iavfio.cli import patience
from iavfio.cli.printing import note
from iavfio.errors import ConfigError

TOLD = 1.0  # seconds after which it is said that a reader takes nothing


class ReportFile:
    """The file of an option, or none, which it makes before anything is measured.

    A file keeps what it has until `write`. A pipe (FIFO) is open from now on: a reader of it is
    waited for, which is said, and a signal ends that. Raises ConfigError for what cannot be
    written.
    """

    def __init__(self, path: str | Path | None, option: str) -> None:
        self._path, self._option = path, option
        self._fd = -1  # of what is no regular file
        if path is None:
            return
        try:
            self._fd = _opened(path)
            if stat.S_ISREG(os.fstat(self._fd).st_mode):
                self.close()
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be written", str(error.strerror), f"choose another {option} FILE"
            ) from error

    @property
    def regular(self) -> bool:
        """Whether it is a file that can be replaced, and not a pipe or a device."""
        return self._fd < 0

    def write(self, content: Callable[[], str | bytes], hurried: bool = False) -> bool:
        """Writes what `content` returns; False, and the reason is told, where not all is taken.

        A reader of a pipe that takes nothing is waited for until a signal comes; after one, which
        is when `hurried`, for 50 ms. KeyboardInterrupt passes through.
        """
        if self._path is None:
            return True
        made = content()
        data = made.encode() if isinstance(made, str) else made
        try:
            if self.regular:
                Path(self._path).write_bytes(data)
            else:
                self._put(memoryview(data), hurried)
        except OSError as error:
            self._not_whole(error.strerror or str(error))
            return False
        except KeyboardInterrupt:
            self._not_whole("a signal came while its reader took nothing")
            raise
        finally:
            self.close()
        return True

    def close(self) -> None:
        """Closes it; twice is harmless."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _put(self, data: memoryview, hurried: bool) -> None:
        os.set_blocking(self._fd, False)
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        since, told = time.monotonic(), False
        while data:
            if poll.poll((patience.SECONDS if hurried else TOLD) * 1e3):
                try:
                    data = data[os.write(self._fd, data) :]
                    since = time.monotonic()
                except BlockingIOError:  # another writer was faster
                    pass
            now = time.monotonic()
            if data and hurried and now - since >= patience.SECONDS:
                raise OSError(None, "its reader takes nothing")
            if data and not told and now - since >= TOLD:
                note(f"iavfio: {self._path}: waiting for its reader, which takes nothing")
                told = True

    def _not_whole(self, why: str) -> None:
        note(
            f"iavfio: {self._path} is not written whole: {why}\n"
            f"  choose another {self._option} FILE"
        )


def _opened(path: str | Path) -> int:
    """A descriptor for writing, of a pipe once it has a reader."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
    try:
        return os.open(path, flags | os.O_NONBLOCK, 0o666)
    except OSError:
        if not Path(path).is_fifo():
            raise
    note(f"iavfio: {path} is a pipe: waiting for its reader")
    return os.open(path, flags)  # until there is one, or a signal
