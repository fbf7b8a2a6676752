# SPDX-License-Identifier: BSD-3-Clause
"""How a capture ends: the first reason counts, and all of its threads see that it is to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from iavfio.capture.sink import Sink
from iavfio.errors import IavfioError
from iavfio.logs import logger

C = TypeVar("C")
REPORT = "report it, with what IAVFIO_LOG=debug prints"
SECOND = 1.0  # between two calls of `progress`
LOOK = 0.1  # seconds between looks at the clock
# Seconds after a signal in which what was captured must be written, and those in which whoever
# reads it takes nothing at all.
WRITTEN, STILL = 5.0, 0.05
STEP = 0.002  # seconds between looks at how much is written

log = logger("port")


class NotTaken(IavfioError):
    """Whatever reads or stores a capture takes nothing more."""


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

    def await_written(self, written: threading.Event, sink: Sink, hurried: bool) -> None:
        """Waits until all that was captured is written.

        After a signal (`hurried`) it is an error where that takes longer than WRITTEN seconds, or
        where the reader of a pipe takes nothing for STILL seconds.
        """
        if not hurried:
            written.wait()
            return
        still = STILL if sink.prompt else WRITTEN
        began = since = time.monotonic()
        taken = sink.bytes
        while not written.wait(STEP):
            now = time.monotonic()
            if sink.bytes != taken:
                taken, since = sink.bytes, now
            if now - since >= still or now - began >= WRITTEN:
                self._not_taken()
                return

    def start_late(self, writer: threading.Thread, written: threading.Event, sink: Sink) -> None:
        """Starts a thread that only ends the file, since a signal came before it began; `written`
        is set where there can be no thread.
        """
        if sink.prompt and not sink.is_open:  # nobody took the header whole
            self._not_taken()
        try:
            writer.start()
        except RuntimeError:  # Python's word for a thread that cannot start
            sink.abandon()
            written.set()

    def _not_taken(self) -> None:
        self.fail(
            NotTaken(
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
