# SPDX-License-Identifier: BSD-3-Clause
"""A PF that takes seconds for each message, loses some, or falls silent."""

from __future__ import annotations

import pytest

from iavfio.errors import (
    MailboxTimeout,
)
from iavfio.virtchnl.channel import QUIET
from iavfio.virtchnl.messages.queues import DISABLE_QUEUES, ENABLE_QUEUES
from iavfio.virtchnl.messages.resources import VERSION
from iavfio.virtchnl.messages.stats import GET_STATS
from tests.virtchnl.fake_mailbox import (
    VERSION_1_1,
    Bench,
    Reply,
    polite,
    stats_of,
)

ONE_SECOND = 1.01  # a deadline of 1 s plus 10 ms (docs/spec/reliability.md I3)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def slow(seconds: float, bench: Bench) -> None:
    """Makes the PF take so long for each message, one after the other."""
    free = bench.clock.now

    def handler(opcode: int, payload: bytes) -> list[Reply]:
        nonlocal free
        free = max(free, bench.clock.now) + seconds
        (reply,) = polite()(opcode, payload) or []
        content = stats_of(7) if opcode == GET_STATS.number else reply.payload
        return [Reply(opcode, payload=content, delay=free - bench.clock.now)]

    bench.pf.handler = handler


@pytest.mark.parametrize("seconds", [0.5, 1.9, 2.5, 4.0])
def test_a_slow_pf_is_waited_for(bench: Bench, seconds: float) -> None:
    slow(seconds, bench)
    client = bench.client
    client.version()
    client.resources()
    client.ask(ENABLE_QUEUES(1, 1))
    # What others wait for gets more time from a PF that is known to be slow.
    assert client.ask(GET_STATS()).rx_bytes == 7
    client.ask(DISABLE_QUEUES(1, 1))
    assert not client.suspect
    assert client.counters.timeouts == client.counters.unsolicited == 0
    sent = [opcode for opcode in bench.opcodes if opcode != VERSION.number]
    assert sent == [3, 8, 15, 9]  # nothing twice


def test_quick_pf_that_falls_silent_is_not_waited_for_long(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    begin = bench.clock.now
    with pytest.raises(MailboxTimeout, match="DISABLE_QUEUES within 2 s"):
        bench.client.ask(DISABLE_QUEUES(1, 1))
    assert bench.clock.now - begin <= 2.01


# docs/spec/reliability.md F13
def test_lost_request_is_noticed_by_the_reply_to_what_came_after_it(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: polite()(opcode, payload) if opcode == 1 else []
    begin = bench.clock.now
    with pytest.raises(MailboxTimeout, match="did not answer ENABLE_QUEUES, but what was asked"):
        bench.client.ask(ENABLE_QUEUES(1, 1))
    assert QUIET <= bench.clock.now - begin <= QUIET + 0.01
    assert bench.opcodes == [8, 1]
    assert not bench.client.suspect  # its reply cannot come any more


# docs/spec/reliability.md F13
def test_silent_pf_is_given_up_at_the_deadline_and_asked_once(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    begin = bench.clock.now
    with pytest.raises(MailboxTimeout, match="did not answer ENABLE_QUEUES within 10 s"):
        bench.client.ask(ENABLE_QUEUES(1, 1))
    assert 10 <= bench.clock.now - begin <= 10.01
    assert bench.opcodes == [8, 1]
    assert bench.client.suspect


def test_barriers_for_a_silent_pf_become_rare(bench: Bench) -> None:
    """A VF with 63 messages in its mailbox is ignored by ice (docs/spec/reliability.md F13)."""
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    for _ in range(600):
        with pytest.raises(MailboxTimeout):
            bench.client.ask(GET_STATS())
        bench.clock.sleep(1.0)
    assert bench.opcodes.count(GET_STATS.number) == 1
    assert bench.opcodes.count(VERSION.number) < 40
    bench.pf.handler = polite()
    bench.pf.send(Reply(15, payload=stats_of(1)))
    for _ in range(bench.opcodes.count(VERSION.number)):
        bench.pf.send(Reply(1, payload=VERSION_1_1))
        bench.client.service()
    slow(0.0, bench)
    assert bench.client.ask(GET_STATS()).rx_bytes == 7
    assert bench.client.counters.unsolicited == 1  # the late statistics; the barriers were due


def test_version_is_its_own_barrier(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    with pytest.raises(MailboxTimeout):
        bench.client.ask(GET_STATS(), deadline=0.5)
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
        bench.client.ask(GET_STATS())
    assert bench.client.suspect
