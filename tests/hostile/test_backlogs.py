# SPDX-License-Identifier: BSD-3-Clause
"""A server whose backlog is full accepts nobody: who connects waits for room, and not for ever.

docs/spec/reliability.md I3, F66, 7
"""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, cast

import pytest

from iavfio import dialing
from iavfio.errors import DeviceLost, IavfioError
from iavfio.preload import Preload, tree
from iavfio.pyvfio import Busy, budget, connection
from iavfio.softvf.asking import Questions
from iavfio.stats import door, liveness
from iavfio.stats.reader import SegmentReader
from iavfio.stats.runtime import SUFFIX
from tests.preload.test_tree import member, said
from tests.sanitizer import no_preload

FULL = "the server accepts no more connections: its backlog is full"
SECONDS = 0.3


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Full:
    """Listens at `path` with as many clients in its queue as there is room for."""

    def __init__(self, path: Path, kind: int = socket.SOCK_STREAM) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, kind)
        self.listener.bind(str(path))
        self.listener.listen(0)
        self.waiting = list[socket.socket]()
        while True:
            client = socket.socket(socket.AF_UNIX, kind)
            client.setblocking(False)
            self.waiting.append(client)
            try:
                client.connect(str(path))
            except BlockingIOError:
                return

    def accept_all(self) -> None:
        """Makes room."""
        for _ in self.waiting[:-1]:
            self.waiting.append(self.listener.accept()[0])

    def close(self) -> None:
        for each in (self.listener, *self.waiting):
            each.close()


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Full]:
    made = Full(tmp_path / "control.sock")
    yield made
    made.close()


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Full]:
    """At the door of a port called "p"."""
    made = Full(tmp_path / liveness.door_of(f"p{SUFFIX}"), socket.SOCK_SEQPACKET)
    yield made
    made.close()


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """All have less time."""
    monkeypatch.setattr(budget, "SECONDS", SECONDS)
    monkeypatch.setattr(door, "ROOM", SECONDS)


def port(folder: Path) -> SegmentReader:
    home = SimpleNamespace(open=lambda: os.open(folder, os.O_RDONLY), uid=os.geteuid())
    found = SimpleNamespace(name="p", home=home, user="me", process="process 7")
    return cast(SegmentReader, found)


def test_a_device(full: Full, brief: None) -> None:
    before = open_files()
    with pytest.raises(DeviceLost, match=FULL) as caught:
        connection.Connection(str(full.path))
    assert caught.value.errno == errno.ETIMEDOUT
    assert open_files() == before


def test_a_control_socket(full: Full) -> None:
    with pytest.raises(IavfioError) as caught:
        Questions(SECONDS).ask(full.path.parent, "ping")
    assert caught.value.cause == FULL


def test_the_process_of_a_port(rooms: Full, brief: None) -> None:
    with pytest.raises(IavfioError, match=f"process 7 lets nobody in: {FULL}"):
        door.connect(port(rooms.path.parent))


class Interrupted(Exception):
    """A signal came."""


@pytest.fixture
def alarm() -> Iterator[None]:
    """Raises in a moment, whatever this thread waits for."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    former = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)


# docs/spec/reliability.md F66
def test_a_signal_ends_the_wait_for_a_device(full: Full, alarm: None) -> None:
    before = open_files()
    with pytest.raises(Interrupted):
        connection.Connection(str(full.path))
    assert open_files() == before


# docs/spec/reliability.md F66
def test_a_signal_ends_the_wait_for_a_port(rooms: Full, alarm: None) -> None:
    with pytest.raises(Interrupted):
        door.connect(port(rooms.path.parent))


def meanwhile(monkeypatch: pytest.MonkeyPatch, module: Any, call: Callable[[], None]) -> None:
    """Calls when the first wait of a module begins, and does not wait then."""
    real = module.time.sleep
    calls = [call]

    def sleep(seconds: float) -> None:
        if calls:
            calls.pop()()
        real(seconds)

    monkeypatch.setattr(
        module, "time", SimpleNamespace(sleep=sleep, monotonic=module.time.monotonic)
    )


def test_whoever_waited_is_let_in(full: Full, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait is for room: who gets some in time is connected, and its socket blocks."""
    meanwhile(monkeypatch, dialing, full.accept_all)
    with socket.socket(socket.AF_UNIX) as line:
        dialing.connect(line, str(full.path), 20)
        assert line.getblocking()
        assert line.getpeername() == str(full.path)


def test_a_device_that_has_room_in_time(full: Full, monkeypatch: pytest.MonkeyPatch) -> None:
    def room() -> None:
        full.accept_all()
        threading.Thread(target=hang_up, daemon=True).start()

    def hang_up() -> None:
        full.listener.accept()[0].close()

    meanwhile(monkeypatch, dialing, room)
    with pytest.raises(Busy, match="hung up at the first message"):
        connection.Connection(str(full.path))


@no_preload
def test_a_program_under_preload(full: Full) -> None:
    one = dataclasses.replace(member(0), socket=str(full.path))
    tree.build(full.path.parent, [one])
    assert f"{full.path}: {FULL}\n" in said(Preload(full.path.parent, [one], {}), one.group)
