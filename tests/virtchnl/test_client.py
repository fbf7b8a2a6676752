# SPDX-License-Identifier: BSD-3-Clause
"""The typed client against a scripted PF: negotiation, refusals, resets.

See docs/spec/reliability.md F8, F9.
"""

from __future__ import annotations

import struct

import pytest

from iavfio.errors import (
    ConfigError,
    DeviceLost,
    ItemRefused,
    MailboxTimeout,
    PfRefused,
    ResetUnderWay,
    StateError,
)
from iavfio.virtchnl import (
    HashFunction,
    QueuePairConfig,
    VectorMap,
)
from iavfio.virtchnl.messages.filters import CONFIG_PROMISCUOUS_MODE, DEL_ETH_ADDR
from iavfio.virtchnl.messages.queues import (
    CONFIG_IRQ_MAP,
    CONFIG_VSI_QUEUES,
    DISABLE_QUEUES,
    ENABLE_QUEUES,
)
from iavfio.virtchnl.messages.rss import (
    CONFIG_RSS_HFUNC,
    CONFIG_RSS_KEY,
    CONFIG_RSS_LUT,
    SET_RSS_HASHCFG,
)
from iavfio.virtchnl.messages.stats import GET_STATS
from tests.virtchnl.fake_mailbox import (
    GONE,
    VERSION_1_1,
    Bench,
    Reply,
    resources,
)

ONE_SECOND = 1.01  # a deadline of 1 s plus 10 ms (docs/spec/reliability.md I3)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# The plain way


def test_negotiation(bench: Bench) -> None:
    assert str(bench.client.version()) == "1.1"
    found = bench.client.resources()
    assert (found.queue_pairs, found.vsi.vsi_id) == (4, 10)
    assert bench.pf.requests == [(1, VERSION_1_1), (3, bytes.fromhex("e180090e"))]
    assert [each.name for each in bench.client.report.denied] == ["ADV_RSS_PF"]  # as on i40e
    assert bench.client.vsi_id == 10


# docs/spec/reliability.md F7
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
        bench.client.ask(GET_STATS())
    with pytest.raises(StateError):
        bench.client.add_macs([bytes([2, 0, 0, 0, 0, 1])])
    assert bench.pf.requests == []


def test_requests_send_what_they_say() -> None:
    bench = Bench().negotiated()
    client = bench.client
    client.ask(CONFIG_VSI_QUEUES([QueuePairConfig(0, 64, 128, 64, 256, 2048, 1522)]))
    client.ask(CONFIG_IRQ_MAP([VectorMap(1, 1, 1)]))
    client.add_macs([bytes([2, 0, 0, 0, 0, 1])])
    client.ask(CONFIG_PROMISCUOUS_MODE(True, True))
    client.ask(CONFIG_RSS_KEY(bytes(52)))
    client.ask(CONFIG_RSS_LUT([0, 1, 2, 3] * 16, 4))
    client.ask(CONFIG_RSS_HFUNC(HashFunction.TOEPLITZ))
    client.ask(SET_RSS_HASHCFG(3))
    client.vlan_strip(False)
    client.ask(ENABLE_QUEUES(1, 1))
    client.ask(DISABLE_QUEUES(1, 1))
    client.ask(DEL_ETH_ADDR([bytes([2, 0, 0, 0, 0, 1])]))
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
        bench.client.ask(CONFIG_RSS_LUT([0, 4] * 32, 4))
    assert bench.pf.requests == []


# F8: the three outcomes of REQUEST_QUEUES


# docs/spec/reliability.md F8
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


# docs/spec/reliability.md F8
def test_request_queues_refused_with_a_number(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: [Reply(opcode, payload=b"\x06\0")]
    grant = bench.client.request_queues(16)
    assert (grant.granted, grant.queue_pairs) == (False, 6)


# docs/spec/reliability.md F8
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


# docs/spec/reliability.md F9
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
        bench.client.ask(CONFIG_RSS_HFUNC(HashFunction.TOEPLITZ))
    assert "does not know the request" in caught.value.cause
    assert not bench.client.suspect


def test_payload_of_a_refusal_is_not_looked_at(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: [Reply(opcode, -22, b"junk")]
    with pytest.raises(PfRefused, match=r"-22 \(EINVAL\)"):
        bench.client.ask(GET_STATS())


# Resets and loss


def test_reset_during_a_request_ends_it_within_10_ms(bench: Bench) -> None:
    bench.negotiated()
    bench.pf.handler = lambda opcode, payload: []
    bench.clock.after(0.5, bench.pf.reset)
    begin = bench.clock.now
    with pytest.raises(ResetUnderWay):
        bench.client.ask(GET_STATS())
    assert bench.clock.now - begin < 0.51


def test_loss_during_a_request_ends_it_within_10_ms(bench: Bench) -> None:
    bench.negotiated()

    def vanish() -> None:
        bench.pf.reads_as = GONE

    bench.pf.handler = lambda opcode, payload: []
    bench.clock.after(0.5, vanish)
    begin = bench.clock.now
    with pytest.raises(DeviceLost):
        bench.client.ask(GET_STATS())
    assert bench.clock.now - begin < 0.51


def test_a_probe_ends_a_wait() -> None:
    answers = [False]
    bench = Bench(None, resetting=lambda: answers[0]).negotiated()
    bench.pf.handler = lambda opcode, payload: []
    bench.clock.after(0.2, lambda: answers.__setitem__(0, True))
    begin = bench.clock.now
    with pytest.raises(ResetUnderWay, match="during GET_STATS"):
        bench.client.ask(GET_STATS())
    assert bench.clock.now - begin < 0.21


def test_restart_after_a_reset_forgets_the_past(bench: Bench) -> None:
    bench.negotiated()
    bench.client.on_event = None
    bench.pf.send(Reply(17, payload=struct.pack("<iIIi", 2, 0, 0, 255)))
    bench.client.service()
    bench.pf.handler = lambda opcode, payload: []
    with pytest.raises(MailboxTimeout):
        bench.client.ask(GET_STATS(), deadline=0.1)
    bench.pf.reset()
    with pytest.raises(ResetUnderWay):
        bench.client.ask(GET_STATS())
    bench.client.on_event = bench.events.append
    bench.client.restart()
    assert not bench.client.suspect
    with pytest.raises(StateError):
        bench.client.ask(GET_STATS())
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
        bench.client.ask(GET_STATS())
