# SPDX-License-Identifier: BSD-3-Clause
"""What a device or PF says no to in part, and which of many events are kept."""

from __future__ import annotations

import pytest

from iavfio.errors import MailboxError, ResetUnderWay
from iavfio.virtchnl.messages.resources import GET_VF_RESOURCES
from iavfio.virtchnl.messages.stats import GET_STATS
from tests.virtchnl.fake_mailbox import CMP, DD, ERR, Bench, Reply, link_event, resources


@pytest.mark.parametrize(
    ("flags", "code", "rejected"),
    [(DD | CMP, 0, False), (DD | CMP, 14, True), (DD | CMP | ERR, 0, True), (0, 0, False)],
)
def test_a_descriptor_is_rejected_by_its_flag_or_by_its_code(
    flags: int, code: int, rejected: bool
) -> None:
    """A code without the flag, and the flag without a code, are refusals as well."""
    bench = Bench().negotiated()
    bench.pf.completion = (flags, code)
    if not rejected:
        bench.queue.send(0x0801, message=15)
        return
    with pytest.raises(MailboxError, match=f"rejected GET_STATS with admin queue code {code}"):
        bench.queue.send(0x0801, message=15)


def test_the_newest_events_are_those_that_are_kept() -> None:
    """The last one says how the link is."""
    bench = Bench().negotiated()
    bench.client.on_event = None
    for speed in range(1, 301):
        bench.pf.send(Reply(17, payload=link_event(speed)))
        bench.client.service()
    bench.client.on_event = bench.events.append
    bench.client.service()
    assert [event.speed for event in bench.events] == list(range(45, 301))


@pytest.mark.parametrize(
    ("told", "own"),
    [
        ("02badc0ffee0", "02badc0ffee0"),
        ("000000000000", None),
        ("03badc0ffee0", None),  # a group address is nobody's own
        ("ffffffffffff", None),
    ],
)
def test_an_address_that_cannot_be_a_vf_s_own_is_none(told: str, own: str | None) -> None:
    found = GET_VF_RESOURCES.read(resources(mac=bytes.fromhex(told)))
    assert found.vsi.mac == (None if own is None else bytes.fromhex(own))


@pytest.mark.parametrize("taken", [1, 29, 30, 31])
def test_a_reset_is_noticed_wherever_the_rings_stand(taken: int) -> None:
    """It sets the head to 0, which is no other head where 32 messages have been taken."""
    bench = Bench().negotiated()  # by two messages
    for _ in range(taken):
        bench.pf.send(Reply(0))
        bench.client.service()
    bench.pf.handler = lambda opcode, payload: []
    bench.clock.after(0.5, bench.pf.reset)
    begin = bench.clock.now
    with pytest.raises(ResetUnderWay):
        bench.client.ask(GET_STATS())
    assert bench.clock.now - begin < 0.51
