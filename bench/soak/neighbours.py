# SPDX-License-Identifier: BSD-3-Clause
"""Processes beside the ports of a soak: one that is killed in the midst of work, one that storms.

They are forked by a process of their own, which has no threads and none of the ports' memory.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import iavfio
from bench.soak.way import ETHERTYPE
from tests.hostile.storms import storm

READY = 30.0  # seconds until a process must be at work
NOBODY = bytes.fromhex("0200000000fe")
Entry = Callable[..., None]  # a function of this module, which the child finds by its name


def work(ready: Connection, socket: str) -> None:
    """A driver's life until it is killed: it opens, starts and sends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with iavfio.open(socket) as port:
        port.configure(queues=1, ring=512)
        port.start(wait_link=10)
        frame = NOBODY + port.mac + ETHERTYPE + bytes(46)
        for turn in range(1 << 62):
            with port.tx[0].build([frame] * 32) as burst:
                port.tx[0].send(burst)
            if not turn:
                ready.send(True)
            time.sleep(0.001)


def rage(ready: Connection, socket: str, name: str) -> None:
    """A client that storms until it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with storm(name, Path(socket.removeprefix("vfio-user:"))) as over:
        ready.send(True)
        over.wait()
        time.sleep(READY)  # the server has ended it: it stays where it is


class Neighbour:
    """One such process."""

    def __init__(self, entry: Entry, *arguments: str) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._ready: Connection
        self._ready, ready = context.Pipe(duplex=False)
        process = context.Process(target=entry, args=(ready, *arguments), daemon=True)
        process.start()
        self._process: BaseProcess | None = process
        ready.close()

    def at_work(self) -> bool:
        """Waits until it works; returns False when it ended, or does not work in time."""
        try:
            return self._ready.poll(READY) and bool(self._ready.recv())
        except EOFError:
            return False

    def kill(self) -> None:
        """Ends it without a warning; twice is harmless."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
            self._process = None
            self._ready.close()
