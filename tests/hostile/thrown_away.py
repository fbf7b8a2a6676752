# SPDX-License-Identifier: BSD-3-Clause
"""Storms of what takes long to be freed, and is freed by the software VF (D6)."""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
from collections.abc import Callable
from pathlib import Path

from tests.hostile.waiters import wait_for_it
from tests.softvf.server.raw_client import RawClient

Step = Callable[[], None]

MUCH = 512 << 20  # bytes, each written
IOVA = 0x10_0000_0000


def written(size: int = MUCH) -> int:
    """A memfd with all its pages."""
    fd = os.memfd_create("thrown-away")
    os.posix_fallocate(fd, 0, size)
    return fd


def give_memory(client: RawClient, iova: int, size: int = MUCH) -> int:
    """Maps written memory that this process keeps nothing of; the number of the request."""
    fd = written(size)
    number = client.post(2, struct.pack("<IIQQQ", 32, 3, 0, iova, size), (fd,))
    os.close(fd)
    return number


def _patient(path: Path) -> RawClient:
    client = RawClient(path)
    client.sock.settimeout(60)
    return client


def memory(path: Path) -> tuple[Step, Step]:
    """In turn it is mapped and unmapped, refused, and mapped by a client that hangs up."""
    client = [_patient(path)]
    ways = itertools.cycle(range(3))

    def step() -> None:
        way = next(ways)
        number = give_memory(client[0], IOVA + way % 2)  # an odd address is refused
        client[0].take(number, 2)
        if way == 0:
            client[0].ask(3, struct.pack("<IIQQ", 24, 0, IOVA, MUCH))
        elif way == 2:
            client[0].close()
            while True:
                with contextlib.suppress(OSError, AssertionError):
                    client[0] = _patient(path)
                    return

    def end() -> None:
        with contextlib.suppress(OSError):
            client[0].take(give_memory(client[0], IOVA), 2)
        client[0].close()

    return step, end


def eventfds(path: Path) -> tuple[Step, Step]:
    """50,000 entries of epolls wait for one, which they leave to the software VF."""
    client = _patient(path)

    def step() -> None:
        event = os.eventfd(0, os.EFD_NONBLOCK)
        waiters = wait_for_it(event, 200, 250, doubles_stay=False)
        number = client.post(8, struct.pack("<IIIII", 20, 4 | 32, 2, 0, 1), (event,))
        os.close(event)
        with waiters:
            client.take(number, 8)
            client.ask(8, struct.pack("<IIIII", 20, 1 | 32, 2, 0, 0))
            client.read32(0x8800)

    return step, client.close


def connection(path: Path) -> tuple[Step, Step]:
    """50,000 entries of epolls wait for this end of it, until the software VF ends that."""
    clients: list[RawClient] = []
    held = contextlib.ExitStack()

    def step() -> None:
        try:
            if not clients:  # refused for a time, after it had to go
                clients.append(_patient(path))
                number = clients[0].sock.fileno()
                held.enter_context(wait_for_it(number, 200, 250, doubles_stay=False))
            clients[0].read32(0x8800)
        except (OSError, AssertionError):
            end()

    def end() -> None:
        while clients:
            clients.pop().close()
        held.close()

    return step, end
