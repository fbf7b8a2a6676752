# SPDX-License-Identifier: BSD-3-Clause
"""Events: order, validity, callbacks that issue requests.

See docs/spec/reliability.md F6, F14.
"""

from __future__ import annotations

import struct

import pytest

from iavfio.virtchnl import Event
from iavfio.virtchnl.messages.queues import DISABLE_QUEUES, ENABLE_QUEUES
from tests.virtchnl.fake_mailbox import (
    Bench,
    Reply,
    link_event,
    polite,
)

ONE_SECOND = 1.01  # a deadline of 1 s plus 10 ms (docs/spec/reliability.md I3)


@pytest.fixture
def bench() -> Bench:
    return Bench()


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
    bench.client.ask(ENABLE_QUEUES(1, 1))
    assert bench.events == [Event("link", True, 10000)]


# docs/spec/reliability.md F6
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


# docs/spec/reliability.md F14
def test_callback_may_issue_requests(bench: Bench) -> None:
    bench.negotiated()
    order: list[str] = []

    def act(event: Event) -> None:
        order.append(f"{event} begin")
        bench.client.ask(ENABLE_QUEUES(1, 1))  # brings the next event, delivered after this one
        order.append(f"{event} end")

    bench.client.on_event = act
    speeds = iter([1000, 2500])

    def handler(opcode: int, payload: bytes) -> list[Reply]:
        speed = next(speeds, None)
        link = [Reply(17, payload=link_event(speed))] if speed else []
        return [*link, Reply(opcode)]

    bench.pf.handler = handler
    bench.client.ask(DISABLE_QUEUES(1, 1))
    first, second = "LINK_CHANGE up 1000 Mb/s", "LINK_CHANGE up 2500 Mb/s"
    assert order == [f"{first} begin", f"{first} end", f"{second} begin", f"{second} end"]


def test_failing_callback_does_not_fail_the_request(bench: Bench) -> None:
    bench.negotiated()

    def fail(event: Event) -> None:
        raise ValueError("mine")

    bench.client.on_event = fail
    bench.pf.handler = lambda opcode, payload: [Reply(17, payload=link_event(1)), Reply(opcode)]
    bench.client.ask(ENABLE_QUEUES(1, 1))
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
