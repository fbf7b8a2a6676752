# SPDX-License-Identifier: BSD-3-Clause
"""How ice keeps a VF's MAC addresses (docs/spec/virtchnl.md 9, docs/spec/pf-dialects.md 3).

ice remembers two addresses beside the filters. `device_mac` is the one that the VF uses now;
DEL_ETH_ADDR clears it. `own_mac` is told in GET_VF_RESOURCES and given back in each reset; only
another address of the VF's own, or the administrator, replaces it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.softvf._device import lib
from iavfio.softvf.pf.status import Refused, Status
from iavfio.softvf.pf.vf import BROADCAST, SWITCH_MACS, ZERO_MAC, Vf, mac_text

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

LLDP = frozenset(bytes.fromhex(f"0180c20000{end}") for end in ("00", "03", "0e"))
LEGACY_SECONDS = 3.0  # how long an address of the old kind may follow the one that is deleted
Entry = tuple[bytes, int]


def add(pf: Pf, vf: Vf, entries: list[Entry]) -> None:
    """ADD_ETH_ADDR; Refused leaves in force what stood before the refused entry."""
    total = len(vf.macs) + 1 + len(entries)  # broadcast counts, and so do those that are there
    if total > pf.personality.max_macs and not vf.trusted:
        raise Refused(
            Status.PARAM,
            f"{total} MAC filters with broadcast, an untrusted VF may have "
            f"{pf.personality.max_macs}",
            kind="note",
        )
    for mac, kind in entries:
        if mac in (ZERO_MAC, BROADCAST, vf.device_mac):
            continue
        if not vf.trusted and vf.admin_mac is not None and not mac[0] & 1:
            raise Refused(
                Status.ADMIN_QUEUE,
                f"{mac_text(mac)}: the administrator set {mac_text(vf.admin_mac)} "
                "and the VF is not trusted",
                kind="note",
            )
        if pf.personality.pf_kernel == "7.x" and not vf.trusted and mac in LLDP:
            raise Refused(
                Status.ADMIN_QUEUE,
                f"{mac_text(mac)} is of LLDP, and the VF is not trusted",
                kind="note",
            )
        if mac not in vf.macs:
            if len(vf.macs) >= SWITCH_MACS:
                raise Refused(Status.ADMIN_QUEUE, "no room for a MAC address", kind="note")
            vf.macs.append(mac)
        if not mac[0] & 1:
            _learn(pf, vf, mac, kind)


def _learn(pf: Pf, vf: Vf, mac: bytes, kind: int) -> None:
    legacy = kind == lib.VC_ETHER_ADDR_LEGACY
    if kind == lib.VC_ETHER_ADDR_PRIMARY or (legacy and vf.own_mac == ZERO_MAC):
        vf.device_mac = vf.own_mac = vf.primary_mac = mac
    elif vf.primary_mac == ZERO_MAC:
        vf.primary_mac = mac
    if legacy:
        vf.legacy_mac, vf.legacy_since = mac, pf.scheduler.now()


def delete(pf: Pf, vf: Vf, entries: list[Entry]) -> None:
    """DEL_ETH_ADDR; unknown addresses are no error, the administrator's is silently kept."""
    for mac, kind in entries:
        kept = vf.admin_mac is not None and not vf.trusted and mac == vf.device_mac
        if kept or mac not in vf.macs:
            continue
        vf.macs.remove(mac)
        if mac == vf.device_mac:
            _forget_device_mac(pf, vf, kind)
        if mac == vf.primary_mac:
            rest = (left for left in vf.macs if not left[0] & 1)
            vf.primary_mac = next(rest, ZERO_MAC)


def _forget_device_mac(pf: Pf, vf: Vf, kind: int) -> None:
    """An old driver adds its new address before it deletes the one that it had."""
    vf.device_mac = ZERO_MAC
    recent = pf.scheduler.now() - vf.legacy_since <= LEGACY_SECONDS
    if kind == lib.VC_ETHER_ADDR_LEGACY and recent:
        vf.device_mac = vf.own_mac = vf.legacy_mac
