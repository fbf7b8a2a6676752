# SPDX-License-Identifier: BSD-3-Clause
"""A vfio-user server that misbehaves costs its client the connection, in bounded time.

Each way to misbehave begins at each command that a client sends while it opens a device and reads
its registers (docs/spec/reliability.md I3, 7).
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from iavfio.errors import DeviceLost, VfioError
from iavfio.pyvfio import connection
from iavfio.pyvfio.connection import Command, Connection

HEADER = struct.Struct("<HHIII")
REPLY, NO_REPLY = 1, 0x10
DEADLINE_MS = 150
SLACK = 5.0  # seconds: the machine that runs the tests may be busy

Answer = Callable[[socket.socket, int, int, bytes], None]


def _put(
    sock: socket.socket, number: int, command: int, body: bytes, size: int | None = None
) -> None:
    length = HEADER.size + len(body) if size is None else size
    sock.sendall(HEADER.pack(number, command, length, REPLY, 0) + body)


def _flood(message: bytes) -> Answer:
    def flood(sock: socket.socket, number: int, command: int, body: bytes) -> None:
        while True:
            sock.sendall(message * 256)

    return flood


def _byte_by_byte(sock: socket.socket, number: int, command: int, body: bytes) -> None:
    for byte in HEADER.pack(number, command, HEADER.size + len(body), REPLY, 0) + body:
        time.sleep(0.05)
        sock.sendall(bytes([byte]))


def _hang_up_midway(sock: socket.socket, number: int, command: int, body: bytes) -> None:
    sock.sendall(HEADER.pack(number, command, 64, REPLY, 0)[:9])
    sock.close()


WAYS: dict[str, Answer] = {
    "silent": lambda sock, number, command, body: None,
    "flood": _flood(HEADER.pack(9, 12, 16, NO_REPLY, 0)),
    "flood of requests": _flood(HEADER.pack(9, 11, 16, 0, 0)),
    "flood of late replies": _flood(HEADER.pack(0xFFF0, 4, 16, REPLY, 0)),
    "slow": _byte_by_byte,
    "wrong id": lambda sock, number, command, body: _put(sock, number ^ 0x55, command, body),
    "wrong command": lambda sock, number, command, body: _put(sock, number, command ^ 8, body),
    "too short": lambda sock, number, command, body: _put(sock, number, command, body, 15),
    "too long": lambda sock, number, command, body: _put(sock, number, command, body, 1 << 31),
    "more than asked": lambda sock, number, command, body: _put(
        sock, number, command, bytes(1 << 16)
    ),
    "hangs up": lambda sock, number, command, body: sock.close(),
    "hangs up midway": _hang_up_midway,
}
GOOD = {
    Command.VERSION: struct.pack("<HH", 0, 0) + b'{"capabilities":{"max_msg_fds":8}}\0',
    Command.DEVICE_GET_INFO: struct.pack("<IIII", 16, 3, 9, 5),
    Command.REGION_READ: bytes(20),
    Command.DMA_UNMAP: bytes(24),
    Command.DEVICE_RESET: b"",
}


def _serve(listener: socket.socket, bad: Command, way: Answer) -> None:
    with suppress(OSError):
        sock, _ = listener.accept()
        with sock:
            while True:
                head = sock.recv(HEADER.size, socket.MSG_WAITALL)
                if len(head) < HEADER.size:
                    return
                number, command, size, _, _ = HEADER.unpack(head)
                if size > HEADER.size:
                    sock.recv(size - HEADER.size, socket.MSG_WAITALL)
                body = GOOD[Command(command)]
                if command == bad:
                    way(sock, number, command, body)
                else:
                    _put(sock, number, command, body)


@pytest.mark.parametrize("bad", list(GOOD), ids=lambda command: command.name)
@pytest.mark.parametrize("way", list(WAYS))
def test_a_call_ends_in_time_and_later_ones_at_once(
    bad: Command, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TIMEOUT_MS", DEADLINE_MS)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        thread = threading.Thread(target=_serve, args=(listener, bad, WAYS[way]), daemon=True)
        thread.start()
        opened: Connection | None = None
        began = time.monotonic()
        with pytest.raises(VfioError):
            opened = Connection(str(tmp_path / "s"))
            for command in GOOD:
                if command is not Command.VERSION:
                    opened.request(command, b"", len(GOOD[command]))
        assert time.monotonic() - began < DEADLINE_MS / 1e3 * len(GOOD) + SLACK
        if opened is not None:
            assert opened.broken
            for command in GOOD:  # none is sent, so none waits
                with pytest.raises(VfioError):
                    opened.request(command, b"", len(GOOD[command]))
            if way in ("silent", "wrong id", "slow") or "flood" in way:
                with pytest.raises(DeviceLost, match=f"no reply to {bad.name}"):
                    opened.request(Command.REGION_READ, b"", 20)
            opened.close()
        thread.join(SLACK)
        assert not thread.is_alive()
