# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C, SIGTERM and SIGHUP: exit status 130, 143 and 129, a summary where there is one, never a
traceback.

Two phases. While modules are imported nothing has to be cleaned up, and an exception may come out
of any callback: a signal ends the process at once. While a command works a signal is raised as an
exception in the main thread, so that ports are closed and summaries are printed. Streams that take
none are not waited for (iavfio.cli.patience).
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:  # nothing is imported here that takes time: a signal may come meanwhile
    from collections.abc import Iterator
    from types import FrameType
    from typing import NoReturn

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN = 0.01  # seconds after which an exception that a callback swallowed is raised again
# Seconds in which a repeated signal is the same one: `timeout` sends it to a process and to its
# group. Whoever is impatient sends one later.
SAME = 1.0
HURRIED = (
    ("iavfio.pyvfio.connection", "hasten"),
    ("iavfio.softvf.launch", "hasten"),
    ("iavfio.cli.patience", "lose"),
)


class Terminated(KeyboardInterrupt):
    """SIGTERM came: everything ends as after Ctrl-C, with another exit status."""


class HungUp(KeyboardInterrupt):
    """SIGHUP came: the terminal is gone, and with it perhaps who reads what is told."""


RAISED = {signal.SIGTERM: Terminated, signal.SIGHUP: HungUp}  # for others KeyboardInterrupt


def status(error: BaseException) -> int:
    """The exit status for the exception that a signal raised."""
    return 128 + next((n for n, kind in RAISED.items() if isinstance(error, kind)), signal.SIGINT)


def end_at_once() -> None:
    """Lets NUMBERS end the process, with 128 and their number and without a word."""
    for number in NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a shell's background job
            signal.signal(number, _leave)
    # The program that started this one may have held them back until somebody can answer.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)


def hold_back() -> None:
    """Ignores signals from now on: the work is done, and its exit status is known.

    A mask would hold them back from one thread only, and Python's end gives a handler up.
    """
    for number in NUMBERS:
        signal.signal(number, signal.SIG_IGN)


def end(status: int) -> NoReturn:
    """Ends the process, after a signal without taking the interpreter down: nobody waits for that.

    Python would also give up the status for the signal itself, where an exception that it raised
    came through a piece of code that exec() ran.
    """
    if status - 128 not in NUMBERS:
        sys.exit(status)
    atexit._run_exitfuncs()  # noqa: SLF001 - what is still open is closed as at any other end
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


@contextmanager
def raised(anyway: bool = False) -> Iterator[None]:
    """Inside, each of NUMBERS raises a KeyboardInterrupt of its own in the main thread.

    `anyway`: also where the command has handlers of its own.
    """
    if not anyway and (
        signal.getsignal(signal.SIGINT) is not _leave
        and signal.getsignal(signal.SIGTERM) is not _leave
    ):
        yield  # the process belongs to somebody else, who answers signals himself
        return
    from iavfio.cli import patience

    patience.keep()
    _came[0] = -SAME
    before = {number: signal.getsignal(number) for number in (*NUMBERS, signal.SIGALRM)}
    hook = sys.unraisablehook
    try:
        for number in NUMBERS:
            if before[number] is not signal.SIG_IGN:
                signal.signal(number, _raise)
        signal.signal(signal.SIGALRM, _raise_again)
        sys.unraisablehook = _unraisable
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


_came = [-SAME]  # when a signal was answered last, by time.monotonic
_lost: list[type[BaseException]] = []  # raised where Python cannot pass an exception on


def _leave(number: int, _: FrameType | None) -> None:
    if time.monotonic() - _came[0] >= SAME:
        os._exit(128 + number)


def _raise(number: int, _: FrameType | None) -> None:
    # A module that is not there, or half imported, has nothing yet that could keep us waiting.
    for module, name in HURRIED:
        hurry = getattr(sys.modules.get(module), name, None)
        if hurry is not None:
            hurry()
    if time.monotonic() - _came[0] < SAME:
        return
    _came[0] = time.monotonic()
    raise RAISED.get(signal.Signals(number), KeyboardInterrupt)


def _raise_again(_number: int, _: FrameType | None) -> None:
    if _lost:
        raise _lost.pop()


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """A finalizer or a callback swallowed the exception: it comes once more, outside of it."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        _lost.append(unraisable.exc_type)
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
    else:
        sys.__unraisablehook__(unraisable)
