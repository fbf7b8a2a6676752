# SPDX-License-Identifier: BSD-3-Clause
"""Whose turn it is, counted in steps of a clock that only the steps move (D4, D6)."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iavfio.softvf.containment import Account
from iavfio.softvf.control import Control, ControlServer
from iavfio.softvf.function.mailbox import BATCH, Mailbox
from iavfio.softvf.function.recorder import Recorder
from iavfio.softvf.log import ViolationLog
from iavfio.softvf.loop import READ, TURN_SECONDS, Loop
from iavfio.softvf.server.closing import Closer
from iavfio.softvf.server.connection import STEPS_PER_TURN, Connection
from iavfio.softvf.server.messages import Message

STEPS_A_TURN = 4
POSTED = struct.pack("<HHIII", 1, 9, 16, 0x10, 0)


class Clock:
    """Time, which passes only by work."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self) -> None:
        self.now += TURN_SECONDS / STEPS_A_TURN * 1.001


def control_of(loop: Loop, *servers: Any, pf: Any = None, log: Any = None) -> Control:
    """What answers administrators, of parts that have what the test's commands use."""
    plane: Any = None
    return Control(servers, pf, plane, log, {}, loop.stop, loop.own)


class Parties:
    """Clients of one loop; `order` says who was served, step by step."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.order: list[str] = []
        self.ends: list[socket.socket] = []

    def join(self, name: str, steps: int, last: bool = False) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.ends += [ours, theirs]

        def serve(_: Message) -> Iterator[None]:
            for step in range(steps):
                self.clock.work()
                self.order.append(name)
                if step + 1 < steps:
                    yield
            if last:
                self.loop.stop()

        Connection(ours, self.loop, serve, lambda _: None, Account(name), Closer())
        return theirs

    def close(self) -> None:
        for end in self.ends:
            end.close()
        self.loop.close()


@pytest.fixture
def parties() -> Iterator[Parties]:
    made = Parties()
    yield made
    made.close()


# docs/spec/reliability.md D6
@pytest.mark.parametrize("steps", [1, 3, 1000])
@pytest.mark.parametrize("hostile", [1, 7, 63])
def test_each_waits_for_one_turn_of_each_other(parties: Parties, steps: int, hostile: int) -> None:
    for i in range(hostile):
        parties.join(f"hostile {i}", steps).sendall(POSTED * 200)
    parties.join("neighbour", 1, last=True).sendall(POSTED)
    parties.loop.run()
    before = parties.order[: parties.order.index("neighbour")]
    for i in range(hostile):
        assert before.count(f"hostile {i}") <= STEPS_A_TURN


def test_a_message_that_is_answered_in_steps_goes_on_while_nobody_else_wants_anything(
    parties: Parties,
) -> None:
    parties.join("one", 1000, last=True).sendall(POSTED)
    parties.loop.run()
    assert parties.order == ["one"] * 1000


def test_messages_of_one_client_keep_their_order(parties: Parties) -> None:
    seen: list[tuple[int, int]] = []
    ours, theirs = socket.socketpair()
    parties.ends += [ours, theirs]

    def serve(message: Message) -> Iterator[None]:
        for step in range(10):
            parties.clock.work()
            seen.append((message.msg_id, step))
            yield
        if message.msg_id == 19:
            parties.loop.stop()

    Connection(ours, parties.loop, serve, lambda _: None, Account("one"), Closer())
    theirs.sendall(b"".join(struct.pack("<HHIII", n, 9, 16, 0x10, 0) for n in range(20)))
    parties.loop.run()
    assert seen == [(n, step) for n in range(20) for step in range(10)]


def test_steps_that_take_no_time_are_counted(parties: Parties) -> None:
    parties.clock.work = lambda: None  # type: ignore[method-assign]
    parties.join("hostile", 100_000).sendall(POSTED)
    parties.join("neighbour", 1, last=True).sendall(POSTED)
    parties.loop.run()
    assert parties.order.index("neighbour") <= STEPS_PER_TURN


def test_a_message_that_comes_byte_by_byte_is_read_a_byte_a_turn(parties: Parties) -> None:
    """A file with each byte keeps the kernel from giving more than one at once."""
    hostile = parties.join("hostile", 1)
    event = os.eventfd(0)
    for n in range(len(POSTED)):
        socket.send_fds(hostile, [POSTED[n : n + 1]], [event])
    os.close(event)
    parties.join("neighbour", 1, last=True).sendall(POSTED)
    parties.loop.run()
    assert parties.order == ["neighbour"]


def test_a_client_that_hangs_up_in_the_middle_is_forgotten(parties: Parties) -> None:
    closed: list[str] = []
    ours, theirs = socket.socketpair()
    parties.ends += [ours, theirs]
    steps = 0

    def serve(_: Message) -> Iterator[None]:
        nonlocal steps
        while True:
            steps += 1
            parties.clock.work()
            if steps == 10:
                connection.close("enough")
            yield

    connection = Connection(ours, parties.loop, serve, closed.append, Account("one"), Closer())
    theirs.sendall(POSTED)
    parties.loop.call_later(TURN_SECONDS * 100, parties.loop.stop)
    parties.join("neighbour", 1000, last=True).sendall(POSTED)
    parties.loop.run()
    assert steps == 10
    assert closed == ["enough"]


# docs/spec/reliability.md D4
def test_the_mailbox_is_worked_off_in_batches() -> None:
    class Function:
        bus_master = True
        later: list[object]

        def __init__(self) -> None:
            self.later, self.taken = [], 0

        def dma_read(self, iova: int, length: int) -> bytes:
            return struct.pack("<HHHHIIIIII", 0x2000, 0x0801, 0, 0, 1, 0, 0, 0, 0, 0)[:length]

        def dma_write(self, iova: int, data: bytes) -> None: ...

        def mailbox_interrupt(self) -> None: ...

        def violation(self, rule: str, text: str, kind: str = "violation") -> None: ...

        def message_from_vf(self, opcode: int, payload: bytes) -> None:
            self.taken += 1

        def queue_shutdown(self) -> None: ...

        def soon(self, call: object) -> None:
            self.later.append(call)

    function = Function()
    mailbox = Mailbox(function)
    mailbox.write_length(mailbox.atq, 1 << 31 | 1023)
    mailbox.write_tail(mailbox.atq, 1000)
    assert (function.taken, len(function.later)) == (BATCH, 1)
    mailbox.write_tail(mailbox.atq, 1000)  # another doorbell asks for no second turn
    assert function.taken == 2 * BATCH
    turns = 0
    while function.later and turns < 1000:
        turns += 1
        function.later.clear()
        mailbox.work()
    assert function.taken == 1000


def test_lines_of_the_control_socket_take_turns(tmp_path: Path, parties: Parties) -> None:
    class Pf:
        def control(self, request: dict[str, object]) -> dict[str, object]:
            parties.clock.work()
            parties.order.append("administrator")
            return {}

        def snapshot(self, vf: int) -> dict[str, object]:
            return {}

    loop = parties.loop
    control = control_of(loop, pf=Pf())
    server = ControlServer(tmp_path / "control.sock", control, loop)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(os.fspath(server.path))
        line.sendall((json.dumps({"command": "x"}).encode() + b"\n") * 1000)
        loop.call_later(0, lambda: parties.join("neighbour", 1, last=True).sendall(POSTED))
        loop.run()
    assert parties.order.count("administrator") <= 3 * STEPS_A_TURN
    server.close()


# docs/spec/reliability.md D6
@pytest.mark.parametrize("command", ["journal", "log"])
def test_a_long_answer_of_the_control_socket_takes_turns(
    command: str, tmp_path: Path, parties: Parties, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal is 34 MB, and an administrator who asks for it must not stop the VFs."""
    entries = 1000

    def work(item: object) -> str:
        parties.clock.work()
        parties.order.append("administrator")
        return json.dumps(item)

    monkeypatch.setattr("iavfio.softvf.answer.json", SimpleNamespace(dumps=work))
    recorder, log, loop = Recorder(), ViolationLog(), parties.loop
    for number in range(entries):
        recorder.sent(number, bytes(16))
        log.add(0, "note", f"rule {number}", str(number))
    server = SimpleNamespace(vf=SimpleNamespace(recorder=recorder))
    control = control_of(loop, server, log=log)
    lines = ControlServer(tmp_path / "control.sock", control, loop)
    got = bytearray()
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(os.fspath(lines.path))
        named = {"vf": 0} if command == "journal" else {}
        line.sendall(json.dumps({"command": command, "clear": True} | named).encode() + b"\n")

        def read(_: int) -> None:
            got.extend(line.recv(1 << 20))
            if got.endswith(b"\n"):
                loop.stop()

        loop.watch(line.fileno(), READ, read)
        loop.call_later(0, lambda: parties.join("neighbour", 1).sendall(POSTED))
        loop.run()
        loop.forget(line.fileno())
    assert parties.order.index("neighbour") <= 3 * (STEPS_A_TURN + 2)
    answer = json.loads(got)
    assert len(answer["entries"]) == entries
    assert (
        [entry["opcode"] for entry in answer["entries"]] == list(range(entries))
        if (command == "journal")
        else [entry["text"] for entry in answer["entries"]] == list(map(str, range(entries)))
    )
    assert not list(recorder.entries() if command == "journal" else log.entries())
    lines.close()


def test_an_answer_that_nobody_reads_is_not_made(tmp_path: Path, parties: Parties) -> None:
    recorder, loop = Recorder(), parties.loop
    for number in range(4096):
        recorder.sent(number, bytes(4096))
    made = 0

    def entries() -> Iterator[object]:
        nonlocal made
        for entry in Recorder.entries(recorder):
            made += 1
            yield entry

    server = SimpleNamespace(vf=SimpleNamespace(recorder=SimpleNamespace(entries=entries)))
    control = control_of(loop, server)
    lines = ControlServer(tmp_path / "control.sock", control, loop)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(os.fspath(lines.path))
        line.sendall(b'{"command": "journal", "vf": 0}\n')
        loop.call_later(0, lambda: parties.join("neighbour", 10_000, last=True).sendall(POSTED))
        loop.run()
        assert 100 < made < 4096 // 8
    lines.close()


# docs/spec/reliability.md D6
def test_interrupts_of_one_command_are_steps(parties: Parties) -> None:
    fired: list[int] = []

    def fire(_: object, vector: int) -> bool:
        fired.append(vector)
        return True

    server = SimpleNamespace(vf=SimpleNamespace(msix=SimpleNamespace(fire=fire)))
    loop = parties.loop
    control = control_of(loop, server)
    line = json.dumps({"command": "irq", "vf": 0, "vector": 3, "count": 100}).encode()
    steps = [len(fired) for part in control.answer(line) if not part]
    assert steps == list(range(1, 101)) and fired == [3] * 100


SERVING = """
import gc
from iavfio.softvf.loop import Loop
from iavfio.softvf.process import Settings, run

Loop.run = lambda loop: print(gc.get_freeze_count(), len(gc.get_objects()))
run(Settings(vfs=64), lambda names: None)
"""


def test_a_collection_of_garbage_looks_at_little() -> None:
    """All modules and 64 VFs are 180,000 objects; to look at them takes a tenth of a second."""
    done = subprocess.run(
        [sys.executable, "-c", SERVING], capture_output=True, text=True, timeout=60, check=True
    )
    frozen, others = map(int, done.stdout.split())
    assert frozen > 10_000
    assert others < 1_000


def test_a_reply_that_goes_in_parts_has_its_files_once(parties: Parties) -> None:
    """A client that got them with each part would have files that nobody closes."""
    ours, theirs = socket.socketpair()
    parties.ends += [ours, theirs]
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    theirs.setblocking(False)
    connection = Connection(
        ours, parties.loop, lambda _: iter(()), lambda _: None, Account("one"), Closer()
    )
    reply = bytes(range(256)) * 1024
    got, files, parts = bytearray(), [], 0
    event = os.eventfd(0)
    connection.send(reply, (event,))

    def take() -> None:
        nonlocal parts
        while len(got) < len(reply):
            try:
                data, new, _, _ = socket.recv_fds(theirs, 1 << 16, 8)
            except BlockingIOError:
                parts += 1
                parties.loop.call_later(0, take, Account("reader"))
                return
            got.extend(data)
            files.extend(new)
        parties.loop.stop()

    take()
    parties.loop.run()
    for fd in (event, *files):
        os.close(fd)
    assert got == reply and parts > 0
    assert len(files) == 1
