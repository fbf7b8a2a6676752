# SPDX-License-Identifier: BSD-3-Clause
"""Connections to UNIX sockets that come about, or fail, in time, whoever listens there.

connect(2) waits without end where the queue of clients is full, as that of a process which is
stopped. This module imports nothing of iavfio's, so that `iavfio.pyvfio` may import it
(docs/adr/0007).
"""

from __future__ import annotations

import errno
import socket
import time

FULL = "the server accepts no more connections: its backlog is full"
PAUSE = 0.01  # seconds between two looks whether there is room; the kernel tells nobody


def connect(line: socket.socket, address: str, seconds: float) -> None:
    """Connects a UNIX socket, which blocks afterwards; one that cannot be connected is closed.

    Waits no longer than `seconds` for room in the queue of who listens there: then it raises
    TimeoutError, which says so. Raises what connect(2) raises, too.
    """
    end = time.monotonic() + seconds
    line.setblocking(False)
    try:
        while True:
            try:
                line.connect(address)
                break
            except BlockingIOError as error:
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError(errno.ETIMEDOUT, FULL) from error
            time.sleep(min(PAUSE, left))
    except BaseException:
        line.close()
        raise
    line.setblocking(True)
