# SPDX-License-Identifier: BSD-3-Clause
"""A command that runs as a service: what it tells the service manager (systemd's Type=notify)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from iavfio.cli.printing import note

SOCKET = "NOTIFY_SOCKET"  # where systemd listens; it is not set without Type=notify


@contextmanager
def running(status: str) -> Iterator[None]:
    """Inside, the service is ready, with `status` for `systemctl status`; then it is stopping."""
    try:  # a signal may come as soon as the manager has heard, before anything else is done here
        ready(status)
        yield
    finally:
        stopping()


def ready(status: str) -> None:
    """Tells that the service can be used."""
    _tell(f"READY=1\nSTATUS={' '.join(status.split())}")


def stopping() -> None:
    """Tells that the service has begun to end."""
    _tell("STOPPING=1")


def _tell(state: str) -> None:
    """Sends a datagram to the service manager, where one asked for it.

    A command works without its manager: what cannot be told is remarked on stderr, because the
    manager ends a service that never becomes ready.
    """
    path = os.environ.get(SOCKET)
    if not path:
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path  # "@" stands for an abstract one
    try:
        if path[0] not in "@/":
            raise OSError(None, "it is no path of a socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.connect(address)
            line.send(state.encode())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        word = state.partition("=")[0]
        note(f"iavfio: the service manager at {SOCKET}={path} was not told {word}: {reason}")
