# SPDX-License-Identifier: BSD-3-Clause
"""Closing what clients handed over, where nobody waits for it (docs/spec/reliability.md D6).

The last close of a file runs code that may wait: of a TCP socket with SO_LINGER for its peer, of a
file on FUSE for its server, of an eventfd for whoever asks an epoll about it, and a client can be
each of them. The end of memory waits for nobody, but takes long where there is much of it, and each
close of any file looks at all the record locks that the file has. So all descriptors are closed
aside, and sockets in which they may still be on their way; memory not behind what may wait for
ever.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import threading
from functools import partial

from iavfio.softvf.aside import Aside, Work

MOST = 16  # descriptors of one closer that wait to be closed, before nothing more is taken
ONE_MESSAGE = 253  # that the kernel passes at once, all to be closed
MOST_WAITING = 2 * MOST + ONE_MESSAGE  # of a VF: those of its client, and of who is refused there


def is_memory(fd: int) -> bool:
    """Whether a descriptor is of memory; the question calls no code of the file's file system."""
    try:
        fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:
        return False
    return True


class Closer:
    """Closes descriptors one after the other: of a VF's clients, of who is refused there, or of the
    control socket's clients.

    They are counted apart, so that whoever is refused can't cost the client that is served.
    `wired`: how many eventfds a client may have wired, all of which its end lets go at once.
    """

    def __init__(self, wired: int = 0) -> None:
        self._most = MOST + wired
        self._waiters = Aside("softvf-close")
        self._long = Aside("softvf-free")
        self._stranded: list[list[int]] = []  # for which no thread could be had
        self._waiting = 0
        self._lock = threading.Lock()

    @property
    def full(self) -> bool:
        """Whether so many closes wait that nothing more is taken from whom they belong to."""
        if self._stranded:
            self._try_again()
        return self._waiting >= self._most

    @property
    def waiting(self) -> int:
        """How many descriptors wait to be closed."""
        return self._waiting

    def close(self, fd: int) -> None:
        """Closes a descriptor aside.

        Where no thread can be had memory is closed now, and what may wait is kept until one can.
        """
        if is_memory(fd):
            self._do(partial(os.close, fd))
        else:
            self.close_unknown([fd])

    def close_unknown(self, fds: list[int]) -> None:
        """Closes descriptors aside that may wait, without a question to each of them."""
        with self._lock:
            self._waiting += len(fds)
            self._stranded.append(fds)
        self._try_again()

    def _do(self, work: Work) -> None:
        """Does what takes long, but waits for nobody."""
        with self._lock:
            self._waiting += 1
        if not self._long.do(partial(self._count, work)):
            self._count(work)

    def _try_again(self) -> None:
        with self._lock:
            while self._stranded:
                if not self._waiters.do(partial(self._close_each, self._stranded[0])):
                    return
                self._stranded.pop(0)

    def _close_each(self, fds: list[int]) -> None:
        for fd in fds:
            with contextlib.suppress(OSError):
                self._count(partial(os.close, fd))

    def _count(self, work: Work) -> None:
        try:
            work()
        finally:
            with self._lock:
                self._waiting -= 1

    def hang_up(self, sock: socket.socket) -> None:
        """Ends a connection, aside: all are woken that wait at its other end.

        Descriptors that were not received may end with it, which may wait.
        """
        self._do(partial(self._end, sock))

    def _end(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)  # nothing more can come
        with contextlib.suppress(OSError):
            if not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                sock.close()
                return
        if sock.fileno() >= 0:
            self.close_unknown([sock.detach()])

    def stop_listening(self, listener: socket.socket) -> None:
        """Closes a socket that listens, and with it all connections that nobody accepted."""
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # nobody more can come
        try:
            waiting, _ = listener.accept()
        except OSError as error:
            if error.errno == errno.EINVAL:  # nobody waits
                listener.close()
                return
        else:
            self.hang_up(waiting)
        self.close(listener.detach())

    def end(self) -> None:
        """Lets the threads end when they have closed what there is."""
        self._try_again()
        if not self._long.running or not self._long.do(self._waiters.end):
            self._waiters.end()
        self._long.end()
