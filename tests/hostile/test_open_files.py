# SPDX-License-Identifier: BSD-3-Clause
"""How many files clients make the software VF hold, beside how many it may open (D3)."""

from __future__ import annotations

import array
import os
import re
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iavfio.softvf.server.closing import MOST, ONE_MESSAGE
from tests.hostile.lingering import Lingering
from tests.softvf.function.mailbox_rings import RSTAT
from tests.softvf.server.raw_client import RawClient

SERVER = [sys.executable, "-m", "iavfio.softvf"]
NO_REPLY = 0x10
INFO = struct.pack("<IIII", 16, 0, 0, 0)
IRQ_INFO = struct.pack("<IIII", 16, 0, 2, 0)


@contextmanager
def served(directory: Path, files: int) -> Iterator[subprocess.Popen[str]]:
    """A software VF of two VFs that may open so many files; ended at the end."""
    server = subprocess.Popen(
        [*SERVER, "--vfs", "2", "--verbose", "--socket", str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
    )
    assert server.stdout is not None
    assert any(line == "ready\n" for line in server.stdout)
    try:
        yield server
    finally:
        server.kill()
        server.communicate()


def told(directory: Path, files: int) -> str:
    """What it writes about its limit."""
    with served(directory, files) as server:
        server.terminate()
        return server.communicate()[1]


def give_all_away(client: RawClient, lingering: Lingering) -> None:
    """Sends as many descriptors as one client can make a server keep until they are closed."""
    for _ in range(MOST - 1):
        fd = lingering.make()
        client.post(4, INFO, (fd,), flags=NO_REPLY)
        os.close(fd)
    fds = [lingering.make() for _ in range(ONE_MESSAGE)]
    head = struct.pack("<HHIII", 1, 4, 16 + len(INFO), NO_REPLY, 0)
    client.sock.sendmsg(
        [head + INFO], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    )
    for fd in fds:
        os.close(fd)


def test_a_limit_that_one_client_can_use_up_is_told(tmp_path: Path) -> None:
    text = told(tmp_path / "few", 400)
    found = re.search(r"may open 400 files.*ulimit -n (\d+)", text)
    assert found, text
    enough = int(found[1])
    assert "may open" in told(tmp_path / "less", enough - 1)
    assert "may open" not in told(tmp_path / "enough", enough)


def test_below_that_limit_nobody_costs_another_his_files(tmp_path: Path) -> None:
    """While one client's files wait to be closed, the other one's eventfds are all taken."""
    found = re.search(r"ulimit -n (\d+)", told(tmp_path / "few", 400))
    assert found
    with served(tmp_path / "enough", int(found[1])) as server:
        hostile, victim = (RawClient(tmp_path / "enough" / f"vf{vf}.sock") for vf in range(2))
        lingering = Lingering()
        before = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
        give_all_away(hostile, lingering)
        assert victim.read32(RSTAT) in (0, 2)
        held = len(list(Path(f"/proc/{server.pid}/fd").iterdir())) - before
        assert held >= ONE_MESSAGE, "the attack does not do what it says"
        error, payload = victim.ask(7, IRQ_INFO)
        assert error == 0
        vectors = struct.unpack("<4I", payload)[3]
        events = [os.eventfd(0) for _ in range(vectors)]
        for start in range(0, vectors, 8):
            part = events[start : start + 8]
            request = struct.pack("<5I", 20, 4 | 32, 2, start, len(part))
            assert victim.ask(8, request, tuple(part))[0] == 0
        for fd in events:
            os.close(fd)
        lingering.close()
        victim.close()
        hostile.close()
