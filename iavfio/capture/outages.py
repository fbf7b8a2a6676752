# SPDX-License-Identifier: BSD-3-Clause
"""What to do when a queue of a running port says that it does not work at the moment."""

from __future__ import annotations

import errno
import time

from iavfio.errors import DeviceError, StateError
from iavfio.port.port import Port

PAUSE = 0.01  # seconds between looks at a port that is in a reset


def wait_out(port: Port, code: int) -> None:
    """Waits a little for the end of a reset.

    Raises StateError when somebody else uses the queue, DeviceError when it does not come back.
    """
    if code == -errno.EBUSY:
        raise StateError(
            f"{port.name}: a queue is in use",
            "another thread or a worker is inside it",
            "a queue belongs to one caller: give each a queue of its own",
        )
    if code == -errno.ENODEV or port.state in ("failed", "closed", "stopped"):
        raise DeviceError(
            f"{port.name} moves nothing any more: it is {port.state}",
            "; ".join(port.notes[-1:]) or "its device is gone, or the port was closed",
        )
    time.sleep(PAUSE)
