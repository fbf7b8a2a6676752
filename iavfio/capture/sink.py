# SPDX-License-Identifier: BSD-3-Clause
"""Where a capture is written: a file, a numbered series of files, or a pipe."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from iavfio.errors import ConfigError, IavfioError
from iavfio.exhaustion import exhaustion

STDOUT = "-"
PIECE = 1 << 14  # bytes that a pipe is given at a time: by them it is seen whether somebody reads
Trailer = Callable[[], bytes]


class ReaderGone(IavfioError):
    """Nobody reads the pipe any more."""


class Sink:
    """Takes whole blocks. Each file begins with `header` and ends with what `trailer()` returns.

    `size`, `seconds`: a new file is begun before one would grow beyond so many bytes, or when it is
    so old; 0 = never. The files of such a series have a number before their ending: a_00001.pcapng.
    Raises IavfioError for a file that cannot be made or written, ConfigError for a series on a
    pipe, ReaderGone.
    """

    def __init__(
        self, path: str, header: bytes, trailer: Trailer, size: int = 0, seconds: float = 0.0
    ) -> None:
        self.path = path
        self.files: list[str] = []
        self.bytes = 0  # written in all
        self._header, self._trailer = header, trailer
        self._size, self._seconds = size, seconds
        self._fd = -1
        self._written, self._began = 0, 0.0
        if path == STDOUT and self.series:
            raise ConfigError(
                "standard output cannot be rotated", "it is one stream", "name a file with -w"
            )
        self.prompt = False

    def open(self) -> None:
        """Begins the first file. `prompt` says afterwards whether somebody waits at the far end."""
        try:
            self._open()
        except OSError as error:
            self.abandon()
            raise _unwritable(self.path, error) from error
        except IavfioError:
            self.abandon()
            raise
        except KeyboardInterrupt:
            if self.prompt:  # nobody has read the header, or not all of it
                self.abandon()
            raise

    @property
    def series(self) -> bool:
        """Whether it writes a numbered series of files."""
        return bool(self._size or self._seconds)

    def write(self, blocks: memoryview) -> None:
        """Writes whole blocks, all of them into one file."""
        if self._is_full(len(blocks)):
            self._end()
            self._open()
        self._put(blocks)

    def close(self) -> None:
        """Ends the file as it must end. Twice is harmless."""
        if self.is_open:
            self._end()

    def abandon(self) -> None:
        """Closes what cannot be written any more."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    @property
    def is_open(self) -> bool:
        """Whether a file is begun and not ended."""
        return self._fd >= 0

    def _is_full(self, more: int) -> bool:
        if self._seconds and time.monotonic() - self._began >= self._seconds:
            return True
        if not self._size or self._written <= len(self._header):
            return False
        return self._written + more + len(self._trailer()) > self._size

    def _open(self) -> None:
        name = self.path
        if self.series:
            whole = Path(name)
            name = str(whole.with_name(f"{whole.stem}_{len(self.files) + 1:05}{whole.suffix}"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            self._fd = os.dup(1) if name == STDOUT else os.open(name, flags, 0o644)
        except OSError as error:
            raise _unwritable(name, error) from error
        self.prompt = not stat.S_ISREG(os.fstat(self._fd).st_mode)
        self.files.append(name)
        self._written, self._began = 0, time.monotonic()
        self._put(memoryview(self._header))

    def _end(self) -> None:
        try:
            self._put(memoryview(self._trailer()))
        finally:
            fd, self._fd = self._fd, -1
            try:
                os.close(fd)
            except OSError as error:
                raise _unwritable(self.files[-1], error) from error

    def _put(self, blocks: memoryview) -> None:
        self._written += len(blocks)
        while blocks:
            try:
                done = os.write(self._fd, blocks[:PIECE] if self.prompt else blocks)
            except BlockingIOError:  # a pipe that somebody made so: its reader is slow
                time.sleep(0.001)
                continue
            except OSError as error:
                raise _unwritable(self.files[-1], error) from error
            self.bytes += done
            blocks = blocks[done:]


def _unwritable(name: str, error: OSError) -> IavfioError:
    shown = "standard output" if name == STDOUT else name
    code = errno.errorcode.get(error.errno or 0, "no number")
    short = exhaustion(error, f"{shown} cannot be written")
    if short is not None:
        return short
    if error.errno == errno.EPIPE:
        return ReaderGone(f"nobody reads {shown} any more", "the reader has ended")
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return IavfioError(
            f"{shown} is not written whole: there is no room",
            f"{error.strerror} ({code})",
            "make room where it goes to, or write less: --snaplen, a filter, --count",
        )
    return IavfioError(f"{shown} cannot be written", f"{error.strerror or error} ({code})")
