# SPDX-License-Identifier: BSD-3-Clause
"""The decoded journal, the capability report, status names."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iavfio.errors import ConfigError
from iavfio.virtchnl import ESSENTIAL, WANTED, Capability, CapabilityReport, Journal
from iavfio.virtchnl.capabilities import CAPABILITIES, cap_names
from iavfio.virtchnl.journal import MOST_PAYLOAD, Entry, parse
from iavfio.virtchnl.messages.events import EVENT
from iavfio.virtchnl.messages.filters import ADD_ETH_ADDR
from iavfio.virtchnl.messages.message_type import Request
from iavfio.virtchnl.messages.queues import (
    CONFIG_IRQ_MAP,
    CONFIG_VSI_QUEUES,
    QueuePairConfig,
    VectorMap,
)
from iavfio.virtchnl.messages.registry import MESSAGES
from iavfio.virtchnl.messages.resources import GET_VF_RESOURCES, VERSION
from iavfio.virtchnl.messages.rss import CONFIG_RSS_LUT
from iavfio.virtchnl.status import status_name
from tests.virtchnl.fake_mailbox import VERSION_1_1, link_event, resources

ROOT = Path(__file__).parents[2]


def send(journal: Journal, request: Request[Any]) -> None:
    """Writes a request to VSI 1 down."""
    for payload in request.payloads(1):
        journal.sent(request.type.number, payload)


def filled() -> Journal:
    journal = Journal(clock=lambda: 1_700_000_000.25)
    pairs = [QueuePairConfig(q, 512, 128, 512, 256, 2048, 1522) for q in range(2)]
    journal.sent(VERSION.number, VERSION_1_1)
    journal.received(VERSION.number, 0, VERSION_1_1)
    journal.sent(GET_VF_RESOURCES.number, (0x10001).to_bytes(4, "little"))
    journal.adv_link_speed = True
    journal.received(GET_VF_RESOURCES.number, 0, resources(caps=0x80081))
    send(journal, CONFIG_VSI_QUEUES(pairs))
    journal.received(CONFIG_VSI_QUEUES.number, -5, b"")
    send(journal, CONFIG_IRQ_MAP([VectorMap(1, 3, 3)]))
    macs = [bytes.fromhex("020000000001"), bytes.fromhex("020000000002")]
    send(journal, ADD_ETH_ADDR(macs))
    send(journal, CONFIG_RSS_LUT([0, 1] * 32))
    journal.received(EVENT.number, 0, link_event(25000))
    journal.received(EVENT.number, 0, b"", "ignored")
    journal.received(99, 0, b"abc", "not asked for")
    journal.note("barrier after a timeout")
    return journal


def test_every_message_is_one_readable_line() -> None:
    assert [entry.text for entry in filled()] == [
        "VERSION 1.1",
        "VERSION ok 1.1",
        "GET_VF_RESOURCES 0x00010001 (L2 VLAN)",
        (
            "GET_VF_RESOURCES ok vsi 10, 4 pairs, 5 vectors, max 9728, key 52, lut 64, "
            "02:ba:dc:0f:fe:e0, 0x00080081 (L2 ADV_LINK_SPEED RSS_PF)"
        ),
        "CONFIG_VSI_QUEUES vsi 1, 2 pairs, ring 512/512, buffer 2048, max 1522",
        "CONFIG_VSI_QUEUES refused -5 (ERR_PARAM or EIO)",
        "CONFIG_IRQ_MAP 1 vectors, 1: rx 0x3 tx 0x3",
        "ADD_ETH_ADDR vsi 1, 2: 02:00:00:00:00:01 02:00:00:00:00:02",
        "CONFIG_RSS_LUT vsi 1, 64 entries over 2 queues (0..1)",
        "EVENT LINK_CHANGE up 25000 Mb/s",
        "EVENT malformed: it has 0 bytes, at least 16 are wanted [ignored]",
        "opcode 99 ok 3 bytes [not asked for]",
        "barrier after a timeout",
    ]


def test_lines_show_time_and_direction() -> None:
    lines = str(filled()).splitlines()
    assert lines[0].endswith(".250000 -> VERSION 1.1")
    assert ".250000 <- VERSION ok 1.1" in lines[1]
    assert lines[-1].endswith(".250000 -- barrier after a timeout")


def test_saved_journal_is_loaded_unchanged(tmp_path: Path) -> None:
    journal = filled()
    path = tmp_path / "journal.jsonl"
    journal.save(path)
    assert Journal.load(path) == tuple(journal)
    item = json.loads(path.read_text().splitlines()[0])
    assert (item["name"], item["hex"], item["direction"]) == ("VERSION", VERSION_1_1.hex(), "out")


@pytest.mark.parametrize(
    "line",
    ["no json", "[]", "{}", '{"direction": "up"}', '{"time": "x", "direction": "in"}', "7"],
)
def test_other_files_are_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(line)
    with pytest.raises(ConfigError, match="no mailbox journal"):
        Journal.load(path)


GOOD: dict[str, Any] = {"time": 1.5, "direction": "out", "opcode": 1, "status": 0}
GOOD |= {"hex": "", "note": "", "adv_link_speed": True}
WRONG: dict[str, list[Any]] = {
    "time": ["1", True, None, -1, 1e300, 10**400, 1 << 33, math.inf, math.nan],
    "opcode": [1.5, "12", True, -1, 1 << 32, 10**400, None, math.inf],
    "status": [0.0, "-5", False, 1 << 32, -(1 << 31) - 1, math.nan],
    "direction": ["up", 0, None, ["in"], {}],
    "hex": ["0", "zz", 7, None, [], "00" * (MOST_PAYLOAD + 1)],
    "note": [7, None, [], {}],
    "adv_link_speed": ["no", 0, 1, None, []],
}


@pytest.mark.parametrize("field", WRONG)
def test_values_of_a_journal_are_checked_and_never_converted(field: str) -> None:
    for told in WRONG[field]:
        with pytest.raises(ConfigError, match=f"'{field}' is|it is no JSON"):
            Entry.from_json(json.dumps(GOOD | {field: told}))


@pytest.mark.parametrize(
    ("field", "told"),
    [("time", 0), ("time", (1 << 33) - 1), ("opcode", (1 << 32) - 1), ("status", -(1 << 31))],
)
def test_values_at_the_ends_are_read(field: str, told: Any) -> None:
    entry = Entry.from_json(json.dumps(GOOD | {field: told}))
    assert getattr(entry, field) == told
    assert str(entry).isprintable()


@settings(max_examples=60, deadline=None)
@given(note=st.text(st.characters(exclude_categories=()), max_size=50))
def test_no_note_of_a_file_commands_a_terminal_or_makes_lines(note: str) -> None:
    for entry in parse([json.dumps(GOOD | {"note": note, "direction": "note"})]):
        assert str(entry).isprintable()
        str(entry).encode()
    assert parse([json.dumps(GOOD | {"note": note})])[0].text.isprintable()


@settings(max_examples=40, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(), st.lists))
def test_any_value_is_an_entry_or_told(value: Any) -> None:
    for line in (value, GOOD | {"time": value}, GOOD | {"hex": value, "note": value}):
        try:
            assert str(Entry.from_json(json.dumps(line))).isprintable()
        except ConfigError as error:
            assert len(str(error)) < 400


def test_a_file_without_an_end_is_no_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iavfio.virtchnl.journal.LARGEST", 1000)
    (tmp_path / "x").write_text("\n" * 1001)
    with pytest.raises(ConfigError, match="longer than 1000 bytes"):
        Journal.load(tmp_path / "x")
    (tmp_path / "x").write_text("\n" * 1000)
    assert Journal.load(tmp_path / "x") == ()


def test_journal_is_bounded() -> None:
    journal = Journal(capacity=4)
    for number in range(10):
        journal.note(str(number))
    assert [entry.text for entry in journal] == ["6", "7", "8", "9"]
    assert (len(journal), journal.dropped) == (4, 6)


def test_link_speed_is_read_as_it_was_granted_when_it_came() -> None:
    journal = Journal()
    journal.received(EVENT.number, 0, link_event(8))
    journal.adv_link_speed = True
    assert next(iter(journal)).text == "EVENT LINK_CHANGE up 10000 Mb/s"


def test_each_capability_is_one_bit_and_explains_itself() -> None:
    bits = [cap.bit for cap in CAPABILITIES]
    assert len(set(bits)) == len(bits) == 31
    assert all(bit.bit_count() == 1 for bit in bits)
    assert bits == sorted(bits)
    assert all(cap.gives and cap.without for cap in CAPABILITIES if cap.bit & WANTED)


def test_what_we_ask_for() -> None:
    # L2, WB_ON_ITR, REQ_QUEUES, ADV_LINK_SPEED, VLAN_V2, VLAN, RSS_PF, USO, RX_FLEX_DESC,
    # ADV_RSS_PF.
    assert WANTED == 0x0E0980E1
    assert ESSENTIAL == 0x00010001
    assert ESSENTIAL & ~WANTED == 0
    # An XXV710 in the field answered the VPP word with this one.
    report = CapabilityReport(WANTED, 0xB0081)
    denied = [cap.name for cap in report.denied]
    assert denied == [
        *("WB_ON_ITR", "REQ_QUEUES", "VLAN_V2", "USO", "RX_FLEX_DESC"),
        "ADV_RSS_PF",
    ]
    assert [cap.name for cap in report.unasked] == ["RX_POLLING"]
    assert "a polling driver must run an ITR" in str(report)
    assert CapabilityReport(1, 0x81).unasked[0].name == "ADV_LINK_SPEED"


@pytest.mark.parametrize(
    "cap", [cap for cap in CAPABILITIES if cap.bit & WANTED], ids=lambda cap: cap.name
)
def test_what_is_asked_for_is_used(cap: Capability) -> None:
    """A PF may refuse a VF for asking: i40e in MFP mode refuses RX_POLLING."""
    if cap.name == "USO":
        return  # asked for the sake of i40e's default MAC address, which it takes away otherwise
    if any(row.gate == cap.bit for row in MESSAGES.values()):
        return
    readers = [
        path
        for room in ("port", "datapath", "virtchnl")
        for path in (ROOT / "iavfio" / room).rglob("*.py")
        if path.name != "capabilities.py"
        and f"VC_CAP_{cap.name}" in path.read_text(encoding="utf-8")
    ]
    assert readers != []


def test_capability_names() -> None:
    assert cap_names(0) == "none"
    assert cap_names(0x80000001) == "L2 PTP"
    assert cap_names(0x4) == "0x4"


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (0, "SUCCESS"),
        (-5, "ERR_PARAM or EIO"),
        (-18, "ERR_NO_MEMORY"),
        (-64, "ERR_NOT_SUPPORTED"),
        (-53, "ERR_ADMIN_QUEUE_ERROR"),
        (-22, "EINVAL"),
        (-1, "EPERM"),
        (-95, "EOPNOTSUPP"),
        (-12, "ENOMEM"),
        (12, "admin queue code"),
        (-7777, "unknown"),
    ],
)
def test_status_names(status: int, name: str) -> None:
    assert status_name(status) in (name, name.replace("EOPNOTSUPP", "ENOTSUP"))
