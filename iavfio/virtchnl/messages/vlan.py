# SPDX-License-Identifier: BSD-3-Clause
"""Messages of the plain VLAN capability: filters and stripping of one 8100 tag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from iavfio._driver import lib
from iavfio.virtchnl.messages.message_type import TRUST, Advice, MessageType, nothing
from iavfio.virtchnl.messages.wire import NO_CONTENT, Length, blank, bounded, chunks, view, vsi

VIDS: Final = Length(6, 2)
PORT_VLAN: Final = Advice("the host put the VF into a port VLAN", "")


def _encode_vids(vsi_id: int, vids: Sequence[int]) -> list[bytes]:
    """Long lists make several messages."""
    messages = []
    for part in chunks("VLAN ids", VIDS, vids):
        data, info = blank("vc_vlan_filter_list", VIDS, len(part))
        info.vsi_id, info.num_elements = vsi(vsi_id), len(part)
        for at, vid in enumerate(part):
            info.vlan_id[at] = bounded("VLAN id", vid, 0, 4095)
        messages.append(bytes(data))
    return messages


def _show_vids(payload: bytes) -> str:
    info = view("vc_vlan_filter_list", payload)
    count = min(int(info.num_elements), (len(payload) - 4) // VIDS.per)
    shown = " ".join(str(info.vlan_id[at]) for at in range(min(count, 8)))
    return f"vsi {info.vsi_id}, {count}: {shown}" + (" ..." if count > 8 else "")


# Argument: VLAN ids. Beyond an untrusted VF's limit PFs answer SUCCESS and do nothing
# (docs/spec/virtchnl.md 9).
ADD_VLAN = MessageType(
    "ADD_VLAN",
    _encode_vids,
    VIDS,
    nothing,
    gate=lib.VC_CAP_VLAN,
    show=_show_vids,
    advice=Advice("the host put the VF into a port VLAN, or the filters are full", TRUST),
)

# Argument: VLAN ids.
DEL_VLAN = MessageType(
    "DEL_VLAN", _encode_vids, VIDS, nothing, gate=lib.VC_CAP_VLAN, show=_show_vids
)

# No arguments.
ENABLE_VLAN_STRIPPING = MessageType(
    "ENABLE_VLAN_STRIPPING",
    lambda vsi_id: [b""],
    NO_CONTENT,
    nothing,
    gate=lib.VC_CAP_VLAN,
    advice=PORT_VLAN,
)

# No arguments.
DISABLE_VLAN_STRIPPING = MessageType(
    "DISABLE_VLAN_STRIPPING",
    lambda vsi_id: [b""],
    NO_CONTENT,
    nothing,
    gate=lib.VC_CAP_VLAN,
    advice=PORT_VLAN,
)
