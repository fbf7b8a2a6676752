# SPDX-License-Identifier: BSD-3-Clause
"""In which order the device writes a mailbox's memory, and when it interrupts.

A driver polls DD in a descriptor's first word: what it then reads must be there already, and this
cannot be seen through shared memory without a race (docs/spec/admin-queue.md 1, 6).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from iavfio.softvf.contract import ViolationKind
from iavfio.softvf.function.mailbox import Mailbox
from tests.softvf.function.mailbox_rings import BUF, ENABLE, LB, RD, SI

ATQ, ARQ, BUFFER = 0x1000, 0x2000, 0x8000
DD, CMP = 1, 2
DONE = DD | CMP


class Function:
    """What the mailbox needs of its VF: memory that remembers each write."""

    def __init__(self) -> None:
        self.bus_master = True
        self.memory = bytearray(0x10000)
        self.steps: list[str | tuple[int, int]] = []  # writes as address and length
        self.log: list[str] = []
        self.seen: list[bytes] = []  # the descriptor of a ring at each step that follows it
        self.watched = 0

    def dma_read(self, iova: int, length: int) -> bytes:
        return bytes(self.memory[iova : iova + length])

    def dma_write(self, iova: int, data: bytes) -> None:
        self.memory[iova : iova + len(data)] = data
        self.steps.append((iova, len(data)))
        self.seen.append(self.dma_read(self.watched, 32))

    def mailbox_interrupt(self) -> None:
        self.steps.append("interrupt")

    def violation(self, rule: str, text: str, kind: ViolationKind = "violation") -> None:
        self.log.append(text)

    def message_from_vf(self, opcode: int, payload: bytes) -> None:
        self.steps.append(f"message {opcode}")

    def queue_shutdown(self) -> None:
        self.steps.append("shutdown")

    def soon(self, call: Callable[[], None]) -> None:
        call()

    def first_done(self, at: int) -> bytes:
        """The watched descriptor as it was when DD could first be seen in it."""
        return next(each for each in self.seen if each[0] & DD)


def rings(function: Function) -> Mailbox:
    mailbox = Mailbox(function)
    for ring, base in ((mailbox.atq, ATQ), (mailbox.arq, ARQ)):
        mailbox.write_base_low(ring, base)
        mailbox.write_length(ring, 8 | ENABLE)
    posted = struct.pack("<HHHHIIIIII", BUF | LB, 0, 4096, 0, 0, 0, 0, 0, 0, BUFFER)
    function.memory[ARQ : ARQ + 32] = posted
    mailbox.write_tail(mailbox.arq, 7)
    return mailbox


def send(function: Function, mailbox: Mailbox, flags: int, opcode: int = 0x0801) -> None:
    payload = 4 if flags & BUF else 0
    function.memory[ATQ : ATQ + 32] = struct.pack(
        "<HHHHIIIIII", flags, opcode, payload, 0, 15, 0, 0, 0, 0, BUFFER
    )
    function.watched = ATQ
    mailbox.write_tail(mailbox.atq, 1)


def test_the_return_value_is_there_before_a_request_is_done() -> None:
    function = Function()
    send(function, rings(function), SI, opcode=0x7777)
    done = function.first_done(ATQ)
    assert struct.unpack_from("<HHHH", done) == (SI | DONE | 4, 0x7777, 0, 3)  # ERR, ESRCH


def test_a_request_is_done_before_the_pf_hears_of_it() -> None:
    function = Function()
    send(function, rings(function), SI | BUF | RD)
    writes = [step for step in function.steps if isinstance(step, tuple)]
    assert function.steps == [*writes, "message 15"]
    assert function.memory[ATQ] & DONE == DONE


@pytest.mark.parametrize("payload", [b"", b"12345678" * 64])
def test_a_message_is_whole_before_it_is_done(payload: bytes) -> None:
    function = Function()
    mailbox = rings(function)
    function.watched = ARQ
    function.memory[BUFFER : BUFFER + len(payload)] = bytes(len(payload))
    assert mailbox.deliver(17, -5, payload)
    done = function.first_done(ARQ)
    assert struct.unpack_from("<HHHHII", done) == (
        BUF | LB | DONE,
        0x0802,
        len(payload),
        0,
        17,
        0xFFFFFFFB,
    )
    last, interrupt = function.steps[-2:]
    assert interrupt == "interrupt"
    assert isinstance(last, tuple) and last[0] == ARQ, "the word with DD is written last"
    assert function.seen[-2][0] & DONE == 0, "nor is it before"
    assert function.memory[BUFFER : BUFFER + len(payload)] == payload


@pytest.mark.parametrize(("flags", "interrupts"), [(SI, 0), (0, 1)])
def test_si_says_that_a_completion_interrupts_nobody(flags: int, interrupts: int) -> None:
    function = Function()
    send(function, rings(function), flags)
    assert function.steps.count("interrupt") == interrupts
