# SPDX-License-Identifier: BSD-3-Clause
"""How i40e keeps a VF's VLAN filters (docs/spec/virtchnl.md 9, docs/spec/pf-dialects.md 4).

It counts messages' entries, not filters: one that is there already, or id 0, counts again, and each
deletion counts down, of an unknown id too. The counter has 16 bits, so deleting more than was added
makes it huge: from then on an untrusted VF adds VLANs in vain, and is told of success.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.softvf._device import ffi
from iavfio.softvf.pf.status import Refused, Status
from iavfio.softvf.pf.vf import STRIPPED, Vf

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

VIDS = 4096
COUNTER = 1 << 16


def _list(pf: Pf, vf: Vf, payload: bytes) -> list[int]:
    message = ffi.from_buffer("struct vc_vlan_filter_list *", payload)
    vf.require_vsi(message.vsi_id, pf.personality.vsi_id(vf.index))
    vids = [int(message.vlan_id[i]) for i in range(message.num_elements)]
    for vid in vids:
        if vid >= VIDS:
            raise Refused(Status.PARAM, f"VLAN id {vid}, at most {VIDS - 1}")
    return vids


def _on_port_vlan(vf: Vf) -> Refused:
    return Refused(Status.PARAM, f"the VF is on port VLAN {vf.port_vlan}", kind="note")


def add(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """ADD_VLAN; the limit is looked at once, before the message is, and not for each entry."""
    if vf.vlan_count >= pf.personality.max_vlans and not vf.trusted:
        vf.hardware.violation(
            "docs/spec/virtchnl.md 9",
            f"an untrusted VF may have {pf.personality.max_vlans} VLANs; "
            "reported as success, nothing is added",
            "note",
        )
        return b""
    vids = _list(pf, vf, payload)
    if vf.port_vlan:
        raise _on_port_vlan(vf)
    vf.strip = STRIPPED["inner"]  # a VLAN filter turns stripping on
    vf.vlans |= set(vids) - {0}
    vf.vlan_count = (vf.vlan_count + len(vids)) % COUNTER
    pf.publish(vf)
    return b""


def delete(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """DEL_VLAN; an id that is not there is no error."""
    vids = _list(pf, vf, payload)
    if vf.port_vlan:
        if vids != [0]:
            raise _on_port_vlan(vf)
        return b""
    vf.vlans -= set(vids)
    vf.vlan_count = (vf.vlan_count - len(vids)) % COUNTER
    pf.publish(vf)
    return b""
