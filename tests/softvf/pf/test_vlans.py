# SPDX-License-Identifier: BSD-3-Clause
"""VLAN filters and offloads, plain and V2."""

from __future__ import annotations

import struct

import pytest

from tests.softvf.pf.pf_rig import (
    CARDS,
    I40E,
    LINUX_CAPS,
    PARAM,
    config_queues,
    pair,
    rig,
    setting,
    vlan_filters,
    vlans,
)

V1 = LINUX_CAPS & ~(1 << 15)


# ---- plain VLAN


@pytest.mark.parametrize("card", CARDS)
def test_vlan_filters(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate(V1)
        assert pf.config.vlans == frozenset()
        assert pf.status(12, vlans(pf.vsi, 5, 4095, 0)) == 0
        assert pf.config.vlans == {(0x8100, 5), (0x8100, 4095)}
        assert pf.status(12, vlans(pf.vsi, 4096)) == PARAM[card]
        assert pf.status(13, vlans(pf.vsi, 5, 77)) == 0
        assert pf.config.vlans == {(0x8100, 4095)}


@pytest.mark.parametrize("card", I40E)
def test_i40e_looks_at_the_limit_once_a_message(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate(V1)
        assert pf.status(12, vlans(pf.vsi, *range(1, 21))) == 0
        assert len(pf.config.vlans) == 20
        for vsi, vid in ((pf.vsi, 30), (pf.vsi, 4096), (99, 31)):  # nothing of it is looked at
            assert pf.status(12, vlans(vsi, vid)) == 0
        assert len(pf.config.vlans) == 20
        assert pf.violations == [] and len(pf.notes) == 3


@pytest.mark.parametrize("card", I40E)
def test_i40e_counts_entries_and_not_filters(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate(V1)
        assert pf.status(12, vlans(pf.vsi, *[5] * 15, 0)) == 0
        assert pf.status(12, vlans(pf.vsi, 6)) == 0
        assert pf.config.vlans == {(0x8100, 5)}
        assert pf.status(13, vlans(pf.vsi, *range(100, 116))) == 0  # none of them is there
        assert pf.status(12, vlans(pf.vsi, 6)) == 0
        assert pf.config.vlans == {(0x8100, 5), (0x8100, 6)}


@pytest.mark.parametrize("card", I40E)
def test_on_i40e_a_deletion_too_many_ends_all_additions(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate(V1)
        assert pf.status(13, vlans(pf.vsi, 5)) == 0
        assert pf.status(12, vlans(pf.vsi, 6)) == 0
        assert pf.config.vlans == set()
        pf.pf.flr(0)
        pf.clock.advance(1000)
        pf.negotiate(V1)
        assert pf.status(12, vlans(pf.vsi, 6)) == 0
        assert pf.config.vlans == {(0x8100, 6)}


@pytest.mark.parametrize(("card", "limit"), [("e810", 7)])
def test_too_many_vlans_are_reported_as_success(card: str, limit: int) -> None:
    with rig(card) as pf:
        pf.negotiate(V1)
        assert pf.status(12, vlans(pf.vsi, *range(1, 21))) == 0
        assert pf.config.vlans == {(0x8100, vid) for vid in range(1, limit + 1)}
        assert pf.violations == [] and len(pf.notes) == 1


@pytest.mark.parametrize("card", CARDS)
def test_stripping(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate(V1)
        assert pf.config.strip == "l2tag1"
        assert pf.status(28) == 0
        assert pf.config.strip == "none"
        assert pf.status(27) == 0
        assert pf.config.strip == "l2tag1"


def test_on_i40e_a_vlan_filter_turns_stripping_on() -> None:
    for card, strip in (("x710", "l2tag1"), ("e810", "none")):
        with rig(card) as pf:
            pf.negotiate(V1)
            pf.status(28)
            pf.status(12, vlans(pf.vsi, 5))
            assert pf.config.strip == strip


def test_port_vlan_forbids_what_the_vf_granted_by_an_old_pf_tries() -> None:
    with rig("x710", pf_kernel="oot") as pf:
        pf.pf.control({"command": "vlan", "vf": 0, "vlan": 1100})
        pf.clock.advance(1000)
        pf.negotiate()
        assert pf.config.port_vlan == 1100 and pf.config.strip == "none"
        assert pf.status(28) == -5
        assert pf.status(12, vlans(10, 5)) == -5
        assert pf.violations == []


def test_stripping_refused_by_option() -> None:
    with rig("x710", strip_refused=True) as pf:
        pf.negotiate()
        assert pf.status(28) == -22
    with rig("e810", strip_refused=True) as pf:
        pf.negotiate()
        pf.status(51)
        assert pf.status(54, setting(1, inner=1)) == -5


def test_stripping_and_a_kept_crc_exclude_each_other() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        pf.status(51)
        assert pf.status(6, config_queues(1, pair(1, 0, crc=1))) == 0
        assert pf.status(54, setting(1, inner=1)) == -64
        assert pf.status(6, config_queues(1, pair(1, 0))) == 0
        assert pf.status(54, setting(1, inner=1)) == 0
        assert pf.status(6, config_queues(1, pair(1, 0, crc=1))) == -5


# ---- VLAN V2


def test_single_vlan_capabilities_byte_by_byte() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        status, caps = pf.ask(51)
    assert status == 0
    assert caps.hex() == (
        "00000000010000000100000008000000"
        "000000000101008000000000010100800100000000000000"
    )  # fmt: skip


def test_double_vlan_capabilities_byte_by_byte() -> None:
    with rig("e810", double_vlan=True, trusted=True) as pf:
        pf.negotiate()
        caps = pf.ask(51)[1]
    assert caps.hex() == (
        "07000020000000000700000000100000"
        "070400c001010080070200c0010100800100000000000000"
    )  # fmt: skip


def test_a_port_vlan_leaves_nothing_to_offer() -> None:
    with rig("e810") as pf:
        pf.pf.control({"command": "vlan", "vf": 0, "vlan": 5})
        pf.clock.advance(1000)
        pf.negotiate()
        assert pf.ask(51)[1] == bytes(40)
        assert pf.status(52, vlan_filters(1, (7, 0x8100, 0, 0))) == -5


def test_v2_messages_before_the_capabilities_are_asked() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(54, setting(1, inner=1)) == -5
        assert pf.status(52, vlan_filters(1, (7, 0x8100, 0, 0))) == -5
        assert "not supported" in pf.violations[0]
        assert "the VF may have 0" in pf.notes[-1]
        assert len(pf.violations) == 1


def test_v2_filters() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        pf.status(51)
        tag = 0x8100
        assert pf.status(52, vlan_filters(1, (7, tag, 0, 0), (8, tag, 0, 0))) == 0
        assert pf.config.vlans == {(tag, 7), (tag, 8)}
        assert pf.status(53, vlan_filters(1, (7, tag, 0, 0))) == 0
        assert pf.config.vlans == {(tag, 8)}
        for wrong in (
            (7, 0x88A8, 0, 0),
            (0, 0, 7, tag),
            (7, tag, 8, tag),
            (0x2007, tag, 0, 0),
        ):
            assert pf.status(52, vlan_filters(1, wrong)) == -5
        assert pf.status(52, vlan_filters(1, *((v, tag, 0, 0) for v in range(1, 9)))) == -5
        assert pf.config.vlans == {(tag, 8)}
        # Id 0 is let pass and does nothing, alone or among others (docs/spec/virtchnl.md 9).
        assert pf.status(52, vlan_filters(1, (0, tag, 0, 0))) == 0
        assert pf.status(52, vlan_filters(1, (9, tag, 0, 0), (0, tag, 0, 0))) == 0
        assert pf.status(53, vlan_filters(1, (0, tag, 0, 0))) == 0
        assert pf.status(52, vlan_filters(1, (7, 0, 0, 0))) == 0  # a tag without a TPID as well
        assert pf.config.vlans == {(tag, 8), (tag, 9)}


def test_v2_offloads() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        pf.status(51)
        assert pf.config.strip == "none"
        assert pf.status(54, setting(1, inner=1)) == 0
        assert pf.config.strip == "l2tag1"
        assert pf.status(56, setting(1, inner=1)) == 0
        assert pf.status(57, setting(1, inner=1)) == 0
        assert pf.status(55, setting(1, inner=1)) == 0
        assert pf.config.strip == "none"
        for wrong in (setting(1), setting(1, inner=2), setting(1, outer=1), setting(2, inner=1),
                      setting(1, inner=3), setting(1, inner=1 << 31)):  # fmt: skip
            assert pf.status(54, wrong) == -5


def test_v2_offloads_of_a_double_vlan_device() -> None:
    with rig("e810", double_vlan=True) as pf:
        pf.negotiate()
        pf.status(51)
        assert pf.status(54, setting(1, outer=2)) == 0
        assert (pf.config.strip, pf.config.strip_tpids) == ("l2tag2_2", (0x88A8,))
        assert pf.violations == []
        assert pf.status(56, setting(1, outer=1)) == 0  # ice does not look whether the two match
        assert "while 0x88a8 is stripped" in pf.violations[0]
        assert pf.status(56, setting(1, outer=2)) == 0
        assert pf.config.insert_tpid == 0x88A8
        assert pf.status(54, setting(1, outer=3)) == -5  # one at a time
        assert pf.status(54, setting(1, inner=1)) == 0
        assert pf.config.strip == "l2tag1"


def test_a_port_vlan_leaves_stripping_as_it_is_without_a_word_on_i40e() -> None:
    for pf_kernel, status in (("6.12", 0), ("oot", -5)):
        with rig("x710", pf_kernel=pf_kernel) as pf:
            pf.pf.control({"command": "vlan", "vf": 0, "vlan": 100})
            pf.clock.advance(1000)
            pf.negotiate(V1)
            before = pf.config.strip
            for opcode in (27, 28):
                assert pf.status(opcode) == status
                assert pf.config.strip == before


@pytest.mark.parametrize(
    ("card", "double_vlan", "strip"),
    [
        ("e810", False, "l2tag1"),
        ("e810", True, "none"),
        ("x710", False, "l2tag1"),
        ("x722", False, "l2tag1"),
    ],
)
def test_tags_are_stripped_from_the_reset_on(card: str, double_vlan: bool, strip: str) -> None:
    with rig(card, double_vlan=double_vlan) as pf:
        assert pf.config.strip == strip


OUTER, INNER = "l2tag2_2", "l2tag1"


@pytest.mark.parametrize(
    ("asked", "left"),
    [(LINUX_CAPS, OUTER), (1, OUTER), (V1, "none")],
    ids=["VLAN V2", "neither", "plain"],
)
def test_outer_tags_are_stripped_over_get_vf_resources(asked: int, left: str) -> None:
    """ice decides anew for inner tags; a driver of plain VLANs gets no outer ones stripped."""
    with rig("e810", double_vlan=True) as pf:
        pf.negotiate()
        assert pf.status(51) == 0
        assert pf.status(54, setting(pf.vsi, outer=1)) == 0
        assert pf.config.strip == OUTER
        assert pf.status(3, struct.pack("<I", asked)) == 0
        assert pf.config.strip == left


def test_inner_tags_are_left_at_get_vf_resources() -> None:
    with rig("e810", double_vlan=True) as pf:
        pf.negotiate()
        assert pf.status(51) == 0
        assert pf.status(54, setting(pf.vsi, inner=1)) == 0
        assert pf.config.strip == INNER
        pf.negotiate()
        assert pf.config.strip == "none"


def test_plain_vlans_in_double_mode_give_inner_tags_the_outer_calls_until_a_reset() -> None:
    """Leaving inner tags is leaving outer ones then (ice_vf_vsi_cfg_dvm_legacy_vlan_mode)."""
    with rig("e810", double_vlan=True) as pf:
        pf.negotiate(V1)
        for left in ("none", OUTER):
            pf.negotiate()
            assert pf.status(51) == 0
            assert pf.status(54, setting(pf.vsi, outer=1)) == 0
            pf.negotiate()
            assert pf.config.strip == left
            assert pf.status(51) == 0
            assert pf.status(54, setting(pf.vsi, inner=1)) == 0
            assert pf.status(55, setting(pf.vsi, inner=1)) == 0
            assert pf.config.strip == (INNER if left == "none" else "none")
            pf.pf.flr(0)
            pf.clock.advance(500)


def test_one_type_of_outer_tags_is_stripped_and_inserted() -> None:
    """The card's VSI has room for one (docs/spec/pf-dialects.md 4); ice does not compare them."""
    with rig("e810", double_vlan=True) as pf:
        pf.negotiate()
        assert pf.ask(51)[0] == 0
        assert pf.status(54, setting(pf.vsi, outer=2)) == 0  # strip 88a8
        assert (pf.config.strip_tpids, pf.config.insert_tpid) == ((0x88A8,), 0x88A8)
        assert pf.status(56, setting(pf.vsi, outer=1)) == 0  # insert 8100
        assert (pf.config.strip_tpids, pf.config.insert_tpid) == ((0x8100,), 0x8100)
        assert pf.status(54, setting(pf.vsi, outer=4)) == 0
        assert pf.status(56, setting(pf.vsi, inner=1)) == 0, "an inner tag's type is its own"
        assert (pf.config.strip_tpids, pf.config.insert_tpid) == ((0x9100,), 0x9100)


def test_plain_vlans_behind_a_port_vlan_in_double_vlan_mode() -> None:
    """The VF's own tags are stripped, and filters of them are none (docs/spec/pf-dialects.md 4)."""
    with rig("e810", double_vlan=True) as pf:
        pf.pf.control({"command": "vlan", "vf": 0, "vlan": 100})
        pf.clock.advance(1000)
        pf.negotiate(V1)
        assert pf.config.strip == "l2tag1"
        for first in (1, 9):
            assert pf.status(12, vlans(pf.vsi, *range(first, first + 8))) == 0
        assert pf.config.vlans == frozenset()
        assert (pf.status(28), pf.config.strip) == (0, "none")
