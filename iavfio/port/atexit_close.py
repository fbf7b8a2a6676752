# SPDX-License-Identifier: BSD-3-Clause
"""Ports that are open when the interpreter ends: they are closed before what they use goes."""

from __future__ import annotations

import atexit
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iavfio.port.port import Port

_open_ports: weakref.WeakSet[Port] = weakref.WeakSet()


def close_at_exit(port: Port) -> None:
    """Before what was made earlier goes: exit handlers run in reverse order of registration."""
    _open_ports.add(port)
    atexit.unregister(_close_all)
    atexit.register(_close_all)


def forget(port: Port) -> None:
    """It was closed."""
    _open_ports.discard(port)


def _close_all() -> None:
    for port in list(_open_ports):
        port.close()
