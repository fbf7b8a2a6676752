# SPDX-License-Identifier: BSD-3-Clause
"""What kind of file a client's descriptor is, without calling the file's own code."""

from __future__ import annotations

import errno
from pathlib import Path


def is_eventfd(fd: int) -> bool | None:
    """Whether a descriptor is an eventfd; None where that cannot be seen, as without /proc."""
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink()) == "anon_inode:[eventfd]"
    except OSError as error:
        return False if error.errno == errno.EBADF else None
