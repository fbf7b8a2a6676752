# SPDX-License-Identifier: BSD-3-Clause
"""The client against a scripted PF that delays, drops, doubles and corrupts (F1-F9, F11-F14)."""

from __future__ import annotations

import logging
import os
import struct
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iavfio.errors import (
    ConfigError,
    DeviceLost,
    ItemRefused,
    MailboxError,
    MailboxTimeout,
    NotGranted,
    PfRefused,
    ResetUnderWay,
    StateError,
)
from iavfio.virtchnl import (
    AdminQueue,
    Event,
    HashFunction,
    Journal,
    QueuePair,
    VectorMap,
    VirtchnlClient,
    VsiStats,
)
from iavfio.virtchnl import opcodes as op
from tests.unit.fake_mailbox import (
    ARQH,
    ARQLEN,
    CRIT,
    ENABLE,
    GONE,
    OVFL,
    VERSION_1_1,
    FakePf,
    FakeSpace,
    Handler,
    Reply,
    Time,
    link_event,
    polite,
    resources,
)

ONE_SECOND = 1.01  # a deadline of 1 s plus 10 ms (I3)


class Bench:
    """A client, its fake PF, and what the client told us."""

    def __init__(self, handler: Handler | None = None, **options: object) -> None:
        self.clock = Time()
        self.space = FakeSpace()
        self.pf = FakePf(self.space, self.clock, handler or polite())
        self.queue = AdminQueue(self.pf, self.space, clock=self.clock, sleep=self.clock.sleep)
        self.queue.start()
        self.events: list[Event] = []
        self.client = VirtchnlClient(
            self.queue,
            Journal(clock=self.clock),
            clock=self.clock,
            sleep=self.clock.sleep,
            on_event=self.events.append,
            **options,  # type: ignore[arg-type]
        )

    @property
    def opcodes(self) -> list[int]:
        return [opcode for opcode, _ in self.pf.requests]

    def negotiated(self, caps: int = 0x060B80E1) -> Bench:
        self.pf.handler = polite(caps)
        self.client.version()
        self.client.resources()
        self.pf.requests.clear()
        return self


@pytest.fixture
def bench() -> Bench:
    return Bench()


def stats_of(number: int) -> bytes:
    return struct.pack("<12Q", *[number] * 12)


# The plain way


def test_negotiation(bench: Bench) -> None:
    assert str(bench.client.version()) == "1.1"
    found = bench.client.resources()
    assert (found.queue_pairs, found.vsi.vsi_id) == (4, 10)
    assert bench.pf.requests == [(1, VERSION_1_1), (3, bytes.fromhex("e1800b06"))]
    assert bench.client.report.denied == ()
    assert bench.client.vsi_id == 10


def test_a_1_0_peer_is_asked_without_payload() -> None:
    def old(opcode: int, payload: bytes) -> list[Reply]:
        return [Reply(1, payload=struct.pack("<II", 1, 0)) if opcode == 1
                else Reply(3, payload=resources(caps=0x10001))]  # fmt: skip

    bench = Bench(old)
    assert str(bench.client.version()) == "1.0"
    bench.client.resources()
    assert bench.pf.requests[-1] == (3, b"")


def test_nothing_is_sent_before_negotiation(bench: Bench) -> None:
    with pytest.raises(StateError):
        bench.client.stats()
    with pytest.raises(StateError):
        bench.client.add_macs([bytes([2, 0, 0, 0, 0, 1])])
    assert bench.pf.requests == []


def test_typed_methods_send_what_they_say() -> None:
    bench = Bench().negotiated()
    client = bench.client
    client.config_queues([QueuePair(0, 64, 128, 64, 256, 2048, 1522)])
    client.irq_map([VectorMap(1, 1, 1)])
    client.add_macs([bytes([2, 0, 0, 0, 0, 1])])
    client.promiscuous(True, True)
    client.rss_key(bytes(52))
    client.rss_lut([0, 1, 2, 3] * 16)
    client.rss_hfunc(HashFunction.TOEPLITZ)
    client.set_hashcfg(3)
    client.vlan_strip(False)
    client.enable_queues(1, 1)
    client.disable_queues(1, 1)
    client.del_macs([bytes([2, 0, 0, 0, 0, 1])])
    assert bench.opcodes == [6, 7, 10, 14, 23, 24, 18, 26, 28, 8, 9, 11]
    assert [len(payload) for _, payload in bench.pf.requests] == [
        136, 26, 20, 4, 57, 69, 8, 8, 0, 12, 12, 20,
    ]  # fmt: skip
    assert all(payload[:2] == b"\x0a\0" for opcode, payload in bench.pf.requests
               if opcode not in (7, 26, 28))  # fmt: skip
    assert bench.pf.violations == []


def test_a_table_that_names_a_missing_queue_is_not_sent() -> None:
    bench = Bench().negotiated()
    with pytest.raises(ConfigError, match="names queue 4, there are 4"):
        bench.client.rss_lut([0, 4] * 32)
    assert bench.pf.requests == []


@pytest.mark.parametrize(
    ("caps", "call", "name"),
    [
        (0x060380E1, lambda c: c.rss_key(bytes(52)), "RSS_PF"),
        (0x060A80E1, lambda c: c.add_vlans([1]), "VLAN"),
        (0x060B00E1, lambda c: c.vlan_caps(), "VLAN_V2"),
        (0x020B80E1, lambda c: c.rxdids(), "RX_FLEX_DESC"),
        (0x060B80A1, lambda c: c.request_queues(8), "REQ_QUEUES"),
        (0x060B80E0, lambda c: c.promiscuous(True, False), "L2"),
    ],
)
def test_no_opcode_without_its_capability(caps: int, call: object, name: str) -> None:
    bench = Bench().negotiated(caps)
    with pytest.raises(NotGranted, match=f"needs {name}, which the PF did not grant"):
        call(bench.client)  # type: ignore[operator]
    assert bench.pf.requests == []


# F1, F2: no reply, late replies


def test_no_reply_is_a_timeout_at_the_deadline_that_names_both(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    begin = bench.clock.now
    with pytest.raises(MailboxTimeout, match="did not answer GET_STATS within 1 s") as caught:
        bench.client.stats(deadline=1.0)
    assert 1.0 <= bench.clock.now - begin <= ONE_SECOND
    assert "malicious driver" in caught.value.cause
    assert "FLR" in caught.value.remedy
    assert bench.client.suspect
    assert bench.client.counters.timeouts == 1


def test_late_reply_never_answers_the_next_request(bench: Bench) -> None:
    bench.negotiated()
    answers = iter([Reply(15, payload=stats_of(1), delay=1.2), Reply(15, payload=stats_of(2))])

    def slow(opcode: int, payload: bytes) -> list[Reply]:
        # The PF works in order: what is sent while it is busy is answered behind the late reply.
        busy = max(0.0, 101.0 + 1.2 - bench.clock.now) if opcode == op.VERSION else 0.0
        return [Reply(1, payload=VERSION_1_1, delay=busy)] if opcode == 1 else [next(answers)]

    bench.pf.handler = slow
    bench.clock.now = 101.0
    with pytest.raises(MailboxTimeout):
        bench.client.stats(deadline=1.0)
    assert bench.client.stats(deadline=1.0).rx_bytes == 2
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
        bench.client.stats(deadline=1.0)
    bench.clock.sleep(1.0)
    assert bench.client.stats().rx_bytes == 2


def test_barrier_that_is_not_answered_fails_the_request_unsent(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    with pytest.raises(MailboxTimeout):
        bench.client.stats(deadline=0.5)
    begin = bench.clock.now
    with pytest.raises(MailboxTimeout, match="not even VERSION"):
        bench.client.stats(deadline=0.5)
    assert bench.clock.now - begin <= 0.51
    assert bench.opcodes == [15, 1]
    bench.pf.handler = lambda opcode, payload: (
        [Reply(15, payload=stats_of(3))] if opcode == 15 else polite()(opcode, payload)
    )
    assert bench.client.stats().rx_bytes == 3


def test_late_version_reply_does_not_end_a_later_barrier_early(bench: Bench) -> None:
    bench.pf.handler = lambda opcode, payload: []
    with pytest.raises(MailboxTimeout):
        bench.client.version(deadline=0.5)
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    with pytest.raises(MailboxTimeout):
        bench.client.stats(deadline=0.5)

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
    assert bench.client.stats().rx_bytes == 2


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
        asked += opcode == op.GET_STATS
        content = VERSION_1_1 if opcode == op.VERSION else stats_of(asked)
        # A VERSION reply sent twice could pass for that of a later one: nothing tells them apart.
        again = 1 if opcode == op.VERSION else times
        wait = max(busy_until - bench.clock.now, 1e-9)
        return [] if drop else [Reply(opcode, payload=content, delay=wait, times=again)]

    bench.pf.handler = handler
    for _ in script:
        begin, before = bench.clock.now, asked
        try:
            assert bench.client.stats(deadline=0.1).rx_bytes == asked == before + 1
        except MailboxTimeout:
            assert asked in (before, before + 1)
        assert bench.clock.now - begin <= 0.11
    steps.clear()
    while bench.clock.now < busy_until + 0.1:  # whatever is under way comes now
        bench.clock.sleep(0.05)
        bench.client.service()
    assert bench.client.stats(deadline=0.1).rx_bytes == asked
    assert bench.pf.lost_messages == 0


def test_version_is_its_own_barrier(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    with pytest.raises(MailboxTimeout):
        bench.client.stats(deadline=0.5)
    bench.pf.handler = polite()
    bench.client.version()
    assert not bench.client.suspect
    assert bench.opcodes == [15, 1]


def test_interrupted_wait_leaves_the_channel_suspect(bench: Bench) -> None:
    bench.negotiated()

    def interrupt() -> None:
        raise KeyboardInterrupt

    bench.pf.handler = lambda opcode, payload: []
    bench.clock.after(0.1, interrupt)
    with pytest.raises(KeyboardInterrupt):
        bench.client.stats()
    assert bench.client.suspect


# F3: duplicates, strangers


def test_duplicates_and_strangers_are_counted_and_logged_once_a_second(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.negotiated()
    answer = [Reply(0, times=3), Reply(99), Reply(8), Reply(15, payload=stats_of(7), times=3)]
    bench.pf.handler = lambda opcode, payload: answer
    with caplog.at_level(logging.WARNING, "iavfio.virtchnl"):
        assert bench.client.stats().rx_bytes == 7
        assert bench.client.counters.unsolicited == 7
        assert len(caplog.records) == 1
        bench.clock.sleep(1.0)
        bench.pf.send(Reply(15, payload=stats_of(9)))
        bench.client.service()
        assert len(caplog.records) == 2
    assert bench.client.counters.unsolicited == 8
    assert bench.pf.lost_messages == 0


def test_flood_does_not_outlast_the_deadline(bench: Bench) -> None:
    bench.negotiated()

    def flood() -> None:
        bench.pf.send(Reply(0, times=25))
        bench.clock.after(1e-5, flood)

    bench.pf.handler = lambda opcode, payload: []
    bench.clock.after(1e-5, flood)
    begin = bench.clock.now
    with pytest.raises(MailboxTimeout):
        bench.client.stats(deadline=0.05)
    assert bench.clock.now - begin <= 0.06


# F4, F5, F7: malformed replies


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
    assert bench.client.report.granted == 0x060B80E1
    assert not bench.client.suspect


def test_reply_with_an_unexpected_payload_is_malformed(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: [Reply(opcode, payload=b"surprise")]
    with pytest.raises(MailboxError, match="it has 8 bytes, not 0"):
        bench.client.enable_queues(1, 1)
    assert bench.client.counters.malformed == 1


def test_other_version(bench: Bench) -> None:
    bench.pf.handler = lambda opcode, payload: [Reply(1, payload=struct.pack("<II", 2, 0))]
    with pytest.raises(MailboxError, match=r"virtchnl 2\.0, this driver speaks 1\.0 and 1\.1"):
        bench.client.version()


# F6, F14: events


def test_events_come_in_order_after_the_request(bench: Bench) -> None:
    seen: list[str] = []
    bench.client.on_event = lambda event: seen.append(str(event))

    answer = polite()

    def chatty(opcode: int, payload: bytes) -> list[Reply]:
        # The speed is in Mb/s since the reply to GET_VF_RESOURCES grants ADV_LINK_SPEED.
        link = [Reply(17, payload=link_event(25000)), Reply(17, payload=link_event(0, up=0))]
        return (answer(opcode, payload) or []) + (link if opcode == 3 else [])

    bench.pf.handler = chatty
    bench.client.version()
    bench.client.resources()
    assert seen == ["LINK_CHANGE up 25000 Mb/s", "LINK_CHANGE down"]


def test_events_before_the_reply_do_not_pass_for_it(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: [
        Reply(17, payload=link_event(10000)),
        Reply(opcode),
    ]
    bench.client.enable_queues(1, 1)
    assert bench.events == [Event("link", True, 10000)]


def test_bad_events_are_counted_and_their_slots_given_back(bench: Bench) -> None:
    bench.negotiated()
    bad = [
        Reply(17, payload=b""),
        Reply(17, payload=bytes(16)),
        Reply(17, payload=struct.pack("<iIIi", 77, 0, 0, 0)),
        Reply(17, payload=link_event(1, up=9)),
        Reply(17, payload=link_event(1), status=-5),
        Reply(17, payload=bytes(4096), length=60000),
    ]
    for _ in range(20):
        for reply in bad:
            bench.pf.send(reply)
        bench.client.service()
    assert bench.client.counters.bad_events == 120
    assert bench.events == []
    assert bench.pf.lost_messages == 0


def test_callback_may_issue_requests(bench: Bench) -> None:
    bench.negotiated()
    order: list[str] = []

    def act(event: Event) -> None:
        order.append(f"{event} begin")
        bench.client.enable_queues(1, 1)  # brings the next event, delivered after this one
        order.append(f"{event} end")

    bench.client.on_event = act
    speeds = iter([1000, 2500])

    def handler(opcode: int, payload: bytes) -> list[Reply]:
        speed = next(speeds, None)
        link = [Reply(17, payload=link_event(speed))] if speed else []
        return [*link, Reply(opcode)]

    bench.pf.handler = handler
    bench.client.disable_queues(1, 1)
    first, second = "LINK_CHANGE up 1000 Mb/s", "LINK_CHANGE up 2500 Mb/s"
    assert order == [f"{first} begin", f"{first} end", f"{second} begin", f"{second} end"]


def test_failing_callback_does_not_fail_the_request(bench: Bench) -> None:
    bench.negotiated()

    def fail(event: Event) -> None:
        raise ValueError("mine")

    bench.client.on_event = fail
    bench.pf.handler = lambda opcode, payload: [Reply(17, payload=link_event(1)), Reply(opcode)]
    bench.client.enable_queues(1, 1)
    assert "handling LINK_CHANGE up 1 Mb/s failed: ValueError" in str(bench.client.journal)


def test_service_takes_events_between_requests(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.send(Reply(17, payload=link_event(40000)))
    bench.client.service()
    assert bench.events == [Event("link", True, 40000)]


def test_undelivered_events_are_bounded(bench: Bench) -> None:
    bench.negotiated()
    bench.client.on_event = None
    for _ in range(300):
        bench.pf.send(Reply(17, payload=link_event(1)))
        bench.client.service()
    assert bench.client.counters.events_dropped == 300 - 256


# F8: the three outcomes of REQUEST_QUEUES


def test_request_queues_granted_by_a_reset(bench: Bench) -> None:
    bench.negotiated()
    notice = struct.pack("<iIIi", 2, 0, 0, 255)
    bench.pf.handler = lambda opcode, payload: [Reply(17, payload=notice)]
    bench.pf.after_send = lambda: bench.clock.after(0.01, bench.pf.reset)
    begin = bench.clock.now
    grant = bench.client.request_queues(16)
    assert (grant.granted, grant.queue_pairs) == (True, 16)
    assert bench.clock.now - begin < 0.03
    assert [event.kind for event in bench.events] == ["reset"]


def test_request_queues_refused_with_a_number(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: [Reply(opcode, payload=b"\x06\0")]
    grant = bench.client.request_queues(16)
    assert (grant.granted, grant.queue_pairs) == (False, 6)


def test_request_queues_without_any_answer(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    with pytest.raises(MailboxTimeout, match="REQUEST_QUEUES"):
        bench.client.request_queues(8, deadline=0.2)


def test_request_queues_with_notice_but_slow_reset_counts_as_granted(bench: Bench) -> None:
    bench.negotiated()
    notice = struct.pack("<iIIi", 2, 0, 0, 255)
    bench.pf.handler = lambda opcode, payload: [Reply(17, payload=notice)]
    assert bench.client.request_queues(8, deadline=0.2).granted


# F9: refusals


def test_refusal_names_status_in_both_dialects_cause_and_remedy(bench: Bench) -> None:
    bench.negotiated()
    mac = bytes.fromhex("020000000001")
    for status, name in [(-1, "EPERM"), (-5, "ERR_PARAM or EIO"), (-53, "ADMIN_QUEUE_ERROR")]:
        bench.pf.handler = lambda opcode, payload, status=status: [Reply(opcode, status)]  # type: ignore[misc]
        with pytest.raises(PfRefused, match=rf"ADD_ETH_ADDR with {status} \(.*{name}") as caught:
            bench.client.add_macs([mac])
        assert (caught.value.status, caught.value.opcode) == (status, 10)
        assert "02:00:00:00:00:01" in str(caught.value)
        assert "trust on" in caught.value.remedy


def test_refused_item_of_a_list_is_named_with_what_was_added(bench: Bench) -> None:
    bench.negotiated()
    macs = [bytes([2, 0, 0, 0, 0, n]) for n in range(5)]

    def strict(opcode: int, payload: bytes) -> list[Reply]:
        return [Reply(opcode, -5 if macs[3] in payload else 0)]

    bench.pf.handler = strict
    with pytest.raises(ItemRefused, match="02:00:00:00:00:03") as caught:
        bench.client.add_macs(macs)
    assert caught.value.accepted == tuple(macs[:3])
    assert caught.value.untried == (macs[4],)
    assert len(bench.pf.requests) == 5


@pytest.mark.parametrize("status", [-64, -95])
def test_not_supported_in_both_dialects(bench: Bench, status: int) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: [Reply(opcode, status)]
    with pytest.raises(PfRefused) as caught:
        bench.client.rss_hfunc(HashFunction.TOEPLITZ)
    assert "does not know the request" in caught.value.cause
    assert not bench.client.suspect


def test_payload_of_a_refusal_is_not_looked_at(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: [Reply(opcode, -22, b"junk")]
    with pytest.raises(PfRefused, match=r"-22 \(EINVAL\)"):
        bench.client.stats()


# F11, F12: the queue itself


def test_critical_error_sets_the_queue_up_anew_then_asks_for_a_reset(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    bench.pf.stuck_bits = CRIT
    with pytest.raises(MailboxError, match="failed during GET_STATS"):
        bench.client.stats()
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
    assert bench.client.stats().rx_bytes == 4
    assert not bench.client.needs_reset
    assert bench.queue.counters.criticals == bench.queue.counters.overflows == 1
    assert bench.pf.regs[ARQLEN] == 32 | ENABLE


def test_head_out_of_range_ends_a_request_within_10_ms(bench: Bench) -> None:
    bench.negotiated()

    def spoil() -> None:
        bench.pf.regs[ARQH] = 900

    bench.pf.handler = lambda opcode, payload: []
    bench.pf.after_send = spoil
    begin = bench.clock.now
    with pytest.raises(MailboxError, match="head is 900"):
        bench.client.stats()
    assert bench.clock.now - begin < 0.01


# Resets and loss


def test_reset_during_a_request_ends_it_within_10_ms(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    bench.clock.after(0.5, bench.pf.reset)
    begin = bench.clock.now
    with pytest.raises(ResetUnderWay):
        bench.client.stats()
    assert bench.clock.now - begin < 0.51


def test_loss_during_a_request_ends_it_within_10_ms(bench: Bench) -> None:
    bench.negotiated()

    def vanish() -> None:
        bench.pf.reads_as = GONE

    bench.pf.handler = lambda opcode, payload: []
    bench.clock.after(0.5, vanish)
    begin = bench.clock.now
    with pytest.raises(DeviceLost):
        bench.client.stats()
    assert bench.clock.now - begin < 0.51


@pytest.mark.parametrize(("probe", "error"), [("lost", DeviceLost), ("resetting", ResetUnderWay)])
def test_probes_end_a_wait(probe: str, error: type[Exception]) -> None:
    answers = [False]
    bench = Bench(None, **{probe: lambda: answers[0]}).negotiated()
    bench.pf.handler = lambda opcode, payload: []
    bench.clock.after(0.2, lambda: answers.__setitem__(0, True))
    begin = bench.clock.now
    with pytest.raises(error, match="during GET_STATS"):
        bench.client.stats()
    assert bench.clock.now - begin < 0.21


def test_restart_after_a_reset_forgets_the_past(bench: Bench) -> None:
    bench.negotiated()
    bench.client.on_event = None
    bench.pf.send(Reply(17, payload=struct.pack("<iIIi", 2, 0, 0, 255)))
    bench.client.service()
    bench.pf.handler = lambda opcode, payload: []
    with pytest.raises(MailboxTimeout):
        bench.client.stats(deadline=0.1)
    bench.pf.reset()
    with pytest.raises(ResetUnderWay):
        bench.client.stats()
    bench.client.on_event = bench.events.append
    bench.client.restart()
    assert not bench.client.suspect
    with pytest.raises(StateError):
        bench.client.stats()
    bench.negotiated()
    assert bench.events == []


def test_reset_vf_expects_no_reply(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    bench.client.reset_vf()
    assert bench.pf.requests == [(2, b"")]
    assert not bench.client.suspect


def test_reset_that_is_faster_than_the_completion_of_reset_vf(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    bench.pf.after_send = bench.pf.reset
    bench.client.reset_vf()
    with pytest.raises(ResetUnderWay):
        bench.client.stats()


# F13: one at a time, from real threads


class SlowPf(FakePf):
    """Counts how many requests wait for their reply at once."""

    waiting = 0
    most = 0


def test_threads_share_the_channel_one_request_at_a_time() -> None:
    space, clock = FakeSpace(), Time()
    pf = SlowPf(space, clock)
    queue = AdminQueue(pf, space)
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
        reply = client.request(op.GET_STATS, payload, deadline=5.0)
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
    queue = AdminQueue(pf, space)
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
        with pytest.raises(BlockingIOError):  # the event was consumed
            os.eventfd_read(fd)
    finally:
        os.close(fd)


def test_waiting_for_another_request_has_a_deadline_too(bench: Bench) -> None:
    bench.negotiated()
    bench.client._lock.acquire()
    with pytest.raises(MailboxTimeout, match=r"waited 0\.01 s for another request"):
        bench.client.stats(deadline=0.01)
    bench.client._lock.release()
