# SPDX-License-Identifier: BSD-3-Clause
"""Single keys of the terminal, read without waiting for Enter and without an echo."""

from __future__ import annotations

import errno
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Quit(KeyboardInterrupt):
    """The user has pressed q: everything ends as after Ctrl-C, with exit status 0."""


class Keyboard:
    """Waits for time to pass or a key; without a terminal for time alone."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._before = None if fd is None else termios.tcgetattr(fd)

    def take(self) -> None:
        """Single keys come from now on, without an echo; Ctrl-C and Ctrl-Z remain signals."""
        self._set(lambda fd: tty.setcbreak(fd))

    def give_back(self) -> None:
        """The terminal is as it was at first."""
        self._set(lambda fd: termios.tcsetattr(fd, termios.TCSADRAIN, self._before or []))

    def _set(self, change: Callable[[int], object]) -> None:
        """In the background the program is stopped here until it is in the foreground."""
        while self._fd is not None:
            try:
                change(self._fd)
                return
            except termios.error as error:
                if error.args[0] == errno.EIO:
                    self._fd = None  # the terminal hung up
                elif error.args[0] != errno.EINTR:
                    raise

    def wait(self, seconds: float) -> None:
        """Waits `seconds`, or less when a key is pressed. Raises Quit for q."""
        if self._fd is None:
            time.sleep(seconds)
            return
        ready, _, _ = select.select([self._fd], [], [], seconds)
        if not ready:
            return
        pressed = os.read(self._fd, 64)
        if not pressed:
            self._fd = None  # the terminal hung up
        elif pressed[:1] in (b"q", b"Q"):
            raise Quit


@contextmanager
def keyboard() -> Iterator[Keyboard]:
    """The keys of stdin inside; the terminal is as it was afterwards."""
    if not sys.stdin.isatty():
        yield Keyboard(None)
        return
    keys = Keyboard(sys.stdin.fileno())
    try:
        keys.take()
        yield keys
    finally:
        keys.give_back()
