# SPDX-License-Identifier: BSD-3-Clause
"""How a capture ends: the first reason counts, and all of its threads see that it is to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from iavfio.errors import IavfioError
from iavfio.logs import logger

C = TypeVar("C")
REPORT = "report it, with what IAVFIO_LOG=debug prints"
SECOND = 1.0  # between two calls of `progress`
LOOK = 0.1  # seconds between looks at the clock

log = logger("port")


class Ending:
    """Why a capture ends; any thread may end it.

    `by`: "count", "duration", "signal", "reader", "port" or "error", "" while it goes on; `error`:
    what went wrong first, None when nothing did.
    """

    def __init__(self) -> None:
        self.by = ""
        self.error: IavfioError | None = None

    def end(self, why: str) -> None:
        """Ends it for the reason `why`, unless it ends already."""
        self.by = self.by or why

    def fail(self, error: IavfioError) -> None:
        """Ends it for an error; also when it ends already, the first error is kept."""
        self.error = self.error or error
        self.end("error")

    def lost(self, error: IavfioError) -> None:
        """Ends it for a port that moves nothing any more; no error where it ends already.

        What was wanted has come by then, and a device that is slow to a signal is given up at once.
        """
        if not self.by:
            self.fail(error)

    def broke(self, error: Exception) -> None:
        """Ends it for an error that nobody foresaw, with its place in the log."""
        log.error("a capture failed", exc_info=error)
        self.fail(IavfioError("the capture failed", f"{type(error).__name__}: {error}", REPORT))

    def await_written(self, written: threading.Event, seconds: float | None) -> None:
        """Waits until all that was captured is written; it is an error where that takes longer."""
        if not written.wait(seconds):
            self.fail(
                IavfioError(
                    "not all that was captured is written",
                    "whatever reads or stores it takes nothing",
                    "look at the reader of the pipe, or at the file system",
                )
            )


def watch(
    over: threading.Event,
    began: float,
    counts: Callable[[], C],
    progress: Callable[[float, C], None] | None,
) -> None:
    """Waits for `over`; about once a second `progress` is told the seconds since `began` and the
    counts.
    """
    shown = began
    while not over.wait(LOOK):
        now = time.monotonic()
        if progress is not None and now - shown >= SECOND:
            shown = now
            progress(now - began, counts())
