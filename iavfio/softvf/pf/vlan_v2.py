# SPDX-License-Identifier: BSD-3-Clause
"""VLAN V2: what tags the PF can filter, strip and insert, and where they lie.

Single VLAN mode offers the inner tag in L2TAG1. In double VLAN mode the outer tag is offered, in
L2TAG2; this model leaves inner offloads of that mode out (docs/spec/virtchnl.md 5, 9).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from iavfio.softvf._device import ffi, lib
from iavfio.softvf.pf.messages import Handler, Message
from iavfio.softvf.pf.status import Refused, Status
from iavfio.softvf.pf.vf import Vf

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

TPIDS: Mapping[int, int] = MappingProxyType({0x8100: 1 << 0, 0x88A8: 1 << 1, 0x9100: 1 << 2})
ETHERTYPES = 0x7
VID_MASK = 0xFFF
TRUSTED_FILTERS = 4096


def _capabilities(pf: Pf, vf: Vf) -> Any:
    caps = ffi.new("struct vc_vlan_caps *")
    one, all_types = lib.VC_VLAN_ETHERTYPE_8100, ETHERTYPES
    caps.filtering.ethertype_init = caps.offloads.ethertype_init = one
    if pf.personality.double_vlan:
        outer = all_types | lib.VC_VLAN_ETHERTYPE_XOR | lib.VC_VLAN_TOGGLE
        caps.filtering.filtering_support.outer = all_types | lib.VC_VLAN_ETHERTYPE_AND
        caps.offloads.stripping_support.outer = outer | lib.VC_VLAN_TAG_L2TAG2_2
        caps.offloads.insertion_support.outer = outer | lib.VC_VLAN_TAG_L2TAG2
    elif not vf.port_vlan:
        inner = one | lib.VC_VLAN_TOGGLE | lib.VC_VLAN_TAG_L2TAG1
        caps.filtering.filtering_support.inner = one
        caps.offloads.stripping_support.inner = inner
        caps.offloads.insertion_support.inner = inner
    if not vf.port_vlan or pf.personality.double_vlan:
        caps.filtering.max_filters = TRUSTED_FILTERS if vf.trusted else pf.personality.max_vlans
    return caps


def get_offload_vlan_v2_caps(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Must come before the other VLAN V2 messages: the PF checks them against this answer."""
    vf.require_active()
    vf.vlan_v2_known = True
    return bytes(ffi.buffer(_capabilities(pf, vf)))


def _known(pf: Pf, vf: Vf) -> Any:
    if not vf.vlan_v2_known:
        raise Refused(
            Status.PARAM, "sent before GET_OFFLOAD_VLAN_V2_CAPS: nothing is supported yet"
        )
    return _capabilities(pf, vf)


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
    found = (_filter(message.filters[i], support) for i in range(n))
    return [each for each in found if each is not None]


def _filter(entry: Any, support: Any) -> tuple[int, int] | None:
    """Returns TPID and VLAN id; None for id 0, which ice lets pass and does nothing about."""
    tags = [(entry.outer, support.outer, "outer"), (entry.inner, support.inner, "inner")]
    used = [tag for tag in tags if tag[0].tpid or tag[0].tci]
    if len(used) != 1:
        raise Refused(Status.PARAM, f"a VLAN filter names {len(used)} tags, one wanted")
    tag, supported, where = used[0]
    if not tag.tci:
        return None
    vid = int(tag.tci) & VID_MASK
    if not TPIDS.get(int(tag.tpid), 0) & supported:
        raise Refused(Status.PARAM, f"{where} VLAN filter of type {tag.tpid:#06x}: not supported")
    if not vid:
        raise Refused(Status.PARAM, f"{where} VLAN filter without a VLAN id")
    if tag.tci >> 12 and not supported & lib.VC_VLAN_PRIO:
        raise Refused(Status.PARAM, f"{where} VLAN filter with a priority: not supported")
    if tag.tci_mask and not supported & lib.VC_VLAN_FILTER_MASK:
        raise Refused(Status.PARAM, f"{where} VLAN filter with a mask: not supported")
    return int(tag.tpid), vid


def add_vlan_v2(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """All filters are checked before one is added."""
    vf.tagged |= set(_filters(pf, vf, payload, adding=True))
    pf.publish(vf)
    return b""


def del_vlan_v2(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """A filter that is not there is no error."""
    vf.tagged -= set(_filters(pf, vf, payload, adding=False))
    pf.publish(vf)
    return b""


def _setting(pf: Pf, vf: Vf, payload: bytes, support_of: str) -> tuple[str, int]:
    """The tag that a setting names and its TPID."""
    message = ffi.from_buffer("struct vc_vlan_setting *", payload)
    vf.require_vsi(message.vport_id, pf.personality.vsi_id(vf.index))
    support = getattr(_known(pf, vf).offloads, support_of)
    asked = {
        where: int(setting)
        for where, setting in (
            ("outer", message.outer_ethertype_setting),
            ("inner", message.inner_ethertype_setting),
        )
        if setting
    }
    if not asked:
        raise Refused(Status.PARAM, "a VLAN setting without an ethertype")
    for where, setting in asked.items():
        _check_setting(where, setting, int(getattr(support, where)))
    where, setting = next(iter(asked.items()))
    return where, next(tpid for tpid, bit in TPIDS.items() if bit & setting)


def _check_setting(where: str, setting: int, support: int) -> None:
    if setting & ~support & ETHERTYPES or not setting & ETHERTYPES or not support:
        raise Refused(Status.PARAM, f"{where} VLAN setting {setting:#x}: not supported")
    several = bin(setting & ETHERTYPES).count("1") > 1
    if several and not support & lib.VC_VLAN_ETHERTYPE_AND:
        raise Refused(Status.PARAM, f"{where} VLAN setting {setting:#x}: one ethertype at a time")
    if not support & lib.VC_VLAN_TOGGLE:
        raise Refused(Status.PARAM, f"{where} VLAN offload cannot be switched")


def enable_vlan_stripping_v2(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Refused while the CRC is kept: the two cannot be together."""
    where, tpid = _setting(pf, vf, payload, "stripping_support")
    if pf.personality.strip_refused:
        raise Refused(Status.PARAM, "VLAN stripping cannot be turned on", kind="note")
    if any(offer.keep_crc for offer in vf.queues.values()):
        raise Refused(Status.UNSUPPORTED, "VLAN stripping while the CRC is kept")
    vf.strip = "l2tag2_2" if where == "outer" else "l2tag1"
    vf.strip_tpids = (tpid,)
    pf.publish(vf)
    return b""


def disable_vlan_stripping_v2(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Tags stay in the frame."""
    _setting(pf, vf, payload, "stripping_support")
    if pf.personality.strip_refused:
        raise Refused(Status.PARAM, "VLAN stripping cannot be turned off", kind="note")
    vf.strip = "none"
    pf.publish(vf)
    return b""


def enable_vlan_insertion_v2(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """The inserted type must be the stripped one, as the capabilities say."""
    _, tpid = _setting(pf, vf, payload, "insertion_support")
    if vf.strip != "none" and tpid not in vf.strip_tpids:
        raise Refused(
            Status.PARAM,
            f"insertion of type {tpid:#06x} while {vf.strip_tpids[0]:#06x} is stripped",
        )
    vf.insert_tpid, vf.insertion = tpid, True
    pf.publish(vf)
    return b""


def disable_vlan_insertion_v2(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """The VF promises to insert no tags."""
    _setting(pf, vf, payload, "insertion_support")
    vf.insertion = False
    pf.publish(vf)
    return b""


def _row(name: str, handler: Handler, fixed: int, per: int = 0) -> Message:
    """Only ice serves VLAN V2."""
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
