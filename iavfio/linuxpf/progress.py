# SPDX-License-Identifier: BSD-3-Clause
"""What a build of minutes says meanwhile: each step, and how many files are compiled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

COMPILED = b"  CC  "  # how a line of the kernel's make begins
EVERY = 20.0  # seconds between two lines


def _say(text: str) -> None:
    print(text, flush=True)


class Progress:
    """Tells of a build whose output goes to `log`; `say` gets each line."""

    def __init__(
        self,
        log: Path,
        say: Callable[[str], None] = _say,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._say, self._clock = log, say, clock
        self._began = clock()

    @property
    def seconds(self) -> float:
        """Since the build began."""
        return self._clock() - self._began

    def step(self, what: str) -> None:
        """A step begins."""
        self._say(f"  {self.seconds:4.0f} s: {what}")

    @contextmanager
    def compiling(self, about: int, every: float = EVERY) -> Iterator[None]:
        """A step that compiles about so many files; counts them until the end of the block."""
        self.step("compiling")
        over = threading.Event()

        def count() -> None:
            while not over.wait(every):
                self.step(f"{self.compiled()} of about {about} files compiled")

        thread = threading.Thread(target=count, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def compiled(self) -> int:
        """How many files the log says are compiled."""
        with self._log.open("rb") as log:
            return sum(line.startswith(COMPILED) for line in log)
