# SPDX-License-Identifier: BSD-3-Clause
"""When ice's VLAN filters hold frames back: what the VF receives, and what it sends.

Of what it receives only with vf-vlan-pruning, and then before there is a filter as well; of what it
sends while the spoof check is on (docs/spec/pf-dialects.md 4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.softvf._device import lib
from iavfio.softvf.pf.vf import STRIPPED

if TYPE_CHECKING:
    from iavfio.softvf.personality import Personality
    from iavfio.softvf.pf.vf import Vf


def begin(personality: Personality, vf: Vf) -> None:
    """After a reset: a VF without filters is in no VLAN."""
    vf.prunes_vlans, vf.checks_vlans = personality.vlan_pruning, False
    vf.every_vlan = False


def negotiated(personality: Personality, vf: Vf) -> None:
    """A driver of plain VLANs gets every VLAN until it names one, in double VLAN mode for good.

    There it has no outer tags stripped either. Inner ones are from here on if VLAN was granted, of
    VLAN_V2 they are not; on a port VLAN the VF has inner tags in double VLAN mode only.
    """
    plain = vf.asked & (lib.VC_CAP_VLAN | lib.VC_CAP_VLAN_V2) == lib.VC_CAP_VLAN
    if plain and not vf.port_vlan:
        vf.prunes_vlans = False
        if personality.double_vlan:
            vf.checks_vlans, vf.every_vlan = False, True
            leave(vf, "outer")
    if vf.port_vlan and not personality.double_vlan:
        return
    if vf.has(lib.VC_CAP_VLAN) and personality.strip_default:
        vf.strip = STRIPPED["inner"]
    else:
        leave(vf, "inner")


def leave(vf: Vf, where: str) -> None:
    """Tags of this place stay in the frame.

    What ice_vf_vsi_cfg_dvm_legacy_vlan_mode has once put in the place of the inner tag's calls are
    the outer tag's, up to a reset: inner tags cannot be left then, and who tries leaves outer ones.
    """
    meant = "outer" if vf.every_vlan else where
    if vf.strip == STRIPPED[meant]:
        vf.strip = "none"


def promiscuous(personality: Personality, vf: Vf) -> None:
    """A VF that is promiscuous, for frames of whatever kind, gets every VLAN."""
    every = vf.every_vlan or _is_promiscuous(vf)
    vf.prunes_vlans = personality.vlan_pruning and not every


def added_plain(personality: Personality, vf: Vf) -> None:
    """ADD_VLAN has added a filter: both ways are held back, but not for a VF that gets all."""
    if not (personality.true_promisc and _is_promiscuous(vf)):
        vf.prunes_vlans, vf.checks_vlans = personality.vlan_pruning, True


def deleted_plain(vf: Vf) -> None:
    """DEL_VLAN has named a VLAN: without a filter nothing is held back any more."""
    if not (vf.vlans or vf.tagged):
        vf.prunes_vlans = vf.checks_vlans = False


def changed(vf: Vf) -> None:
    """ADD_VLAN_V2, DEL_VLAN_V2 and the spoof check leave what is received as it is."""
    vf.checks_vlans = bool(vf.vlans or vf.tagged) and not vf.every_vlan


def _is_promiscuous(vf: Vf) -> bool:
    return vf.promisc_unicast or vf.promisc_multicast
