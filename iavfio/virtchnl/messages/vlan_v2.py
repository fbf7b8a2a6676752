# SPDX-License-Identifier: BSD-3-Clause
"""VLAN V2 messages: capabilities, filters, stripping and insertion (docs/spec/virtchnl.md 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from iavfio._driver import lib
from iavfio.errors import ConfigError
from iavfio.virtchnl.messages.message_type import TRUST, Advice, MessageType, ReplyLength, nothing
from iavfio.virtchnl.messages.wire import NO_CONTENT, Length, blank, bounded, chunks, view, vsi

FILTERS: Final = Length(8, 32)
SETTING: Final = Length(16)
TPID_BITS: Final[tuple[tuple[int, int], ...]] = (
    (0x8100, lib.VC_VLAN_ETHERTYPE_8100),
    (0x88A8, lib.VC_VLAN_ETHERTYPE_88A8),
    (0x9100, lib.VC_VLAN_ETHERTYPE_9100),
)


@dataclass(frozen=True, slots=True)
class Support:
    """What can be done with the outer and the inner tag: ethertype, place and mode bits."""

    outer: int
    inner: int


@dataclass(frozen=True, slots=True)
class VlanCaps:
    """GET_OFFLOAD_VLAN_V2_CAPS; the `_init` words say what is on at the start."""

    filtering: Support
    filtering_init: int
    max_filters: int
    stripping: Support
    insertion: Support
    offload_init: int
    must_match: bool  # insertion must use the ethertype of stripping


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag of a filter: `tci` as on the wire, with priority bits; tpid 0 = not looked at."""

    tci: int
    tpid: int = 0x8100
    mask: int = 0


@dataclass(frozen=True, slots=True)
class VlanFilter:
    """A VLAN V2 filter; it has at least one tag."""

    outer: Tag | None = None
    inner: Tag | None = None

    def __str__(self) -> str:
        tags = (("outer", self.outer), ("inner", self.inner))
        return " ".join(f"{n} {t.tpid:04x}.{t.tci & 0xFFF}" for n, t in tags if t)


@dataclass(frozen=True, slots=True)
class Setting:
    """One stripping or insertion setting: a single ethertype bit in exactly one word."""

    outer: int = 0
    inner: int = 0


def choose_setting(support: Support, tpid: int = 0x8100) -> Setting:
    """Returns the setting that switches an offload for `tpid`: the outer tag's when it has one.

    Raises ConfigError when the PF does not offer the offload or does not let it be switched.
    """
    bit = next((bit for known, bit in TPID_BITS if known == tpid), 0)
    for word, setting in (
        (support.outer, Setting(outer=bit)),
        (support.inner, Setting(inner=bit)),
    ):
        if bit and word & bit:
            if not word & lib.VC_VLAN_TOGGLE:
                raise ConfigError(
                    f"the PF does not let the VF switch VLAN {tpid:04x} handling",
                    "the capability has no TOGGLE bit, as with a port VLAN",
                )
            return setting
    raise ConfigError(f"the PF offers no VLAN offload for ethertype {tpid:04x}")


def _support(word: Any) -> Support:
    return Support(int(word.outer), int(word.inner))


def _decode_caps(payload: bytes) -> VlanCaps:
    info = view("vc_vlan_caps", payload)
    filtering, offloads = info.filtering, info.offloads
    return VlanCaps(
        filtering=_support(filtering.filtering_support),
        filtering_init=int(filtering.ethertype_init),
        max_filters=int(filtering.max_filters),
        stripping=_support(offloads.stripping_support),
        insertion=_support(offloads.insertion_support),
        offload_init=int(offloads.ethertype_init),
        must_match=offloads.ethertype_match == 0,
    )


def _show_caps(payload: bytes) -> str:
    c = _decode_caps(payload)
    return (
        f"filter {c.filtering.outer:#x}/{c.filtering.inner:#x} max {c.max_filters}, "
        f"strip {c.stripping.outer:#x}/{c.stripping.inner:#x}, "
        f"insert {c.insertion.outer:#x}/{c.insertion.inner:#x}"
    )


def _encode_filters(vsi_id: int, filters: Sequence[VlanFilter]) -> list[bytes]:
    """Long lists make several messages. All filters of one request must use the same tags."""
    if len({(f.outer is not None, f.inner is not None) for f in filters}) > 1:
        raise ConfigError("VLAN filters of one request must all use the same tags")
    messages = []
    for part in chunks("VLAN filters", FILTERS, filters):
        data, info = blank("vc_vlan_filter_list_v2", FILTERS, len(part))
        info.vport_id, info.num_elements = vsi(vsi_id), len(part)
        for at, entry in enumerate(part):
            if entry.outer is None and entry.inner is None:
                raise ConfigError("a VLAN filter needs a tag")
            for wire, tag in (
                (info.filters[at].outer, entry.outer),
                (info.filters[at].inner, entry.inner),
            ):
                if tag is not None:
                    wire.tci = bounded("VLAN tag", tag.tci, 0, 0xFFFF)
                    wire.tci_mask = bounded("VLAN tag mask", tag.mask, 0, 0xFFFF)
                    wire.tpid = bounded("VLAN ethertype", tag.tpid, 1, 0xFFFF)
        messages.append(bytes(data))
    return messages


def _show_filters(payload: bytes) -> str:
    info = view("vc_vlan_filter_list_v2", payload)
    count = min(int(info.num_elements), (len(payload) - 8) // FILTERS.per)
    shown = []
    for at in range(min(count, 4)):
        tags = (("outer", info.filters[at].outer), ("inner", info.filters[at].inner))
        shown.append(" ".join(f"{n} {t.tpid:04x}.{t.tci & 0xFFF}" for n, t in tags if t.tpid))
    return f"vport {info.vport_id}, {count}: " + ", ".join(shown) + (" ..." if count > 4 else "")


def _encode_setting(vsi_id: int, setting: Setting) -> list[bytes]:
    data, info = blank("vc_vlan_setting", SETTING)
    info.outer_ethertype_setting = bounded("outer setting", setting.outer, 0, 0xFFFFFFFF)
    info.inner_ethertype_setting = bounded("inner setting", setting.inner, 0, 0xFFFFFFFF)
    info.vport_id = vsi(vsi_id)
    return [bytes(data)]


def _show_setting(payload: bytes) -> str:
    info = view("vc_vlan_setting", payload)
    outer, inner = info.outer_ethertype_setting, info.inner_ethertype_setting
    return f"vport {info.vport_id}, outer {outer:#x}, inner {inner:#x}"


def _switch(name: str) -> MessageType[[Setting], None]:
    """Returns the row of a message that switches an offload; its argument is a Setting."""
    return MessageType(
        name, _encode_setting, SETTING, nothing, gate=lib.VC_CAP_VLAN_V2, show=_show_setting
    )


# No arguments. PFs check the messages below against this answer, so it comes first.
GET_OFFLOAD_VLAN_V2_CAPS = MessageType(
    "GET_OFFLOAD_VLAN_V2_CAPS",
    lambda vsi_id: [b""],
    NO_CONTENT,
    _decode_caps,
    ReplyLength(40),
    gate=lib.VC_CAP_VLAN_V2,
    show_reply=_show_caps,
)

# Argument: a list of VlanFilter.
ADD_VLAN_V2 = MessageType(
    "ADD_VLAN_V2",
    _encode_filters,
    FILTERS,
    nothing,
    gate=lib.VC_CAP_VLAN_V2,
    show=_show_filters,
    advice=Advice("the VLAN filters are full, or the tag is not supported", TRUST),
)

# Argument: a list of VlanFilter.
DEL_VLAN_V2 = MessageType(
    "DEL_VLAN_V2", _encode_filters, FILTERS, nothing, gate=lib.VC_CAP_VLAN_V2, show=_show_filters
)

ENABLE_VLAN_STRIPPING_V2 = _switch("ENABLE_VLAN_STRIPPING_V2")
DISABLE_VLAN_STRIPPING_V2 = _switch("DISABLE_VLAN_STRIPPING_V2")
ENABLE_VLAN_INSERTION_V2 = _switch("ENABLE_VLAN_INSERTION_V2")
DISABLE_VLAN_INSERTION_V2 = _switch("DISABLE_VLAN_INSERTION_V2")
