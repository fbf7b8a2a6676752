# SPDX-License-Identifier: BSD-3-Clause
"""MAC filters and the VF's own address: what each PF grants, refuses, and says it did."""

from __future__ import annotations

import pytest

from tests.softvf.pf.pf_rig import (
    CARDS,
    Rig,
    macs,
    rig,
    vlans,
)


def mac(n: int) -> str:
    return f"02:00:00:00:01:{n:02x}"


def raw(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


ZERO, ALL = "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"

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
        assert pf.config.macs == before  # both judge the number first


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
def test_i40e_adds_all_of_a_list_or_nothing(card: str) -> None:
    with rig(card, mac="zero") as pf:
        pf.negotiate()
        for bad, status in ((ZERO, -22), (ALL, -22)):
            assert pf.status(10, macs(pf.vsi, mac(1), bad)) == status
        assert len(pf.config.macs) == 0
        assert pf.status(10, macs(pf.vsi, *[mac(1)] * 18)) == -1  # each entry counts
        assert len(pf.config.macs) == 0
        assert pf.status(10, macs(pf.vsi, *[mac(1)] * 17)) == 0
        assert [*pf.config.macs] == [raw(mac(1))]


@pytest.mark.parametrize("card", ["x710", "x722"])
def test_on_i40e_each_vlan_takes_filters_of_every_address(card: str) -> None:
    with rig(card, mac="zero") as pf:
        pf.negotiate()
        assert pf.status(10, macs(pf.vsi, mac(0))) == 0
        assert pf.status(12, vlans(pf.vsi, *range(1, 8))) == 0  # 2 * 8 = 16 filters
        assert pf.status(10, macs(pf.vsi, mac(1), mac(2))) == 0
        assert pf.status(10, macs(pf.vsi, mac(3))) == -1
        assert pf.status(10, macs(pf.vsi, mac(0))) == -1  # not a new one, and too many all the same
        assert pf.status(13, vlans(pf.vsi, *range(1, 8))) == 0
        assert pf.status(10, macs(pf.vsi, mac(3))) == 0


@pytest.mark.parametrize("card", ["x710", "x722"])
def test_a_trusted_vf_that_deletes_its_own_mac_gets_another(card: str) -> None:
    for trusted, own in ((True, mac(2)), (False, "00:00:00:00:00:00")):
        with rig(card, mac="zero", trusted=trusted) as pf:
            pf.negotiate()
            assert pf.status(10, macs(pf.vsi, mac(1), kind=1)) == 0
            assert pf.status(10, macs(pf.vsi, mac(2))) == 0
            assert pf.status(11, macs(pf.vsi, mac(1))) == 0
            pf.pf.flr(0)
            assert default_mac(pf) == own


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
        assert pf.status(11, macs(pf.vsi, mac(1))) == 0  # taken back: i40e forgets it, ice does not
        pf.pf.flr(0)
        kept = card == "e810"
        assert default_mac(pf) == (mac(1) if kept else "00:00:00:00:00:00")
        assert len(pf.config.macs) == kept


def test_on_ice_an_address_of_the_old_kind_follows_the_one_that_is_deleted() -> None:
    for waits, own in ((1000, mac(2)), (4000, mac(1))):
        with rig("e810") as pf:
            pf.negotiate()
            assert pf.status(10, macs(1, mac(1), kind=0)) == 0
            assert pf.status(10, macs(1, mac(2), kind=0)) == 0
            pf.clock.advance(waits)
            assert pf.status(11, macs(1, mac(1), kind=0)) == 0
            assert default_mac(pf) == own


@pytest.mark.parametrize("card", CARDS)
def test_an_extra_address_is_not_the_vfs_own(card: str) -> None:
    """Both take the first unicast address of the legacy kind, and one that is called primary."""
    for kind, own in ((2, False), (0, True), (3, False)):
        with rig(card, mac="zero") as pf:
            pf.negotiate()
            assert pf.status(10, macs(pf.vsi, "01:00:5e:00:00:01", mac(1), mac(2), kind=kind)) == 0
            pf.pf.flr(0)
            assert default_mac(pf) == (mac(1) if own else "00:00:00:00:00:00")


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1)])
def test_the_address_after_the_own_one_is_the_last_of_i40es_table(order: tuple[int, ...]) -> None:
    """A trusted VF that deletes its own has another, whichever came first."""
    with rig("x710", mac="zero", trusted=True) as pf:
        pf.negotiate()
        assert pf.status(10, macs(pf.vsi, mac(9), kind=1)) == 0
        assert pf.status(10, macs(pf.vsi, *map(mac, order), kind=2)) == 0
        assert pf.status(11, macs(pf.vsi, mac(9))) == 0
        assert pf.pf.vfs[0].own_mac == raw(mac(1))


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


@pytest.mark.parametrize(("card", "status"), [("e810", -53), ("x710", 0), ("x722", 0)])
def test_a_trusted_vf_has_what_the_switch_holds(card: str, status: int) -> None:
    """i40e says success of what is not in force, until an address leaves (pf-dialects.md 8)."""
    with rig(card, mac="zero", trusted=True) as pf:
        pf.negotiate()
        assert pf.status(10, macs(pf.vsi, *map(mac, range(64)))) == 0
        assert pf.status(10, macs(pf.vsi, mac(64))) == status
        assert len(pf.config.macs) == 64
        assert pf.status(11, macs(pf.vsi, mac(3))) == 0
        assert (raw(mac(64)) in pf.config.macs) == (status == 0)


@pytest.mark.parametrize(("vfs", "most"), [(1, 3072), (64, 48)])
def test_trusted_vfs_share_the_filters_of_an_i40e(vfs: int, most: int) -> None:
    with rig("x710", vfs=vfs, mac="zero", trusted=True) as pf:
        pf.negotiate()
        room = most - 1  # broadcast
        many = [f"02:00:00:00:{at >> 8:02x}:{at & 255:02x}" for at in range(room + 1)]
        for at in range(0, room, 256):
            assert pf.status(10, macs(pf.vsi, *many[at : min(at + 256, room)])) == 0
        assert pf.status(10, macs(pf.vsi, many[room])) == -1


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
    with rig("x710", pf_kernel="oot") as pf:
        pf.negotiate()
        assert pf.status(11, macs(10, mac(1))) == -5
        assert pf.status(10, macs(10, *map(mac, range(18)))) == -1  # 18 and the default


def test_i40e_of_linux_6_1_learns_the_first_address_of_any_kind_and_keeps_it() -> None:
    """Its numbers, too: each of these answers is the judge's (docs/spec/pf-dialects.md 1, 3)."""
    with rig("x710", pf_kernel="6.1", mac="zero") as pf:
        pf.negotiate()
        assert pf.status(10, macs(10, "00:00:00:00:00:00")) == -10
        assert pf.status(11, macs(10, mac(1))) == -10
        assert pf.status(10, macs(10, mac(1))) == 0
        assert pf.status(10, macs(10, mac(2))) == 0
        assert pf.status(11, macs(10, mac(1), mac(2))) == 0
        assert pf.status(18, bytes(8)) == -5  # not known to its validator
        assert pf.status(51) == -60  # known, and not served
        pf.pf.flr(0)
        pf.clock.advance(1000)
        assert pf.negotiate()[30:36] == raw(mac(1))  # the default address


def test_on_ice_lldp_multicast_is_an_address_like_others() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(10, macs(1, mac(1), "01:80:c2:00:00:0e", mac(2))) == 0
        assert len(pf.config.macs) == 3
