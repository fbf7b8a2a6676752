# SPDX-License-Identifier: BSD-3-Clause
"""A software PF that may open no more files: who comes waits, and costs nobody any time."""

from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from iavfio.softvf.server import acceptor, sockets
from tests.hostile.served_pf import served_pf
from tests.softvf.function.mailbox_rings import RSTAT
from tests.softvf.server.raw_client import RawClient

NEVER = 1e6  # seconds


class Short(socket.socket):
    """A listener whose process has no file descriptor left."""

    code = errno.EMFILE
    tried = 0

    def accept(self) -> tuple[socket.socket, Any]:
        if not self.code:
            return super().accept()
        self.tried += 1
        raise OSError(self.code, os.strerror(self.code))


@pytest.fixture
def shorts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Short]:
    """The listeners by the names of their sockets; all are short of files."""
    made = dict[str, Short]()
    real = sockets.listen

    def listen(path: Path) -> socket.socket:
        made[path.name] = Short(fileno=real(path).detach())
        made[path.name].setblocking(False)
        return made[path.name]

    monkeypatch.setattr(sockets, "listen", listen)
    return made


# docs/spec/reliability.md D3, D6
@pytest.mark.parametrize("name", ["vf0.sock", "control.sock"])
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_the_loop_does_not_turn_for_a_client_that_waits(
    name: str,
    code: int,
    tmp_path: Path,
    shorts: dict[str, Short],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acceptor, "AGAIN", NEVER)
    with served_pf(tmp_path) as pf, socket.socket(socket.AF_UNIX) as waiting:
        shorts["vf1.sock"].code = 0
        short = shorts[name]
        short.code = code
        neighbour = RawClient(pf.paths[1])
        waiting.connect(os.fspath(tmp_path / name))
        for _ in range(200):  # each a round of the loop at least
            neighbour.read32(RSTAT)
        neighbour.close()
        assert short.tried == 1
        told = [entry["text"] for entry in pf.log.entries() if entry["vf"] == 0]
        assert told == ([f"a client waits: {os.strerror(code)}"] if name == "vf0.sock" else [])


# docs/spec/reliability.md D3
def test_a_client_that_waited_is_served(
    tmp_path: Path, shorts: dict[str, Short], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "AGAIN", 0.01)
    with served_pf(tmp_path) as pf:
        waiting = list[RawClient]()
        thread = threading.Thread(target=lambda: waiting.append(RawClient(pf.paths[0])))
        thread.start()
        while not shorts["vf0.sock"].tried:
            assert thread.is_alive()
        for short in shorts.values():
            short.code = 0
        thread.join(20)
        assert waiting and waiting[0].read32(RSTAT) in range(4)
        assert pf.control("info")["vfs"][0]["connected"]
        waiting[0].close()
