# SPDX-License-Identifier: BSD-3-Clause
"""What is open when the interpreter ends is closed before the things that it uses go."""

from __future__ import annotations

import atexit
import weakref
from typing import Protocol


class Closeable(Protocol):
    """Anything that can be closed more than once."""

    def close(self) -> None:
        """Gives back all that the thing holds; a second call does nothing."""


_open: weakref.WeakSet[Closeable] = weakref.WeakSet()


def close_at_exit(thing: Closeable) -> None:
    """Closes `thing` at the end of the interpreter, before what was registered earlier.

    Exit handlers run in reverse order of registration.
    """
    _open.add(thing)
    atexit.unregister(_close_all)
    atexit.register(_close_all)


def forget(thing: Closeable) -> None:
    """Takes `thing` off the list, because it is closed."""
    _open.discard(thing)


def _close_all() -> None:
    for thing in list(_open):
        thing.close()
