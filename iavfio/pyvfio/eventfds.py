# SPDX-License-Identifier: BSD-3-Clause
"""Reading eventfds that a vfio-user server has as well."""

from __future__ import annotations

import errno
import os
import select


def taken(fd: int) -> bool:
    """Empties an eventfd; whether it had been signalled. Never blocks.

    The server may clear O_NONBLOCK at any time, so nothing depends on the flags of the file.
    """
    try:
        return os.preadv(fd, [bytearray(8)], -1, os.RWF_NOWAIT) == 8
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    ready = select.poll()  # before Linux 5.8
    ready.register(fd, select.POLLIN)
    return bool(ready.poll(0)) and len(os.read(fd, 8)) == 8
