# SPDX-License-Identifier: BSD-3-Clause
"""What one client can make the server keep, do in one step, or write into the log (D3, D6)."""

from __future__ import annotations

import errno
import gc
import logging
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from iavfio.softvf import containment
from iavfio.softvf.containment import TRACEBACKS, WINDOW, Account
from iavfio.softvf.loop import Loop
from iavfio.softvf.server.closing import Closer
from iavfio.softvf.server.connection import MAX_REPLIES, Connection
from iavfio.softvf.server.messages import Message
from iavfio.softvf.server.session import Session
from tests.softvf.server.raw_client import VERSION_TEXT, RawClient
from tests.softvf.server.served_vf import serving

CONFIG, INTERRUPT_LINE = 7, 0x3C
UNSENT = 4 << 20  # bytes of replies that may wait for a client


class Line:
    """A connection that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, data: bytes, fds: tuple[int, ...] = (), last: bool = False) -> None:
        self.sent.append(data)


# docs/spec/reliability.md D4, D6
@pytest.mark.parametrize("writes", [1, 255, 256, 257, 1000])
def test_each_write_of_many_is_a_step(tmp_path: Path, writes: int) -> None:
    """The others may be served between any two, and while the message is checked."""
    entry = struct.pack("<QII8s", INTERRUPT_LINE, CONFIG, 1, b"\7")
    payload = struct.pack("<Q", writes) + entry * writes
    with serving(tmp_path / "v.sock") as served:
        line = Line()
        session = Session(served.vf, lambda _: cast(Connection, line))
        hello = Message(1, 1, 0, struct.pack("<HH", 0, 0) + VERSION_TEXT, [])
        assert list(session.on_message(hello)) == []
        steps = list(session.on_message(Message(2, 15, 0, payload, [])))
        assert len(steps) == writes + writes // 256
        assert struct.unpack_from("<HHIII", line.sent[-1])[4] == 0
        assert served.vf.read(CONFIG, INTERRUPT_LINE, 1) == b"\7"


# docs/spec/reliability.md D3
def test_who_reads_no_replies_is_read_no_more(tmp_path: Path) -> None:
    """What waits for it is bounded; what it asks beyond that stays in its own socket."""
    size = 4096
    most = 4 * UNSENT // size
    with serving(tmp_path / "v.sock") as served:
        client = RawClient(served.path)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.sock.settimeout(1)
        asked = 0
        try:
            while asked < most:
                client.post(9, struct.pack("<QII", 0, CONFIG, size))
                asked += 1
        except TimeoutError:
            pass
        assert UNSENT // size <= asked < most
        client.sock.settimeout(60)
        for number in range(2, 2 + UNSENT // size):  # 1 was VERSION
            assert client.take(number, 9)[0] == 0
        client.close()


# docs/spec/reliability.md D3
def test_large_replies_that_nobody_reads_are_few() -> None:
    """Whatever makes a reply so large: they are bounded by their bytes, not by their number."""
    loop, closer, handled = Loop(), Closer(), 0
    ours, theirs = socket.socketpair()

    def answer(_: Message) -> Iterator[None]:
        nonlocal handled
        handled += 1
        connection.send(bytes(1 << 20))
        return iter(())

    connection = Connection(ours, loop, answer, lambda _: None, Account("one"), closer)
    theirs.send(struct.pack("<HHIII", 1, 99, 16, 0, 0) * 64)
    loop.call_later(0.5, loop.stop, Account("the test"))
    loop.run()
    assert UNSENT >> 20 <= handled <= (UNSENT >> 20) + 2
    connection.close("")
    closer.end()
    theirs.close()
    loop.close()


# docs/spec/reliability.md D3
def test_who_reads_no_small_replies_is_read_no_more(tmp_path: Path) -> None:
    """Of 16 bytes each: what Python needs for one is many times that."""
    with serving(tmp_path / "v.sock") as served:
        client = RawClient(served.path)
        client.sock.settimeout(1)
        room = 1 << 22  # of both sockets, in messages: there is never room for so many
        asked = 0
        with pytest.raises(TimeoutError):
            while asked < room:
                client.post(99, b"")  # no such command
                asked += 1
        most = max(each.unread for each in gc.get_objects() if type(each) is Connection)
        assert most == MAX_REPLIES + 1
        client.sock.settimeout(60)
        for number in range(2, 2 + MAX_REPLIES):
            assert client.take(number, 99)[0] != 0
        client.close()


# docs/spec/reliability.md D1
def test_one_client_fills_no_log_with_tracebacks(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package's own logger holds repeated lines back as well.
    monkeypatch.setattr(containment, "LOG", logging.getLogger("tests.containment"))
    now = [0.0]
    ended: list[str] = []
    account = Account("vf0", ended.append, lambda: now[0])

    def fail() -> Any:
        raise OSError(errno.EIO, "what nobody expected")

    with caplog.at_level(logging.ERROR, "tests.containment"):
        for _ in range(3 * TRACEBACKS):
            assert not account.run(fail)
        assert len(caplog.records) == TRACEBACKS
        now[0] += WINDOW + 1
        account.run(fail)
    assert len(caplog.records) == TRACEBACKS + 1
    assert f"and {2 * TRACEBACKS} more before it" in caplog.records[-1].getMessage()
    assert account.faults == len(ended) == 3 * TRACEBACKS + 1
