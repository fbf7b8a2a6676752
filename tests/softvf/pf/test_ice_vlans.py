# SPDX-License-Identifier: BSD-3-Clause
"""What ice's VLAN filters hold back with vf-vlan-pruning (docs/spec/pf-dialects.md 4).

tests/judge compares it with ice; here is what the data plane is told.
"""

from __future__ import annotations

import pytest

from tests.softvf.pf.pf_rig import LINUX_CAPS, Rig, promisc, rig, vlan_filters, vlans

PLAIN = LINUX_CAPS & ~(1 << 15)  # without VLAN_V2
NO_VLAN = (0x8100, 0)


def held_back(pf: Rig) -> tuple[bool, bool]:
    """Whether frames of VLAN 7, for which there is no filter, are held back: received, sent."""
    config = pf.config
    no_filter = bool(config.vlans) and (0x8100, 7) not in config.vlans
    assert (NO_VLAN in config.vlans) == config.vlan_pruning
    return no_filter and config.vlan_pruning, no_filter and config.vlan_checking


def tagged(opcode: int, double: bool) -> tuple[int, bytes]:
    """ADD_VLAN_V2 or DEL_VLAN_V2 of VLAN 5."""
    one = (0, 0, 5, 0x8100) if double else (5, 0x8100, 0, 0)
    return opcode, vlan_filters(1, one)


@pytest.mark.parametrize("double", [False, True])
def test_a_vf_without_filters_is_in_no_vlan(double: bool) -> None:
    with rig("e810", vlan_pruning=True, double_vlan=double) as pf:
        for _ in range(2):
            pf.negotiate()
            assert pf.status(51) == 0
            assert held_back(pf) == (True, False)
            assert pf.status(*tagged(52, double)) == 0
            assert held_back(pf) == (True, True)
            assert pf.status(*tagged(53, double)) == 0
            assert held_back(pf) == (True, False)
            pf.pf.flr(0)
            pf.clock.advance(500)


def test_a_driver_of_plain_vlans_gets_every_one_until_it_names_one() -> None:
    with rig("e810", vlan_pruning=True) as pf:
        pf.negotiate(PLAIN)
        assert held_back(pf) == (False, False)
        for opcode, vid, expected in (
            (12, 0, False),
            (12, 5, True),
            (12, 6, True),
            (13, 5, True),
            (13, 6, False),
        ):
            assert pf.status(opcode, vlans(pf.vsi, vid)) == 0
            assert held_back(pf) == (expected, expected), (opcode, vid)


def test_in_double_vlan_mode_a_driver_of_plain_vlans_gets_every_one_until_a_reset() -> None:
    with rig("e810", vlan_pruning=True, double_vlan=True, trusted=True) as pf:
        pf.negotiate(PLAIN)
        pf.negotiate()
        assert pf.status(51) == 0
        assert pf.status(*tagged(52, double=True)) == 0
        assert pf.status(14, promisc(pf.vsi, 0)) == 0
        assert held_back(pf) == (False, False)
        pf.pf.flr(0)
        pf.clock.advance(500)
        assert held_back(pf) == (True, False)


@pytest.mark.parametrize("flags", [1, 2, 3])
def test_a_promiscuous_vf_gets_every_vlan(flags: int) -> None:
    with rig("e810", vlan_pruning=True, true_promisc=True, trusted=True) as pf:
        pf.negotiate(PLAIN)
        assert pf.status(14, promisc(pf.vsi, flags)) == 0
        assert pf.status(12, vlans(pf.vsi, 5)) == 0
        assert held_back(pf) == (False, False)
        assert pf.status(14, promisc(pf.vsi, 0)) == 0
        assert held_back(pf) == (True, False)
        assert pf.status(12, vlans(pf.vsi, 6)) == 0
        assert held_back(pf) == (True, True)
    with rig("e810", vlan_pruning=True, trusted=True) as pf:
        pf.negotiate(PLAIN)
        assert pf.status(14, promisc(pf.vsi, flags)) == 0
        assert pf.status(12, vlans(pf.vsi, 5)) == 0
        assert held_back(pf) == (True, True), "the default VSI is no VF that gets all"
