# SPDX-License-Identifier: BSD-3-Clause
"""Requests and replies against a PF that delays, drops, doubles, corrupts.

See docs/spec/reliability.md F1-F5, F7, F11-F13.
"""

from __future__ import annotations

import logging
import os
import struct
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iavfio.errors import (
    MailboxError,
    MailboxTimeout,
)
from iavfio.pyvfio.eventfds import taken
from iavfio.virtchnl import (
    AdminQueue,
    Journal,
    VirtchnlClient,
    VsiStats,
)
from iavfio.virtchnl.channel import QUIET
from iavfio.virtchnl.messages.queues import ENABLE_QUEUES
from iavfio.virtchnl.messages.resources import VERSION, Version
from iavfio.virtchnl.messages.stats import GET_STATS
from tests.virtchnl.fake_mailbox import (
    ARQH,
    ARQLEN,
    ATQLEN,
    CRIT,
    ENABLE,
    OVFL,
    VERSION_1_1,
    VFE,
    Bench,
    FakePf,
    FakeSpace,
    Reply,
    Time,
    gone,
    polite,
    resources,
    stats_of,
)

ONE_SECOND = 1.01  # a deadline of 1 s plus 10 ms (docs/spec/reliability.md I3)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# F1, F2: no reply, late replies


# docs/spec/reliability.md F1
def test_no_reply_is_a_timeout_at_the_deadline_that_names_both(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    begin = bench.clock.now
    with pytest.raises(MailboxTimeout, match="did not answer GET_STATS within 1 s") as caught:
        bench.client.ask(GET_STATS(), deadline=1.0)
    assert 1.0 <= bench.clock.now - begin <= ONE_SECOND
    assert "malicious driver" in caught.value.cause
    assert "FLR" in caught.value.remedy
    assert bench.client.suspect
    assert bench.client.counters.timeouts == 1


# docs/spec/reliability.md F2
def test_late_reply_never_answers_the_next_request(bench: Bench) -> None:
    bench.negotiated()
    answers = iter([Reply(15, payload=stats_of(1), delay=1.2), Reply(15, payload=stats_of(2))])

    def slow(opcode: int, payload: bytes) -> list[Reply]:
        # The PF works in order: what is sent while it is busy is answered behind the late reply.
        busy = max(0.0, 101.0 + 1.2 - bench.clock.now) if opcode == VERSION.number else 0.0
        return [Reply(1, payload=VERSION_1_1, delay=busy)] if opcode == 1 else [next(answers)]

    bench.pf.handler = slow
    bench.clock.now = 101.0
    with pytest.raises(MailboxTimeout):
        bench.client.ask(GET_STATS(), deadline=1.0)
    assert bench.client.ask(GET_STATS(), deadline=1.0).rx_bytes == 2
    assert bench.opcodes == [15, 1, 15]
    assert bench.client.counters.barriers == 1
    assert bench.client.counters.unsolicited == 1
    assert not bench.client.suspect


def test_late_reply_that_came_before_the_next_request_is_dropped(bench: Bench) -> None:
    bench.negotiated()
    answers = iter([Reply(15, payload=stats_of(1), delay=1.2), Reply(15, payload=stats_of(2))])
    bench.pf.handler = lambda opcode, payload: (
        [next(answers)] if opcode == 15 else polite()(opcode, payload)
    )
    with pytest.raises(MailboxTimeout):
        bench.client.ask(GET_STATS(), deadline=1.0)
    bench.clock.sleep(1.0)
    assert bench.client.ask(GET_STATS()).rx_bytes == 2


# docs/spec/reliability.md F2
def test_barrier_that_is_not_answered_fails_the_request_unsent(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    with pytest.raises(MailboxTimeout):
        bench.client.ask(GET_STATS(), deadline=0.5)
    begin = bench.clock.now
    with pytest.raises(MailboxTimeout, match="not even VERSION"):
        bench.client.ask(GET_STATS(), deadline=0.5)
    assert bench.clock.now - begin <= 0.51
    assert bench.opcodes == [15, 1]
    bench.clock.sleep(QUIET)
    bench.pf.handler = lambda opcode, payload: (
        [Reply(15, payload=stats_of(3))] if opcode == 15 else polite()(opcode, payload)
    )
    assert bench.client.ask(GET_STATS()).rx_bytes == 3


def test_late_version_reply_does_not_end_a_later_barrier_early(bench: Bench) -> None:
    bench.pf.handler = lambda opcode, payload: []
    with pytest.raises(MailboxTimeout):
        bench.client.ask(VERSION(Version(1, 1)), deadline=0.5)
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    with pytest.raises(MailboxTimeout):
        bench.client.ask(GET_STATS(), deadline=0.5)

    # Now the PF wakes up and answers all in order: the first VERSION, the stats, the barrier.
    def awake(opcode: int, payload: bytes) -> list[Reply]:
        if opcode == 1:
            return [
                Reply(1, payload=VERSION_1_1),
                Reply(15, payload=stats_of(1), delay=0.2),
                Reply(1, payload=VERSION_1_1, delay=0.3),
            ]
        return [Reply(15, payload=stats_of(2))]

    bench.pf.handler = awake
    assert bench.client.ask(GET_STATS()).rx_bytes == 2


def test_reply_to_an_older_version_does_not_end_a_barrier(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    version = Reply(1, payload=VERSION_1_1)
    for _ in range(3):  # the request, then two barriers in vain
        with pytest.raises(MailboxTimeout):
            bench.client.ask(GET_STATS(), deadline=0.1)
        bench.clock.sleep(QUIET)
    bench.clock.after(0.01, lambda: bench.pf.send(version))  # it comes during a third
    with pytest.raises(MailboxTimeout, match="GET_STATS"):
        bench.client.ask(GET_STATS(), deadline=0.1)
    assert bench.opcodes == [15, 1, 1, 15]
    # What the PF still owes comes in order: second barrier, second request, third barrier.
    bench.clock.after(0.01, lambda: bench.pf.send(version))
    bench.clock.after(0.04, lambda: bench.pf.send(Reply(15, payload=stats_of(2))))
    bench.clock.after(0.05, lambda: bench.pf.send(version))
    bench.pf.handler = lambda opcode, payload: (
        [Reply(15, payload=stats_of(3), delay=0.05)] if opcode == 15 else []
    )
    assert bench.client.ask(GET_STATS(), deadline=0.2).rx_bytes == 3


# docs/spec/reliability.md F2
@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.just(0.0), st.floats(0.0, 0.4)),  # time the PF takes
            st.booleans(),  # whether it drops the request
            st.integers(1, 3),  # how often it sends the reply
        ),
        min_size=4,
        max_size=24,
    )
)
def test_no_reply_ever_answers_another_request(script: list[tuple[float, bool, int]]) -> None:
    """A PF that is slow, forgetful and repeats itself, but works in order."""
    bench = Bench().negotiated()
    steps = list(reversed(script))
    busy_until = bench.clock.now
    asked = 0

    def handler(opcode: int, payload: bytes) -> list[Reply]:
        nonlocal busy_until, asked
        delay, drop, times = steps.pop() if steps else (0.0, False, 1)
        busy_until = max(busy_until, bench.clock.now) + delay
        asked += opcode == GET_STATS.number
        content = VERSION_1_1 if opcode == VERSION.number else stats_of(asked)
        # A VERSION reply sent twice could pass for that of a later one: nothing tells them apart.
        again = 1 if opcode == VERSION.number else times
        wait = max(busy_until - bench.clock.now, 1e-9)
        return [] if drop else [Reply(opcode, payload=content, delay=wait, times=again)]

    bench.pf.handler = handler
    for _ in script:
        begin, before = bench.clock.now, asked
        try:
            assert bench.client.ask(GET_STATS(), deadline=0.1).rx_bytes == asked == before + 1
        except MailboxTimeout:
            assert asked in (before, before + 1)
        assert bench.clock.now - begin <= 0.11
    steps.clear()
    while bench.clock.now < busy_until + 0.1:  # whatever is under way comes now
        bench.clock.sleep(0.05)
        bench.client.service()
    bench.clock.sleep(QUIET * len(script))  # lost barriers are sent again
    assert bench.client.ask(GET_STATS(), deadline=0.1).rx_bytes == asked
    assert bench.pf.lost_messages == 0


# F3: duplicates, strangers


# docs/spec/reliability.md F3, P4
def test_duplicates_and_strangers_are_counted_and_logged_once_a_second(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.negotiated()
    answer = [Reply(0, times=3), Reply(99), Reply(8), Reply(15, payload=stats_of(7), times=3)]
    bench.pf.handler = lambda opcode, payload: answer
    with caplog.at_level(logging.WARNING, "iavfio.virtchnl"):
        assert bench.client.ask(GET_STATS()).rx_bytes == 7
        assert bench.client.counters.unsolicited == 7
        assert len(caplog.records) == 1
        bench.clock.sleep(1.0)
        bench.pf.send(Reply(15, payload=stats_of(9)))
        bench.client.service()
        assert len(caplog.records) == 2
    assert bench.client.counters.unsolicited == 8
    assert bench.pf.lost_messages == 0


# docs/spec/reliability.md F3
def test_flood_does_not_outlast_the_deadline(bench: Bench) -> None:
    bench.negotiated()

    def flood() -> None:
        bench.pf.send(Reply(0, times=25))
        bench.clock.after(1e-5, flood)

    bench.pf.handler = lambda opcode, payload: []
    bench.clock.after(1e-5, flood)
    begin = bench.clock.now
    with pytest.raises(MailboxTimeout):
        bench.client.ask(GET_STATS(), deadline=0.05)
    assert bench.clock.now - begin <= 0.06


# F4, F5, F7: malformed replies


# docs/spec/reliability.md F4, F5
@pytest.mark.parametrize(
    "reply",
    [
        Reply(3, payload=resources()[:35]),
        Reply(3, payload=b""),
        Reply(3, payload=bytes(4096), length=5000),
        Reply(3, payload=resources(vsis=0)),
        Reply(3, payload=resources(pairs=1000)),
        Reply(3, payload=resources(lut=1 << 20)),
    ],
)
def test_malformed_resources_leave_what_was_known(bench: Bench, reply: Reply) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: [reply]
    with pytest.raises(MailboxError, match="GET_VF_RESOURCES message makes no sense"):
        bench.client.resources()
    assert bench.client.vsi_id == 10
    assert bench.client.report.granted == 0x060980E1
    assert not bench.client.suspect


# docs/spec/reliability.md F4
def test_reply_with_an_unexpected_payload_is_malformed(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: [Reply(opcode, payload=b"surprise")]
    with pytest.raises(MailboxError, match="it has 8 bytes, exactly 0 are wanted"):
        bench.client.ask(ENABLE_QUEUES(1, 1))
    assert bench.client.counters.malformed == 1


# docs/spec/reliability.md F7
def test_other_version(bench: Bench) -> None:
    bench.pf.handler = lambda opcode, payload: [Reply(1, payload=struct.pack("<II", 2, 0))]
    with pytest.raises(MailboxError, match=r"2\.0, this driver speaks 1\.0 and 1\.1"):
        bench.client.version()


# F11, F12: the queue itself


# docs/spec/reliability.md F11
def test_critical_error_sets_the_queue_up_anew_then_asks_for_a_reset(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    bench.pf.stuck_bits = CRIT
    with pytest.raises(MailboxError, match="failed during GET_STATS"):
        bench.client.ask(GET_STATS())
    assert not bench.client.needs_reset
    restarts = bench.queue.counters.restarts
    with pytest.raises(MailboxError):
        bench.client.version()
    assert bench.queue.counters.restarts == restarts + 1
    assert bench.client.needs_reset
    assert bench.queue.counters.criticals == 2


def test_queue_works_again_after_one_critical_error(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: (
        [Reply(15, payload=stats_of(4))] if opcode == 15 else polite()(opcode, payload)
    )
    bench.pf.regs[ARQLEN] |= CRIT | OVFL
    assert bench.client.ask(GET_STATS()).rx_bytes == 4
    assert not bench.client.needs_reset
    assert bench.queue.counters.criticals == bench.queue.counters.overflows == 1
    assert bench.pf.regs[ARQLEN] == 32 | ENABLE


@pytest.mark.parametrize(("bit", "told"), [(OVFL, "overflow"), (VFE, "error of the VF's mailbox")])
@pytest.mark.parametrize("register", [ATQLEN, ARQLEN])
def test_error_bits_that_end_no_request_are_said_once_each_time(
    bench: Bench, caplog: pytest.LogCaptureFixture, register: int, bit: int, told: str
) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: [Reply(15, payload=stats_of(4))]
    for times in (1, 2):
        bench.pf.regs[register] |= bit
        for _ in range(2):
            assert bench.client.ask(GET_STATS()).rx_bytes == 4
        notes = [entry.note for entry in bench.client.journal if entry.note]
        assert [told in note for note in notes] == [True] * times
        assert sum(told in record.getMessage() for record in caplog.records) == times


@pytest.mark.parametrize("idle", [False, True])
def test_an_overflow_that_comes_with_a_message_is_said(bench: Bench, idle: bool) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: [Reply(15, payload=stats_of(4))]
    if idle:
        bench.pf.regs[ARQLEN] |= OVFL
        bench.client.service()
    else:
        bench.clock.after(
            0.001, lambda: bench.pf.regs.update({ARQLEN: bench.pf.regs[ARQLEN] | OVFL})
        )
        bench.pf.handler = lambda opcode, payload: []
        with pytest.raises(MailboxTimeout):
            bench.client.ask(GET_STATS(), deadline=0.1)
    notes = [entry.note for entry in bench.client.journal if "overflow" in entry.note]
    assert len(notes) == 1


# docs/spec/reliability.md F12
def test_head_out_of_range_ends_a_request_within_10_ms(bench: Bench) -> None:
    bench.negotiated()

    def spoil() -> None:
        bench.pf.regs[ARQH] = 900

    bench.pf.handler = lambda opcode, payload: []
    bench.pf.after_send = spoil
    begin = bench.clock.now
    with pytest.raises(MailboxError, match="head is 900"):
        bench.client.ask(GET_STATS())
    assert bench.clock.now - begin < 0.01


# F13: one at a time, from real threads


class SlowPf(FakePf):
    """Counts how many requests wait for their reply at once."""

    waiting = 0
    most = 0


# docs/spec/reliability.md F13
def test_threads_share_the_channel_one_request_at_a_time() -> None:
    space, clock = FakeSpace(), Time()
    pf = SlowPf(space, clock)
    queue = AdminQueue(pf, space, gone)
    queue.start()
    client = VirtchnlClient(queue, Journal())
    pf.handler = polite()
    client.version()
    client.resources()
    answered = threading.Event()
    late: list[threading.Timer] = []

    def handler(opcode: int, payload: bytes) -> list[Reply]:
        pf.waiting += 1
        pf.most = max(pf.most, pf.waiting)
        number = payload[4]

        def answer() -> None:
            pf.waiting -= 1
            pf.send(Reply(15, payload=stats_of(number)))

        late.append(threading.Timer(0.003, answer))
        late[-1].start()
        return []

    pf.handler = handler
    results: dict[int, int] = {}

    def ask(number: int) -> None:
        payload = struct.pack("<HHII", 10, 0, number, 0)
        reply = client.request(GET_STATS, payload, deadline=5.0)
        results[number] = VsiStats._make(struct.unpack("<12Q", reply)).rx_bytes

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    answered.set()
    for timer in late:
        timer.join()
    assert results == {number: number for number in range(8)}
    assert pf.most == 1


def test_eventfd_wakes_the_wait_and_is_armed_first() -> None:
    space, clock = FakeSpace(), Time()
    pf = FakePf(space, clock)
    queue = AdminQueue(pf, space, gone)
    queue.start()
    fd = os.eventfd(0, os.EFD_CLOEXEC)
    armed: list[int] = []

    def arm() -> None:
        # The reply comes with the interrupt, once the vector is enabled.
        if not armed:
            pf.send(Reply(1, payload=VERSION_1_1))
            os.eventfd_write(fd, 1)
        armed.append(len(pf.requests))

    try:
        client = VirtchnlClient(queue, Journal(), eventfd=fd, arm=arm)
        pf.handler = lambda opcode, payload: []
        assert str(client.version()) == "1.1"
        assert armed == [1]
        assert not taken(fd)  # the event was consumed, from an eventfd that would block
    finally:
        os.close(fd)


def test_waiting_for_another_request_has_a_deadline_too(bench: Bench) -> None:
    bench.negotiated()
    waited: list[str] = []

    def second() -> None:
        with pytest.raises(MailboxTimeout, match=r"waited 0\.01 s for another request"):
            bench.client.ask(GET_STATS(), deadline=0.01)
        waited.append("in vain")

    def during_the_first(opcode: int, payload: bytes) -> list[Reply]:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(10)
        return [Reply(opcode, payload=stats_of(1))]

    bench.pf.handler = during_the_first
    bench.client.ask(GET_STATS())
    assert waited == ["in vain"]
