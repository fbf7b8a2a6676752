# SPDX-License-Identifier: BSD-3-Clause
"""How i40e keeps a VF's MAC addresses (docs/spec/virtchnl.md 9, docs/spec/pf-dialects.md 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.softvf._device import lib
from iavfio.softvf.pf.status import Refused, Status
from iavfio.softvf.pf.vf import BROADCAST, SWITCH_MACS, ZERO_MAC, Vf, mac_text

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

FILTERS = 3072  # of the card, which its trusted VFs share; it has one port here
BUCKETS_BITS, KEY_FACTOR = 8, 0x61C8864680B583EB  # of the hash table of addresses (Linux' hash_64)
Entry = tuple[bytes, int]


def _refuse_hopeless(mac: bytes) -> None:
    if mac in (ZERO_MAC, BROADCAST):
        raise Refused(Status.ADDRESS, f"{mac_text(mac)} cannot be a filter")


def filters(vf: Vf, addresses: int) -> int:
    """How many filters a number of addresses takes.

    Each has one for untagged frames and one for each VLAN.
    """
    return addresses * (1 + len(vf.vlans))


def add(pf: Pf, vf: Vf, entries: list[Entry]) -> None:
    """ADD_ETH_ADDR: all entries are looked at before the first is added.

    An entry that is new counts each time that it stands in the message.
    """
    for mac, _ in entries:
        _refuse_hopeless(mac)
        foreign = vf.admin_mac is not None and mac != vf.own_mac and not mac[0] & 1
        if foreign and not vf.trusted:
            raise Refused(
                Status.PERM,
                f"{mac_text(mac)}: the administrator set {mac_text(vf.own_mac)} "
                "and the VF is not trusted",
                kind="note",
            )
    new = sum(mac not in vf.macs and mac not in vf.leaving for mac, _ in entries)
    active = filters(vf, len(vf.macs) + 1)  # broadcast counts
    every = active + filters(vf, len(vf.leaving))
    most = FILTERS // len(pf.vfs) if vf.trusted else pf.personality.max_macs
    if active + new > most or every + new > 2 * most:
        whose = "a trusted" if vf.trusted else "an untrusted"
        raise Refused(
            Status.PERM,
            f"{active + new} MAC filters with broadcast and VLANs, {whose} VF may have {most}",
            kind="note",
        )
    for mac, kind in entries:
        if mac not in vf.macs and mac not in vf.leaving:
            vf.macs.append(mac)
        if not mac[0] & 1:
            _learn(pf, vf, mac, kind)
    vf.leaving.clear()  # the list of filters is programmed
    if len(vf.macs) > SWITCH_MACS:
        vf.hardware.violation(
            "docs/spec/pf-dialects.md 8",
            f"{len(vf.macs) - SWITCH_MACS} of {len(vf.macs)} addresses have no room in the switch: "
            "not in force, and the PF reports success",
            "note",
        )


def _learn(pf: Pf, vf: Vf, mac: bytes, kind: int) -> None:
    """What the VF calls primary is its own address, or the first of a VF that never says which.

    To i40e of Linux 6.1 it is the first one, whatever the VF says.
    """
    if pf.personality.pf_kernel == "6.1":
        kind = lib.VC_ETHER_ADDR_LEGACY
    primary = kind == lib.VC_ETHER_ADDR_PRIMARY
    if primary or (kind == lib.VC_ETHER_ADDR_LEGACY and vf.own_mac == ZERO_MAC):
        vf.own_mac = mac
    if primary or vf.primary_mac == ZERO_MAC:
        vf.primary_mac = mac


def _bucket(mac: bytes) -> int:
    key = int.from_bytes(mac, "little") * KEY_FACTOR % (1 << 64)
    return key >> 64 - BUCKETS_BITS


def _last_unicast(vf: Vf) -> bytes:
    """The last one that i40e meets in its hash table: the oldest of the last bucket."""
    return max((mac for mac in vf.macs if not mac[0] & 1), key=_bucket, default=ZERO_MAC)


def delete(pf: Pf, vf: Vf, entries: list[Entry]) -> None:
    """DEL_ETH_ADDR: an unknown address is refused; the addresses before it are gone.

    The administrator's is kept without a word. A trusted VF that deletes its own MAC gets another
    of its unicast addresses in its place.
    """
    for mac, _ in entries:
        _refuse_hopeless(mac)
    own_is_gone = False
    for mac, _ in entries:
        if mac == vf.own_mac:
            if vf.admin_mac is not None:
                continue
            own_is_gone = True
        if mac in vf.macs:
            vf.macs.remove(mac)
            vf.leaving.add(mac)
        elif mac not in vf.leaving:
            # The addresses before this one leave the list at the next request that succeeds.
            raise Refused(Status.ADDRESS, f"{mac_text(mac)} is not a filter of the VF")
    vf.leaving.clear()
    left = _last_unicast(vf)
    if own_is_gone and vf.trusted and left != ZERO_MAC:
        vf.own_mac = left
    elif own_is_gone and pf.personality.pf_kernel != "6.1":  # which goes on telling it
        vf.own_mac = ZERO_MAC
    if vf.primary_mac not in vf.macs:
        vf.primary_mac = left
