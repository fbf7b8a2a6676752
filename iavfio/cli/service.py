# SPDX-License-Identifier: BSD-3-Clause
"""A command that runs as a service: what it tells the service manager (systemd's Type=notify)."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from iavfio.cli import patience
from iavfio.cli.printing import note

SOCKET = "NOTIFY_SOCKET"  # where systemd listens; it is not set without Type=notify
# Seconds in which a manager whose socket is full, as it is busy or stopped, makes room for a word.
# systemd gives a service up that is not ready in 90.
READY, STOPPING = 90.0, patience.SECONDS
PAUSE = 0.05  # seconds between two looks whether there is room
FULL = "its socket is full, and stays so"

_stops = threading.Event()  # being ready is no news any more


@contextmanager
def running(status: str) -> Iterator[None]:
    """Inside, the service is ready, with `status` for `systemctl status`; then it is stopping."""
    try:  # a signal may come as soon as the manager has heard, before anything else is done here
        ready(status)
        yield
    finally:
        stopping()


def ready(status: str) -> None:
    """Tells that the service can be used; a thread does where the manager makes it wait."""
    _stops.clear()
    state = f"READY=1\nSTATUS={' '.join(status.split())}"
    if not _tell(state, 0.0):
        threading.Thread(target=_tell_later, args=(state,), daemon=True).start()


def stopping() -> None:
    """Tells that the service has begun to end; no reader is waited for any more."""
    _stops.set()
    patience.lose()
    state = "STOPPING=1"
    if not _tell(state, STOPPING):
        _not_told(state, FULL)


def _tell_later(state: str) -> None:
    end = time.monotonic() + READY
    while not _stops.wait(PAUSE):
        if _tell(state, 0.0):
            return
        if time.monotonic() >= end:
            _not_told(state, FULL)
            return


def _tell(state: str, seconds: float) -> bool:
    """Sends a datagram to the service manager, where one asked for it; False: there is no room.

    Room is waited for so many seconds. A command works without its manager: what cannot be told is
    remarked on stderr, because the manager ends a service that never becomes ready.
    """
    path = os.environ.get(SOCKET)
    if not path:
        return True
    address = f"\0{path[1:]}" if path.startswith("@") else path  # "@" stands for an abstract one
    try:
        if path[0] not in "@/":
            raise OSError(None, "it is no path of a socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.settimeout(seconds)
            line.connect(address)
            line.send(state.encode())
    except (BlockingIOError, TimeoutError):
        return False
    except (OSError, ValueError) as error:
        _not_told(state, getattr(error, "strerror", None) or str(error))
    return True


def _not_told(state: str, reason: str) -> None:
    path, word = os.environ.get(SOCKET), state.partition("=")[0]
    note(f"iavfio: the service manager at {SOCKET}={path} was not told {word}: {reason}")
