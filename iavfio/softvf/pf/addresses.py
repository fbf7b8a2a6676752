# SPDX-License-Identifier: BSD-3-Clause
"""ADD_ETH_ADDR, DEL_ETH_ADDR, CONFIG_PROMISCUOUS_MODE (docs/spec/virtchnl.md 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.softvf._device import ffi, lib
from iavfio.softvf.pf.messages import Message
from iavfio.softvf.pf.status import Refused, Status
from iavfio.softvf.pf.vf import BROADCAST, ZERO_MAC, Vf, mac_text

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

SWITCH_MACS = 64  # what the switch holds for one VF
LLDP = bytes.fromhex("0180c200000e")
PROMISC_FLAGS = 3


def _list(pf: Pf, vf: Vf, payload: bytes) -> list[tuple[bytes, int]]:
    message = ffi.from_buffer("struct vc_ether_addr_list *", payload)
    vf.require_vsi(message.vsi_id, pf.personality.vsi_id(vf.index))
    entries = (message.list[i] for i in range(message.num_elements))
    return [(bytes(entry.addr), int(entry.type) & 3) for entry in entries]


def _hopeless(mac: bytes) -> bool:
    return mac in (ZERO_MAC, BROADCAST)


def add_eth_addr(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """i40e judges the whole message first; ice goes entry by entry up to the first refusal."""
    entries = _list(pf, vf, payload)
    try:
        if pf.personality.is_ice:
            _add_ice(pf, vf, entries)
        else:
            _add_i40e(pf, vf, entries)
    finally:
        pf.publish(vf)
    return b""


def _add_i40e(pf: Pf, vf: Vf, entries: list[tuple[bytes, int]]) -> None:
    fresh = []
    for mac, _ in entries:
        if _hopeless(mac):
            raise Refused(Status.PARAM, f"{mac_text(mac)} cannot be a filter")
        foreign = vf.admin_mac is not None and mac != vf.admin_mac and not mac[0] & 1
        if foreign and not vf.trusted:
            raise Refused(
                Status.PERM,
                f"{mac_text(mac)}: the administrator set {mac_text(vf.default_mac)} "
                "and the VF is not trusted",
                kind="note",
            )
        if mac not in vf.macs and mac not in fresh:
            fresh.append(mac)
    total = len(vf.macs) + len(fresh)
    if total > pf.personality.max_macs and not vf.trusted:
        raise Refused(
            Status.PERM,
            f"{total} MAC addresses, an untrusted VF may have {pf.personality.max_macs}",
            kind="note",
        )
    if total > SWITCH_MACS:
        raise Refused(Status.NO_SPACE, f"{total} MAC addresses, no room in the switch", kind="note")
    for mac, kind in entries:
        _accept(vf, mac, kind)


def _add_ice(pf: Pf, vf: Vf, entries: list[tuple[bytes, int]]) -> None:
    total = len(vf.macs) + len(entries)
    if total > pf.personality.max_macs and not vf.trusted:
        raise Refused(
            Status.PARAM,
            f"{total} MAC addresses, an untrusted VF may have {pf.personality.max_macs}",
            kind="note",
        )
    for mac, kind in entries:
        if _hopeless(mac) or mac in vf.macs:
            _accept(vf, mac, kind)
            continue
        if not vf.trusted and mac == LLDP:
            raise Refused(Status.ADMIN_QUEUE, "LLDP multicast of an untrusted VF", kind="note")
        if not vf.trusted and vf.admin_mac is not None and not mac[0] & 1:
            raise Refused(
                Status.ADMIN_QUEUE,
                f"{mac_text(mac)}: the administrator set {mac_text(vf.admin_mac)} "
                "and the VF is not trusted",
                kind="note",
            )
        if len(vf.macs) >= SWITCH_MACS:
            raise Refused(Status.ADMIN_QUEUE, "no room for a MAC address", kind="note")
        _accept(vf, mac, kind)


def _accept(vf: Vf, mac: bytes, kind: int) -> None:
    if _hopeless(mac):
        return
    if mac not in vf.macs:
        vf.macs.append(mac)
    unicast = not mac[0] & 1
    if unicast and (kind == lib.VC_ETHER_ADDR_PRIMARY or vf.primary_mac == ZERO_MAC):
        vf.primary_mac = mac


def del_eth_addr(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """i40e refuses an address that it does not know; ice does not mind."""
    entries = _list(pf, vf, payload)
    if not pf.personality.is_ice:
        for mac, _ in entries:
            if _hopeless(mac) or mac not in vf.macs:
                raise Refused(Status.PARAM, f"{mac_text(mac)} is not a filter of the VF")
    for mac, _ in entries:
        if mac not in vf.macs:
            continue
        vf.macs.remove(mac)
        if mac == vf.primary_mac:
            vf.primary_mac = next((left for left in vf.macs if not left[0] & 1), ZERO_MAC)
    pf.publish(vf)
    return b""


def config_promiscuous_mode(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """An untrusted VF is told success and gets nothing: both PFs lie here on purpose."""
    message = ffi.from_buffer("struct vc_promisc_info *", payload)
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
    pf.publish(vf)
    return b""


ROWS: tuple[Message, ...] = (
    Message("ADD_ETH_ADDR", add_eth_addr, fixed=12, per=8, count_at=2, gate=lib.VC_CAP_L2),
    Message("DEL_ETH_ADDR", del_eth_addr, fixed=12, per=8, count_at=2, gate=lib.VC_CAP_L2),
    Message("CONFIG_PROMISCUOUS_MODE", config_promiscuous_mode, fixed=4, gate=lib.VC_CAP_L2),
)
