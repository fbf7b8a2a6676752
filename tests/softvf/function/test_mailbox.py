# SPDX-License-Identifier: BSD-3-Clause
"""Admin queues over raw registers, with rings built by hand.

The rules are those of docs/spec/admin-queue.md and docs/spec/registers.md 3, 5.2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from iavfio.softvf.contract import QueueError, QueueName
from iavfio.softvf.function import mailbox
from iavfio.softvf.function.regions import DmaFault
from tests.softvf.function.mailbox_rings import (
    ARQ,
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
    BASE,
    BUF,
    CRIT,
    DD_CMP,
    DYN_CTL01,
    ENABLE,
    ERR,
    ICR0_ENA1,
    ICR01,
    LB,
    OVFL,
    POST,
    RD,
    RSTAT,
    SI,
    N,
    Rings,
)
from tests.softvf.server.raw_client import RawClient
from tests.softvf.server.served_vf import ServedVf, serving


class ServedRings(Rings):
    """Rings, and the other side of them."""

    def __init__(self, served: ServedVf) -> None:
        super().__init__(served.path)
        self.served = served


@contextmanager
def rings_of(path: Path, personality: str = "e810") -> Iterator[ServedRings]:
    with serving(path / "v.sock", personality) as served:
        rings = ServedRings(served)
        try:
            yield rings
        finally:
            rings.close()


@pytest.fixture(params=["e810", "x710", "x722"])
def rings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedRings]:
    with rings_of(tmp_path_factory.mktemp("m"), request.param) as made:
        yield made


@pytest.fixture
def e810(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedRings]:
    with rings_of(tmp_path_factory.mktemp("m")) as made:
        made.start_length_last()
        yield made


@pytest.fixture
def x710(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedRings]:
    with rings_of(tmp_path_factory.mktemp("m"), "x710") as made:
        made.start_length_last()
        yield made


@pytest.mark.parametrize("order", ["start_length_first", "start_length_last"])
def test_version_round_trip(rings: ServedRings, order: str) -> None:
    getattr(rings, order)()
    rings.client.write32(ICR0_ENA1, 1 << 30)
    rings.client.write32(DYN_CTL01, 0x19)
    assert rings.send(payload=struct.pack("<II", 1, 1)) == (SI | BUF | RD | DD_CMP, 0)
    assert rings.client.read32(ATQH) == rings.client.read32(ATQT) == 1
    assert rings.served.pf.calls == [("message", 0, 1, struct.pack("<II", 1, 1))]
    assert rings.interrupted()
    assert rings.client.read32(ARQH) == 1
    address = BASE + POST
    assert rings.received(0)[:6] == (BUF | LB | DD_CMP, 0x0802, 8, 0, 1, 0)
    assert rings.received(0)[8:] == (address >> 32, address & 0xFFFFFFFF)
    assert rings.memory[POST : POST + 8] == struct.pack("<II", 1, 1)
    assert rings.served.rules() == []


def test_completion_is_visible_before_the_answer(e810: ServedRings) -> None:
    seen: list[tuple[int, int]] = []
    pf, mailbox = e810.served.pf, e810.served.vf.mailbox
    original = pf.message

    def message(vf: int, opcode: int, payload: bytes) -> None:
        seen.append((e810.done(0)[0] & 3, mailbox.atq.head))
        original(vf, opcode, payload)

    pf.message = message  # type: ignore[method-assign]
    e810.send(payload=bytes(8))
    assert seen == [(3, 1)]


def test_several_descriptors_by_one_doorbell_and_the_wrap(e810: ServedRings) -> None:
    for turn in range(5):
        first = [e810.descriptor(v_opcode=100 + turn * 7 + i) for i in range(7)]
        e810.client.write32(ATQT, e810.next)
        assert [e810.done(i) for i in first] == [(SI | DD_CMP, 0)] * 7
    assert [call[2] for call in e810.served.pf.calls] == list(range(100, 135))
    assert e810.client.read32(ATQH) == 35 % N


def test_queue_shutdown(e810: ServedRings) -> None:
    assert e810.send(opcode=0x0003, v_opcode=0, param0=1) == (SI | DD_CMP, 0)
    assert e810.served.pf.calls == [("queue_shutdown", 0)]
    for register in (ATQH, ATQT, ATQLEN, ATQBAL, ATQBAH, ARQH, ARQT, ARQLEN, ARQBAL, ARQBAH):
        e810.client.write32(register, 0)
    assert e810.client.read32(ATQLEN) == e810.client.read32(ARQLEN) == 0
    assert e810.served.rules() == []


def test_unknown_opcode_is_esrch(e810: ServedRings) -> None:
    assert e810.send(opcode=0x0B02) == (SI | DD_CMP | ERR, 3)
    assert e810.served.rules() == ["docs/spec/admin-queue.md 2"]
    assert e810.served.pf.calls == []


@pytest.mark.parametrize(
    ("fields", "retval"),
    [
        ({"payload": bytes(8), "flags": SI | BUF}, 14),
        ({"payload": bytes(8), "flags": SI}, 14),
        ({"payload": bytes(600), "flags": SI | BUF | RD}, 0),
        ({"payload": bytes(8), "flags": SI | BUF | RD | LB}, 0),
        ({"flags": SI | BUF | RD}, 0),
        ({"flags": SI | 2}, 0),
        ({"retval": 1}, 0),
        ({"low": 1}, 0),
        ({"param0": 1}, 0),
    ],
)
def test_strange_descriptors_are_violations(
    e810: ServedRings, fields: dict[str, int | bytes], retval: int
) -> None:
    flags, got = e810.send(**fields)
    assert got == retval
    assert bool(flags & ERR) == bool(retval)
    assert e810.served.rules() == ["docs/spec/admin-queue.md 1"]
    assert len(e810.served.pf.calls) == (0 if retval else 1)


def test_payload_of_more_than_4096_bytes(e810: ServedRings) -> None:
    assert e810.send(datalen=4097, flags=SI | BUF | RD | LB) == (
        SI | BUF | RD | LB | DD_CMP | ERR,
        14,
    )
    assert e810.served.rules() == ["docs/spec/admin-queue.md 3"]


def test_payload_outside_the_windows_is_critical(e810: ServedRings) -> None:
    flags, retval = e810.send(datalen=8, flags=SI | BUF | RD, address=BASE + 0x80000 - 4)
    assert (flags & ERR, retval) == (ERR, 5)
    assert e810.client.read32(ATQLEN) == N | ENABLE | CRIT
    assert e810.served.rules() == ["docs/spec/admin-queue.md 5"]
    e810.send(v_opcode=2)
    assert e810.served.pf.calls == [], "a critical error stops the queue"
    e810.client.write32(ATQLEN, N | ENABLE)
    assert e810.client.read32(ATQLEN) == N | ENABLE
    e810.client.write32(ATQT, e810.next)
    assert [call[2] for call in e810.served.pf.calls] == [2]


def test_ring_outside_the_windows_is_critical(e810: ServedRings) -> None:
    e810.client.write32(ATQLEN, 0)
    e810.client.write32(ATQBAH, 0)
    e810.client.write32(ATQLEN, N | ENABLE)
    e810.client.write32(ATQT, 1)
    assert e810.client.read32(ATQLEN) == N | ENABLE | CRIT
    assert e810.served.rules() == ["docs/spec/registers.md 3"]


def test_error_bits_can_only_be_cleared(e810: ServedRings) -> None:
    e810.client.write32(ATQLEN, N | ENABLE | CRIT | OVFL | 1 << 28)
    assert e810.client.read32(ATQLEN) == N | ENABLE


def test_tail_outside_the_ring_is_critical(e810: ServedRings) -> None:
    e810.client.write32(ATQT, N)
    assert e810.client.read32(ATQLEN) == N | ENABLE | CRIT
    assert e810.client.read32(ATQT) == 0


def test_a_doorbell_without_bus_master_is_told_once(e810: ServedRings) -> None:
    e810.client.write(7, 4, b"\2\0")
    index = e810.descriptor()
    for _ in range(3):
        e810.client.write32(ATQT, e810.next)
    assert e810.done(index)[0] == SI
    assert e810.served.rules() == ["docs/spec/registers.md 8"]
    e810.client.write(7, 4, b"\6\0")
    assert e810.done(index)[0] == SI | DD_CMP


def test_base_must_be_aligned(e810: ServedRings) -> None:
    e810.client.write32(ATQLEN, 0)
    e810.client.write32(ATQBAL, 0x1020)
    assert e810.client.read32(ATQBAL) == 0x1000
    assert e810.served.rules() == ["docs/spec/registers.md 3"]


def test_registers_during_a_reset(e810: ServedRings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "UNAWARE", 1000.0)
    e810.served.vf.begin_reset()
    e810.client.write32(ARQT, 3)  # no driver can know yet
    assert e810.client.read32(ARQT) == 0
    assert e810.served.rules() == []
    monkeypatch.setattr(mailbox, "UNAWARE", 0.0)
    assert [e810.client.read32(r) for r in (RSTAT, ATQLEN, ARQLEN, ATQT, ARQH)] == [0] * 5
    e810.client.write32(ATQH, 0)
    assert e810.served.rules() == []
    e810.client.write32(ATQLEN, N | ENABLE)
    assert e810.client.read32(ATQLEN) == 0
    assert e810.served.rules() == ["docs/spec/registers.md 7"]
    e810.served.vf.set_rstat(2)
    e810.client.write32(ATQLEN, N | ENABLE)
    assert e810.client.read32(ATQLEN) == N | ENABLE


def test_full_receive_queue_loses_messages(e810: ServedRings) -> None:
    for i in range(N):
        e810.served.vf.send_to_vf(17, 0, struct.pack("<I", i) + bytes(12))
    assert e810.client.read32(ARQH) == N - 1
    assert e810.client.read32(ARQLEN) == N | ENABLE | OVFL
    assert [e810.memory[POST + 4096 * i] for i in range(N)] == [0, 1, 2, 3, 4, 5, 6, 0]
    e810.client.write32(ARQLEN, N | ENABLE)
    e810.client.write32(ARQT, 0)
    e810.served.vf.send_to_vf(17, -5, b"")
    assert e810.received(N - 1)[:6] == (BUF | LB | DD_CMP, 0x0802, 0, 0, 17, 0xFFFFFFFB)
    assert e810.client.read32(ARQH) == 0


def test_posted_descriptors_are_looked_at(e810: ServedRings) -> None:
    struct.pack_into("<HHH", e810.memory, ARQ, BUF | DD_CMP, 0, 4096)
    e810.served.vf.send_to_vf(1, 0, bytes(8))
    assert e810.served.rules() == ["docs/spec/admin-queue.md 6", "docs/spec/admin-queue.md 1"]
    assert e810.received(0)[0] == BUF | DD_CMP


def test_a_buffer_that_is_too_small_loses_the_message(e810: ServedRings) -> None:
    struct.pack_into("<HHH", e810.memory, ARQ, BUF, 0, 4)
    e810.served.vf.send_to_vf(1, 0, bytes(8))
    assert e810.client.read32(ARQH) == 0
    assert e810.client.read32(ARQLEN) == N | ENABLE | OVFL
    assert e810.served.rules() == ["docs/spec/admin-queue.md 6"]


def test_receive_buffer_outside_the_windows_is_critical(e810: ServedRings) -> None:
    struct.pack_into("<II", e810.memory, ARQ + 24, 0, 0)
    e810.served.vf.send_to_vf(1, 0, bytes(8))
    assert e810.client.read32(ARQLEN) == N | ENABLE | CRIT
    assert e810.received(0)[0] == BUF | LB


def test_cause_registers_of_the_700_series(x710: ServedRings) -> None:
    x710.client.write32(DYN_CTL01, 0x19)
    x710.served.vf.send_to_vf(17, 0, bytes(16))
    assert not x710.interrupted(0.01), "ICR0_ENA.ADMINQ is off"
    x710.client.write32(ICR0_ENA1, 1 << 30)
    assert x710.interrupted()
    assert x710.client.read32(ICR01) == 1 << 30 | 1
    assert x710.client.read32(ICR01) == 0
    assert x710.client.read32(ICR0_ENA1) == 1 << 30


def test_cause_that_nobody_reads_interrupts_once(x710: ServedRings) -> None:
    """A driver may disable and enable the cause in its handler without a look at ICR01."""
    x710.client.write32(ICR0_ENA1, 1 << 30)
    x710.client.write32(DYN_CTL01, 0x1B)
    x710.served.vf.send_to_vf(17, 0, bytes(16))
    assert x710.interrupted()
    for _ in range(3):
        x710.client.write32(ICR0_ENA1, 0)
        x710.client.write32(DYN_CTL01, 0x18)
        x710.client.write32(ICR0_ENA1, 1 << 30)
        x710.client.write32(DYN_CTL01, 0x1B)
        assert not x710.interrupted(0.01)


def test_e810_has_no_cause_registers(e810: ServedRings) -> None:
    e810.client.write32(DYN_CTL01, 0x19)
    e810.client.write32(ICR0_ENA1, 1 << 30)
    assert e810.client.read32(ICR0_ENA1) == 0
    e810.served.vf.send_to_vf(17, 0, bytes(16))
    assert e810.interrupted()
    assert e810.client.read32(ICR01) == 0
    assert e810.served.rules() == []


def test_an_interrupt_waits_for_intena(e810: ServedRings) -> None:
    e810.served.vf.send_to_vf(17, 0, bytes(16))
    assert not e810.interrupted(0.01)
    e810.client.write32(DYN_CTL01, 0x19)
    assert e810.interrupted()
    assert e810.client.read32(DYN_CTL01) & 1 == 0, "firing masks the vector"


@pytest.mark.parametrize("queue", ["atq", "arq"])
@pytest.mark.parametrize(("error", "bit"), [("vfe", 1 << 28), ("ovfl", 1 << 29), ("crit", 1 << 30)])
def test_error_bits_can_be_set_in_a_running_queue(
    e810: ServedRings, queue: QueueName, error: QueueError, bit: int
) -> None:
    """The queue goes on but for CRIT; writing 0 there clears a bit (docs/spec/registers.md 3)."""
    e810.client.write32(DYN_CTL01, 0x19)
    e810.start_length_first()
    e810.served.vf.queue_error(queue, error)
    length = ATQLEN if queue == "atq" else ARQLEN
    assert e810.client.read32(length) == ENABLE | bit | N
    assert e810.interrupted()
    flags, _ = e810.send()
    assert bool(flags & DD_CMP) == ((queue, error) != ("atq", "crit"))
    e810.client.write32(length, ENABLE | N)
    assert e810.client.read32(length) == ENABLE | N


def test_a_queue_that_is_off_has_no_error_bits(e810: ServedRings) -> None:
    e810.client.write32(ATQLEN, 0)
    e810.served.vf.queue_error("atq", "crit")
    assert e810.client.read32(ATQLEN) == 0


# ---- other registers


def test_widths_other_than_32_bits_are_violations(e810: ServedRings) -> None:
    e810.client.write(0, ATQBAL, bytes(8))
    e810.client.write(0, ATQBAL, b"\1")
    e810.client.write(0, ATQBAL + 2, bytes(4))
    assert e810.client.read(0, RSTAT, 8) == bytes(8)
    assert e810.client.read(0, RSTAT, 2) == bytes(2)
    assert e810.client.read32(ATQBAL) == BASE & 0xFFFFFFFF
    assert set(e810.served.rules()) == {"docs/spec/registers.md 7"}


def test_unmodelled_registers_are_told_once(e810: ServedRings) -> None:
    for _ in range(3):
        e810.client.write32(0x9000, 0x1234)
        assert e810.client.read32(0x9000) == 0
    entries = list(e810.served.log.entries())
    assert [(e["kind"], e["rule"]) for e in entries] == [("note", "docs/spec/registers.md 2")]


def test_rstat_is_read_only(e810: ServedRings) -> None:
    e810.client.write32(RSTAT, 1)
    assert e810.client.read32(RSTAT) == 2
    assert e810.served.rules() == ["docs/spec/registers.md 3"]


@pytest.mark.parametrize(("base", "words"), [(0xC400, 2), (0xCC00, 13), (0xD000, 16)])
def test_rss_registers_need_rss_reg(x710: ServedRings, base: int, words: int) -> None:
    for word in range(words):
        x710.client.write32(base + 4 * word, 0xFFFFFFFF)
        assert x710.client.read32(base + 4 * word) == 0
    assert x710.served.rules() == ["docs/spec/registers.md 6"]


def test_itr_of_dyn_ctl_shows_in_itr_registers(x710: ServedRings, e810: ServedRings) -> None:
    for rings, second in ((x710, 64), (e810, 4)):
        rings.client.write32(0x3800 + 4, 1 << 3 | 25 << 5)  # vector 2, ITR1, 50 us
        vector2 = 0x2800 + (4 if rings is x710 else 12)
        assert rings.client.read32(vector2 + second) == 25
        rings.client.write32(vector2 + second, 7)
        assert rings.client.read32(vector2 + second) == 7
        rings.client.write32(0x4C00 + 8, 9)
        assert rings.client.read32(0x4C00 + 8) == 9
        assert rings.served.rules() == []


def test_x710_has_no_wb_on_itr(x710: ServedRings, e810: ServedRings) -> None:
    for rings in (x710, e810):
        rings.client.write32(0x3800, 0x40000040)
    assert x710.client.read32(0x3800) == 0
    assert x710.served.rules() == ["docs/spec/registers.md 5.1"]
    assert e810.client.read32(0x3800) == 0x40000000
    assert e810.served.rules() == []


def test_reserved_bits_of_dyn_ctl(e810: ServedRings) -> None:
    e810.client.write32(0x3800, 1 << 20)
    assert e810.served.rules() == ["docs/spec/registers.md 5.1"]


def test_hung_up_client_cannot_be_reached(e810: ServedRings) -> None:
    e810.client.close()
    RawClient(e810.served.path).close()
    e810.served.vf.send_to_vf(1, 0, bytes(8))
    assert e810.received(0)[0] == BUF | LB
    with pytest.raises(DmaFault):
        e810.served.vf.dma_read(BASE, 1)


def test_a_long_ring_is_worked_off_in_turns(e810: ServedRings) -> None:
    """Work for one doorbell is bounded (docs/spec/reliability.md D4), and all of it is done."""
    count = 500
    base = 0x20000
    for i in range(count):
        struct.pack_into("<HHHHI", e810.memory, base + 32 * i, SI, 0x0801, 0, 0, 1000 + i)
    e810.client.write32(ATQLEN, 0)
    e810.client.write32(ATQH, 0)
    e810.client.write32(ATQT, 0)
    e810.client.write32(ATQBAL, (BASE + base) & 0xFFFFFFFF)
    e810.client.write32(ATQLEN, 512 | ENABLE)
    e810.client.write32(ATQT, count)
    for _ in range(10000):
        if e810.client.read32(ATQH) == count:
            break
    assert [call[2] for call in e810.served.pf.calls] == list(range(1000, 1000 + count))
    assert e810.client.read32(ATQH) == count


def test_a_new_doorbell_while_the_ring_is_worked_off(e810: ServedRings) -> None:
    for _ in range(20):
        for _ in range(7):
            e810.descriptor(v_opcode=5)
            e810.client.post(10, struct.pack("<QIII", ATQT, 0, 4, e810.next), flags=0x10)
        assert e810.client.read32(ATQH) == e810.next
    assert len(e810.served.pf.calls) == 140
