# SPDX-License-Identifier: BSD-3-Clause
"""Single keys of the terminal, read without waiting for Enter and without an echo."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager


class Quit(KeyboardInterrupt):
    """The user has pressed q: everything ends as after Ctrl-C, with exit status 0."""


class Keyboard:
    """Waits for time to pass or a key; without a terminal for time alone."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

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
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)  # Ctrl-C remains a signal
        yield Keyboard(fd)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
