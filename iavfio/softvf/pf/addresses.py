# SPDX-License-Identifier: BSD-3-Clause
"""ADD_ETH_ADDR, DEL_ETH_ADDR, CONFIG_PROMISCUOUS_MODE (docs/spec/virtchnl.md 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.softvf._device import ffi, lib
from iavfio.softvf.pf import i40e_addresses, ice_addresses, ice_vlans
from iavfio.softvf.pf.messages import Message
from iavfio.softvf.pf.status import Refused, Status
from iavfio.softvf.pf.vf import Vf

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

PROMISC_FLAGS = 3


def _list(pf: Pf, vf: Vf, payload: bytes) -> list[tuple[bytes, int]]:
    message = ffi.from_buffer("struct vc_ether_addr_list *", payload)
    vf.require_vsi(message.vsi_id, pf.personality.vsi_id(vf.index))
    entries = (message.list[i] for i in range(message.num_elements))
    return [(bytes(entry.addr), int(entry.type) & 3) for entry in entries]


def add_eth_addr(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """ice goes entry by entry up to the first refusal; what was added before stays in force.

    Before that it refuses a list that is too long. i40e adds all of a list or nothing.
    """
    entries = _list(pf, vf, payload)
    try:
        if pf.personality.is_ice:
            ice_addresses.add(pf, vf, entries)
        else:
            i40e_addresses.add(pf, vf, entries)
    finally:
        pf.publish(vf)
    return b""


def del_eth_addr(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """i40e refuses an address that it does not know, after it has deleted those before it.

    ice does not mind. An address of the administrator's is kept without a word: by i40e always, by
    ice for a VF that is not trusted (docs/spec/pf-dialects.md 3).
    """
    entries = _list(pf, vf, payload)
    try:
        if pf.personality.is_ice:
            ice_addresses.delete(pf, vf, entries)
        else:
            i40e_addresses.delete(pf, vf, entries)
    finally:
        pf.publish(vf)
    return b""


def config_promiscuous_mode(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """An untrusted VF gets SUCCESS and nothing else: both PFs answer so on purpose."""
    message = ffi.from_buffer("struct vc_promisc_info *", payload)
    vf.require_active()
    lies = not vf.trusted and not pf.personality.is_ice  # i40e, before it looks at the VSI
    if not lies:
        vf.require_vsi(message.vsi_id, pf.personality.vsi_id(vf.index))
    flags = int(message.flags)
    if not vf.trusted:
        if flags:
            vf.hardware.violation(
                "docs/spec/virtchnl.md 9",
                "promiscuous mode of an untrusted VF: reported as success, nothing done",
                "note",
            )
        return b""
    if flags > PROMISC_FLAGS:
        if not pf.personality.is_ice:
            raise Refused(Status.PARAM, f"promiscuous flags {flags:#x}, only bits 0 and 1 exist")
        vf.hardware.violation(
            "docs/spec/virtchnl.md 5", f"promiscuous flags {flags:#x} have unknown bits"
        )
    vf.promisc_unicast = bool(flags & lib.VC_PROMISC_UNICAST)
    vf.promisc_multicast = bool(flags & lib.VC_PROMISC_MULTICAST)
    if pf.personality.is_ice:
        ice_vlans.promiscuous(pf.personality, vf)
    pf.publish(vf)
    return b""


ROWS: tuple[Message, ...] = (
    Message("ADD_ETH_ADDR", add_eth_addr, fixed=12, per=8, count_at=2, gate=lib.VC_CAP_L2),
    Message("DEL_ETH_ADDR", del_eth_addr, fixed=12, per=8, count_at=2, gate=lib.VC_CAP_L2),
    Message("CONFIG_PROMISCUOUS_MODE", config_promiscuous_mode, fixed=4, gate=lib.VC_CAP_L2),
)
