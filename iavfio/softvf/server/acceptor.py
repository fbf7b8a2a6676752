# SPDX-License-Identifier: BSD-3-Clause
"""Who comes to a socket of the software VF: accepted one by one, as long as there is room."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable
from pathlib import Path

from iavfio.softvf.loop import READ, Loop
from iavfio.softvf.server import sockets
from iavfio.softvf.server.closing import Closer

AGAIN = 0.1  # seconds until it is looked whether there is room for a client again
SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Listens at `path` until it is closed; `take` gets each client.

    While `closer`, which closes what is refused, is full, while `busy` says so, and where this
    process or its host has nothing left for one client more, who comes waits in the kernel's queue:
    to look again at once would cost the others their time. `short` hears of such a shortage.
    """

    def __init__(
        self,
        path: Path,
        loop: Loop,
        take: Callable[[socket.socket], None],
        closer: Closer,
        short: Callable[[OSError], None] = lambda _: None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._path, self._loop = path, loop
        self._take, self._closer, self._short, self._busy = take, closer, short, busy
        self._listener = sockets.listen(path)
        self._listen()

    def _listen(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.watch(self._listener.fileno(), READ, self._accept)

    def _pause(self) -> None:
        self._loop.forget(self._listener.fileno())
        self._loop.call_later(AGAIN, self._listen)

    def _accept(self, _: int) -> None:
        if self._closer.full or self._busy():
            self._pause()
            return
        try:
            sock, _address = self._listener.accept()
        except OSError as error:
            if error.errno in SHORTAGES:  # else the client went away
                self._short(error)
                self._pause()
            return
        # A byte that is out of band would be dropped inside the next read, and with it the files
        # that came with it, whose close may wait. Inline it is read as any other.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        self._take(sock)

    def close(self) -> None:
        """Stops listening, and removes the socket; a second time it does nothing."""
        if self._listener.fileno() >= 0:
            self._loop.forget(self._listener.fileno())
            self._closer.stop_listening(self._listener)
            with contextlib.suppress(OSError):
                self._path.unlink()
