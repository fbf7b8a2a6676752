# SPDX-License-Identifier: BSD-3-Clause
"""Whatever a client sends, it harms itself at most (reliability: D1, D3, D4, D7)."""

from __future__ import annotations

import contextlib
import os
import random
import struct
from pathlib import Path

import pytest

from tests.softvf.server.conftest import Serve
from tests.softvf.server.raw_client import VERSION_TEXT, RawClient

EDGES = (0, 1, 2, 3, 4, 7, 8, 16, 0x1000, 0x20000, 1 << 31, (1 << 32) - 1)
WIDE = (*EDGES, 1 << 32, 1 << 47, 1 << 63, (1 << 64) - 1, (1 << 64) - 0x1000)


def random_payload(dice: random.Random, command: int) -> bytes:
    def u32() -> int:
        return dice.choice(EDGES) if dice.random() < 0.8 else dice.getrandbits(32)

    def u64() -> int:
        return dice.choice(WIDE) if dice.random() < 0.8 else dice.getrandbits(64)

    sizes = {
        2: struct.pack("<IIQQQ", 32, u32() & 15, u64(), u64(), u64()),
        3: struct.pack("<IIQQ", 24, u32() & 3, u64(), u64()),
        5: struct.pack("<IIIIQQ", u32(), u32(), u32(), u32(), u64(), u64()),
        8: struct.pack("<IIIII", 20, u32() & 63, u32() % 6, u32(), u32()),
        9: struct.pack("<QII", u64(), u32() % 9, u32()),
        10: struct.pack("<QII", dice.randrange(0x9000) & ~3, 0, 4) + struct.pack("<I", u32()),
        15: struct.pack("<Q", 1) + struct.pack("<QIIQ", u64(), u32() % 9, u32(), u64()),
    }
    payload = sizes.get(command, struct.pack("<IIII", 16, u32(), u32(), u32()))
    cut = dice.random()
    if cut < 0.1:
        return payload[: dice.randrange(len(payload) + 1)]
    if cut < 0.2:
        return payload + dice.randbytes(dice.randrange(64))
    return payload


@pytest.mark.parametrize("seed", range(6))
def test_random_commands(serve: Serve, seed: int) -> None:
    served = serve(("e810", "x710", "x722")[seed % 3])
    dice = random.Random(seed)
    memory = os.memfd_create("fuzz")
    os.ftruncate(memory, 1 << 20)
    event = os.eventfd(0, os.EFD_NONBLOCK)
    before = len(list(Path("/proc/self/fd").iterdir()))
    client = RawClient(served.path)
    client.write(7, 4, b"\6\0")
    for _ in range(1500):
        command = dice.choice((2, 2, 3, 4, 5, 6, 7, 8, 8, 9, 9, 10, 10, 10, 13, 15, 16, 99))
        fds = tuple(dice.choice(((), (), (memory,), (event,), (memory, event))))
        flags = 0x10 if dice.random() < 0.3 else 0
        number = client.post(command, random_payload(dice, command), fds, flags)
        if not flags:
            client.take(number, command)
            for fd in client.fds:
                os.close(fd)
            client.fds = []
    client.close()
    again = RawClient(served.path)
    assert again.read(7, 0, 2) == b"\x86\x80"
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3  # both ends of `again`
    again.close()
    os.close(memory)
    os.close(event)


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes(serve: Serve, seed: int) -> None:
    served = serve()
    dice = random.Random(seed)
    for _ in range(100):
        client = RawClient(served.path, version=False)
        noise = dice.randbytes(dice.randrange(1, 200))
        if dice.random() < 0.5:  # a good start, then noise
            text = bytes(4) + VERSION_TEXT
            noise = struct.pack("<HHIII", 1, 1, 16 + len(text), 0, 0) + text + noise
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sock.sendall(noise)
        client.close()
    RawClient(served.path).close()
