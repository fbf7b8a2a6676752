# SPDX-License-Identifier: BSD-3-Clause
"""The descriptor by which select, epoll and asyncio learn that a receive queue is worth a look.

It is an epoll instance over the eventfds of the queue's vector and of its pair, so that it stays
the same over resets, stop and start (csrc/driver/pair/watch.h).
"""

from __future__ import annotations

import errno
import os
import select
from typing import Any

from iavfio._driver import lib
from iavfio.errors import IavfioError, VfioError
from iavfio.exhaustion import exhaustion


class Readiness:
    """Readable from the moment at which packets may wait until a `recv` came back empty.

    Also while the queue is stopped, so that whoever waits looks and learns why.
    """

    _raw: Any = None  # the C pair that is followed

    def __init__(self, name: str) -> None:
        """`name` is the queue's, for errors. Raises IavfioError when no descriptors are left."""
        self._name = name
        self._users = 0
        try:
            self._epoll = select.epoll()  # closed with this object
        except OSError as error:
            what = f"{name} cannot be waited for by a descriptor"
            raise exhaustion(error, what) or IavfioError(
                what, error.strerror or str(error), "use recv(timeout=...)"
            ) from error

    def fileno(self) -> int:
        """The descriptor."""
        return self._epoll.fileno()

    def __del__(self) -> None:
        """A C pair is freed when nobody follows it any more."""
        self._leave()

    def watch(self, raw: Any) -> None:
        """Counts one user more; this C pair is followed while there are any. Raises VfioError."""
        self._follow(raw)
        self._users += 1

    def unwatch(self) -> None:
        """Counts one user less; without any the queue polls without interrupts again."""
        self._users -= 1
        if not self._users:
            self._leave()

    def renew(self, raw: Any) -> None:
        """The queue runs again, maybe by another C pair. Raises VfioError."""
        if self._users:
            self._follow(raw)

    def disown(self) -> None:
        """Forgets the C pair in a forked child: the queue is the parent's."""
        self._raw = None

    def _follow(self, raw: Any) -> None:
        if self._raw is not None and self._raw != raw:
            self._leave()
        self._raw = raw  # a pair that is watched is freed by whoever ends that
        code = int(lib.pair_watch(raw, self.fileno()))
        if code < 0:
            self._leave()
            raise VfioError(
                f"{self._name} cannot be waited for by a descriptor",
                "its device has no interrupts" if code == -errno.ENOTSUP else os.strerror(-code),
                "use recv(timeout=...)",
                errno=-code,
            )

    def _leave(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            lib.pair_unwatch(raw, self.fileno())
