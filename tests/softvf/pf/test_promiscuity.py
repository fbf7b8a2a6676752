# SPDX-License-Identifier: BSD-3-Clause
"""Promiscuous modes and what the default VSI of ice sees."""

from __future__ import annotations

import pytest

from tests.softvf.pf.pf_rig import (
    CARDS,
    LINUX_CAPS,
    promisc,
    rig,
    vlan_filters,
    vlans,
)

V1 = LINUX_CAPS & ~(1 << 15)


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
        ("x710", {}, False),
        ("x722", {"vlan_pruning": True}, True),
        ("x722", {"vlan_pruning": True, "trusted": True}, False),
    ],
)
def test_a_pf_prunes_by_vlan_only_when_it_is_told_to(
    card: str, options: dict[str, bool], prunes: bool
) -> None:
    """vf-vlan-pruning (docs/spec/pf-dialects.md 4)."""
    with rig(card, **options) as pf:
        pf.negotiate(V1)
        assert pf.status(12, vlans(pf.vsi, 5)) == 0
        assert pf.config.vlans - {(0x8100, 0)} == {(0x8100, 5)}
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
