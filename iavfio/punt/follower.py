# SPDX-License-Identifier: BSD-3-Clause
"""A thread that keeps a TAP and its port alike: link, address, groups."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from iavfio.errors import IavfioError
from iavfio.exhaustion import thread_shortage
from iavfio.port.events import PortEvent
from iavfio.port.port import Port
from iavfio.punt.groups import Groups
from iavfio.punt.tap import Tap

EVERY = 0.1  # seconds between two looks; a host asks for a neighbour again after a second


class Follower:
    """The TAP's link and address follow the port's, the port's groups the TAP's, until `close`.

    `note` is told what cannot be had, by the thread. Raises IavfioError, and nothing is changed.
    """

    def __init__(self, port: Port, tap: Tap, note: Callable[[str], None]) -> None:
        self._port, self._tap, self._note = port, tap, note
        self._groups = Groups(port, note)
        self._over, self._wake = threading.Event(), threading.Event()
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="iavfio-punt", daemon=True)
        self.look()
        port.on_event.append(self._hear)
        try:
            self._thread.start()
        except RuntimeError as error:  # Python's word for a thread that cannot start
            self._take_back()
            raise thread_shortage(f"{port.name} cannot be punted of") from error

    def look(self) -> None:
        """One look, by the caller or the thread."""
        port, tap = self._port, self._tap
        tap.set_carrier(port.state == "running" and port.link.up)
        if port.state != "running":
            return
        try:
            tap.set_mac(port.mac)
        except IavfioError as error:
            self._tell(str(error.what))
        groups = tap.groups()
        if groups is not None:
            self._groups.follow(groups)

    def close(self) -> None:
        """Ends the thread; the port receives what it received before. Twice is harmless."""
        if self._over.is_set():
            return
        self._over.set()
        self._wake.set()
        self._thread.join()
        self._take_back()

    def _take_back(self) -> None:
        with contextlib.suppress(ValueError):  # the user has taken it out
            self._port.on_event.remove(self._hear)
        self._groups.take_back()

    def _run(self) -> None:
        while not self._over.is_set():
            self._wake.wait(EVERY)
            self._wake.clear()
            try:
                self.look()
            except OSError:
                pass  # the TAP was deleted: who moves frames says so
            except IavfioError as error:
                self._tell(str(error))

    def _hear(self, _: PortEvent) -> None:
        self._wake.set()

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._note(text)
