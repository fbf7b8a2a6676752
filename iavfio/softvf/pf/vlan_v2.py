# SPDX-License-Identifier: BSD-3-Clause
"""VLAN V2: what tags the PF can filter, strip and insert, and where they lie.

Single VLAN mode offers the inner tag in L2TAG1. Double VLAN mode offers the outer tag, in L2TAG2,
and stripping and insertion of the inner one; this model strips the tag that was named last
(docs/spec/virtchnl.md 5, 9).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from iavfio.softvf._device import ffi, lib
from iavfio.softvf.pf import ice_vlans
from iavfio.softvf.pf.messages import Handler, Message
from iavfio.softvf.pf.status import Refused, Status
from iavfio.softvf.pf.vf import STRIPPED, Vf

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

TPIDS: Mapping[int, int] = MappingProxyType({0x8100: 1 << 0, 0x88A8: 1 << 1, 0x9100: 1 << 2})
ETHERTYPES = 0x7
VID_MASK = 0xFFF
PRIORITY_MASK = 0xE000
TRUSTED_FILTERS = 4096


def _capabilities(pf: Pf, vf: Vf) -> Any:
    caps = ffi.new("struct vc_vlan_caps *")
    double, one = pf.personality.double_vlan, lib.VC_VLAN_ETHERTYPE_8100
    if vf.port_vlan and not double:
        return caps  # the port VLAN takes the only tag
    caps.filtering.max_filters = TRUSTED_FILTERS if vf.trusted else pf.personality.max_vlans
    caps.offloads.ethertype_init = one
    inner = one | lib.VC_VLAN_TOGGLE | lib.VC_VLAN_TAG_L2TAG1
    caps.offloads.stripping_support.inner = caps.offloads.insertion_support.inner = inner
    if not double:
        caps.filtering.ethertype_init = caps.filtering.filtering_support.inner = one
    elif not vf.port_vlan:
        outer = ETHERTYPES | lib.VC_VLAN_ETHERTYPE_XOR | lib.VC_VLAN_TOGGLE
        caps.filtering.ethertype_init = ETHERTYPES
        caps.filtering.filtering_support.outer = ETHERTYPES | lib.VC_VLAN_ETHERTYPE_AND
        caps.offloads.stripping_support.outer = outer | lib.VC_VLAN_TAG_L2TAG2_2
        caps.offloads.insertion_support.outer = outer | lib.VC_VLAN_TAG_L2TAG2
    return caps


def get_offload_vlan_v2_caps(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Must come before the other VLAN V2 messages: the PF checks them against this answer."""
    vf.require_active()
    vf.vlan_v2_known = True
    return bytes(ffi.buffer(_capabilities(pf, vf)))


def _known(pf: Pf, vf: Vf) -> Any:
    """What the PF has told of VLANs since the last reset: nothing is supported before."""
    return _capabilities(pf, vf) if vf.vlan_v2_known else ffi.new("struct vc_vlan_caps *")


def _filters(pf: Pf, vf: Vf, payload: bytes, adding: bool) -> list[tuple[int, int]]:
    message = ffi.from_buffer("struct vc_vlan_filter_list_v2 *", payload)
    vf.require_vsi(message.vport_id, pf.personality.vsi_id(vf.index))
    filtering = _known(pf, vf).filtering
    support = filtering.filtering_support
    n = int(message.num_elements)
    if adding and len(vf.tagged) + n > filtering.max_filters:
        raise Refused(
            Status.PARAM,
            f"{len(vf.tagged) + n} VLAN filters, the VF may have {filtering.max_filters}",
            kind="note",
        )
    return [tag for i in range(n) for tag in _tags(message.filters[i], support)]


def _tags(entry: Any, support: Any) -> list[tuple[int, int]]:
    """The TPIDs and VLAN ids of a filter; a tag without id or TPID is let pass and left out."""
    found = []
    for tag, supported, where in (
        (entry.outer, int(support.outer), "outer"),
        (entry.inner, int(support.inner), "inner"),
    ):
        named = tag.tci and tag.tpid
        if named and not TPIDS.get(int(tag.tpid), 0) & supported:
            raise Refused(
                Status.PARAM, f"{where} VLAN filter of type {tag.tpid:#06x}: not supported"
            )
        if tag.tci & PRIORITY_MASK and not supported & lib.VC_VLAN_PRIO:
            raise Refused(Status.PARAM, f"{where} VLAN filter with a priority: not supported")
        if tag.tci_mask and not supported & lib.VC_VLAN_FILTER_MASK:
            raise Refused(Status.PARAM, f"{where} VLAN filter with a mask: not supported")
        if named and tag.tci & VID_MASK:
            found.append((int(tag.tpid), int(tag.tci) & VID_MASK))
    return found


def add_vlan_v2(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """All filters are checked before one is added."""
    vf.tagged |= set(_filters(pf, vf, payload, adding=True))
    ice_vlans.changed(vf)
    pf.publish(vf)
    return b""


def del_vlan_v2(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """A filter that is not there is no error."""
    vf.tagged -= set(_filters(pf, vf, payload, adding=False))
    ice_vlans.changed(vf)
    pf.publish(vf)
    return b""


def _setting(pf: Pf, vf: Vf, payload: bytes, support_of: str) -> list[tuple[str, int]]:
    """Which tags a setting names, outer before inner, with the bits that it names them by."""
    message = ffi.from_buffer("struct vc_vlan_setting *", payload)
    vf.require_vsi(message.vport_id, pf.personality.vsi_id(vf.index))
    support = getattr(_known(pf, vf).offloads, support_of)
    both = (
        ("outer", int(message.outer_ethertype_setting)),
        ("inner", int(message.inner_ethertype_setting)),
    )
    asked = [(where, setting) for where, setting in both if setting]
    if not asked:
        raise Refused(Status.PARAM, "a VLAN setting without an ethertype")
    for where, setting in asked:
        _check_setting(where, setting, int(getattr(support, where)))
    return asked


def _check_setting(where: str, setting: int, support: int) -> None:
    """ice looks for any common bit, and counts all bits of the setting as ethertypes."""
    if not setting & support:
        raise Refused(Status.PARAM, f"{where} VLAN setting {setting:#x}: not supported")
    if setting.bit_count() > 1 and not support & lib.VC_VLAN_ETHERTYPE_AND:
        raise Refused(Status.PARAM, f"{where} VLAN setting {setting:#x}: one ethertype at a time")
    if not support & lib.VC_VLAN_TOGGLE:
        raise Refused(Status.PARAM, f"{where} VLAN offload cannot be switched")


def _tpid(where: str, setting: int) -> int:
    for tpid, bit in TPIDS.items():
        if bit == setting:
            return tpid
    raise Refused(Status.PARAM, f"{where} VLAN setting {setting:#x} is not an ethertype")


def enable_vlan_stripping_v2(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Refused while the CRC is kept: the two cannot be together."""
    asked = _setting(pf, vf, payload, "stripping_support")
    if pf.personality.strip_refused:
        raise Refused(Status.PARAM, "VLAN stripping cannot be turned on", kind="note")
    if any(offer.keep_crc for offer in vf.queues.values()):
        raise Refused(Status.UNSUPPORTED, "VLAN stripping while the CRC is kept")
    try:
        for where, setting in asked:
            tpid = _tpid(where, setting)
            vf.strip, vf.strip_tpids = STRIPPED[where], (tpid,)
            if where == "outer":
                vf.insert_tpid = tpid  # the card knows one type of outer tags
    finally:
        pf.publish(vf)
    return b""


def disable_vlan_stripping_v2(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Tags stay in the frame."""
    asked = _setting(pf, vf, payload, "stripping_support")
    if pf.personality.strip_refused:
        raise Refused(Status.PARAM, "VLAN stripping cannot be turned off", kind="note")
    for where, _ in asked:
        ice_vlans.leave(vf, where)
    pf.publish(vf)
    return b""


def enable_vlan_insertion_v2(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """The inserted type must be the stripped one, as the capabilities say; ice does not look."""
    for where, setting in _setting(pf, vf, payload, "insertion_support"):
        tpid = _tpid(where, setting)
        if vf.strip == STRIPPED[where] and tpid not in vf.strip_tpids:
            vf.hardware.violation(
                "docs/spec/virtchnl.md 5",
                f"insertion of type {tpid:#06x} while {vf.strip_tpids[0]:#06x} is stripped",
            )
        vf.insertion = True
        if where == "outer":  # the card knows one type of outer tags, and 8100 alone of inner ones
            vf.insert_tpid = tpid
            vf.strip_tpids = (tpid,) if vf.strip == STRIPPED["outer"] else vf.strip_tpids
    pf.publish(vf)
    return b""


def disable_vlan_insertion_v2(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """The VF promises to insert no tags."""
    _setting(pf, vf, payload, "insertion_support")
    vf.insertion = False
    pf.publish(vf)
    return b""


def _row(name: str, handler: Handler, fixed: int, per: int = 0) -> Message:
    """Returns the row of a VLAN V2 message, which only ice serves."""
    cap = lib.VC_CAP_VLAN_V2
    return Message(name, handler, fixed, per, count_at=2, gate=cap, served_by="ice")


ROWS: tuple[Message, ...] = (
    _row("GET_OFFLOAD_VLAN_V2_CAPS", get_offload_vlan_v2_caps, 0),
    _row("ADD_VLAN_V2", add_vlan_v2, 8, 32),
    _row("DEL_VLAN_V2", del_vlan_v2, 8, 32),
    _row("ENABLE_VLAN_STRIPPING_V2", enable_vlan_stripping_v2, 16),
    _row("DISABLE_VLAN_STRIPPING_V2", disable_vlan_stripping_v2, 16),
    _row("ENABLE_VLAN_INSERTION_V2", enable_vlan_insertion_v2, 16),
    _row("DISABLE_VLAN_INSERTION_V2", disable_vlan_insertion_v2, 16),
)
