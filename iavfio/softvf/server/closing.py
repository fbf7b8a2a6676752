# SPDX-License-Identifier: BSD-3-Clause
"""Closing what clients handed over, where nobody waits for it (docs/spec/reliability.md D6).

The last close of a file runs code that may wait: of a TCP socket with SO_LINGER for its peer, of a
file on FUSE for its server, and a client can be both. So descriptors of unknown kinds, and sockets
in which such descriptors may still be on their way, are closed in a thread of their own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import socket
import threading

from iavfio.softvf.server.eventfd import is_eventfd

MOST = 16  # descriptors of one closer that wait to be closed, before nothing more is taken
ONE_MESSAGE = 253  # that the kernel passes at once, all to be closed
MOST_WAITING = 2 * MOST + ONE_MESSAGE  # of a VF: those of its client, and of who is refused there


def closes_at_once(fd: int) -> bool:
    """Whether a descriptor is of memory or an eventfd, whose end waits for nobody.

    Neither question calls code of the file's own file system.
    """
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        return True
    return is_eventfd(fd) is True


class Closer:
    """Closes descriptors one after the other: those of a VF's clients, or of who is refused there.

    The two are counted apart, so that whoever is refused can't cost the client that is served.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._waiting = 0
        self._lock = threading.Lock()

    @property
    def full(self) -> bool:
        """Whether so many closes wait that nothing more is taken from whom they belong to."""
        return self._waiting >= MOST

    def close(self, fd: int) -> None:
        """Closes a descriptor now where that cannot wait, otherwise in the thread."""
        if closes_at_once(fd):
            os.close(fd)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="softvf-close", daemon=True)
            self._thread.start()
        with self._lock:
            self._waiting += 1
        self._queue.put(fd)

    def hang_up(self, sock: socket.socket) -> None:
        """Ends a connection; descriptors that were not received may end with it."""
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)  # nothing more can come
        with contextlib.suppress(OSError):
            if not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                sock.close()
                return
        if sock.fileno() >= 0:
            self.close(sock.detach())

    def end(self) -> None:
        """Lets the thread end when it has closed what there is."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread = None

    def _run(self) -> None:
        while (fd := self._queue.get()) is not None:
            with contextlib.suppress(OSError):
                os.close(fd)
            with self._lock:
                self._waiting -= 1
