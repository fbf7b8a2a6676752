# SPDX-License-Identifier: BSD-3-Clause
"""The socket at which DPDK's telemetry tools look for a program, and its clients.

Its place and form are those of DPDK's telemetry, version 2: a SOCK_SEQPACKET socket in a directory
named by a file prefix. A client gets a greeting, then for each command one answer, all in JSON.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from iavfio.errors import ConfigError, IavfioError
from iavfio.metrics.dpdk import MOST_BYTES, Telemetry

NAME = "dpdk_telemetry.v2"
LONGEST_PATH = 107  # bytes that a UNIX socket's address holds
MOST_REQUEST = 1024
MOST_CLIENTS = 32


def runtime_dir(prefix: str) -> Path:
    """Returns where DPDK's tools look for programs with a file prefix, by its EAL's rule."""
    chosen = os.environ.get("RUNTIME_DIRECTORY")
    if not chosen:
        chosen = "/var/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", "/tmp")
    return Path(chosen) / "dpdk" / prefix


class TelemetryServer:
    """Serves `directory`/dpdk_telemetry.v2 until `close`; one thread calls `serve`.

    Raises ConfigError for a path that is too long, IavfioError when the socket cannot be made or
    another program answers at it.
    """

    def __init__(self, directory: Path, telemetry: Telemetry) -> None:
        self.path = directory / NAME
        self._telemetry = telemetry
        self._clients: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        self._socket = _listener(directory)
        self._selector.register(self._socket, selectors.EVENT_READ)

    def serve(self, seconds: float) -> None:
        """Accepts clients and answers commands; returns when nothing came for `seconds`."""
        while events := self._selector.select(seconds):
            for key, _ in events:
                if key.fileobj is self._socket:
                    self._accept()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._answer(key.fileobj)

    def _accept(self) -> None:
        try:
            client, _ = self._socket.accept()
        except OSError:
            return  # it is gone again, or there is no descriptor left
        if len(self._clients) >= MOST_CLIENTS:
            client.close()
            return
        client.setblocking(False)
        with contextlib.suppress(OSError):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MOST_BYTES)
        self._clients.add(client)
        self._selector.register(client, selectors.EVENT_READ)
        self._send(client, self._telemetry.greeting())

    def _answer(self, client: socket.socket) -> None:
        try:
            request = client.recv(MOST_REQUEST)
        except OSError:
            request = b""
        if request:
            self._send(client, self._telemetry.answer(request))
        else:
            self._leave(client)

    def _send(self, client: socket.socket, answer: bytes) -> None:
        """A client that does not read its answers is left, so that it holds up nobody."""
        try:
            client.send(answer, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
        except OSError:
            self._leave(client)

    def _leave(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        self._clients.discard(client)
        client.close()

    def close(self) -> None:
        """Hangs up and removes the socket."""
        for client in list(self._clients):
            self._leave(client)
        self._selector.close()
        self._socket.close()
        with contextlib.suppress(OSError):
            self.path.unlink()


def _listener(directory: Path) -> socket.socket:
    path = directory / NAME
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise ConfigError(
            f"{path} is too long for a socket",
            f"its path can have {LONGEST_PATH} bytes",
            "name a shorter directory: --dir, or a shorter --file-prefix",
        )
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _bound(path)
    except OSError as error:
        raise IavfioError(
            f"the telemetry socket {path} cannot be made",
            str(error.strerror),
            "name a directory of your own: --dir /tmp/telemetry, or XDG_RUNTIME_DIR",
        ) from error


def _bound(path: Path) -> socket.socket:
    """A new listener; what a program that ended has left there is replaced."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        os.fchmod(found.fileno(), 0o600)  # the name gets this mode, whatever the umask is
        try:
            found.bind(str(path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            if _answers(path):
                raise IavfioError(
                    f"the telemetry socket {path} is in use",
                    "a program with the same file prefix serves it",
                    "choose another prefix: --file-prefix NAME",
                ) from None
            path.unlink()
            found.bind(str(path))
        found.listen(MOST_CLIENTS)
        found.setblocking(False)
    except BaseException:
        found.close()
        raise
    return found


def _answers(path: Path) -> bool:
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise FileExistsError(errno.EEXIST, "something that is no socket has its name", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as probe:
        probe.setblocking(False)  # a program that accepts nobody, at the moment or ever, lives too
        return probe.connect_ex(str(path)) != errno.ECONNREFUSED  # which says that it has ended


@contextlib.contextmanager
def serving(directory: Path, telemetry: Telemetry) -> Iterator[TelemetryServer]:
    """A server inside, closed at the end."""
    server = TelemetryServer(directory, telemetry)
    try:
        yield server
    finally:
        server.close()
