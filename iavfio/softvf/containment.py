# SPDX-License-Identifier: BSD-3-Clause
"""What goes wrong for one client stays that client's (docs/spec/reliability.md 6, D1 to D7).

Every piece of work is done on somebody's account: a VF's client, a client of the control socket, or
the software VF itself. `Account.run` is the one place that catches what such work raises and nobody
expected: it logs the traceback, counts, and ends the client's session. Nobody else notices.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

LOG = logging.getLogger("iavfio.softvf")
TRACEBACKS = 20  # in full, of one account within ...
WINDOW = 10.0  # ... so many seconds; the others are counted


class Account:
    """On whose behalf work is done: the name that logs show, and how the session ends."""

    def __init__(
        self,
        name: str,
        end: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.faults = 0  # exceptions that nobody expected, since the start
        self.end = end  # ends the client's session, with the reason in words; None: there is none
        self._clock = clock
        self._since = clock()
        self._logged = 0
        self._unlogged = 0

    def run(self, call: Callable[..., object], *arguments: object) -> bool:
        """Calls `call(*arguments)`; returns False when that raised, which then is contained."""
        try:
            call(*arguments)
        except Exception as error:  # whatever it is: the others must not pay for it
            self._contain(error)
            return False
        return True

    def _contain(self, error: Exception) -> None:
        self.faults += 1
        self._log(error)
        if self.end is None:
            return
        try:
            self.end(f"a fault of the software VF, {type(error).__name__}")
        except Exception as second:
            self.faults += 1
            self._log(second)

    def _log(self, error: Exception) -> None:
        now = self._clock()
        if now - self._since > WINDOW:
            self._since, self._logged = now, 0
        if self._logged >= TRACEBACKS:
            self._unlogged += 1
            return
        self._logged += 1
        more = f", and {self._unlogged} more before it" if self._unlogged else ""
        self._unlogged = 0
        with contextlib.suppress(Exception):  # a log that cannot be written is nobody's fault
            LOG.error("%s: %s is contained%s", self.name, _title(error), more, exc_info=error)


def _title(error: Exception) -> str:
    return f"an unexpected {type(error).__name__}"


class Turn:
    """How long one client is served before it is the others' turn."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def over(self) -> bool:
        """Whether it is another client's turn."""
        return self._clock() >= self._end
