# SPDX-License-Identifier: BSD-3-Clause
"""The socket beside a port's segment, at which other processes ask its process for something.

It lies in the directory of its user, which nobody else can write to, and only that user and root
may connect (docs/adr/0009). Messages are whole packets (SOCK_SEQPACKET), and may carry descriptors.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from iavfio import dialing
from iavfio.errors import ConfigError, IavfioError
from iavfio.foreign import an_object, parsed, plain
from iavfio.stats import liveness
from iavfio.stats.reader import SegmentReader
from iavfio.stats.runtime import SUFFIX, UserDir, user_name

WAITING = 4  # callers that may wait at a door
ROOM = 5.0  # seconds that another waits for room there
CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid


@dataclass(frozen=True)
class Caller:
    """A process at the other end; its pid is 0 where it has none in this PID namespace."""

    pid: int
    uid: int

    @classmethod
    def of(cls, connection: socket.socket) -> Caller:
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        pid, uid, _ = CREDENTIALS.unpack(raw)
        return cls(pid, uid)

    @property
    def allowed(self) -> bool:
        """Whether it is of this process's user, or root."""
        return self.uid in (0, os.geteuid())

    def __str__(self) -> str:
        return f"process {self.pid or 'of another PID namespace'} of {user_name(self.uid)}"


def listen(home: UserDir, port: str) -> socket.socket:
    """A listening socket for the port, which owns its name in `home`. Raises OSError."""
    name = liveness.door_of(f"{port}{SUFFIX}")
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    folder = -1
    try:
        folder = home.open()
        with suppress(FileNotFoundError):  # of a process that was killed
            os.unlink(name, dir_fd=folder)
        # By the descriptor: a path may be longer than an address has room for.
        door.bind(f"/proc/self/fd/{folder}/{name}")
        os.chmod(name, 0o600, dir_fd=folder)
        door.listen(WAITING)
    except BaseException:
        door.close()
        if folder >= 0:
            with suppress(OSError):
                os.unlink(name, dir_fd=folder)
        raise
    finally:
        if folder >= 0:
            os.close(folder)
    return door


def withdraw(home: UserDir, port: str) -> None:
    """Removes the socket's name, while the port's name is still its own."""
    with suppress(OSError):
        folder = home.open()
        try:
            os.unlink(liveness.door_of(f"{port}{SUFFIX}"), dir_fd=folder)
        finally:
            os.close(folder)


def connect(reader: SegmentReader) -> socket.socket:
    """A connection to the process of a port.

    Raises IavfioError when this user may not, nobody listens there, or nobody is let in in time.
    """
    name = liveness.door_of(f"{reader.name}{SUFFIX}")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        folder = reader.home.open()
        try:
            dialing.connect(connection, f"/proc/self/fd/{folder}/{name}", ROOM)
        finally:
            os.close(folder)
        if Caller.of(connection).uid != reader.home.uid:
            raise PermissionError(1, "another user listens there")
    except OSError as error:
        connection.close()
        if isinstance(error, PermissionError):
            raise IavfioError(
                f"port {reader.name!r} may not be asked by this user",
                f"only its owner, {reader.user}, and root may",
                f"run as {reader.user}" + ("" if reader.user == "root" else " or as root"),
            ) from error
        if isinstance(error, TimeoutError):
            raise IavfioError(
                f"port {reader.name!r} cannot be asked",
                f"{reader.process} lets nobody in: {error.strerror}, for {ROOM:g} s",
                "it may be stopped, or in a long reset",
            ) from error
        raise IavfioError(
            f"port {reader.name!r} cannot be asked",
            f"its process does not listen: {error.strerror}",
            "it may have ended this moment, or run another version: iavfio stats",
        ) from error
    return connection


def receive(
    connection: socket.socket, longest: int, descriptors: int = 0
) -> tuple[bytes, list[int]]:
    """The next message of a port's process, with so many descriptors at most. Raises OSError."""
    try:
        raw, fds, _, _ = socket.recv_fds(connection, longest, descriptors)
    except ConnectionResetError:  # it did not read all; what it said before comes now
        raw, fds, _, _ = socket.recv_fds(connection, longest, descriptors)
    return raw, fds


def refused(error: IavfioError) -> dict[str, object]:
    """An error as a caller is told it, whose `ask` raises it."""
    told = {"refused": error.what, "cause": error.cause, "remedy": str(error.remedy)}
    return told | {"wrong_use": isinstance(error, ConfigError)}


def ask(
    connection: socket.socket,
    reader: SegmentReader,
    question: dict[str, object],
    *,
    seconds: float,
    longest: int,
    descriptors: int = 0,
    wanted: str = "",
    hint: str = "",
) -> tuple[dict[str, Any], list[int]]:
    """What the process of a port answers, {} where it hung up, with so many descriptors at most.

    It has `seconds`; `wanted` and `hint` go into the error when it takes longer. Raises IavfioError
    for that and for what it refuses (ConfigError where the question is wrong), ValueError for an
    answer that is no JSON object; no descriptor stays open then.
    """
    name = reader.name
    connection.settimeout(seconds)
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before it was read
            connection.send(json.dumps(question).encode())
        raw, fds = receive(connection, longest, descriptors)
    except TimeoutError as error:
        raise IavfioError(
            f"port {name!r} does not answer",
            f"{reader.process} was asked {wanted}{seconds:g} s ago",
            f"it may be stopped, or in a long reset{hint}",
        ) from error
    except OSError as error:
        raise IavfioError(f"port {name!r} cannot be asked", str(error.strerror)) from error
    try:
        answer = an_object(parsed(raw)) if raw else {}
        what, cause, remedy = (plain(answer.get(key, "")) for key in ("refused", "cause", "remedy"))
        if what:
            kind = ConfigError if answer.get("wrong_use") is True else IavfioError
            raise kind(what, cause, remedy)
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    return answer, fds
