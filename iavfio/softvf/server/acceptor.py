# SPDX-License-Identifier: BSD-3-Clause
"""Who comes to a socket of the software VF: accepted one by one, as long as there is room."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path

from iavfio.softvf.loop import READ, Loop
from iavfio.softvf.server import sockets

AGAIN = 0.1  # seconds until it is looked whether there is room for a client again
SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Listens at `path` until it is closed; `take` gets each client.

    While `room` says no, and where this process or its host has nothing left for one client more,
    who comes waits in the kernel's queue: to look again at once would cost the others their time.
    `short` hears of such a shortage.
    """

    def __init__(
        self,
        path: Path,
        loop: Loop,
        take: Callable[[socket.socket], None],
        room: Callable[[], bool] = lambda: True,
        short: Callable[[OSError], None] = lambda _: None,
    ) -> None:
        self._path, self._loop = path, loop
        self._take, self._room, self._short = take, room, short
        self._listener = sockets.listen(path)
        self._listen()

    def _listen(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.watch(self._listener.fileno(), READ, self._accept)

    def _pause(self) -> None:
        self._loop.forget(self._listener.fileno())
        self._loop.call_later(AGAIN, self._listen)

    def _accept(self, _: int) -> None:
        if not self._room():
            self._pause()
            return
        try:
            sock, _address = self._listener.accept()
        except OSError as error:
            if error.errno in SHORTAGES:  # else the client went away
                self._short(error)
                self._pause()
            return
        self._take(sock)

    def close(self) -> None:
        """Stops listening, and removes the socket; a second time it does nothing."""
        if self._listener.fileno() >= 0:
            self._loop.forget(self._listener.fileno())
            sockets.unlink(self._listener, self._path)
