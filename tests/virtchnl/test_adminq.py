# SPDX-License-Identifier: BSD-3-Clause
"""The admin queue against a scripted device: set-up, rings, faults F4, F6, F11, F12."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from iavfio.errors import ConfigError, DeviceLost, MailboxError, MailboxTimeout, ResetUnderWay
from iavfio.virtchnl import AdminQueue
from tests.virtchnl.fake_mailbox import (
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
    BUF,
    CRIT,
    DD,
    ENABLE,
    ERR,
    GONE,
    IN_RESET,
    LB,
    OVFL,
    RD,
    RSTAT,
    SI,
    VFE,
    FakePf,
    FakeSpace,
    Reply,
    Time,
    gone,
)  # fmt: skip

IOVA = 0x7_0000_0000


class Bench:
    def __init__(self) -> None:
        self.clock = Time()
        self.space = FakeSpace()
        self.pf = FakePf(self.space, self.clock, lambda opcode, payload: [])
        self.queue = AdminQueue(self.pf, self.space, gone, clock=self.clock, sleep=self.clock.sleep)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    bench.queue.start()
    yield bench
    assert bench.pf.violations == []


def test_start_programs_bases_before_enable_and_the_receive_tail_last(bench: Bench) -> None:
    regs = bench.pf.regs
    assert (regs[ATQBAH], regs[ATQBAL]) == (7, 0)
    assert (regs[ARQBAH], regs[ARQBAL]) == (7, 0x1000)
    assert regs[ATQLEN] == regs[ARQLEN] == 32 | ENABLE
    assert (regs[ATQH], regs[ATQT], regs[ARQH]) == (0, 0, 0)
    assert bench.pf.writes[0] == (ATQLEN, 0)
    assert bench.pf.writes[-1] == (ARQT, 31)
    assert bench.pf.writes.index((ARQBAL, 0x1000)) < bench.pf.writes.index((ARQLEN, 32 | ENABLE))


def test_receive_descriptors_are_stocked_with_4_kib_buffers(bench: Bench) -> None:
    first = bytes(bench.space.at(IOVA + 0x1000, 32))
    # BUF|LB, 4096 bytes, buffer at 7_0002_2000 (8 KiB of rings, 32 transmit buffers).
    assert first.hex() == "0012000000100000" + "00" * 16 + "0700000000200200"


def test_base_that_does_not_read_back_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    write = bench.pf.write32

    def deaf(offset: int, value: int) -> None:
        write(offset, 0 if offset == ARQBAL else value)

    monkeypatch.setattr(bench.pf, "write32", deaf)
    with pytest.raises(MailboxError, match="reads back 0x700000000, not 0x700001000"):
        bench.queue.start()
    assert bench.pf.regs[ATQLEN] == bench.pf.regs[ARQLEN] == 0


@pytest.mark.parametrize("before", [ATQLEN, ARQLEN])
def test_reset_just_before_enable_leaves_no_ring_enabled_at_address_0(
    before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()
    write = bench.pf.write32

    def late(offset: int, value: int) -> None:
        if (offset, value) == (before, 32 | ENABLE):
            bench.pf.reset()
        write(offset, value)

    monkeypatch.setattr(bench.pf, "write32", late)
    with pytest.raises(MailboxError, match="a reset began"):
        bench.queue.start()
    assert bench.pf.regs[ATQLEN] == bench.pf.regs[ARQLEN] == 0
    bench.pf.writes.clear()
    bench.queue.shutdown()
    assert all(value == 0 for _, value in bench.pf.writes)


@pytest.mark.parametrize("state", [0, 3, 4])
def test_start_waits_for_nobody_when_the_vf_is_not_ready(state: int) -> None:
    bench = Bench()
    bench.pf.regs[RSTAT] = state
    with pytest.raises(ResetUnderWay, match=f"reset state {state & 3}"):
        bench.queue.start()
    assert bench.pf.writes == []


def test_message_without_payload_has_only_SI(bench: Bench) -> None:
    bench.queue.send(0x0801, message=2)
    assert bench.pf.descriptors == [(SI, 0x0801, 0, 0, 2, 0, 0, 0, 0, 0)]


def test_payload_is_read_from_its_slot_and_LB_marks_more_than_512_bytes(bench: Bench) -> None:
    for length in (8, 512, 513, 4096):
        bench.queue.send(0x0801, bytes([length & 0xFF]) * length, message=6)
    flags = [descriptor[0] for descriptor in bench.pf.descriptors]
    assert flags == [SI | BUF | RD, SI | BUF | RD, SI | BUF | RD | LB, SI | BUF | RD | LB]
    assert [d[8:] for d in bench.pf.descriptors] == [(7, 0x2000 + 0x1000 * i) for i in range(4)]
    assert bench.pf.requests[2] == (6, b"\x01" * 513)


# docs/spec/reliability.md S5
def test_a_shorter_message_leaves_nothing_of_a_longer_one_in_its_buffer(bench: Bench) -> None:
    bench.queue.send(0x0801, b"\xee" * 4096, message=6)
    for _ in range(32):
        bench.queue.send(0x0801, b"\x01", message=6)
    assert bytes(bench.space.at(IOVA + 0x2000, 4096)) == b"\x01" + bytes(4095)


def test_message_beyond_4096_bytes_is_refused_here(bench: Bench) -> None:
    with pytest.raises(ConfigError):
        bench.queue.send(0x0801, bytes(4097), message=6)
    assert bench.pf.requests == []


def test_ring_wraps_for_ever(bench: Bench) -> None:
    for number in range(100):
        bench.queue.send(0x0801, number.to_bytes(4, "little"), message=3)
        bench.pf.send(Reply(3, payload=number.to_bytes(4, "little")))
        (message,) = bench.queue.receive()
        assert int.from_bytes(message.payload, "little") == number
    assert bench.pf.lost_messages == 0
    assert bench.queue.counters.sent == bench.queue.counters.received == 100


def test_a_full_ring_of_messages_comes_in_order_and_is_restocked(bench: Bench) -> None:
    for round_ in range(3):
        for number in range(31):
            bench.pf.send(Reply(17, -number, bytes([round_, number])))
        messages = bench.queue.receive()
        assert [(m.status, m.payload) for m in messages] == [
            (-number, bytes([round_, number])) for number in range(31)
        ]
    assert bench.pf.lost_messages == 0
    assert bench.queue.receive() == []


# docs/spec/reliability.md F6, S2
def test_slots_of_nonsense_are_given_back(bench: Bench) -> None:
    nonsense = [
        Reply(3, payload=b"a", flags=BUF),  # without DD
        Reply(3, payload=b"b", flags=DD | ERR),
        Reply(3, payload=b"c", queue_opcode=0x0803),
    ]
    for _ in range(40):
        for reply in nonsense:
            bench.pf.send(reply)
        assert bench.queue.receive() == []
    assert bench.queue.counters.ignored == 120
    assert bench.pf.lost_messages == 0


# docs/spec/reliability.md S2
def test_claimed_length_never_reads_beyond_the_buffer(bench: Bench) -> None:
    bench.pf.send(Reply(3, payload=b"x" * 4096, length=0xFFFF))
    (message,) = bench.queue.receive()
    assert (len(message.payload), message.length) == (4096, 0xFFFF)
    assert bench.queue.counters.oversized == 1


# docs/spec/reliability.md F12
@pytest.mark.parametrize("head", [32, 33, 1022, 1023])
def test_receive_head_beyond_the_ring_is_an_error_at_once(bench: Bench, head: int) -> None:
    bench.pf.regs[ARQH] = head
    with pytest.raises(MailboxError, match=f"head is {head}"):
        bench.queue.receive()
    assert bench.clock.now < 100.01


# docs/spec/reliability.md F12
def test_transmit_head_that_was_never_reached_is_an_error(bench: Bench) -> None:
    bench.pf.regs[ATQH] = 7
    with pytest.raises(MailboxError, match="transmit head is 7"):
        bench.queue.send(0x0801, message=1)


def test_device_that_takes_nothing_is_given_up_at_the_deadline(bench: Bench) -> None:
    bench.pf.frozen = True
    begin = bench.clock.now
    with pytest.raises(MailboxTimeout, match="did not take VERSION within 250 ms"):
        bench.queue.send(0x0801, b"", message=1)
    assert 0.25 <= bench.clock.now - begin < 0.26


def test_ring_that_stays_full_is_an_error_and_never_overwrites(bench: Bench) -> None:
    bench.pf.frozen = True
    for _ in range(31):
        with pytest.raises(MailboxTimeout):
            bench.queue.send(0x0801, message=1, completion=0.001)
    with pytest.raises(MailboxError, match="is full"):
        bench.queue.send(0x0801, message=1, completion=0.001)


def test_completion_with_an_error_code_is_an_error(bench: Bench) -> None:
    bench.pf.completion = (DD | 0x2 | ERR, 14)
    with pytest.raises(MailboxError, match="rejected GET_STATS with admin queue code 14"):
        bench.queue.send(0x0801, message=15)


# docs/spec/reliability.md F11
@pytest.mark.parametrize("register", [ATQLEN, ARQLEN])
def test_error_bits_are_counted_and_cleared_by_writing_back(bench: Bench, register: int) -> None:
    bench.pf.regs[register] |= VFE | OVFL | CRIT
    bench.queue.check()
    bench.queue.check()
    counters = bench.queue.counters
    assert (counters.vf_errors, counters.overflows, counters.criticals) == (1, 1, 1)
    assert bench.pf.regs[register] == 32 | ENABLE
    assert bench.queue.critical
    bench.queue.start()
    assert not bench.queue.critical


def test_lost_messages_show_as_overflow(bench: Bench) -> None:
    for _ in range(40):
        bench.pf.send(Reply(17))
    assert len(bench.queue.receive()) == 31
    assert bench.queue.counters.overflows == 1


def test_reset_is_seen_by_ENABLE_and_a_zero_head_brings_no_messages(bench: Bench) -> None:
    bench.pf.send(Reply(17))
    assert len(bench.queue.receive()) == 1
    assert bench.queue.enabled()
    bench.pf.reset()
    assert not bench.queue.enabled()
    with pytest.raises(ResetUnderWay):
        bench.queue.receive()
    with pytest.raises(ResetUnderWay):
        bench.queue.check()
    assert bench.queue.counters.ignored == 0
    bench.queue.start()
    bench.pf.send(Reply(17))
    assert len(bench.queue.receive()) == 1


def test_registers_of_a_lost_device(bench: Bench) -> None:
    bench.pf.reads_as = GONE
    for call in (bench.queue.enabled, bench.queue.check, bench.queue.receive, bench.queue.start):
        with pytest.raises(DeviceLost, match="it was pulled out"):
            call()
    with pytest.raises(DeviceLost):
        bench.queue.send(0x0801, message=1)
    bench.queue.shutdown()
    bench.queue.close()
    assert bench.space.mapped == {}


def test_deadbeef_is_a_reset_not_a_loss(bench: Bench) -> None:
    bench.pf.reads_as = IN_RESET
    assert not bench.queue.enabled()
    for call in (bench.queue.check, bench.queue.receive, bench.queue.start):
        with pytest.raises(ResetUnderWay):
            call()


def test_shutdown_tells_the_device_then_zeroes_ten_registers(bench: Bench) -> None:
    bench.queue.shutdown()
    assert bench.pf.descriptors == [(SI, 0x0003, 0, 0, 0, 0, 1, 0, 0, 0)]
    registers = (ATQLEN, ATQH, ATQT, ATQBAL, ATQBAH, ARQLEN, ARQH, ARQT, ARQBAL, ARQBAH)
    assert [bench.pf.regs[register] for register in registers] == [0] * 10
    bench.queue.close()
    bench.queue.close()
    assert bench.space.mapped == {}


def test_memory_stays_mapped_while_the_device_owns_a_ring(bench: Bench) -> None:
    with pytest.raises(MailboxError, match="still owns"):
        bench.queue.close()
    assert len(bench.space.mapped) == 1
    bench.pf.reset()
    bench.queue.close()
    assert bench.space.mapped == {}
    with pytest.raises(MailboxError, match="closed"):
        bench.queue.start()
