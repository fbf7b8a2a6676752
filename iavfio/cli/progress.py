# SPDX-License-Identifier: BSD-3-Clause
"""What a long command is doing, on stderr."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

from iavfio.cli.printing import note

ON_TERMINAL, ELSEWHERE = 1.0, 60.0  # seconds between two signs of life
ERASE = "\r\x1b[K"


class Progress:
    """A context manager. On a terminal one line that is overwritten, with the seconds of a step.

    Elsewhere, in a log for example, a line for each step that ended and for each minute of one.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._step = self._far = ""
        self._began = 0.0
        self._writing = threading.Lock()
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def begin(self, name: str, what: str) -> None:
        """A step begins: `name`, and in words what it does."""
        with self._writing:
            self._step, self._far, self._began = f"{name}: {what}", "", time.monotonic()

    def tell(self, text: str) -> None:
        """How far the step has come, to be read after its seconds: "of 60 s, 9 packets"."""
        with self._writing:
            self._far = text

    def end(self, line: str) -> None:
        """The step that began last is over; `line` says how it ended."""
        with self._writing:
            self._step = ""
            note(ERASE if self._terminal else f"{line}\n", nl=False)

    def _tick(self) -> None:
        pause = ON_TERMINAL if self._terminal else ELSEWHERE
        while not self._over.wait(pause):
            with self._writing:
                self._tell()

    def _tell(self) -> None:
        seconds = time.monotonic() - self._began
        if not self._step or (not self._terminal and seconds < ELSEWHERE / 2):
            return
        text = f"{self._step}, {seconds:.0f} s {self._far}".rstrip()
        note(f"{ERASE}{text}" if self._terminal else f"{text}\n", nl=False)

    def __enter__(self) -> Progress:
        self._ticker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._ticker.join()
        if self._terminal:
            note(ERASE, nl=False)
