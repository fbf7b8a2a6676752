# SPDX-License-Identifier: BSD-3-Clause
"""How late the machine itself is: what a process that only sleeps sees."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

BEAT = 0.005  # seconds
Delay = tuple[float, float]  # when it should have woken, and how many seconds later it did


def beat(line: Connection) -> None:
    """Sleeps and looks at the clock until something comes on the line; answers with all delays."""
    over = threading.Event()
    threading.Thread(target=_hear, args=(line, over), daemon=True).start()
    delays: list[Delay] = []
    while not over.is_set():
        due = time.monotonic() + BEAT
        time.sleep(BEAT)
        late = time.monotonic() - due
        if late > BEAT:
            delays.append((due, late))
    line.send(delays)


def _hear(line: Connection, over: threading.Event) -> None:
    line.recv()
    over.set()


def lateness(delays: Sequence[Delay], began: float, ended: float) -> float:
    """Seconds by which the machine was late in a span of time."""
    return sum(late for due, late in delays if due <= ended and due + late >= began)
