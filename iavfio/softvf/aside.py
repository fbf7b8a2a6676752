# SPDX-License-Identifier: BSD-3-Clause
"""What takes long, or waits, is done aside: in a thread for which nobody who serves waits (D6)."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable

Work = Callable[[], object]


class Aside:
    """Does one piece of work after the other in a thread that the first one starts.

    An OSError of the work is nobody's. The process may end while the thread is at work.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether there is a thread."""
        return self._thread is not None

    def do(self, work: Work) -> bool:
        """Does it behind what came before; False, and nothing is done, where no thread can be."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the host has no thread left
                return False
            self._thread = thread
        self._queue.put(work)
        return True

    def end(self) -> None:
        """Lets the thread end when it has done what there is; waits for nothing."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread = None

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            with contextlib.suppress(OSError):
                work()
