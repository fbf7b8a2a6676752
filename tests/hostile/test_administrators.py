# SPDX-License-Identifier: BSD-3-Clause
"""Who asks nothing of the control socket keeps no administrator out (D6)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from iavfio.softvf.control import MAX_CLIENTS
from tests.hostile.served_pf import ServedPf, served_pf

PING, PONG = b'{"command": "ping"}\n', b'{"ok": true}\n'


@contextmanager
def administrators(served: ServedPf) -> Iterator[list[socket.socket]]:
    """As many clients as there may be: each has been answered once, in this order."""
    with ExitStack() as stack:
        lines = list[socket.socket]()
        for _ in range(MAX_CLIENTS):
            line = stack.enter_context(socket.socket(socket.AF_UNIX))
            line.settimeout(20)
            line.connect(str(served.control_path))
            assert asks(line)
            lines.append(line)
        yield lines


def asks(line: socket.socket) -> bool:
    """Whether a client is answered; False when it was hung up on."""
    try:
        line.sendall(PING)
        return line.recv(1 << 10) == PONG
    except (BrokenPipeError, ConnectionResetError):
        return False


# docs/spec/reliability.md D6
def test_one_more_takes_the_place_of_the_longest_idle(tmp_path: Path) -> None:
    with served_pf(tmp_path) as served, administrators(served) as lines:
        assert asks(lines[0])  # so the second has been idle longest
        assert served.control("ping") == {"ok": True}
        assert lines[1].recv(1) == b""
        assert [asks(line) for line in lines] == [number != 1 for number in range(MAX_CLIENTS)]


# docs/spec/reliability.md D6
@pytest.mark.parametrize("said", [b"", b'{"command"'], ids=["nothing", "half a line"])
def test_clients_that_never_ask(said: bytes, tmp_path: Path) -> None:
    with served_pf(tmp_path) as served, ExitStack() as stack:
        for _ in range(3 * MAX_CLIENTS):
            line = stack.enter_context(socket.socket(socket.AF_UNIX))
            line.connect(str(served.control_path))
            line.sendall(said)
        assert served.control("ping") == {"ok": True}
        assert served.control("info")["faults"] == {"control": 0, "process": 0}
