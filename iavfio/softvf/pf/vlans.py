# SPDX-License-Identifier: BSD-3-Clause
"""The plain VLAN capability: ADD_VLAN, DEL_VLAN, stripping on and off (docs/spec/virtchnl.md 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.softvf._device import ffi, lib
from iavfio.softvf.pf import i40e_vlans, ice_vlans
from iavfio.softvf.pf.messages import Message
from iavfio.softvf.pf.status import Refused, Status
from iavfio.softvf.pf.vf import STRIPPED, Vf

if TYPE_CHECKING:
    from iavfio.softvf.personality import Personality
    from iavfio.softvf.pf.driver import Pf

VIDS = 4096
PLAIN_TPID = 0x8100  # the type of the tags that ADD_VLAN means


def prunes(personality: Personality, vf: Vf) -> bool:
    """Whether filters hold back what is received: with the PF's private flag vf-vlan-pruning.

    i40e spares a VF that is trusted, ice one that has not asked for it (docs/spec/pf-dialects.md
    4).
    """
    if personality.is_ice:
        return vf.prunes_vlans
    return personality.vlan_pruning and not vf.trusted


def checks(personality: Personality, vf: Vf) -> bool:
    """Whether the spoof check looks at VLANs, too."""
    return vf.checks_vlans or not personality.is_ice


def filters(personality: Personality, vf: Vf) -> frozenset[tuple[int, int]]:
    """The switch's VLAN filters, as type and number.

    Where the PF prunes, there is one of VLAN 0 from the start: tagged frames need one of their own.
    """
    first = {0} if prunes(personality, vf) and not vf.port_vlan else ()
    return frozenset({(PLAIN_TPID, vid) for vid in vf.vlans.union(first)} | vf.tagged)


def strip_at_first(personality: Personality, vf: Vf, before: str) -> str:
    """What becomes of tags before the VF says anything: they are stripped from the reset on.

    ice in double VLAN mode leaves them, and decides anew at GET_VF_RESOURCES; of a VF on a port
    VLAN it goes on stripping the inner tags that it stripped `before` the reset, but for 6.1
    (docs/spec/pf-dialects.md 4).
    """
    if personality.double_vlan:
        keeps = vf.port_vlan and not personality.is_ice_6_1 and before == STRIPPED["inner"]
        return STRIPPED["inner"] if keeps else "none"
    return STRIPPED["inner"] if personality.strip_default and not vf.port_vlan else "none"


def _list(pf: Pf, vf: Vf, payload: bytes) -> list[int]:
    message = ffi.from_buffer("struct vc_vlan_filter_list *", payload)
    if pf.personality.is_ice:
        vf.require_cap(CAP)
    vf.require_vsi(message.vsi_id, pf.personality.vsi_id(vf.index))
    vids = [int(message.vlan_id[i]) for i in range(message.num_elements)]
    for vid in vids:
        if vid >= VIDS:
            raise Refused(Status.PARAM, f"VLAN id {vid}, at most {VIDS - 1}")
    if vf.port_vlan and not pf.personality.double_vlan:
        raise Refused(Status.PARAM, f"the VF is on port VLAN {vf.port_vlan}", kind="note")
    return vids


def _is_full(pf: Pf, vf: Vf) -> bool:
    """ice counts VLAN 0, which it adds itself, among the filters of an untrusted VF."""
    return not vf.trusted and len(vf.vlans) + 1 >= pf.personality.max_vlans


def add_vlan(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Beyond the limit of an untrusted VF: success is reported and nothing done."""
    if not pf.personality.is_ice:
        return i40e_vlans.add(pf, vf, payload)
    vids = _list(pf, vf, payload)
    for vid in vids:
        if _is_full(pf, vf):
            vf.hardware.violation(
                "docs/spec/virtchnl.md 9",
                f"VLAN {vid}: an untrusted VF may have {pf.personality.max_vlans}; "
                "reported as success, not added",
                "note",
            )
            break
        if vid and not pf.personality.double_vlan:  # where ice adds no filter for an inner tag
            vf.vlans.add(vid)
            ice_vlans.added_plain(pf.personality, vf)
    pf.publish(vf)
    return b""


def del_vlan(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """A VLAN that is not there is no error; ice reads no more entries than the VF has filters."""
    if not pf.personality.is_ice:
        return i40e_vlans.delete(pf, vf, payload)
    vids = _list(pf, vf, payload)
    named = set(vids[: len(vf.vlans) + 1])  # VLAN 0 is the PF's own
    vf.vlans -= named
    if named - {0}:
        ice_vlans.deleted_plain(vf)
    pf.publish(vf)
    return b""


def _has_no_say(pf: Pf, vf: Vf) -> bool:
    """Linux's i40e reports success to a VF on a port VLAN and leaves its stripping as it is."""
    p = pf.personality
    return bool(vf.port_vlan) and not p.is_ice and p.pf_kernel != "oot" and not p.strip_refused


def _check_strip(pf: Pf, vf: Vf, on: bool) -> None:
    vf.require_active()
    if pf.personality.is_ice:
        vf.require_cap(CAP)
    port_vlan = vf.port_vlan and not pf.personality.double_vlan
    if port_vlan or pf.personality.strip_refused:
        raise Refused(
            Status.PARAM,
            f"VLAN stripping cannot be turned {'on' if on else 'off'}",
            kind="note",
        )


def enable_vlan_stripping(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Has the device move VLAN tags from frames into L2TAG1 of their descriptors."""
    if _has_no_say(pf, vf):
        return b""
    _check_strip(pf, vf, True)
    vf.strip = STRIPPED["inner"]
    pf.publish(vf)
    return b""


def disable_vlan_stripping(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Has the device leave VLAN tags in the frames."""
    if _has_no_say(pf, vf):
        return b""
    _check_strip(pf, vf, False)
    vf.strip = "none"
    pf.publish(vf)
    return b""


CAP = lib.VC_CAP_VLAN
ROWS: tuple[Message, ...] = (
    Message("ADD_VLAN", add_vlan, fixed=6, per=2, count_at=2, gate=CAP),
    Message("DEL_VLAN", del_vlan, fixed=6, per=2, count_at=2, gate=CAP),
    Message("ENABLE_VLAN_STRIPPING", enable_vlan_stripping, gate=CAP),
    Message("DISABLE_VLAN_STRIPPING", disable_vlan_stripping, gate=CAP),
)
