# SPDX-License-Identifier: BSD-3-Clause
"""Who may be a client: the user who runs the software VF, and root (D5)."""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path
from typing import cast

import pytest

from iavfio.softvf import softvf
from iavfio.softvf.server.sockets import peer_allowed

OTHER = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


class Peer:
    """A socket whose other end is of some user."""

    def __init__(self, uid: int) -> None:
        self.uid = uid

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_PEERCRED)
        return struct.pack("iII", 4711, self.uid, 0)[:size]


# docs/spec/reliability.md D5
@pytest.mark.parametrize("own", [0, 1000, OTHER])
def test_the_own_user_and_root_are_clients(own: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: own)
    for uid in (0, 1, 1000, 1001, OTHER, 0xFFFFFFFF):
        assert peer_allowed(cast(socket.socket, Peer(uid))) is (uid in (0, own))


def hung_up_on(path: Path, uid: int) -> bool:
    """Whether a process of that user, which connects and says nothing, is hung up on."""
    child = os.fork()
    if child == 0:
        result = 2
        try:
            if uid:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(20 if uid else 0.2)
                line.connect(str(path))
                result = 0 if line.recv(1) == b"" else 1
        except TimeoutError:
            result = 1
        finally:
            os._exit(result)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 1)
    return status == 0


# docs/spec/reliability.md D5
@root_only
@pytest.mark.parametrize("name", ["vf0.sock", "control.sock"])
def test_a_client_of_another_user_is_hung_up_on(name: str) -> None:
    """Even where the mode of directory and socket would let it in."""
    with softvf(vfs=1, uplink="none") as pf:
        path = Path(pf.sockets[0].removeprefix("vfio-user:")).with_name(name)
        path.parent.chmod(0o711)
        path.chmod(0o777)
        assert hung_up_on(path, OTHER)
        assert not hung_up_on(path, 0)
        if name == "vf0.sock":
            deadline = time.monotonic() + 20
            while not any("another user" in each["text"] for each in pf.control("log")["entries"]):
                assert time.monotonic() < deadline
                time.sleep(0.01)
