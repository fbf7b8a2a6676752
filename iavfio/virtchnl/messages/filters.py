# SPDX-License-Identifier: BSD-3-Clause
"""Filter messages: MAC addresses, VLANs (v1), promiscuous mode (spec: virtchnl 5)."""

from __future__ import annotations

from collections.abc import Sequence

from iavfio._driver import lib
from iavfio.errors import ConfigError
from iavfio.virtchnl.messages import opcodes as op
from iavfio.virtchnl.messages.wire import blank, bounded, chunks, view, vsi


def encode_macs(
    opcode: int, vsi_id: int, macs: Sequence[bytes], primary: bytes | None = None
) -> list[bytes]:
    """ADD_ETH_ADDR or DEL_ETH_ADDR; long lists make several messages.

    `primary` marks the one address that is the VF's own. Raises ConfigError for an address that
    every PF refuses: not 6 bytes, zero or broadcast.
    """
    for mac in macs:
        check_mac(mac)
    messages = []
    for part in chunks(opcode, macs):
        data, info = blank("vc_ether_addr_list", opcode, len(part))
        info.vsi_id, info.num_elements = vsi(vsi_id), len(part)
        for at, mac in enumerate(part):
            info.list[at].addr = mac
            own = mac == primary
            info.list[at].type = lib.VC_ETHER_ADDR_PRIMARY if own else lib.VC_ETHER_ADDR_EXTRA
        messages.append(bytes(data))
    return messages


def encode_vlans(opcode: int, vsi_id: int, vids: Sequence[int]) -> list[bytes]:
    """ADD_VLAN or DEL_VLAN; long lists make several messages. Raises ConfigError."""
    messages = []
    for part in chunks(opcode, vids):
        data, info = blank("vc_vlan_filter_list", opcode, len(part))
        info.vsi_id, info.num_elements = vsi(vsi_id), len(part)
        for at, vid in enumerate(part):
            info.vlan_id[at] = bounded("VLAN id", vid, 0, 4095)
        messages.append(bytes(data))
    return messages


def encode_promiscuous(vsi_id: int, unicast: bool, multicast: bool) -> bytes:
    """CONFIG_PROMISCUOUS_MODE. A PF answers SUCCESS to an untrusted VF too, and does nothing."""
    data, info = blank("vc_promisc_info", op.CONFIG_PROMISCUOUS_MODE)
    info.vsi_id = vsi(vsi_id)
    info.flags = (lib.VC_PROMISC_UNICAST if unicast else 0) | (
        lib.VC_PROMISC_MULTICAST if multicast else 0
    )
    return bytes(data)


def check_mac(mac: bytes) -> bytes:
    """`mac` itself when a PF can filter on it, else ConfigError."""
    if len(mac) != 6:
        raise ConfigError(f"a MAC address has 6 bytes, not {len(mac)}")
    if mac in (bytes(6), b"\xff" * 6):
        raise ConfigError(f"{mac_text(mac)} cannot be a MAC filter", "zero and broadcast are none")
    return mac


def mac_text(mac: bytes) -> str:
    """A MAC address as people write it."""
    return mac.hex(":")


def describe_macs(payload: bytes) -> str:
    """One line on ADD_ETH_ADDR or DEL_ETH_ADDR."""
    info = view("vc_ether_addr_list", op.ADD_ETH_ADDR, payload)
    count = min(int(info.num_elements), (len(payload) - 4) // 8)
    shown = " ".join(mac_text(bytes(info.list[at].addr)) for at in range(min(count, 4)))
    return f"vsi {info.vsi_id}, {count}: {shown}" + (" ..." if count > 4 else "")


def describe_vlans(payload: bytes) -> str:
    """One line on ADD_VLAN or DEL_VLAN."""
    info = view("vc_vlan_filter_list", op.ADD_VLAN, payload)
    count = min(int(info.num_elements), (len(payload) - 4) // 2)
    shown = " ".join(str(info.vlan_id[at]) for at in range(min(count, 8)))
    return f"vsi {info.vsi_id}, {count}: {shown}" + (" ..." if count > 8 else "")


def describe_promiscuous(payload: bytes) -> str:
    """One line on CONFIG_PROMISCUOUS_MODE."""
    info = view("vc_promisc_info", op.CONFIG_PROMISCUOUS_MODE, payload)
    on = [name for bit, name in ((1, "unicast"), (2, "multicast")) if info.flags & bit]
    return f"vsi {info.vsi_id}, {' and '.join(on) or 'off'}"
