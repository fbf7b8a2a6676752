# SPDX-License-Identifier: BSD-3-Clause
"""Messages to ice in the form that its scenarios need."""

from __future__ import annotations

import struct

from tests.judge.ice_pair import CAPS, Say
from tests.softvf.pf.pf_rig import macs, setting, vlan_filters, vlans

V = 1  # the only VSI that ice tells a VF of
NO_VLAN_V2 = CAPS & ~(1 << 15)
NO_FLEX = CAPS & ~(1 << 26)
NO_CRC = CAPS & ~(1 << 10)
LUT = bytes([0, 1, 2, 3] * 16)
ZERO, BROADCAST, MULTICAST = "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"


def ask(caps: int) -> Say:
    """GET_VF_RESOURCES with these capabilities."""
    return Say(3, struct.pack("<I", caps))


RESOURCES = ask(CAPS)


def plain() -> Say:
    """GET_VF_RESOURCES of a VF that knows plain VLANs only."""
    return ask(NO_VLAN_V2)


def unicast(number: int) -> str:
    """One of 256 addresses."""
    return f"02:00:00:00:01:{number:02x}"


def add(*addresses: str, kind: int = 2) -> Say:
    """ADD_ETH_ADDR."""
    return Say(10, macs(V, *addresses, kind=kind))


def delete(*addresses: str, kind: int = 2) -> Say:
    """DEL_ETH_ADDR."""
    return Say(11, macs(V, *addresses, kind=kind))


def vlans_add(*vids: int) -> Say:
    """ADD_VLAN."""
    return Say(12, vlans(V, *vids))


def vlans_delete(*vids: int) -> Say:
    """DEL_VLAN."""
    return Say(13, vlans(V, *vids))


def request(pairs: int) -> Say:
    """REQUEST_QUEUES."""
    return Say(29, struct.pack("<H", pairs))


def tags(*inner: tuple[int, int]) -> Say:
    """ADD_VLAN_V2 of inner tags: id, TPID."""
    return Say(52, vlan_filters(V, *((tci, tpid, 0, 0) for tci, tpid in inner)))


def untag(*inner: tuple[int, int]) -> Say:
    """DEL_VLAN_V2 of inner tags."""
    return Say(53, vlan_filters(V, *((tci, tpid, 0, 0) for tci, tpid in inner)))


def vlan_setting(opcode: int, outer: int = 0, inner: int = 0, vsi: int = V) -> Say:
    """Stripping or insertion, on or off."""
    return Say(opcode, setting(vsi, outer, inner))
