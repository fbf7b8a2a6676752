# SPDX-License-Identifier: BSD-3-Clause
"""Descriptors whose last close waits for somebody: any client can make them."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

LINGER = 3600  # seconds
SMALL = 4096  # bytes of a socket's buffers


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Inside, the process does not run: what it was sent it finds all at once.

    So a descriptor that was sent can be closed here: the last close will be that process's.
    """
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Lingering:
    """Sockets whose last close waits, until their peers are gone."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        self._peers: list[socket.socket] = []

    def make(self) -> int:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        sock.connect(self._listener.getsockname())
        self._peers.append(self._listener.accept()[0])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER))
        sock.setblocking(False)
        try:
            while True:
                sock.send(bytes(1 << 16))
        except BlockingIOError:
            return sock.detach()

    def close(self) -> None:
        while self._peers:
            peer = self._peers.pop()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
        self._listener.close()
