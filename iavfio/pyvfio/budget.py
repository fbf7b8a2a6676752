# SPDX-License-Identifier: BSD-3-Clause
"""One budget of time for a call to a device, which all requests to its server share.

A server that answers each request just in time would otherwise hold a call as often as it asks
(docs/spec/reliability.md 7).
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

SECONDS = 5.0

P = ParamSpec("P")
R = TypeVar("R")
_call = threading.local()


def one_call(method: Callable[P, R]) -> Callable[P, R]:
    """The requests of this thread inside share SECONDS; those of calls inside share the outer's."""

    @functools.wraps(method)
    def bounded(*args: P.args, **kwargs: P.kwargs) -> R:
        if hasattr(_call, "end"):
            return method(*args, **kwargs)
        _call.end = time.monotonic() + SECONDS
        try:
            return method(*args, **kwargs)
        finally:
            del _call.end

    return bounded


def left() -> float:
    """Seconds that are left to a request of this thread; SECONDS outside of any call."""
    end: float | None = getattr(_call, "end", None)
    return SECONDS if end is None else max(0.0, min(SECONDS, end - time.monotonic()))
