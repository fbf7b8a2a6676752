# SPDX-License-Identifier: BSD-3-Clause
"""Streams that nobody reads, and what a process does with them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
from pathlib import Path

PAGE = 4096


class Pipe:
    """A pipe of a few pages, whose reader is this process. One page that holds a word is full."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, 4 * PAGE)
        self.text = ""

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.read_end)
        os.close(self.write_end)

    def take(self, seconds: float = 0.0) -> str:
        """Reads what is there, or comes within some seconds; returns all that was read so far."""
        while select.select([self.read_end], [], [], seconds)[0]:
            self.text += os.read(self.read_end, PAGE).decode(errors="replace")
            seconds = 0.0
        return self.text

    def fill(self) -> None:
        """It takes no more from now on, unless it is read."""
        own = os.open(f"/proc/self/fd/{self.write_end}", os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            for size in (PAGE, 1):
                while True:
                    try:
                        os.write(own, bytes(size))
                    except BlockingIOError:
                        break
        os.close(own)


def wchan(process: int) -> str:
    """Where in the kernel a process sleeps; "0" where that is a secret."""
    return Path(f"/proc/{process}/wchan").read_text()


def writes(process: int) -> bool:
    """Whether a process is inside of a write to a pipe or a terminal, as far as can be seen."""
    place = wchan(process)
    return any(word in place for word in ("pipe", "tty", "wait_woken")) or place == "0"


def answers(process: int, number: int) -> bool:
    """Whether a process answers a signal by now."""
    status = Path(f"/proc/{process}/status").read_text()
    caught = status.partition("SigCgt:")[2].split()[0]
    return bool(int(caught, 16) >> (number - 1) & 1)
