# SPDX-License-Identifier: BSD-3-Clause
"""What a forked child finds: zero pages under its views, and devices that say they are not its own.

Shared mappings survive fork, so a child would otherwise write into memory that the parent's device
reads (docs/spec/reliability.md F64).
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class ForkAware(Protocol):
    def after_fork_in_child(self) -> None: ...


_living: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def track(thing: ForkAware) -> None:
    """Tells `thing` when this process turns out to be a forked child."""
    _living.add(thing)


def _in_child() -> None:
    for thing in list(_living):
        thing.after_fork_in_child()


os.register_at_fork(after_in_child=_in_child)
