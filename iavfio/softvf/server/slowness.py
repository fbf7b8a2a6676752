# SPDX-License-Identifier: BSD-3-Clause
"""Clients at whose end of the connection so many wait that each call of ours takes long (D6).

Whatever is sent to a socket, or taken from it, wakes each epoll that waits for its other end: for
50,000 entries that takes 14 ms. Nothing tells how many there are but this time: the processor's,
since a busy machine makes each call long.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

SLOW = 0.002  # seconds of one call: some 7,000 that wait, or a megabyte ten times over
TIMES = 3  # a host that takes the processor away makes one long now and then ...
WITHIN = 10.0  # ... but not so many in so many seconds
REFUSED_FOR = 60.0  # seconds in which no client of the VF is taken then
TOO_MANY = "so many wait at its end that each message takes the other clients' time"


class Slowness:
    """How often calls of one VF's connections were slow, of one client after the other."""

    def __init__(
        self, clock: Callable[[], float], spent: Callable[[], float] = time.thread_time
    ) -> None:
        self._clock, self._spent = clock, spent
        self._slow: deque[float] = deque(maxlen=TIMES)
        self._until = clock()

    def begin(self) -> float:
        """To be called in front of a call of a socket; what it returns is for `too_slow`."""
        return self._spent()

    def too_slow(self, began: float) -> bool:
        """Whether that call was slow, and the client has to go."""
        if self._spent() - began < SLOW:
            return False
        now = self._clock()
        self._slow.append(now)
        if len(self._slow) < TIMES or now - self._slow[0] > WITHIN:
            return False
        self._slow.clear()
        self._until = now + REFUSED_FOR
        return True

    @property
    def refusing(self) -> bool:
        """Whether clients of the VF are to be refused, since one had to go a short time ago."""
        return self._clock() < self._until
