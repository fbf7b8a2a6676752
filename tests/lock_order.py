# SPDX-License-Identifier: BSD-3-Clause
"""The order in which iavfio's threads take Python's locks, watched over a whole run of tests.

Two threads that take two locks in opposite orders may wait for each other for ever. Which lock was
waited for while which others were held is kept by the line that made each; a circle of such lines
is a deadlock that needs only the right moment, also where no test has met it. With
$IAVFIO_LOCK_ORDER set, tests/conftest.py fails the test that closes a circle.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

PACKAGE = str(Path(__file__).resolve().parent.parent / "iavfio")
Edge = tuple[str, str]


class Order:
    """Which lock was waited for under which others, and where."""

    def __init__(self) -> None:
        self.edges: dict[Edge, str] = {}  # with the place that was seen first
        self._held = threading.local()
        self._told: set[frozenset[str]] = set()

    def holds(self) -> list[Watched]:
        """The locks that this thread holds, the first one first."""
        found: list[Watched] | None = getattr(self._held, "locks", None)
        if found is None:
            found = self._held.locks = []
        return found

    def waits(self, lock: Watched) -> None:
        """This thread is about to wait for a lock, if need be."""
        for held in self.holds():
            edge = held.site, lock.site
            if edge not in self.edges:
                self.edges[edge] = _place(inspect.currentframe())

    def circle(self) -> list[str]:
        """The lines of one circle that was not told before, with places; empty without one."""
        after: dict[str, list[str]] = {}
        for first, second in list(self.edges):
            after.setdefault(first, []).append(second)
        for start in after:
            for path in _paths(after, start, start):
                if frozenset(path) not in self._told:
                    self._told.add(frozenset(path))
                    pairs = zip(path, [*path[1:], start], strict=True)
                    return [f"{a}, then {b} at {self.edges[a, b]}" for a, b in pairs]
        return []


def _paths(after: dict[str, list[str]], at: str, goal: str, seen: tuple[str, ...] = ()) -> Any:
    for following in after.get(at, []):
        if following == goal:
            yield [*seen, at]
        elif following not in seen and following != at:
            yield from _paths(after, following, goal, (*seen, at))


def _place(frame: FrameType | None) -> str:
    """The nearest line of iavfio's own."""
    while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "outside of iavfio"
    return f"{Path(frame.f_code.co_filename).relative_to(PACKAGE)}:{frame.f_lineno}"


def _maker(frame: FrameType | None) -> str:
    """The line of iavfio's that called the function of this frame; empty for another package's."""
    caller = None if frame is None else frame.f_back
    own = caller is not None and caller.f_code.co_filename.startswith(PACKAGE)
    return _place(caller) if own else ""


class Watched:
    """A lock that tells what was held when a thread waited for it."""

    def __init__(self, order: Order, lock: Any, site: str) -> None:
        self._order, self._lock, self.site = order, lock, site
        self._new = True

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        # Nobody else can have a new lock, and nobody waits for a reentrant one that is his.
        if blocking and not self._new and self not in self._order.holds():
            self._order.waits(self)
        self._new = False
        taken = bool(self._lock.acquire(blocking, timeout))
        if taken:
            self._order.holds().append(self)
        return taken

    def release(self) -> None:
        held = self._order.holds()
        if self in held:  # a lock may be released by another thread
            del held[len(held) - 1 - held[::-1].index(self)]
        self._lock.release()

    def locked(self) -> bool:
        return bool(self._lock.locked())

    def __getattr__(self, name: str) -> Any:
        """What a condition asks of a reentrant lock: to give it up whole and to take it back."""
        return getattr(self._lock, name)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


@contextmanager
def watched(order: Order) -> Iterator[None]:
    """Every lock that iavfio makes meanwhile is watched; those of other packages are not."""
    lock, reentrant, condition = threading.Lock, threading.RLock, threading.Condition

    def made(genuine: Any) -> Any:
        def make() -> Any:
            site = _maker(inspect.currentframe())
            return Watched(order, genuine(), site) if site else genuine()

        return make

    def make_condition(inner: Any = None) -> threading.Condition:
        site = _maker(inspect.currentframe())
        held: Any = Watched(order, reentrant(), site) if site and inner is None else inner
        return condition(held)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "Lock", made(lock))
        patch.setattr(threading, "RLock", made(reentrant))
        patch.setattr(threading, "Condition", make_condition)
        yield
