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

from iavfio.softvf.server.closing import MOST, MOST_WAITING, ONE_MESSAGE
from iavfio.softvf.server.messages import MAX_FDS
from tests.hostile.lingering import Lingering, stopped
from tests.port.rig import until
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


def refused(directory: Path, files: int) -> subprocess.CompletedProcess[str]:
    """What becomes of a start that is refused."""
    return subprocess.run(
        [*SERVER, "--vfs", "2", "--socket", str(directory)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
    )


def least(directory: Path) -> int:
    """The least limit with which it serves, as it says itself."""
    found = re.search(r"needs (\d+), of which one hostile client", refused(directory, 300).stderr)
    assert found
    return int(found[1])


def told(directory: Path, files: int) -> str:
    """What it writes about its limit."""
    with served(directory, files) as server:
        server.terminate()
        return server.communicate()[1]


def open_files(server: subprocess.Popen[str]) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def give_all_away(client: RawClient, lingering: Lingering) -> None:
    """Sends as many descriptors as one client can make a server keep until they are closed.

    The last ones come with the two parts of one message, which are read one after the other.
    """
    parts = [[lingering.make() for _ in range(ONE_MESSAGE)] for _ in range(2)]
    for _ in range(MOST - 1):
        fd = lingering.make()
        client.post(4, INFO, (fd,), flags=NO_REPLY)
        os.close(fd)
    head = struct.pack("<HHIII", 1, 4, 16 + len(INFO), NO_REPLY, 0)
    for data, fds in zip((head, INFO), parts, strict=True):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        client.sock.sendmsg([data], rights)
        for fd in fds:
            os.close(fd)


def test_a_limit_that_one_client_can_use_up_is_refused(tmp_path: Path) -> None:
    need = least(tmp_path / "few")
    done = refused(tmp_path / "less", need - 1)
    assert done.returncode == 1
    assert f"this process may open {need - 1} files" in done.stderr
    assert "ulimit -n" in done.stderr


def test_a_limit_that_all_together_can_use_up_is_told(tmp_path: Path) -> None:
    need = least(tmp_path / "few")
    safe = need + MOST_WAITING  # of the second VF
    text = told(tmp_path / "less", safe - 1)
    assert "2 clients together that hand over files which do not close can stop all VFs" in text
    assert f"ulimit -n {safe} [" in text
    assert "may open" not in told(tmp_path / "enough", safe)


def test_with_that_limit_nobody_costs_another_his_files(tmp_path: Path) -> None:
    """While one client's files wait to be closed, the other one's eventfds are all taken."""
    need = least(tmp_path / "few")
    with served(tmp_path / "enough", need) as server:
        hostile, victim = (RawClient(tmp_path / "enough" / f"vf{vf}.sock") for vf in range(2))
        lingering = Lingering()
        before = open_files(server)
        with stopped(server.pid):
            give_all_away(hostile, lingering)
        assert until(lambda: open_files(server) - before >= ONE_MESSAGE, 60)
        for _ in range(20):
            assert victim.read32(RSTAT) in (0, 2)
        assert open_files(server) - before <= ONE_MESSAGE + MOST + MAX_FDS
        error, payload = victim.ask(7, IRQ_INFO)
        assert error == 0
        vectors = struct.unpack("<4I", payload)[3]
        events = [os.eventfd(0) for _ in range(vectors)]
        for at in range(0, vectors, 8):
            part = events[at : at + 8]
            request = struct.pack("<5I", 20, 4 | 32, 2, at, len(part))
            assert victim.ask(8, request, tuple(part))[0] == 0
        for fd in events:
            os.close(fd)
        lingering.close()
        victim.close()
        hostile.close()
