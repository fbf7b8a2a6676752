# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-Z in a view that owns the terminal: it is the shell's while the program is stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


class Suspension:
    """Answers SIGTSTP and SIGCONT inside its `with` block, in the main thread.

    `leave` gives the terminal back, `come_back` takes it and paints it anew. Both are called inside
    `allowed` alone, where nothing is half painted; a signal that comes elsewhere waits for that, or
    for the end of the block.
    Where SIGTSTP is ignored, as without job control, it stays so.
    """

    def __init__(self, leave: Callable[[], None], come_back: Callable[[], None]) -> None:
        self._leave, self._come_back = leave, come_back
        self._allowed = False
        self._due = 0  # the signal that waits; one that stops comes before one that continues
        self._before = {n: signal.getsignal(n) for n in (signal.SIGTSTP, signal.SIGCONT)}
        self._answers = self._before[signal.SIGTSTP] is not signal.SIG_IGN

    def __enter__(self) -> Suspension:
        if self._answers:
            for number in self._before:
                signal.signal(number, self._heard)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._answers:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            if self._due == signal.SIGTSTP:  # while the view ended: nothing is to be given back
                os.kill(os.getpid(), signal.SIGTSTP)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Inside, the program stops and goes on at once."""
        try:
            self._answer()
            yield
        finally:
            self._allowed = False

    def _heard(self, number: int, _: FrameType | None) -> None:
        if self._due != signal.SIGTSTP:
            self._due = number
        if self._allowed:
            self._answer()

    def _answer(self) -> None:
        """Answers what is due, one signal after the other, until a further one is heard at once."""
        while not self._allowed or self._due:
            self._allowed = False
            due, self._due = self._due, 0
            if due == signal.SIGTSTP:
                self._stop()
            if due:
                self._come_back()
            self._allowed = True

    def _stop(self) -> None:
        """Returns when the program goes on."""
        self._leave()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._heard)
        if self._due == signal.SIGCONT:
            self._due = 0
