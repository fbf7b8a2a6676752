# SPDX-License-Identifier: BSD-3-Clause
"""Times of calls, from their begin or from the Ctrl-C that interrupts them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from iavfio.errors import IavfioError
from iavfio.pyvfio.connection import hasten

SCHEDULED = Path("/proc/thread-self/schedstat")  # ns on a CPU, ns of waiting for one, turns


class Span(NamedTuple):
    """Begin and end by time.monotonic, and for how many seconds the thread had no CPU meanwhile."""

    began: float
    ended: float
    delayed: float = 0.0

    @property
    def seconds(self) -> float:
        """From begin to end."""
        return self.ended - self.began


class Stopwatch:
    """The spans of calls that returned or raised an IavfioError; `raised` has the last such.

    `patience`: seconds that the PF gets because it was slow of late.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.patience = 0.0
        self.raised: IavfioError | None = None

    def time(self, call: Callable[[], object]) -> None:
        """One call."""
        waited, began = _without_cpu(), time.monotonic()
        try:
            call()
        except IavfioError as error:
            self.raised = error
        ended = time.monotonic()
        self.spans.append(Span(began, ended, _without_cpu() - waited))

    def interrupted(self, call: Callable[[], object], after: float, command: bool = False) -> None:
        """From a signal, `after` seconds into the call, to its end; nothing if it ends before.

        `command`: the signal is answered as iavfio's commands do.
        """
        sent: list[float] = []
        under_way = threading.Event()

        def press() -> None:
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        def answer(_: int, __: FrameType | None) -> None:
            if under_way.is_set():
                under_way.clear()
                if command:
                    hasten()
                raise KeyboardInterrupt

        before = signal.signal(signal.SIGINT, answer)
        timer = threading.Timer(after, press)
        timer.start()
        waited = _without_cpu()
        try:
            under_way.set()
            call()
            under_way.clear()
        except KeyboardInterrupt:
            ended = time.monotonic()
            self.spans.append(Span(sent[0], ended, _without_cpu() - waited))
        except IavfioError as error:
            under_way.clear()
            self.raised = error
        finally:
            timer.cancel()
            timer.join()
            signal.signal(signal.SIGINT, before)
            hasten(False)


def _without_cpu() -> float:
    """Seconds that this thread has waited for a CPU; 0 where the kernel does not count them."""
    try:
        return int(SCHEDULED.read_bytes().split()[1]) / 1e9
    except OSError:
        return 0.0
