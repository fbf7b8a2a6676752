# SPDX-License-Identifier: BSD-3-Clause
"""A process between a client and the server of a software VF, which makes the server slow.

It hands each message on whole, with its descriptors. For the client it is the server: stopped, it
is a server whose process is stopped.
"""

from __future__ import annotations

import array
import os
import select
import signal
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

HEADER = struct.Struct("<HHIII")  # id, command, size, flags, error
NO_REPLY = 0x10
MOST_FDS = 16
PART = 1 << 16  # bytes
PATIENCE = 5.0  # seconds for its process to end


@dataclass(frozen=True)
class Manner:
    """How messages of the client are handed on: `delay` seconds after they came.

    `posted`: those that want no answer, too. `answers`: how many are answered before the process
    stops itself, -1: all.
    """

    delay: float = 0.0
    posted: bool = False
    answers: int = -1


class Relay:
    """The process, for the client the server of `path`; a Manner may be given at any time."""

    def __init__(self, server: Path, path: Path) -> None:
        self.path = path
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        self._line, line = get_context("fork").Pipe()
        self._child = get_context("fork").Process(
            target=_serve, args=(listener, server, line), daemon=True
        )
        self._child.start()
        listener.close()
        line.close()

    def behave(self, manner: Manner) -> None:
        """Takes effect with the next message of the client."""
        self._line.send(manner)
        self._line.recv()

    def close(self) -> None:
        """Ends the process, also one that has stopped itself."""
        pid = self._child.pid
        assert pid is not None
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self._child.join(PATIENCE)
        self._line.close()
        self.path.unlink(missing_ok=True)


def _serve(listener: socket.socket, path: Path, line: Connection) -> None:
    """One client after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the client's
    manner = Manner()
    while True:
        ready = _ready(listener, line)
        if line in ready:
            manner = _heard(line)
            continue
        client, _ = listener.accept()
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError, EOFError):
            server.connect(str(path))
            manner = _between(client, server, line, manner)


def _ready(*of: socket.socket | Connection) -> list[socket.socket | Connection]:
    ready, _, _ = select.select(of, [], [])
    return ready


def _heard(line: Connection) -> Manner:
    manner: Manner = line.recv()
    line.send(None)
    return manner


def _between(
    client: socket.socket, server: socket.socket, line: Connection, manner: Manner
) -> Manner:
    left = manner.answers
    while True:
        ready = _ready(client, server, line)
        if line in ready:
            manner = _heard(line)
            left = manner.answers
        elif server in ready:
            data, fds, _, _ = socket.recv_fds(server, PART, MOST_FDS)
            if not data:
                return manner
            _hand_on(client, data, fds)
        else:
            header, fds, _, _ = socket.recv_fds(client, HEADER.size, MOST_FDS)
            if not header:
                return manner
            header += _exactly(client, HEADER.size - len(header))
            _, _, size, flags, _ = HEADER.unpack(header)
            body = _exactly(client, size - HEADER.size)
            if manner.posted or not flags & NO_REPLY:
                if left == 0:
                    os.kill(os.getpid(), signal.SIGSTOP)
                left -= 1
                time.sleep(manner.delay)
            _hand_on(server, header + body, fds)


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _hand_on(to: socket.socket, data: bytes, fds: list[int]) -> None:
    try:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = to.sendmsg([data], rights)
        to.sendall(data[sent:])
    finally:
        for fd in fds:
            os.close(fd)
