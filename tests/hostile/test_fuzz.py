# SPDX-License-Identifier: BSD-3-Clause
"""A client that does anything at all, and a neighbour whose requests stay right (D1 to D9).

Contained exceptions count as findings: containment is the net, not the plan.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.raw_driver import IOVA, RawDriver, data
from tests.hostile.served_pf import ServedPf, served_pf
from tests.softvf.function.mailbox_rings import (
    ARQBAH,
    ARQBAL,
    ARQH,
    ARQLEN,
    ARQT,
    ATQBAH,
    ATQBAL,
    ATQH,
    ATQLEN,
    ATQT,
    DYN_CTL01,
    RSTAT,
)
from tests.softvf.server.raw_client import RawClient

REGISTERS = (ATQBAH, ATQBAL, ATQH, ATQLEN, ATQT, ARQBAH, ARQBAL, ARQH, ARQLEN, ARQT, DYN_CTL01)
EDGES = (0, 1, 7, 31, 0x20, 0xFFF, 0x1000, 0x7FFFFFFF, 0x80000020, 0x800003FF, 0xFFFFFFC0)
WIDE = (0, 1, 0xFFF, 0x1000, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 4096, (1 << 64) - 1)

u32 = st.sampled_from(EDGES) | st.integers(0, 0xFFFFFFFF)
u64 = st.sampled_from(WIDE) | st.integers(0, (1 << 64) - 1)
small = st.integers(0, 40)
region = st.sampled_from([0, 3, 7]) | st.integers(0, 10)
offset = st.sampled_from((*REGISTERS, RSTAT, 0, 4, 0x2000, 0x3800)) | st.integers(0, 0x12000)


@dataclass
class Hostile:
    """One client, which comes back whenever it was hung up on."""

    path: Path
    client: RawClient | None = None
    fds: list[int] = field(default_factory=list)

    def post(self, command: int, payload: bytes, fds: tuple[int, ...] = ()) -> None:
        """Sends a command that wants no reply; connects first where that is needed."""
        for _ in range(2):
            try:
                if self.client is None:
                    self.client = RawClient(self.path)
                self.client.post(command, payload, fds, flags=0x10)
                return
            except (OSError, AssertionError):
                self.leave()

    def raw(self, bytes_: bytes) -> None:
        if self.client is not None:
            with contextlib.suppress(OSError):
                self.client.sock.sendall(bytes_)

    def memory(self) -> int:
        fd = os.memfd_create("fuzz", os.MFD_CLOEXEC)
        os.ftruncate(fd, 1 << 16)
        self.fds.append(fd)
        return fd

    def fd(self, kind: int) -> tuple[int, ...]:
        if kind == 0:
            return ()
        if kind < 4:
            return (self.memory(),)
        if kind == 4:
            full = os.eventfd(0, 0)
            os.eventfd_write(full, (1 << 64) - 2)
            self.fds.append(full)
            return (full,)
        read, write = os.pipe()
        self.fds += [read, write]
        return (read, write)[: kind - 4]

    def leave(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client = None

    def close(self) -> None:
        self.leave()
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()


Action = tuple[object, ...]
ACTIONS: st.SearchStrategy[Action] = st.one_of(
    st.tuples(st.just("bytes"), st.binary(min_size=1, max_size=64)),
    st.tuples(st.just("command"), st.integers(0, 20), st.binary(max_size=64), st.integers(0, 6)),
    st.tuples(
        st.just("map"), st.integers(0, 15), u64, u64, u64, st.integers(0, 6), st.just(32) | small
    ),
    st.tuples(st.just("unmap"), st.integers(0, 3), u64, u64),
    st.tuples(
        st.just("irqs"), st.integers(0, 63), st.integers(0, 6), small, small, st.integers(0, 6)
    ),
    st.tuples(st.just("write"), region, offset, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just("register"), st.sampled_from(REGISTERS), u32),
    st.tuples(st.just("many"), st.lists(st.tuples(offset, region, st.integers(0, 9), u64))),
    st.tuples(st.just("truncate"), st.integers(0, 1 << 16)),
    st.tuples(st.just("reset")),
    st.tuples(st.just("leave")),
    st.tuples(st.just("queue"), st.booleans(), u64, st.integers(0, 40), u64),
)


def perform(hostile: Hostile, action: Action) -> None:
    match action:
        case "bytes", bytes(raw):
            hostile.raw(raw)
        case "command", int(command), bytes(payload), int(kind):
            hostile.post(command, payload, hostile.fd(kind))
        case "map", int(flags), int(at), int(address), int(size), int(kind), int(argsz):
            request = struct.pack("<IIQQQ", argsz, flags, at, address, size)
            hostile.post(2, request, hostile.fd(kind))
        case "unmap", int(flags), int(address), int(size):
            hostile.post(3, struct.pack("<IIQQ", 24, flags, address, size))
        case "irqs", int(flags), int(index), int(start), int(count), int(kind):
            request = struct.pack("<IIIII", 20, flags, index, start, count)
            hostile.post(8, request, hostile.fd(kind))
        case "write", int(where), int(at), bytes(value):
            hostile.post(10, struct.pack("<QII", at, where, len(value)) + value)
        case "register", int(at), int(value):
            hostile.post(10, struct.pack("<QIII", at, 0, 4, value))
        case "many", list(writes):
            body = b"".join(struct.pack("<QIIQ", *each) for each in writes)
            hostile.post(15, struct.pack("<Q", len(writes)) + body)
        case "truncate", int(size):
            for fd in hostile.fds:
                with contextlib.suppress(OSError):
                    os.ftruncate(fd, size)
        case ("reset",):
            hostile.post(13, b"")
        case ("leave",):
            hostile.leave()
        case "queue", bool(receive), int(base), int(opcode), int(address):
            ring(hostile, receive, base, opcode, address)


def ring(hostile: Hostile, receive: bool, base: int, opcode: int, address: int) -> None:
    """A mailbox queue at any base, with one descriptor where there is memory."""
    fd = hostile.memory()
    descriptor = struct.pack(
        "<HHHHIIIIII",
        0x3400, 0x0801, 64, 0, opcode, 0, 0, 0, address >> 32, address & 0xFFFFFFFF,
    )  # fmt: skip
    os.pwrite(fd, descriptor * 32, 0)
    hostile.post(2, struct.pack("<IIQQQ", 32, 3, 0, base & ~0xFFF, 1 << 16), (fd,))
    hostile.post(10, struct.pack("<QII", 4, 7, 2) + b"\6\0")
    low, high, length, tail = (
        (ARQBAL, ARQBAH, ARQLEN, ARQT) if receive else (ATQBAL, ATQBAH, ATQLEN, ATQT)
    )
    for register, value in ((low, base & 0xFFFFFFFF), (high, base >> 32), (length, 0x80000020)):
        hostile.post(10, struct.pack("<QIII", register, 0, 4, value))
    hostile.post(10, struct.pack("<QIII", tail, 0, 4, 20))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPf]:
    with served_pf(tmp_path_factory.mktemp("fuzz"), uplink="none") as made:
        yield made


@pytest.fixture(scope="module")
def victim(served: ServedPf) -> Iterator[RawDriver]:
    driver = RawDriver(served.paths[1])
    driver.open()
    yield driver
    driver.close()


FUZZ = settings(
    max_examples=int(os.environ.get("IAVFIO_FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def victim_is_well(served: ServedPf, victim: RawDriver, number: int) -> None:
    assert victim.client.read32(RSTAT) == 2
    victim.send_frames(number)
    assert victim.say(1, struct.pack("<II", 1, 1)) == struct.pack("<II", 1, 1)
    info = served.control("info")
    assert [vf["faults"] for vf in info["vfs"]] == [0, 0]
    assert info["faults"] == {"control": 0, "process": 0}
    assert info["vfs"][1]["connected"]


# docs/spec/reliability.md D1-D7
@FUZZ
@given(st.lists(ACTIONS, max_size=40))
def test_a_client_that_does_anything(
    served: ServedPf, victim: RawDriver, actions: list[Action]
) -> None:
    hostile = Hostile(served.paths[0])
    try:
        for action in actions:
            perform(hostile, action)
        victim_is_well(served, victim, len(actions))
    finally:
        hostile.close()


# docs/spec/reliability.md D4, D6
@FUZZ
@given(
    st.lists(
        st.tuples(u64, u64 | st.integers(0, 0xFFFF) | st.just(0x3C << 34 | 7 << 4)), max_size=64
    ),
    st.lists(st.tuples(small, st.integers(0, 600) | u32), max_size=64),
    st.integers(0, 1 << 24),
)
def test_a_driver_that_posts_anything(
    served: ServedPf,
    victim: RawDriver,
    descriptors: list[tuple[int, int]],
    doorbells: list[tuple[int, int]],
    size: int,
) -> None:
    """Any descriptors, any tails, and memory that goes away."""
    hostile = RawDriver(served.paths[0])
    try:
        hostile.open(queues=2)
        for slot, (address, rest) in enumerate(descriptors):
            near = IOVA + address % (1 << 24)
            hostile.put(slot % 2, slot // 2, struct.pack("<QQ", near, rest))
        hostile.put(0, 40, data(IOVA, 60, 7))
        for queue, tail in doorbells:
            hostile.words[(queue % 2) + (0x800 if queue % 3 == 0 else 0)] = tail
        if len(doorbells) > 32:
            os.ftruncate(hostile.fd, size & ~0xFFF)
        victim_is_well(served, victim, len(descriptors))
    finally:
        os.ftruncate(hostile.fd, 1 << 24)
        hostile.close()
