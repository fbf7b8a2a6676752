# SPDX-License-Identifier: BSD-3-Clause
"""ADD_ETH_ADDR, DEL_ETH_ADDR, CONFIG_PROMISCUOUS_MODE (docs/spec/virtchnl.md 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.softvf._device import ffi, lib
from iavfio.softvf.pf import i40e_addresses
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


def _filters(vf: Vf) -> int:
    """How many filters the VF has: its addresses, and broadcast, which both PFs count.

    i40e counts the filters of the VSI, ice starts num_mac at 1 (docs/spec/virtchnl.md 9).
    """
    return len(vf.macs) + 1


def add_eth_addr(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """ice goes entry by entry up to the first refusal; what was added before stays in force.

    Before that it refuses a list that is too long. i40e adds all of a list or nothing.
    """
    entries = _list(pf, vf, payload)
    try:
        if pf.personality.is_ice:
            _add_ice(pf, vf, entries)
        else:
            i40e_addresses.add(pf, vf, entries)
    finally:
        pf.publish(vf)
    return b""


def _add_ice(pf: Pf, vf: Vf, entries: list[tuple[bytes, int]]) -> None:
    total = _filters(vf) + len(entries)  # those that are there already count again
    if total > pf.personality.max_macs and not vf.trusted:
        raise Refused(Status.PARAM, _too_many(pf, total), kind="note")
    for mac, kind in entries:
        if _hopeless(mac):
            continue
        if mac not in vf.macs:
            _check_ice(vf, mac)
            vf.macs.append(mac)
        if not mac[0] & 1 and kind == lib.VC_ETHER_ADDR_LEGACY and vf.own_mac == ZERO_MAC:
            vf.own_mac = mac
        _choose_primary(vf, mac, kind)


def _choose_primary(vf: Vf, mac: bytes, kind: int) -> None:
    """A unicast address is primary when the VF says so, or when there is none yet."""
    if mac[0] & 1:
        return
    if kind == lib.VC_ETHER_ADDR_PRIMARY:
        vf.primary_mac = vf.own_mac = mac
    elif vf.primary_mac == ZERO_MAC:
        vf.primary_mac = mac


def _check_ice(vf: Vf, mac: bytes) -> None:
    """Raises Refused for an address that ice does not add."""
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


def _too_many(pf: Pf, total: int) -> str:
    most = pf.personality.max_macs
    return f"{total} MAC filters with broadcast, an untrusted VF may have {most}"


def del_eth_addr(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """i40e refuses an address that it does not know, after it has deleted those before it.

    ice does not mind. An address of the administrator's is kept without a word: by i40e always, by
    ice for a VF that is not trusted (docs/spec/pf-dialects.md 3).
    """
    entries = _list(pf, vf, payload)
    try:
        if pf.personality.is_ice:
            _delete_ice(vf, entries)
        else:
            i40e_addresses.delete(vf, entries)
    finally:
        pf.publish(vf)
    return b""


def _delete_ice(vf: Vf, entries: list[tuple[bytes, int]]) -> None:
    for mac, _ in entries:
        if mac in vf.macs and (vf.trusted or mac != vf.admin_mac):
            _delete(vf, mac)


def _delete(vf: Vf, mac: bytes) -> None:
    vf.macs.remove(mac)
    if mac == vf.own_mac:
        vf.own_mac = ZERO_MAC
    if mac == vf.primary_mac:
        vf.primary_mac = next((left for left in vf.macs if not left[0] & 1), ZERO_MAC)


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
    pf.publish(vf)
    return b""


ROWS: tuple[Message, ...] = (
    Message("ADD_ETH_ADDR", add_eth_addr, fixed=12, per=8, count_at=2, gate=lib.VC_CAP_L2),
    Message("DEL_ETH_ADDR", del_eth_addr, fixed=12, per=8, count_at=2, gate=lib.VC_CAP_L2),
    Message("CONFIG_PROMISCUOUS_MODE", config_promiscuous_mode, fixed=4, gate=lib.VC_CAP_L2),
)
