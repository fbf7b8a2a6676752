# SPDX-License-Identifier: BSD-3-Clause
"""Filter messages: MAC addresses and promiscuous mode (docs/spec/virtchnl.md 5, 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from iavfio._driver import lib
from iavfio.errors import ConfigError
from iavfio.virtchnl.messages.message_type import TRUST, Advice, MessageType, nothing
from iavfio.virtchnl.messages.wire import Length, blank, chunks, view, vsi

MACS: Final = Length(12, 8)
PROMISCUOUS: Final = Length(4)


def check_mac(mac: bytes) -> bytes:
    """Returns `mac` when a PF can filter on it; raises ConfigError otherwise."""
    if len(mac) != 6:
        raise ConfigError(f"a MAC address has 6 bytes, not {len(mac)}")
    if mac in (bytes(6), b"\xff" * 6):
        raise ConfigError(
            f"{mac_text(mac)} cannot be a MAC filter",
            "the zero address is nobody's, and broadcast always arrives",
        )
    return mac


def mac_text(mac: bytes) -> str:
    """Returns a MAC address as people write it."""
    return mac.hex(":")


def _encode_macs(vsi_id: int, macs: Sequence[bytes], primary: bytes | None = None) -> list[bytes]:
    """Long lists make several messages; `primary` marks the one address that is the VF's own."""
    for mac in macs:
        check_mac(mac)
    messages = []
    for part in chunks("MAC addresses", MACS, macs):
        data, info = blank("vc_ether_addr_list", MACS, len(part))
        info.vsi_id, info.num_elements = vsi(vsi_id), len(part)
        for at, mac in enumerate(part):
            info.list[at].addr = mac
            own = mac == primary
            info.list[at].type = lib.VC_ETHER_ADDR_PRIMARY if own else lib.VC_ETHER_ADDR_EXTRA
        messages.append(bytes(data))
    return messages


def _show_macs(payload: bytes) -> str:
    info = view("vc_ether_addr_list", payload)
    count = min(int(info.num_elements), (len(payload) - 4) // MACS.per)
    shown = " ".join(mac_text(bytes(info.list[at].addr)) for at in range(min(count, 4)))
    return f"vsi {info.vsi_id}, {count}: {shown}" + (" ..." if count > 4 else "")


def _encode_promiscuous(vsi_id: int, unicast: bool, multicast: bool) -> list[bytes]:
    data, info = blank("vc_promisc_info", PROMISCUOUS)
    info.vsi_id = vsi(vsi_id)
    info.flags = (lib.VC_PROMISC_UNICAST if unicast else 0) | (
        lib.VC_PROMISC_MULTICAST if multicast else 0
    )
    return [bytes(data)]


def _show_promiscuous(payload: bytes) -> str:
    info = view("vc_promisc_info", payload)
    on = [name for bit, name in ((1, "unicast"), (2, "multicast")) if info.flags & bit]
    return f"vsi {info.vsi_id}, {' and '.join(on) or 'off'}"


# Arguments: addresses of 6 bytes, and which of them is the VF's own.
ADD_ETH_ADDR = MessageType(
    "ADD_ETH_ADDR",
    _encode_macs,
    MACS,
    nothing,
    gate=lib.VC_CAP_L2,
    show=_show_macs,
    advice=Advice(
        "the VF is not trusted: it has too many addresses, or the host set its own", TRUST
    ),
)

# Arguments: addresses of 6 bytes. After a refusal some of them may be gone: delete one by one to
# know which.
DEL_ETH_ADDR = MessageType(
    "DEL_ETH_ADDR",
    _encode_macs,
    MACS,
    nothing,
    gate=lib.VC_CAP_L2,
    show=_show_macs,
    advice=Advice("it has no such address, or the host set it as the VF's own", ""),
)

# Arguments: whether all unicast, whether all multicast is wanted. A success proves nothing: PFs
# answer SUCCESS to an untrusted VF and ignore the request (docs/spec/virtchnl.md 9).
CONFIG_PROMISCUOUS_MODE = MessageType(
    "CONFIG_PROMISCUOUS_MODE",
    _encode_promiscuous,
    PROMISCUOUS,
    nothing,
    gate=lib.VC_CAP_L2,
    show=_show_promiscuous,
    advice=Advice("the VF is not trusted, or a filter could not be set", TRUST),
)
