# SPDX-License-Identifier: BSD-3-Clause
"""How long standard output and error are waited for once a signal has come.

The reader of a pipe may read no more, and a terminal stands still after Ctrl-S. A stream that takes
nothing for 50 ms is given up: what is still written there goes nowhere. A thread looks after it,
because the main thread may be inside a write, or may wait for a thread that is.
"""

from __future__ import annotations

import _thread
import os
import select
import signal
import threading
import time
from contextlib import suppress

SECONDS = 0.05
LOOK = 0.005  # seconds between two looks
STREAMS = (1, 2)
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Whoever is inside a write leaves it for a moment and writes on, to where the stream leads by then.
# This signal is ignored where nothing answers it, so it may come too late.
NUDGE = signal.SIGURG

_line: list[int] = []  # where the thread is told of a signal; empty: there is no thread


def keep() -> None:
    """From now on streams are looked after; called in the main thread, once or more often.

    A process that is short of files or threads has none for this, and goes on without.
    """
    if _line:
        return
    with suppress(OSError, RuntimeError):
        heard, told = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(told, False)
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        signal.signal(NUDGE, lambda *_: None)
        # A signal that a program waits for with sigwait must not find this thread instead.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            _thread.start_new_thread(_look_after, (heard, null))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        # Python writes the number there at once, also while the main thread can answer nothing.
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        _line.append(told)


def lose() -> None:
    """The program is to end: streams are not waited for any more. A second call does nothing."""
    for told in _line:
        with suppress(OSError):
            os.write(told, bytes(ENDING[:1]))


def _look_after(heard: int, null: int) -> None:
    while not any(number in ENDING for number in os.read(heard, 64)):
        pass
    taken = dict.fromkeys(STREAMS, time.monotonic())  # when each could take something last
    while taken:
        now = time.monotonic()
        for fd in list(taken):
            if _takes(fd):
                taken[fd] = now
            elif now - taken[fd] >= SECONDS:
                del taken[fd]
                os.dup2(null, fd)
                _nudge()
        time.sleep(LOOK)


def _takes(fd: int) -> bool:
    """Whether nobody waits in a write to it, as someone does where it cannot take more."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


def _nudge() -> None:
    """Whatever thread is inside a write begins it anew."""
    for thread in threading.enumerate():
        if thread.ident is not None and thread.is_alive():
            with suppress(OSError):
                signal.pthread_kill(thread.ident, NUDGE)
