# SPDX-License-Identifier: BSD-3-Clause
"""Clients at whose end of the connection so many wait that each call of ours takes long (D6).

Whatever is sent to a socket, or taken from it, wakes each epoll that waits for its other end: for
50,000 entries that takes 14 ms. Nothing tells how many there are but this time: the processor's,
since a busy machine makes each call long. In a virtual machine that is no proof: what the host
takes of a call is counted as this call's time. But the host takes some calls and not the next
ones, while those who wait make long each call that wakes them, at least one of two.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SLOW = 0.002  # seconds of one call: some 7,000 that wait, or a megabyte ten times over
TOO_OFTEN = 16  # a slow call counts two, and a quick one takes one back
REFUSED_FOR = 60.0  # seconds in which no client of the VF is taken then
TOO_MANY = "so many wait at its end that each message takes the other clients' time"


class Slowness:
    """How often calls of one VF's connections were slow, of one client after the other."""

    def __init__(
        self, clock: Callable[[], float], spent: Callable[[], float] = time.thread_time
    ) -> None:
        self._clock, self._spent = clock, spent
        self._slow = 0
        self._until = clock()

    def begin(self) -> float:
        """To be called in front of a call of a socket; what it returns is for `too_slow`."""
        return self._spent()

    def too_slow(self, began: float) -> bool:
        """Whether calls were slow so often, up to that one, that the client has to go."""
        if self._spent() - began < SLOW:
            self._slow = max(0, self._slow - 1)
            return False
        self._slow += 2
        if self._slow < TOO_OFTEN:
            return False
        self._slow = 0
        self._until = self._clock() + REFUSED_FOR
        return True

    @property
    def refusing(self) -> bool:
        """Whether clients of the VF are to be refused, since one had to go a short time ago."""
        return self._clock() < self._until
