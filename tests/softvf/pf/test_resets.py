# SPDX-License-Identifier: BSD-3-Clause
"""Resets from notice to VFACTIVE, what they forget and keep, MDD (docs/spec/virtchnl.md 8, 9)."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tests.softvf.pf.pf_rig import (
    CARDS,
    EVENT,
    LINUX_CAPS,
    RESET_IMPENDING,
    Rig,
    config_queues,
    macs,
    pair,
    promisc,
    rig,
    rss_key,
    select,
    vlans,
)

V1 = LINUX_CAPS & ~(1 << 15)
NOTICE = (EVENT, 0, RESET_IMPENDING)
RESET_MS = {"e810": 30, "x710": 60, "x722": 60}


def admin(pf: Rig, command: str, **more: Any) -> dict[str, Any]:
    return pf.pf.control({"command": command, "vf": 0} | more)


@pytest.mark.parametrize("card", CARDS)
def test_reset_vf(card: str) -> None:
    with rig(card) as pf:
        hw = pf.hardware[0]
        pf.negotiate()
        hw.rstat.clear()
        assert pf.say(2) == []  # never answered, no notice
        assert (hw.begun, hw.rstat) == (1, [0])
        assert pf.snapshot()["state"] == "resetting"
        pf.clock.advance(RESET_MS[card] - 1)
        assert hw.rstat == [0]
        pf.clock.advance(2)
        assert hw.rstat == [0, 1, 2]
        assert pf.snapshot()["state"] == "init"
        assert pf.violations == []


def test_the_hardware_half_waits_for_the_event_in_hand() -> None:
    with rig("e810") as pf:
        pf.pf.message(0, 2, b"")
        assert pf.hardware[0].begun == 0
        pf.clock.advance(0)
        assert pf.hardware[0].begun == 1


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("how", ["RESET_VF", "FLR", "administrator"])
def test_what_a_reset_forgets_and_keeps(card: str, how: str) -> None:
    with rig(card, trusted=True) as pf:
        admin(pf, "mac", mac="02:00:00:00:00:99")
        pf.clock.advance(1000)
        pf.negotiate(V1)
        vsi = pf.vsi
        for opcode, payload in (
            (10, macs(vsi, "02:00:00:00:00:01")),
            (12, vlans(vsi, 5)),
            (14, promisc(vsi, 3)),
            (23, rss_key(vsi, b"\1" * 52)),
            (6, config_queues(vsi, pair(vsi, 0))),
            (8, select(vsi, 1, 1)),
        ):
            assert pf.status(opcode, payload) == 0
        if how == "RESET_VF":
            pf.say(2)
        elif how == "FLR":
            pf.pf.flr(0)
        else:
            admin(pf, "reset")
        pf.clock.advance(1000)
        config = pf.config
        assert config.macs == (bytes.fromhex("020000000099"),)
        assert (config.vlans, config.promisc_unicast, config.active) == (frozenset(), False, False)
        assert config.rss_key != b"\1" * 52
        state = pf.snapshot()
        assert state["queues"]["enabled_rx"] == state["queues"]["configured_tx"] == []
        assert (state["trusted"], state["caps"], state["version"]) == (True, 0, [1, 1])


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize(
    ("command", "change"),
    [("trust", {"on": True}), ("mac", {"mac": "02:00:00:00:00:07"}), ("vlan", {"vlan": 9})],
)
def test_changes_of_the_administrator_reset_the_vf(
    card: str, command: str, change: dict[str, Any]
) -> None:
    with rig(card) as pf:
        pf.negotiate()
        hw = pf.hardware[0]
        hw.take()
        admin(pf, command, **change)
        assert hw.take() == [NOTICE]
        assert hw.begun == 0  # the notice goes ahead
        pf.clock.advance(1)
        assert hw.begun == 1
        pf.clock.advance(RESET_MS[card])
        assert hw.rstat[-2:] == [1, 2]
        admin(pf, "spoofchk", on=False)
        if command != "mac":
            admin(pf, command, **change)  # no change, no reset
        assert (hw.begun, hw.take()) == (1, [])
        assert pf.config.spoof_check is False


def test_resets_without_notice() -> None:
    with rig("e810", notify=False) as pf:
        admin(pf, "trust", on=True)
        pf.clock.advance(0)
        assert (pf.hardware[0].sent, pf.hardware[0].begun) == ([], 1)
    with rig("e810") as pf:
        admin(pf, "reset", notify=False, latency_ms=5)
        pf.clock.advance(5)
        assert pf.hardware[0].sent == []
        assert pf.hardware[0].rstat[-3:] == [0, 1, 2]


def test_repeated_notices() -> None:
    with rig("e810", notices=4) as pf:
        admin(pf, "reset")
        assert pf.hardware[0].sent == [NOTICE] * 4


def test_completed_can_be_seen_for_a_while() -> None:
    with rig("x710", completed_ms=10, reset_ms=1) as pf:
        pf.say(2)
        pf.clock.advance(2)
        assert pf.hardware[0].rstat[-2:] == [0, 1]
        pf.clock.advance(10)
        assert pf.hardware[0].rstat[-1] == 2


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize(
    ("kind", "times"), [("pfr", 10), ("corer", 20), ("globr", 40), ("empr", 80)]
)
def test_pf_resets_take_all_vfs_and_longer(card: str, kind: str, times: int) -> None:
    with rig(card, vfs=3, reset_ms=1) as pf:
        assert pf.pf.control({"command": "pf_reset", "kind": kind}) == {"latency_ms": times}
        pf.clock.advance(times)
        assert [hw.rstat[-1] for hw in pf.hardware] == [0, 0, 0]
        assert [hw.sent for hw in pf.hardware] == [[NOTICE]] * 3
        pf.clock.advance(2)
        assert [hw.rstat[-1] for hw in pf.hardware] == [2, 2, 2]


def test_messages_during_a_reset() -> None:
    for card, habit, answers in (
        ("e810", "answer", [(3, -5, b"")]),
        ("e810", "drop", []),
        ("x710", "answer", []),
    ):
        with rig(card, reset_messages=habit) as pf:
            pf.negotiate()
            pf.say(2)
            assert pf.say(3, struct.pack("<I", 1)) == answers
            assert len(pf.violations) == 1


def test_messages_that_wait_for_the_end_of_a_reset() -> None:
    """As ice has it: answered after the reset, by the default allow-list."""
    with rig("e810", reset_messages="wait") as pf:
        pf.negotiate()
        pf.say(2)
        for opcode, payload in (
            (1, struct.pack("<II", 1, 1)),
            (15, bytes(12)),
            (3, struct.pack("<I", 1)),
        ):
            assert pf.say(opcode, payload) == []
        pf.clock.advance(1000)
        answers = [(op, status) for op, status, _ in pf.hardware[0].take() if op != 17]
        assert answers == [(1, 0), (15, -64), (3, 0)]


def test_a_message_that_has_no_answer_yet_waits_for_the_end_of_a_reset() -> None:
    """It was no fault of the VF's, and is served in its turn, before what is said after it."""
    for habit, answers in (("wait", [(15, -64), (1, 0)]), ("answer", [(1, 0)])):
        with rig("e810", reset_messages=habit, answer_ms=20) as pf:
            pf.pf.message(0, 1, struct.pack("<II", 1, 1))
            pf.pf.message(0, 3, struct.pack("<I", 1))
            pf.clock.advance(500)
            pf.hardware[0].take()
            said = [*pf.violations]
            pf.pf.message(0, 15, select(1, 0, 0))
            admin(pf, "reset", notify=False)
            pf.clock.advance(pf.personality.reset_ms + 5)
            assert pf.hardware[0].rstat[-1] == 2
            assert pf.hardware[0].take() == []
            pf.pf.message(0, 1, struct.pack("<II", 1, 1))
            pf.clock.advance(500)
            sent = [(op, status) for op, status, _ in pf.hardware[0].take() if op != 17]
            assert sent == answers, habit
            assert pf.violations == said
            told = [note for note in pf.notes if "it was sent before the reset" in note]
            assert len(told) == (habit == "wait")


def test_what_waits_behind_a_reset_waits_for_its_end_as_well() -> None:
    with rig("e810", reset_messages="wait") as pf:
        pf.negotiate()
        pf.say(2)
        for opcode, payload in ((2, b""), (2, b""), (1, struct.pack("<II", 1, 1))):
            assert pf.say(opcode, payload) == []
        pf.clock.advance(5000)
        assert [(op, status) for op, status, _ in pf.hardware[0].take() if op != 17] == [(1, 0)]
        assert pf.pf.vfs[0].resets == 3


def test_resets_on_top_of_each_other_end_once() -> None:
    with rig("e810") as pf:
        hw = pf.hardware[0]
        pf.negotiate()
        admin(pf, "reset")
        admin(pf, "trust", on=True)  # announced already
        pf.say(2)  # cuts the notice short
        assert hw.begun == 1
        admin(pf, "mac", mac="02:00:00:00:00:07")
        pf.pf.flr(0)
        assert pf.clock.waiting == 1
        pf.clock.advance(1000)
        assert hw.begun == 1
        assert hw.rstat[-3:] == [0, 1, 2] and hw.rstat.count(2) == 2
        assert pf.config.macs == (bytes.fromhex("020000000007"),)
        assert hw.of_kind("violation") == []


def test_a_longer_reset_wins() -> None:
    with rig("e810") as pf:
        pf.pf.control({"command": "pf_reset", "kind": "pfr", "notify": False})
        pf.say(2)
        pf.clock.advance(290)
        assert pf.hardware[0].rstat[-1] == 0
        pf.clock.advance(20)
        assert pf.hardware[0].rstat[-1] == 2


# docs/spec/reliability.md D7
def test_an_flr_storm_is_bounded() -> None:
    with rig("e810") as pf:
        for _ in range(5000):
            pf.pf.flr(0)
        assert pf.clock.waiting == 1
        pf.clock.advance(31)
        assert pf.hardware[0].rstat == [2, 1, 2]
        assert len(pf.hardware[0].log) < 10


def test_resources_fail_for_a_while_after_a_reset() -> None:
    word = struct.pack("<I", LINUX_CAPS)
    for card in CARDS:
        with rig(card, resources_error_ms=50) as pf:
            pf.negotiate()
            pf.say(2)
            pf.clock.advance(100)
            pf.pf.flr(0)
            pf.clock.advance(RESET_MS[card])
            assert pf.status(3, word) == -5
            pf.clock.advance(60)
            assert pf.status(3, word) == 0
            assert pf.violations == []


# ---- disabled VFs


@pytest.mark.parametrize("card", ("x710", "x722"))
def test_mdd_on_i40e_silences_the_vf_until_an_flr(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        pf.pf.mdd(0, "Tx queue 0: frame of 10 bytes")
        assert pf.config.mdd_stopped and not pf.config.active
        assert pf.say(15, select(10, 0, 0)) == [] and pf.say(2) == []
        pf.clock.advance(1000)
        assert pf.hardware[0].begun == 0
        assert "malicious" in pf.snapshot()["disabled"]
        pf.pf.flr(0)
        pf.clock.advance(1000)
        pf.negotiate()
        assert not pf.config.mdd_stopped and pf.config.active


def test_mdd_on_ice_leaves_the_vf_alive() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        pf.pf.mdd(0, "Tx queue 0: frame of 10 bytes")
        assert pf.status(15, select(1, 0, 0)) == 0
        pf.say(2)
        pf.clock.advance(100)
        assert pf.hardware[0].rstat[-1] == 2


@pytest.mark.parametrize("card", CARDS)
def test_mdd_with_automatic_reset(card: str) -> None:
    with rig(card, mdd_auto_reset=True) as pf:
        pf.negotiate()
        pf.hardware[0].take()
        pf.pf.mdd(0, "Tx queue 0: frame of 10 bytes")
        assert pf.hardware[0].take() == [NOTICE]
        pf.clock.advance(100)
        assert pf.hardware[0].rstat[-3:] == [0, 1, 2]


@pytest.mark.parametrize("card", CARDS)
def test_old_pfs_count_failures(card: str) -> None:
    with rig(card, failure_limit=10) as pf:
        pf.negotiate()
        for _ in range(10):
            assert pf.status(15, b"") != 0
        assert pf.status(15, select(pf.vsi, 0, 0)) == 0  # starts from 0 again
        for _ in range(11):
            assert pf.status(15, b"") != 0
        assert pf.snapshot()["state"] == "disabled"
        answer = pf.say(15, select(pf.vsi, 0, 0))
        assert answer == ([(15, -5, b"")] if card == "e810" else [])
        admin(pf, "reset")
        pf.clock.advance(100)
        pf.negotiate()


def test_pf_driver_that_says_that_it_closes() -> None:
    """The event's bytes by docs/spec/virtchnl.md 6: kind 3, and the severity of what is certain."""
    with rig("e810", vfs=2) as pf:
        pf.negotiate()
        before = len(pf.hardware[0].sent)
        pf.pf.control({"command": "pf_driver", "state": "close"})
        ((opcode, status, payload),) = pf.hardware[0].sent[before:]
        assert (opcode, status, payload[:4]) == (17, 0, b"\3\0\0\0") and len(payload) == 16
        assert [hw.gone for hw in pf.hardware] == [False, False]


def test_pf_driver_unloaded_and_loaded() -> None:
    with rig("e810", vfs=2) as pf:
        pf.negotiate()
        admin(pf, "reset")
        pf.pf.control({"command": "pf_driver", "state": "unload"})
        assert [hw.gone for hw in pf.hardware] == [True, True]
        pf.clock.advance(1000)
        assert pf.hardware[0].begun == 0
        assert pf.say(15, select(1, 0, 0)) == []
        pf.pf.flr(0)
        assert pf.clock.waiting == 0
        pf.pf.control({"command": "pf_driver", "state": "load"})
        pf.clock.advance(1000)
        assert [hw.gone for hw in pf.hardware] == [False, False]
        assert [hw.rstat[-3:] for hw in pf.hardware] == [[0, 1, 2]] * 2


# ---- mailbox manners


def test_one_message_at_a_time() -> None:
    with rig("e810", answer_ms=5) as pf:
        pf.pf.message(0, 1, struct.pack("<II", 1, 1))
        pf.pf.message(0, 3, struct.pack("<I", 1))
        assert pf.hardware[0].sent == []
        assert "VERSION (1)" in pf.violations[0]
        pf.clock.advance(5)
        assert [each[0] for each in pf.hardware[0].sent] == [1]
        pf.clock.advance(5)
        assert [each[0] for each in pf.hardware[0].sent] == [1, 3, EVENT]
        pf.pf.message(0, 15, select(1, 0, 0))
        pf.pf.queue_shutdown(0)
        pf.clock.advance(50)
        assert len(pf.hardware[0].sent) == 3


def test_ice_ignores_a_flood_until_a_reset() -> None:
    with rig("e810") as pf:
        for _ in range(100):
            pf.pf.message(0, 1, struct.pack("<II", 1, 1))
        assert len(pf.hardware[0].take()) == 62
        pf.clock.advance(10)
        assert pf.say(1, struct.pack("<II", 1, 1)) == []
        assert len(pf.violations) == 1
        pf.pf.flr(0)
        pf.clock.advance(100)
        pf.negotiate()


def test_many_messages_one_after_the_other_are_no_flood() -> None:
    with rig("e810") as pf:
        for _ in range(200):
            assert pf.status(1, struct.pack("<II", 1, 1)) == 0
        assert pf.violations == []
