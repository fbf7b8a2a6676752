# SPDX-License-Identifier: BSD-3-Clause
"""Private UNIX sockets of mode 0600, whose peers' uid is checked (docs/spec/reliability.md D5).

A socket that a dead process left behind is replaced.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from pathlib import Path

from iavfio.errors import ConfigError, StateError

MAX_PATH = 107  # bytes, of sun_path
PEER = struct.Struct("iII")  # pid, uid, gid


def listen(path: Path, backlog: int = 128) -> socket.socket:
    """A non-blocking socket that listens at `path`. Raises ConfigError or StateError."""
    check(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)  # so the socket is never there with a wider mode
    try:
        sock.bind(os.fspath(path))
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise _unusable(path, str(error.strerror)) from error
    finally:
        os.umask(before)
    sock.setblocking(False)
    return sock


def check(path: Path) -> None:
    """Makes room for a socket at `path`: removes a dead one.

    Raises ConfigError or StateError where `listen` cannot have one.
    """
    if len(os.fsencode(path)) > MAX_PATH:
        raise ConfigError(
            f"socket path {path} is too long",
            f"UNIX sockets allow {MAX_PATH} bytes, this has {len(os.fsencode(path))}",
            "choose a shorter directory with --socket",
        )
    _clear(path)
    if path.parent.is_dir() and not os.access(path.parent, os.W_OK | os.X_OK):
        raise _unusable(path, os.strerror(errno.EACCES))


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError(f"cannot listen on {path}", why, "choose another --socket directory")


def _clear(path: Path) -> None:
    """Removes a socket of this user on which nobody listens; raises for whatever else is there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"cannot use {path}", str(error.strerror)) from error
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid():
        raise ConfigError(
            f"{path} is in the way",
            "it is no socket of this user",
            "choose another --socket directory",
        )
    if not is_dead(path):
        raise StateError(
            f"{path} is served by another process",
            "a software VF is running there",
            "stop it, or choose another --socket directory",
        )
    path.unlink(missing_ok=True)


def is_dead(path: Path) -> bool:
    """Whether nobody listens on a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.setblocking(False)
        return probe.connect_ex(os.fspath(path)) == errno.ECONNREFUSED


def peer_allowed(sock: socket.socket) -> bool:
    """Whether the peer is the user who runs this process, or root."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size)
    return PEER.unpack(raw)[1] in (os.getuid(), 0)
