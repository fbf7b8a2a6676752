# SPDX-License-Identifier: BSD-3-Clause
"""MACs, promiscuity, VLANs, RSS, stats: what each PF grants, refuses, and says it did."""

from __future__ import annotations

import struct

import pytest

from tests.softvf.pf.pf_rig import (
    LINUX_CAPS,
    Rig,
    config_queues,
    macs,
    pair,
    promisc,
    rig,
    rss_key,
    rss_lut,
    setting,
    vlan_filters,
    vlans,
)

CARDS = ("e810", "x710", "x722")
I40E = ("x710", "x722")
PARAM = {"e810": -5, "x710": -22, "x722": -22}
V1 = LINUX_CAPS & ~(1 << 15)
TOGGLE = 1 << 31


def mac(n: int) -> str:
    return f"02:00:00:00:01:{n:02x}"


def raw(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


# ---- MAC filters


@pytest.mark.parametrize("card", CARDS)
def test_add_and_delete(card: str) -> None:
    with rig(card, mac="zero") as pf:
        pf.negotiate()
        assert pf.status(10, macs(pf.vsi, mac(1), "01:00:5e:00:00:01")) == 0
        assert pf.config.macs == (raw(mac(1)), raw("01:00:5e:00:00:01"))
        assert pf.config.primary_mac == raw(mac(1))
        assert pf.status(10, macs(pf.vsi, mac(2), kind=1)) == 0
        assert pf.config.primary_mac == raw(mac(2))
        assert pf.status(11, macs(pf.vsi, mac(2))) == 0
        assert pf.config.primary_mac == raw(mac(1))
        assert pf.status(10, macs(pf.vsi, mac(1))) == 0  # again
        assert len(pf.config.macs) == 2
        assert pf.violations == [] and pf.notes == []


def test_addresses_that_cannot_be() -> None:
    bad = ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff")
    for address in bad:
        with rig("x710") as pf:
            pf.negotiate()
            before = pf.config.macs
            assert pf.status(10, macs(10, mac(1), address)) == -22
            assert pf.config.macs == before  # the whole message is refused
        with rig("e810") as pf:
            pf.negotiate()
            assert pf.status(10, macs(1, address, mac(1))) == 0
            assert pf.config.macs == (raw(mac(1)),)


def test_deleting_what_is_not_there() -> None:
    with rig("x710") as pf:
        pf.negotiate()
        assert pf.status(11, macs(10, mac(1))) == -22
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(11, macs(1, mac(1))) == 0


REFUSED = {"e810": -5, "x710": -1, "x722": -1}


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize(("own", "most"), [("zero", 17), ("set", 16)])
def test_an_untrusted_vf_has_18_filters_with_broadcast_and_its_default_address(
    card: str, own: str, most: int
) -> None:
    with rig(card, mac=own) as pf:
        pf.negotiate()
        for n in range(most):
            assert pf.status(10, macs(pf.vsi, mac(n))) == 0
        assert pf.status(10, macs(pf.vsi, mac(most))) == REFUSED[card]
        assert len(pf.config.macs) == 17
        assert pf.violations == [] and len(pf.notes) == 1
    with rig(card, mac=own) as pf:  # the same in one message
        pf.negotiate()
        assert pf.status(10, macs(pf.vsi, *map(mac, range(most)))) == 0
    with rig(card, mac=own) as pf:
        pf.negotiate()
        before = pf.config.macs
        assert pf.status(10, macs(pf.vsi, *map(mac, range(most + 1)))) == REFUSED[card]
        if card == "e810":
            assert pf.config.macs == before  # ice judges the number first
        else:
            assert len(pf.config.macs) == 17  # i40e adds up to the first that is too many


def test_ice_counts_addresses_again_that_are_there_already() -> None:
    with rig("e810", mac="zero") as pf:
        pf.negotiate()
        assert pf.status(10, macs(1, *map(mac, range(9)))) == 0
        assert pf.status(10, macs(1, *map(mac, range(9)))) == -5
        assert pf.status(10, macs(1, *map(mac, range(8)))) == 0
    with rig("x710", mac="zero") as pf:
        pf.negotiate()
        for _ in range(3):
            assert pf.status(10, macs(10, *map(mac, range(17)))) == 0


def test_deleted_addresses_make_room() -> None:
    for card in CARDS:
        with rig(card, mac="zero") as pf:
            pf.negotiate()
            for _ in range(3):
                assert pf.status(10, macs(pf.vsi, *map(mac, range(17)))) == 0
                assert pf.status(11, macs(pf.vsi, *map(mac, range(17)))) == 0
            assert pf.config.macs == ()


@pytest.mark.parametrize("card", ["x710", "x722"])
def test_i40e_has_deleted_what_stands_before_an_unknown_address(card: str) -> None:
    with rig(card, mac="zero") as pf:
        pf.negotiate()
        assert pf.status(10, macs(pf.vsi, mac(1), mac(2), mac(3))) == 0
        assert pf.status(11, macs(pf.vsi, mac(1), mac(9), mac(2))) == -22
        assert pf.config.macs == (raw(mac(2)), raw(mac(3)))
        # Marked and not yet out of the list, it can be deleted once more.
        assert pf.status(11, macs(pf.vsi, mac(1))) == 0
        assert pf.status(11, macs(pf.vsi, mac(1))) == -22


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("trusted", [False, True])
def test_an_address_of_the_administrators_is_kept_without_a_word(card: str, trusted: bool) -> None:
    with rig(card, trusted=trusted) as pf:
        pf.pf.control({"command": "mac", "vf": 0, "mac": mac(9)})
        pf.clock.advance(1000)
        pf.negotiate()
        assert pf.status(11, macs(pf.vsi, mac(9))) == 0
        gone = card == "e810" and trusted
        assert list(pf.config.macs) == ([] if gone else [raw(mac(9))])


# ---- the VF's own address


def default_mac(pf: Rig) -> str:
    """What GET_VF_RESOURCES tells, after whatever reset was under way."""
    pf.clock.advance(1000)
    return pf.negotiate()[30:36].hex(":")


@pytest.mark.parametrize("card", CARDS)
def test_the_vfs_own_address_outlives_resets_and_its_user(card: str) -> None:
    with rig(card, mac="zero") as pf:
        pf.negotiate()
        assert pf.status(10, macs(pf.vsi, mac(1), kind=1)) == 0
        assert pf.status(10, macs(pf.vsi, mac(2))) == 0
        pf.say(2)
        assert default_mac(pf) == mac(1)
        assert pf.config.macs == (raw(mac(1)),)  # the other is forgotten
        pf.pf.client_gone(0)
        pf.pf.flr(0)
        assert default_mac(pf) == mac(1)
        assert pf.status(11, macs(pf.vsi, mac(1))) == 0  # taken back
        pf.pf.flr(0)
        assert default_mac(pf) == "00:00:00:00:00:00"
        assert len(pf.config.macs) == 0


@pytest.mark.parametrize("card", CARDS)
def test_an_extra_address_is_not_the_vfs_own_on_ice(card: str) -> None:
    """i40e takes the first unicast address, whatever its kind; ice one of the legacy kind."""
    for kind, own in ((2, card != "e810"), (0, True)):
        with rig(card, mac="zero") as pf:
            pf.negotiate()
            assert pf.status(10, macs(pf.vsi, "01:00:5e:00:00:01", mac(1), mac(2), kind=kind)) == 0
            pf.pf.flr(0)
            assert default_mac(pf) == (mac(1) if own else "00:00:00:00:00:00")


@pytest.mark.parametrize("card", CARDS)
def test_the_administrators_address_replaces_the_vfs_own(card: str) -> None:
    with rig(card, mac="zero") as pf:
        pf.negotiate()
        assert pf.status(10, macs(pf.vsi, mac(1), kind=1)) == 0
        pf.pf.control({"command": "mac", "vf": 0, "mac": mac(9)})
        assert default_mac(pf) == mac(9)
        pf.pf.control({"command": "mac", "vf": 0, "mac": "00:00:00:00:00:00"})
        assert default_mac(pf) == "00:00:00:00:00:00"


# ---- the limits of a trusted VF, and the administrator's word


@pytest.mark.parametrize(("card", "status"), [("e810", -53), ("x710", -28), ("x722", -28)])
def test_a_trusted_vf_has_what_the_switch_holds(card: str, status: int) -> None:
    with rig(card, mac="zero", trusted=True) as pf:
        pf.negotiate()
        assert pf.status(10, macs(pf.vsi, *map(mac, range(64)))) == 0
        assert pf.status(10, macs(pf.vsi, mac(64))) == status
        assert len(pf.config.macs) == 64


@pytest.mark.parametrize(("card", "status"), [("e810", -53), ("x710", -1), ("x722", -1)])
def test_a_mac_of_the_administrator_stands(card: str, status: int) -> None:
    with rig(card) as pf:
        pf.pf.control({"command": "mac", "vf": 0, "mac": mac(9)})
        pf.clock.advance(1000)
        pf.negotiate()
        assert pf.config.macs == (raw(mac(9)),)
        assert pf.status(10, macs(pf.vsi, mac(1))) == status
        assert pf.status(10, macs(pf.vsi, mac(9))) == 0
        assert pf.status(10, macs(pf.vsi, "33:33:00:00:00:01")) == 0
        pf.pf.control({"command": "trust", "vf": 0, "on": True})
        pf.clock.advance(1000)
        pf.negotiate()
        assert pf.status(10, macs(pf.vsi, mac(1))) == 0
        assert pf.violations == []


def test_out_of_tree_i40e_says_minus_one_too_and_minus_five_for_parameters() -> None:
    with rig("x710", dialect="oot") as pf:
        pf.negotiate()
        assert pf.status(11, macs(10, mac(1))) == -5
        assert pf.status(10, macs(10, *map(mac, range(18)))) == -1  # 18 and the default


def test_lldp_multicast_needs_trust_on_ice() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(10, macs(1, mac(1), "01:80:c2:00:00:0e", mac(2))) == -53
        assert pf.config.macs == (raw(mac(1)),)  # up to the first refusal


# ---- promiscuity


@pytest.mark.parametrize("card", CARDS)
def test_untrusted_promiscuity_is_a_polite_lie(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        assert pf.status(14, promisc(pf.vsi, 3)) == 0
        assert not pf.config.promisc_unicast and not pf.config.promisc_multicast
        assert pf.violations == [] and "nothing done" in pf.notes[0]


@pytest.mark.parametrize("card", CARDS)
def test_trusted_promiscuity(card: str) -> None:
    with rig(card, trusted=True) as pf:
        pf.negotiate()
        for flags in (1, 2, 3, 0):
            assert pf.status(14, promisc(pf.vsi, flags)) == 0
            unicast = pf.config.promisc_unicast or pf.config.default_vsi
            told = unicast, pf.config.promisc_multicast
            assert told == (bool(flags & 1), bool(flags & 2))
        assert pf.status(14, promisc(pf.vsi, 0x3C03)) == (0 if card == "e810" else -22)
        assert len(pf.violations) == 1


@pytest.mark.parametrize(
    ("card", "options", "true", "default"),
    [
        ("e810", {}, False, True),
        ("e810", {"true_promisc": True}, True, False),
        ("x710", {}, True, False),
        ("x722", {"true_promisc": False}, True, False),
    ],
)
def test_promiscuous_ice_is_the_default_vsi_without_true_promisc(
    card: str, options: dict[str, bool], true: bool, default: bool
) -> None:
    """docs/spec/pf-dialects.md 3."""
    with rig(card, trusted=True, **options) as pf:
        pf.negotiate()
        for flags in (3, 2, 1, 0):
            assert pf.status(14, promisc(pf.vsi, flags)) == 0
            unicast = bool(flags & 1)
            assert pf.config.promisc_unicast == (unicast and true)
            assert pf.config.default_vsi == (unicast and default)
            assert pf.config.promisc_multicast == bool(flags & 2)
    with rig(card, **options) as pf:
        pf.negotiate()
        assert pf.status(14, promisc(pf.vsi, 3)) == 0, "an untrusted VF is told success"
        assert not (pf.config.promisc_unicast or pf.config.default_vsi)
        assert not pf.config.promisc_multicast


@pytest.mark.parametrize(
    ("card", "options", "prunes"),
    [
        ("e810", {}, False),
        ("e810", {"vlan_pruning": True}, True),
        ("x710", {}, True),
        ("x722", {"vlan_pruning": False}, True),
    ],
)
def test_ice_prunes_by_vlan_only_when_it_is_told_to(
    card: str, options: dict[str, bool], prunes: bool
) -> None:
    """vf-vlan-pruning (docs/spec/pf-dialects.md 4)."""
    with rig(card, **options) as pf:
        pf.negotiate(V1)
        assert pf.status(12, vlans(pf.vsi, 5)) == 0
        assert pf.config.vlans == {(0x8100, 5)}
        assert pf.config.vlan_pruning == prunes


def test_filters_of_double_vlan_mode_keep_their_types() -> None:
    with rig("e810", double_vlan=True) as pf:
        pf.negotiate()
        pf.status(51)
        for tpid in (0x8100, 0x88A8, 0x9100):
            assert pf.status(52, vlan_filters(1, (0, 0, 100, tpid))) == 0
        assert pf.config.vlans == {(0x8100, 100), (0x88A8, 100), (0x9100, 100)}
        assert pf.status(53, vlan_filters(1, (0, 0, 100, 0x8100))) == 0
        assert pf.config.vlans == {(0x88A8, 100), (0x9100, 100)}


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


@pytest.mark.parametrize(("card", "limit"), [("e810", 8), ("x710", 16), ("x722", 16)])
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
    with rig("x710", dialect="oot") as pf:
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
        "07000020000000000100000000100000"
        "070400c000000000070200c0000000000100000000000000"
    )  # fmt: skip


def test_a_port_vlan_leaves_nothing_to_offer() -> None:
    with rig("e810") as pf:
        pf.pf.control({"command": "vlan", "vf": 0, "vlan": 5})
        pf.clock.advance(1000)
        pf.negotiate()
        assert struct.unpack_from("<IIIH", pf.ask(51)[1]) == (0, 0, 1, 0)
        assert pf.status(52, vlan_filters(1, (7, 0x8100, 0, 0))) == -5


def test_v2_messages_before_the_capabilities_are_asked() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(54, setting(1, inner=1)) == -5
        assert pf.status(52, vlan_filters(1, (7, 0x8100, 0, 0))) == -5
        assert all("GET_OFFLOAD_VLAN_V2_CAPS" in text for text in pf.violations)
        assert len(pf.violations) == 2


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
            (7, 0, 0, 0),
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
        assert pf.status(56, setting(1, outer=1)) == -5  # must match
        assert pf.status(56, setting(1, outer=2)) == 0
        assert pf.config.insert_tpid == 0x88A8
        assert pf.status(54, setting(1, outer=3)) == -5  # one at a time


# ---- RSS


@pytest.mark.parametrize("card", CARDS)
def test_key_and_table(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        key, lut = bytes(range(52)), bytes(i % 4 for i in range(64))
        assert pf.status(23, rss_key(pf.vsi, key)) == 0
        assert pf.status(24, rss_lut(pf.vsi, lut)) == 0
        assert (pf.config.rss_key, pf.config.rss_lut) == (key, lut)
        assert pf.status(23, rss_key(pf.vsi, bytes(40))) == PARAM[card]
        assert pf.status(24, rss_lut(pf.vsi, bytes(128))) == PARAM[card]
        assert (pf.config.rss_key, pf.config.rss_lut) == (key, lut)


def test_a_table_that_names_a_queue_too_many() -> None:
    for card, status in (("x710", -22), ("e810", 0)):
        with rig(card, num_queue_pairs=4) as pf:
            pf.negotiate()
            assert pf.status(24, rss_lut(pf.vsi, bytes(63) + b"\4")) == status
            assert len(pf.violations) == 1


@pytest.mark.parametrize("card", CARDS)
def test_packet_classes(card: str) -> None:
    bits = [31, 33, 34, 35, 36, 41, 43, 44, 45, 46]
    if card != "x710":
        bits += [29, 30, 32, 39, 40, 42]
    if card != "e810":
        bits.append(63)
    wanted = sum(1 << bit for bit in bits)
    with rig(card) as pf:
        pf.negotiate()
        assert pf.ask(25) == (0, struct.pack("<Q", wanted))
        assert pf.config.hashcfg == wanted
        assert pf.config.x722_classes is (card == "x722")
        assert pf.status(26, struct.pack("<Q", 1 << 34)) == 0
        # ice hashes the addresses of what else is IPv4 with any class of it.
        assert pf.config.hashcfg == (7 << 34 if card == "e810" else 1 << 34)
        assert pf.status(26, struct.pack("<Q", 1 << 34 | 1 << 20)) == (-5 if card == "e810" else 0)
        assert pf.config.hashcfg == (0 if card == "e810" else 1 << 34)
        assert pf.status(26, bytes(8)) == 0
        assert pf.config.hashcfg == 0


@pytest.mark.parametrize(
    ("asked", "hashed"),
    [
        ([29], [29, 30, 31, 35, 36]),
        ([32], [32, 33, 35, 36]),
        ([40], [39, 40, 41, 45, 46]),
        ([43], [42, 43, 45, 46]),
        ([44], [44, 45, 46]),
        ([35], [35, 36]),
        ([46], [45, 46]),
    ],
)
def test_ice_knows_no_finer_classes(asked: list[int], hashed: list[int]) -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(26, struct.pack("<Q", sum(1 << bit for bit in asked))) == 0
        assert pf.config.hashcfg == sum(1 << bit for bit in hashed)


def test_ice_refuses_the_payload_class() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(26, struct.pack("<Q", 1 << 33 | 1 << 63)) == -5
        assert pf.config.hashcfg == 0


def test_hash_function() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        for algorithm, status in ((2, 0), (1, -5), (3, -5), (0, 0)):
            assert pf.status(18, struct.pack("<HHI", 1, algorithm, 0)) == status
            assert pf.config.symmetric is (algorithm != 0)


def test_hashcfg_refused_by_option() -> None:
    with rig("e810", hashcfg_refused=True) as pf:
        pf.negotiate()
        assert pf.status(26, bytes(8)) == -64
        assert pf.violations == []


def test_tables_after_power_on() -> None:
    with rig("e810", num_queue_pairs=4) as pf:
        assert pf.config.rss_lut == bytes((0, 1, 2, 3)) * 16
    with rig("x710") as pf:
        assert pf.config.rss_lut == bytes(64)


# ---- stats
