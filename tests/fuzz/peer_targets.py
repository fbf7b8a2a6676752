# SPDX-License-Identifier: BSD-3-Clause
"""The two sides of a software VF: a server that answers anything, a VF that asks anything."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from functools import cache
from pathlib import Path

from iavfio import pyvfio
from iavfio.softvf.pf.table import MESSAGES
from tests.fuzz.file_targets import folder
from tests.fuzz.target import Target, Words
from tests.softvf.pf.pf_rig import EVENT, Rig, rig

OPCODES = sorted(MESSAGES)
HEADER = struct.Struct("=HHIII")  # id, command, size, flags, errno (docs/spec/vfio-user.md 2)
VERSION = struct.pack("=HH", 0, 1) + b'{"capabilities":{"max_msg_fds":8}}\0'
GET_INFO = struct.pack("=IIII", 16, 3, 9, 5)
REGION = struct.pack("=IIIIQQ", 32, 3, 0, 0, 0x20000, 0)


def serve(listener: socket.socket, data: bytes) -> None:
    """Answers the first client, request by request, as the input says; then hangs up.

    Each answer has a byte of shape: 1 another id, 2 another command, 4 another size, 8 an error
    number, 16 an fd, 32 flags, 64 a second time; its payload is a number of bytes and these.
    """
    words = Words(data)
    with contextlib.suppress(OSError):
        client, _ = listener.accept()
        with client:
            client.settimeout(60)
            while words.more:
                head = client.recv(16, socket.MSG_WAITALL)
                if len(head) < 16:
                    return
                number, command, size, _, _ = HEADER.unpack(head)
                client.recv(max(size - 16, 0), socket.MSG_WAITALL)
                answer(client, words, number, command)


def answer(client: socket.socket, words: Words, number: int, command: int) -> None:
    shape = words.number(1)
    payload = words.take(words.number(1))
    head = HEADER.pack(
        words.number(2) if shape & 1 else number,
        words.number(2) if shape & 2 else command,
        words.number(4) if shape & 4 else 16 + len(payload),
        words.number(4) if shape & 32 else (0x21 if shape & 8 else 1),
        words.number(1) if shape & 8 else 0,
    )
    for _ in range(1 + bool(shape & 64)):
        if shape & 16:
            fd = os.memfd_create("fuzz")
            try:
                os.ftruncate(fd, words.number(1) << 12)
                socket.send_fds(client, [head + payload], [fd])
            finally:
                os.close(fd)
        else:
            client.sendall(head + payload)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def server(data: bytes) -> None:
    path = folder() / "peer.sock"
    path.unlink(missing_ok=True)
    before = open_files()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        thread = threading.Thread(target=serve, args=(listener, data), daemon=True)
        thread.start()
        try:
            with pyvfio.open(f"vfio-user:{path}") as device:
                device.info()
                for index in range(9):
                    device.region(index)
                for index in range(5):
                    device.irq(index)
                device.read(7, 0, 16)
                device.read(0, 0x2000, 4)
                device.reset()
        except pyvfio.VfioError as error:
            assert error.what
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()  # it ends by its time limit at the latest
    assert open_files() <= before, "a descriptor stays open"


def server_seeds() -> list[bytes]:
    def good(*payloads: bytes) -> bytes:
        return b"".join(bytes((0, len(payload))) + payload for payload in payloads)

    regions = [struct.pack("=IIIIQQ", 32, 3, n, 0, 0x1000, 0) for n in range(9)]
    irqs = [struct.pack("=IIII", 16, 1, n, 5) for n in range(5)]
    whole = good(VERSION, GET_INFO, *regions, *irqs, bytes(8), bytes(20))
    return [whole, good(VERSION, GET_INFO, REGION), good(VERSION), good(b""), whole + whole]


@cache
def pf_of(card: str) -> tuple[contextlib.ExitStack, Rig]:
    stack = contextlib.ExitStack()
    return stack, stack.enter_context(rig(card, trusted=True, num_queue_pairs=4))


def vf(data: bytes) -> None:
    """Messages of a VF to the PF, one after the other; then the PF must negotiate with it."""
    words = Words(data)
    _, pf = pf_of(("e810", "x710", "x722")[words.number(1) % 3])
    pf.pf.flr(0)
    pf.clock.advance(1000)
    pf.negotiate()
    while words.more:
        opcode = OPCODES[words.number(1) % len(OPCODES)]
        payload = words.take(words.number(1))
        if opcode in MESSAGES and len(payload) >= 2 and payload[:2] == b"\0\0":
            payload = struct.pack("<H", pf.vsi) + payload[2:]
        answers = [each for each in pf.say(opcode, payload) if each[0] != EVENT]
        assert len(answers) <= 1
        assert all(each[0] == opcode and len(each[2]) <= 4096 for each in answers)
        pf.clock.advance(words.number(1))
    pf.hardware[0].log.clear()
    pf.pf.flr(0)
    pf.clock.advance(1000)
    pf.negotiate()


def vf_seeds() -> list[bytes]:
    seeds = []
    for place, opcode in enumerate(OPCODES):
        message = MESSAGES[opcode]
        content = bytearray(message.fixed + 2 * (message.per or 0))
        if message.per and message.count_size:
            content[message.count_at] = 2
        seeds.append(bytes((0, place, len(content) & 0xFF)) + bytes(content[:255]) + b"\0")
    return [*seeds, b"\1" + seeds[5][1:] + seeds[6][1:]]


TARGETS = (
    Target(
        "server",
        server,
        server_seeds,
        "any answers, descriptors and sizes of a vfio-user server to pyvfio, as it opens a device",
        "an exception that is no VfioError, a descriptor that stays open, a call without end",
    ),
    Target(
        "vf",
        vf,
        vf_seeds,
        "any sequence of mailbox messages of a VF to the software PF",
        "an exception in the PF, a second answer, a PF that does not negotiate afterwards",
    ),
)
