# SPDX-License-Identifier: BSD-3-Clause
"""Conversations of drivers' tests: what is read of a journal, and which of them are kept."""

from __future__ import annotations

from typing import Any

import pytest

from iavfio.softvf.personality import named
from tests import journals
from tests.journals import Conversation, Request, few, kind, steps_of
from tests.softvf.pf.pf_rig import config_queues, macs, pair, rss_key, vlans

VERSION, RESOURCES, STATS, REQUEST_QUEUES = 1, 3, 15, 29


def entry(direction: str, opcode: int = 0, status: int = 0, note: str = "") -> dict[str, Any]:
    """One of the control socket's journal."""
    return {"direction": direction, "opcode": opcode, "status": status, "hex": "", "note": note}


def conversation(*requests: Request | str, test: str = "a") -> Conversation:
    return Conversation(test, "x710", requests)


def test_requests_have_the_status_of_their_own_replies() -> None:
    """A reset takes answers away, and so does the next request of the kind."""
    entries = [
        *(entry("out", VERSION), entry("in", 17), entry("in", VERSION)),
        *(entry("out", STATS), entry("out", STATS), entry("in", STATS, -22)),
        *(entry("out", REQUEST_QUEUES), entry("note", note="reset"), entry("in", REQUEST_QUEUES)),
        entry("note", note="something else"),
    ]
    assert steps_of(entries) == [
        Request(VERSION, b"", 0),
        *(Request(STATS, b"", None), Request(STATS, b"", -22)),
        Request(REQUEST_QUEUES, b"", None),
        "reset",
    ]
    assert steps_of(entries[3:]) == [], "whose negotiation the journal has forgotten"


@pytest.mark.parametrize(
    ("opcode", "one", "other", "alike"),
    [
        (6, config_queues(1, pair(1, 0)), config_queues(1, pair(1, 0, rx_ring=1 << 30)), True),
        (6, config_queues(1, pair(1, 0)), config_queues(1, pair(1, 0, rx_len=64)), False),
        (10, macs(1, "02:00:00:00:00:01"), macs(1, "02:00:00:00:00:02"), True),
        (10, macs(1, "02:00:00:00:00:01"), macs(1, "01:00:00:00:00:01"), False),
        (10, macs(1, "02:00:00:00:00:01"), macs(1, "02:00:00:00:00:01", kind=1), False),
        (23, rss_key(1, bytes(52)), rss_key(1, bytes(range(52))), True),
        (23, rss_key(1, bytes(52)), rss_key(1, bytes(40)), False),
        (12, vlans(1, 5), vlans(1, 6), False),
    ],
)
def test_which_requests_are_another_kind(
    opcode: int, one: bytes, other: bytes, alike: bool
) -> None:
    both = [kind(Request(opcode, payload, 0)) for payload in (one, other)]
    assert (both[0] == both[1]) is alike


def test_each_accepted_request_is_in_one_that_is_kept() -> None:
    version, resources = Request(VERSION, bytes(8), 0), Request(RESOURCES, b"1234", 0)
    refused = Request(STATS, bytes(12), -22)
    short = conversation(version, refused)
    longer = conversation(version, "reset", resources, refused)
    again = conversation(version, resources, version, resources, test="b")
    assert few([again, longer, short]) == [
        conversation(version),
        conversation(version, "reset", resources),
    ]


def test_a_conversation_is_read_as_it_was_written() -> None:
    whole = conversation(Request(45, b"\1" + bytes(2443), 0), "reset", Request(VERSION, b"", None))
    assert journals.read(whole.to_json()) == whole


@pytest.mark.parametrize("driver", ["i40e", "ice"])
def test_those_that_are_kept_are_of_the_driver_s_cards(driver: str) -> None:
    kept = journals.load(driver)
    assert {named(each.card).driver for each in kept} == {driver}
    said: set[tuple[int, bytes]] = set()
    for each in kept:
        accepted = [step for step in each.steps if isinstance(step, Request) and step.status == 0]
        assert kind(accepted[-1]) not in said, f"{each.test} ends with what was said before"
        assert each.steps[-1] == accepted[-1]
        said.update(map(kind, accepted))
    assert len(said) > 50
