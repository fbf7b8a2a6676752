# SPDX-License-Identifier: BSD-3-Clause
"""Clients at whose end of the connection many wait (docs/spec/reliability.md D6).

Slow calls are made of a clock of processor time that only calls of such a socket move.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iavfio.softvf.containment import Account
from iavfio.softvf.loop import Loop
from iavfio.softvf.server import listener
from iavfio.softvf.server.closing import Closer
from iavfio.softvf.server.connection import Connection
from iavfio.softvf.server.slowness import REFUSED_FOR, SLOW, TOO_MANY, TOO_OFTEN, Slowness
from tests.hostile.served_pf import ServedPf, served_pf
from tests.hostile.test_memory import hangs_up
from tests.softvf.function.mailbox_rings import RSTAT
from tests.softvf.server.raw_client import RawClient

NO_REPLY = 0x10
TIMES = TOO_OFTEN // 2  # one after the other


class Clocks:
    """Time, and time of the processor, of which each look at the clock takes `each`."""

    def __init__(self) -> None:
        self.now, self.spent, self.each = 0.0, 0.0, 0.0

    def take(self) -> float:
        self.spent += self.each
        return self.spent


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """Of all VFs that are served in the test."""
    made = Clocks()
    monkeypatch.setattr(listener, "Slowness", lambda _: Slowness(lambda: made.now, made.take))
    return made


@contextlib.contextmanager
def clients(directory: Path) -> Iterator[tuple[ServedPf, RawClient]]:
    with served_pf(directory) as served:
        client = RawClient(served.paths[0])
        yield served, client
        client.close()
        assert [vf["faults"] for vf in served.control("info")["vfs"]] == [0, 0]


def texts(served: ServedPf) -> list[str]:
    return [entry["text"] for entry in served.log.entries() if "wait at its end" in entry["text"]]


# docs/spec/reliability.md D6
def test_a_client_whose_replies_are_slow_has_to_go(clocks: Clocks, tmp_path: Path) -> None:
    with clients(tmp_path) as (served, client):
        clocks.each = SLOW / 2
        for _ in range(20):
            assert client.read32(RSTAT) in (0, 2)
        clocks.each = SLOW * 1.01
        with pytest.raises(ConnectionError):
            for _ in range(TIMES):  # each is of a reply, and of what asks for it
                client.read32(RSTAT)
        clocks.each = 0.0
        with pytest.raises((OSError, AssertionError)):
            RawClient(served.paths[0])
        assert RawClient(served.paths[1]).read32(RSTAT) in (0, 2)  # it is nobody else's
        assert len(texts(served)) == 2
        clocks.now += REFUSED_FOR
        again = RawClient(served.paths[0])
        assert again.read32(RSTAT) in (0, 2)
        again.close()


# docs/spec/reliability.md D6
def test_a_client_whose_messages_are_slow_has_to_go(clocks: Clocks, tmp_path: Path) -> None:
    with clients(tmp_path) as (served, client):
        clocks.each = SLOW * 1.01
        with contextlib.suppress(OSError):
            for _ in range(TIMES):
                client.post(13, b"", (), NO_REPLY)
        assert hangs_up(client)
        assert len(texts(served)) == 1


# docs/spec/reliability.md D6
def test_each_message_to_a_client_is_timed() -> None:
    clocks, loop = Clocks(), Loop()
    why: list[str] = []
    clocks.each = SLOW * 1.01
    ours, theirs = socket.socketpair()
    closer = Closer()
    connection = Connection(
        ours,
        loop,
        lambda _: iter(()),
        why.append,
        Account("one"),
        closer,
        Slowness(lambda: clocks.now, clocks.take),
    )
    for sent in range(1, TIMES + 1):
        assert why == []
        connection.send(b"x")
        assert connection.closed == (sent == TIMES)
    assert why == [TOO_MANY]
    assert theirs.recv(TIMES) == b"x" * TIMES
    assert theirs.recv(1) == b""
    closer.end()
    theirs.close()
    loop.close()


@pytest.mark.parametrize(
    ("slow", "quick", "goes"),
    [(1, 0, True), (1, 1, True), (2, 3, True), (1, 2, False), (7, 14, False)],
)
def test_calls_that_the_host_made_slow_are_followed_by_quick_ones(
    slow: int, quick: int, goes: bool
) -> None:
    """The host takes the processor from a virtual machine, in what is counted as a call's time."""
    clocks = Clocks()
    slowness = Slowness(lambda: clocks.now, clocks.take)
    told = []
    for _ in range(100):
        for each in [SLOW * 1.01] * slow + [SLOW * 0.99] * quick:
            clocks.each = each
            told.append(slowness.too_slow(slowness.begin()))
    assert any(told) == goes
    assert slowness.refusing == goes
    if goes:
        assert told.index(True) < TOO_OFTEN * (slow + quick), "in few calls"


def test_a_calls_time_is_that_of_the_processor() -> None:
    """What it waits for does not count: the host is busy, which is nobody's fault."""
    slowness = Slowness(lambda: 0.0)
    for _ in range(3 * TIMES):
        began = slowness.begin()
        time.sleep(2 * SLOW)
        assert not slowness.too_slow(began)
