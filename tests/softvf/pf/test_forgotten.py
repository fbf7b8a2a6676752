# SPDX-License-Identifier: BSD-3-Clause
"""What a VF set up is gone after a reset, one setting at a time, and how the PF gets there.

The rules are those of docs/spec/virtchnl.md 8 and docs/spec/registers.md 8.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from tests.softvf.pf.pf_rig import (
    CARDS,
    LINUX_CAPS,
    Rig,
    config_queues,
    irq_map,
    macs,
    pair,
    promisc,
    rig,
    rss_cfg,
    rss_key,
    rss_lut,
    select,
    setting,
    vlan_filters,
    vlans,
)

V1 = LINUX_CAPS & ~(1 << 15)
RX_POLLING = 1 << 17
PORT_TAG, OUTER = 0x8100, 0x88A8
RESETS: dict[str, Callable[[Rig], object]] = {
    "RESET_VF": lambda pf: pf.say(2),
    "FLR": lambda pf: pf.pf.flr(0),
}
Say = tuple[int, Callable[[int], bytes]]
EVERY_CARD: dict[str, Say] = {
    "MAC": (10, lambda vsi: macs(vsi, "02:00:00:00:00:31")),
    "unicast promiscuity": (14, lambda vsi: promisc(vsi, 1)),
    "all-multicast": (14, lambda vsi: promisc(vsi, 2)),
    "VLAN": (12, lambda vsi: vlans(vsi, 5)),
    "stripping off": (28, lambda vsi: b""),
    "RSS key": (23, lambda vsi: rss_key(vsi, b"\1" * 52)),
    "RSS table": (24, lambda vsi: rss_lut(vsi, b"\1" + bytes(63))),
    "RSS classes": (26, lambda vsi: struct.pack("<Q", 1 << 33)),
}
ICE: dict[str, Say] = {
    "symmetric hash": (18, lambda vsi: struct.pack("<HHI", vsi, 2, 0)),
    "filter of an outer tag": (52, lambda vsi: vlan_filters(vsi, (0, 0, 7, OUTER))),
    "stripping of an outer tag": (54, lambda vsi: setting(vsi, outer=2)),
    "insertion of an outer tag": (56, lambda vsi: setting(vsi, outer=2)),
}
each_reset = pytest.mark.parametrize("how", RESETS)


def after(pf: Rig, how: str) -> None:
    RESETS[how](pf)
    pf.clock.advance(1000)


def check_forgotten(pf: Rig, caps: int, said: Say, how: str) -> None:
    at_first = pf.config
    pf.negotiate(caps)
    if caps & 1 << 15:
        assert pf.status(51) == 0
    before = pf.config
    opcode, payload = said
    assert pf.status(opcode, payload(pf.vsi)) == 0
    assert pf.config != before, "the setting does something"
    after(pf, how)
    assert pf.config == at_first
    pf.negotiate(caps)
    assert pf.config == before, "nor does it come back with the capabilities"


@each_reset
@pytest.mark.parametrize("name", EVERY_CARD)
@pytest.mark.parametrize("card", CARDS)
def test_a_setting(card: str, name: str, how: str) -> None:
    with rig(card, trusted=True) as pf:
        check_forgotten(pf, V1, EVERY_CARD[name], how)


@each_reset
@pytest.mark.parametrize("name", ICE)
def test_a_setting_of_ice(name: str, how: str) -> None:
    with rig("e810", trusted=True, double_vlan=True) as pf:
        check_forgotten(pf, LINUX_CAPS, ICE[name], how)


@each_reset
def test_rules_for_rss_are_not_forgotten(how: str) -> None:
    """docs/spec/pf-dialects.md 9: ice keeps them with the VSI, for whoever comes next."""
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(45, rss_cfg((4, 3))) == 0
        (rule,) = pf.config.rules
        after(pf, how)
        assert pf.config.rules == (rule,)
        pf.negotiate()
        assert pf.config.rules == (rule,)
        assert pf.status(46, rss_cfg((4, 3))) == 0
        assert not pf.config.rules


@each_reset
def test_rules_for_rss_go_with_the_vsi_of_linux_6_1(how: str) -> None:
    with rig("e810", pf_kernel="6.1") as pf:
        assert pf.status(1, struct.pack("<II", 1, 1)) == 0
        assert pf.status(3, struct.pack("<I", LINUX_CAPS)) == 0
        assert pf.status(45, rss_cfg((4, 3))) == 0
        assert len(pf.config.rules) == 1
        after(pf, how)
        assert not pf.config.rules


@each_reset
def test_vlan_capabilities_must_be_asked_again(how: str) -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(51) == 0
        assert pf.status(54, setting(1, inner=1)) == 0
        after(pf, how)
        pf.negotiate()
        assert pf.status(54, setting(1, inner=1)) == -5
        assert pf.status(52, vlan_filters(1, (7, PORT_TAG, 0, 0))) == -5


@each_reset
def test_queues_are_on_no_vector(how: str) -> None:
    with rig("e810") as pf:
        for _ in range(2):
            pf.negotiate()
            notes = len(pf.notes)
            assert pf.status(6, config_queues(1, pair(1, 0))) == 0
            assert pf.status(8, select(1, 1, 1)) == 0
            assert [text for text in pf.notes[notes:] if "on no vector" in text] != []
            assert pf.status(7, irq_map((1, 1, 1, 1, 0, 1))) == 0
            after(pf, how)


@each_reset
def test_an_address_that_is_half_deleted_is_not_known_any_more(how: str) -> None:
    first, second, unknown = (f"02:00:00:00:01:{n:02x}" for n in (1, 2, 9))
    with rig("x710", mac="zero") as pf:
        pf.negotiate()
        assert pf.status(10, macs(10, first, second)) == 0
        assert pf.status(11, macs(10, first, unknown)) == -22
        after(pf, how)
        pf.negotiate()
        assert pf.status(11, macs(10, first)) == -22


@each_reset
def test_rx_polling_is_off_until_it_is_granted_again(how: str) -> None:
    with rig("x710") as pf:
        pf.negotiate(LINUX_CAPS | RX_POLLING)
        assert pf.plane.calls[-1] == ("rx_polling", 0, True)
        after(pf, how)
        assert [call for call in pf.plane.calls if call[0] == "rx_polling"][-1][2] is False


# ---- the steps


@each_reset
@pytest.mark.parametrize("card", CARDS)
def test_the_vf_is_set_up_before_it_is_told(
    card: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the reset runs the switch leaves the VF out; VFACTIVE says that all is there."""
    with rig(card, mac="set") as pf:
        pf.negotiate()
        own = pf.config.macs or (pf.personality.default_mac(0),)
        seen: list[tuple[int, str, bool, tuple[bytes, ...]]] = []
        hardware, plane = pf.hardware[0], pf.plane
        told, published = hardware.set_rstat, plane.publish

        def set_rstat(state: int) -> None:
            seen.append((state, pf.snapshot()["state"], pf.config.active, pf.config.macs))
            told(state)

        def publish(vf: int, config: Any) -> None:
            published(vf, config)
            seen.append((0, pf.snapshot()["state"], config.active, ()))

        monkeypatch.setattr(hardware, "set_rstat", set_rstat)
        monkeypatch.setattr(plane, "publish", publish)
        after(pf, how)
        assert [step[:3] for step in seen] == [
            (0, "resetting", False),
            (1, "resetting", False),
            (0, "init", False),
            (2, "init", False),
        ]
        assert seen[-1][3] == pf.config.macs
        assert pf.config.macs == (own if card == "e810" or pf.config.macs else ())


@each_reset
def test_what_waits_for_its_answer_gets_none(how: str) -> None:
    with rig("e810", answer_ms=20) as pf:
        pf.pf.message(0, 1, struct.pack("<II", 1, 1))
        pf.pf.message(0, 15, select(1, 0, 0))
        if how == "FLR":
            pf.pf.flr(0)
        else:
            pf.pf.control({"command": "reset", "vf": 0, "notify": False})
        pf.clock.advance(1000)
        assert pf.hardware[0].sent == []
        assert pf.hardware[0].rstat[-1] == 2
