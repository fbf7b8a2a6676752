# SPDX-License-Identifier: BSD-3-Clause
"""Descriptors whose last close waits: the client waits for it, nobody else (D3, D6).

A TCP socket with SO_LINGER and unsent bytes is one that any client can make: its last close waits
for a peer that reads nothing. A file on FUSE, whose server is the client, is another.
"""

from __future__ import annotations

import array
import errno
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import iavfio
from iavfio.softvf.control import FILES_REFUSED
from iavfio.softvf.function.device import Vf
from iavfio.softvf.function.regions import Interrupt
from iavfio.softvf.server.closing import MOST, Closer
from tests.hostile.lingering import Lingering, stopped
from tests.hostile.served_pf import ServedPf, served_pf
from tests.softvf.function.mailbox_rings import RSTAT
from tests.softvf.server.raw_client import RawClient


@pytest.fixture
def lingering() -> Iterator[Lingering]:
    made = Lingering()
    yield made
    made.close()


def most(vf: Vf) -> int:
    """How many closes of a client of it may wait."""
    return MOST + sum(vf.msix.count(index) for index in Interrupt)


def give_away(
    served: ServedPf, client: RawClient, command: int, payload: bytes, fds: list[int]
) -> None:
    """Sends descriptors, and closes them before the server looks: then its close is the last."""
    assert served.control("stall", vf=0, seconds=0.3)["stalled"]
    for fd in fds:
        client.post(command, payload, (fd,), flags=0x10)
        os.close(fd)


INFO = struct.pack("<IIII", 16, 0, 0, 0)
MAP = struct.pack("<IIQQQ", 32, 3, 0, 0x1000, 0x1000)
IRQS = struct.pack("<IIIII", 20, 4 | 32, 2, 0, 1)


@pytest.mark.parametrize(("command", "payload"), [(4, INFO), (2, MAP), (8, IRQS), (99, b"")])
def test_a_descriptor_whose_close_waits(
    command: int, payload: bytes, lingering: Lingering, tmp_path: Path
) -> None:
    with served_pf(tmp_path) as served:
        hostile, victim = RawClient(served.paths[0]), RawClient(served.paths[1])
        give_away(served, hostile, command, payload, [lingering.make() for _ in range(3)])
        for _ in range(10):
            assert victim.read32(RSTAT) in (0, 2)
        assert hostile.read32(RSTAT) in (0, 2)
        hostile.close()
        assert victim.read32(RSTAT) in (0, 2)
        victim.close()
        lingering.close()


def test_descriptors_that_were_never_received(lingering: Lingering, tmp_path: Path) -> None:
    """A second client is hung up on with its descriptors still on their way."""
    with served_pf(tmp_path) as served:
        first, victim = RawClient(served.paths[0]), RawClient(served.paths[1])
        fd = lingering.make()
        with socket.socket(socket.AF_UNIX) as second:
            second.connect(str(served.paths[0]))
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
            try:
                second.sendmsg([bytes(16)], rights)
            except BrokenPipeError:
                pass  # it was hung up on before
        threading.Thread(target=os.close, args=(fd,), daemon=True).start()
        for _ in range(10):
            assert victim.read32(RSTAT) in (0, 2)
            assert first.read32(RSTAT) in (0, 2)
        first.close()
        victim.close()
        lingering.close()


def test_a_client_has_a_share_of_the_closes_that_wait(lingering: Lingering, tmp_path: Path) -> None:
    with served_pf(tmp_path) as served:
        victim = RawClient(served.paths[1])
        hostile = RawClient(served.paths[0])
        with pytest.raises((OSError, AssertionError)):
            much = most(served.vfs[0]) + 8
            give_away(served, hostile, 4, INFO, [lingering.make() for _ in range(much)])
            hostile.read32(RSTAT)
        hostile.close()
        with pytest.raises((OSError, AssertionError)):
            RawClient(served.paths[0])
        assert victim.read32(RSTAT) in (0, 2)
        assert served.control("info")["vfs"][0]["faults"] == 0
        lingering.close()
        deadline = time.monotonic() + 20
        while True:  # as soon as the files are closed the VF is served again
            try:
                RawClient(served.paths[0]).close()
                break
            except (OSError, AssertionError):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        victim.close()


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.parametrize("name", ["vf0.sock", "control.sock"])
def test_refused_clients_have_a_share_as_well(name: str, lingering: Lingering) -> None:
    """Each client that is refused leaves a descriptor in its socket, whose close waits, too.

    The server is stopped while one connects, so that it surely finds a descriptor to close.
    """
    with iavfio.softvf(vfs=2) as pf:
        first, victim = (RawClient(pf.directory / f"vf{n}.sock") for n in range(2))
        before = descriptors(pf.pid)
        waiting: list[socket.socket] = []
        for _ in range(2 * MOST + 24):
            fd = lingering.make()
            second = socket.socket(socket.AF_UNIX)
            second.setblocking(False)
            os.kill(pf.pid, signal.SIGSTOP)
            try:
                second.connect(str(pf.directory / name))
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
                second.sendmsg([bytes(16)], rights)
                os.close(fd)  # so that the server's is the last
            except (BlockingIOError, BrokenPipeError):  # nobody accepts
                threading.Thread(target=os.close, args=(fd,), daemon=True).start()
            os.kill(pf.pid, signal.SIGCONT)
            waiting.append(second)
            assert victim.read32(RSTAT) in (0, 2)
            assert first.read32(RSTAT) in (0, 2)
        assert descriptors(pf.pid) - before <= 2 * MOST + 8
        for second in waiting:
            second.close()
        lingering.close()
        first.close()
        victim.close()


@pytest.mark.parametrize("name", ["vf0.sock", "control.sock"])
@pytest.mark.parametrize("flag", [0, socket.MSG_OOB], ids=["in the stream", "out of band"])
def test_a_descriptor_with_the_first_byte(name: str, flag: int, lingering: Lingering) -> None:
    """A read may drop it in the kernel: without room for it, or with a byte that is skipped."""
    with iavfio.softvf(vfs=2) as pf, socket.socket(socket.AF_UNIX) as hostile:
        victim = RawClient(pf.directory / "vf1.sock")
        hostile.settimeout(20)
        hostile.connect(str(pf.directory / name))
        fd = lingering.make()
        with stopped(pf.pid):
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
            try:
                hostile.sendmsg([b"{"], rights, flag)
            except OSError as error:
                if flag and error.errno == errno.EOPNOTSUPP:
                    pytest.skip("this kernel has no data out of band on UNIX sockets")
                raise
            os.close(fd)
        for _ in range(10):
            assert victim.read32(RSTAT) in (0, 2)
        if name == "control.sock":
            assert hostile.recv(1 << 10) == FILES_REFUSED
        hostile.close()
        assert victim.read32(RSTAT) in (0, 2)
        assert pf.control("ping") == {}
        assert pf.control("info")["faults"] == {"control": 0, "process": 0}
        victim.close()
        lingering.close()


@pytest.mark.parametrize("waiting", [1, 2])
def test_the_end_of_a_socket_with_clients_that_nobody_accepted(
    waiting: int, lingering: Lingering, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        listener.setblocking(False)
        clients = [socket.socket(socket.AF_UNIX) for _ in range(waiting)]
        for client in clients:
            client.connect(str(tmp_path / "s"))
            fd = lingering.make()
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
            client.sendmsg([b"{"], rights)
            os.close(fd)
        closer = Closer()
        thread = threading.Thread(target=closer.stop_listening, args=(listener,), daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
        with pytest.raises(ConnectionRefusedError):
            socket.socket(socket.AF_UNIX).connect(str(tmp_path / "s"))
        for client in clients:
            client.close()
        lingering.close()
        closer.end()


def test_a_socket_without_clients_ends_at_once(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        listener.setblocking(False)
        Closer().stop_listening(listener)
        assert listener.fileno() == -1


def test_a_client_waits_for_its_closes(lingering: Lingering, tmp_path: Path) -> None:
    """Files whose closes take their time cost the client that time, not its session."""
    with served_pf(tmp_path) as served:
        client = RawClient(served.paths[0])
        much = most(served.vfs[0]) + 8
        give_away(served, client, 4, INFO, [lingering.make() for _ in range(much)])
        letting_go = threading.Timer(0.5, lingering.close)
        letting_go.start()
        assert client.read32(RSTAT) in (0, 2)
        letting_go.join()
        assert client.read32(RSTAT) in (0, 2)
        client.close()
