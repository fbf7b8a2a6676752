# SPDX-License-Identifier: BSD-3-Clause
"""How long each call to a port may take at most, whatever PF, device or server do.

The table for users is in docs/spec/reliability.md 7. Where a server of a software VF is silent, the
first access that it does not answer ends the connection, and with it any call.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from iavfio.pyvfio import Device

T = TypeVar("T")

OPEN = 30.0  # seconds: the PF may be at a reset, and then slow to answer
START = 30.0
RESET = 20.0
STOP = 2.0  # beyond that a reset, and at last bus master, end DMA without the PF
CLOSE = 2.0
REFRESH = 2.0  # also for the port's lock, when somebody else uses the port
REFRESH_SLOW = 7.5  # when a slow server of a software VF is given up by it
HURRY = 0.03  # to close after Ctrl-C (docs/spec/reliability.md F66)

ANSWER_SHARE = 0.95  # of opening and resetting: for the PF; the accesses after that need the rest
PF_SHARE = 0.75  # of stopping and closing: for the PF; what ends DMA without it needs the rest
SAMPLE_SHARE = 1 / 8  # of stopping: for the PF's last counters
DISABLE_SHARE = 0.45  # of stopping: for DISABLE_QUEUES; a reset needs the rest


def closing(error: BaseException | None) -> float:
    """Seconds for closing: few when somebody wants the program to end."""
    return HURRY if isinstance(error, KeyboardInterrupt) else CLOSE


def give_back(device: Device, error: BaseException) -> None:
    """Before a device is closed that could not be opened for good: Ctrl-C leaves little time.

    Else what is left of the opening's counts, so that the whole call keeps its bound.
    """
    if isinstance(error, KeyboardInterrupt):
        device.limit(HURRY)


class Finishing:
    """Steps that are taken to their end: a signal hastens them, and is raised afterwards.

    `signal` is the first that came; from then on no access to a device waits longer than `seconds`.
    What a second one interrupts is left undone.
    """

    def __init__(self, *devices: Device, seconds: float = HURRY) -> None:
        self._devices = devices
        self._seconds = seconds
        self.signal: KeyboardInterrupt | None = None

    def hasten(self, signal: KeyboardInterrupt) -> None:
        """From now on there is no time."""
        self.signal = self.signal or signal
        for device in self._devices:
            device.limit(self._seconds)

    def take(self, step: Callable[[], T]) -> T:
        """Takes a step that may be taken twice; returns what it returns, raises what it raises."""
        try:
            return step()
        except KeyboardInterrupt as signal:
            if self.signal is not None:
                raise
            self.hasten(signal)
            return step()

    def end(self) -> None:
        """Raises the signal that came."""
        if self.signal is not None:
            raise self.signal


class CallLimit:
    """How long the accesses of a port's calls to its device may wait.

    The limit that was set last counts, and whoever set it lifts it. `allowed` is asked at both
    ends: False once close() has begun, whose own limit must stay.
    """

    def __init__(self, device: Device, allowed: Callable[[], bool]) -> None:
        self._device = device
        self._allowed = allowed
        self._lock = threading.Lock()
        self._owner: object = None

    @contextmanager
    def within(self, seconds: float, slow: float | None = None) -> Iterator[None]:
        """Sets a limit inside, as `Device.limit` takes it; math.inf sets none."""
        owner = object()
        with self._lock:
            if seconds < math.inf and self._allowed():
                self._owner = owner
                self._device.limit(seconds, slow)
        try:
            yield
        finally:
            with self._lock:
                if self._owner is owner:
                    self._owner = None
                    if self._allowed():
                        self._device.limit(math.inf)

    def disown(self) -> None:
        """Leaves the calls to the parent, in a forked child: whoever held the lock is not here."""
        self._lock, self._owner = threading.Lock(), None

    @contextmanager
    def whole(self, seconds: float) -> Iterator[None]:
        """The limit of a whole call, also beside a slow server; none inside of another one."""
        with self.within(math.inf if self._owner is not None else seconds, seconds):
            yield
