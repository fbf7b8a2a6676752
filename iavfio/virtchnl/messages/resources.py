# SPDX-License-Identifier: BSD-3-Clause
"""Negotiation messages: who the VF is and what it gets.

VERSION, RESET_VF, GET_VF_RESOURCES, REQUEST_QUEUES, GET_SUPPORTED_RXDIDS (docs/spec/virtchnl.md 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from iavfio._driver import ffi, lib
from iavfio.errors import MailboxError
from iavfio.virtchnl.capabilities import cap_names
from iavfio.virtchnl.messages.filters import mac_text
from iavfio.virtchnl.messages.message_type import Advice, MessageType, ReplyLength, nothing
from iavfio.virtchnl.messages.wire import (
    NO_CONTENT,
    VSI_ID_MAX,
    Length,
    Malformed,
    blank,
    bounded,
    view,
)

QUEUES_MAX: Final = 256  # E810 silicon; a VF without LARGE_NUM_QPAIRS has 16
VECTORS_MAX: Final = 2048  # an MSI-X table has no more entries
VSIS_MAX: Final = 4
FRAME_MIN, FRAME_MAX = 64, 16383  # what a PF accepts as max_pkt_size (docs/spec/virtchnl.md 9)
KEY_MAX, LUT_MAX = 256, 2048
RXDID_LEGACY: Final = 1


@dataclass(frozen=True, slots=True)
class Version:
    """A virtchnl version."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, slots=True)
class Vsi:
    """One virtual station interface; `mac` is None when the PF reported none that can be used."""

    vsi_id: int
    queue_pairs: int
    qset_handle: int
    mac: bytes | None


@dataclass(frozen=True, slots=True)
class Resources:
    """GET_VF_RESOURCES: what the PF gives this VF.

    `max_frame` in bytes, 0 when the PF does not say; `max_vectors` counts vector 0 and says nothing
    of the number of queues. `key_size` in bytes, `lut_size` in entries.
    """

    vsi: Vsi
    queue_pairs: int
    max_vectors: int
    max_frame: int
    caps: int
    key_size: int
    lut_size: int


def _encode_version(vsi_id: int, version: Version) -> list[bytes]:
    """Returns the payload; the VSI's id is not used, since there is no VSI yet."""
    data, info = blank("vc_version_info", VERSION.length)
    info.major, info.minor = version.major, version.minor
    return [bytes(data)]


def _version(payload: bytes) -> Version:
    info = view("vc_version_info", payload)
    return Version(int(info.major), int(info.minor))


def _decode_version(payload: bytes) -> Version:
    """1.0 and 1.1 are accepted; the error for another version names both."""
    version = _version(payload)
    if version.major != lib.VC_VERSION_MAJOR or version.minor > lib.VC_VERSION_MINOR:
        raise MailboxError(
            f"the PF speaks virtchnl {version}, this driver speaks 1.0 and 1.1",
            "PF driver and VF driver do not fit",
            "use a PF driver (ice or i40e) that speaks virtchnl 1.1",
        )
    return version


def _show_version(payload: bytes) -> str:
    return str(_version(payload))


def _encode_caps(vsi_id: int, caps: int, version: Version) -> list[bytes]:
    """A 1.0 peer takes no payload."""
    if version.minor == 0:
        return [b""]
    return [bounded("capability word", caps, 0, 0xFFFFFFFF).to_bytes(4, "little")]


def _show_caps(payload: bytes) -> str:
    word = int.from_bytes(payload[:4], "little")
    return f"{word:#010x} ({cap_names(word)})" if payload else "(version 1.0: none)"


def _decode_resources(payload: bytes) -> Resources:
    """Each field is checked: none of them can be trusted (docs/spec/reliability.md F5)."""
    info = view("vc_vf_resource", payload)
    count = _within("num_vsis", int(info.num_vsis), 1, VSIS_MAX)
    header, each = ffi.sizeof("struct vc_vf_resource"), ffi.sizeof("struct vc_vsi_resource")
    if len(payload) < header + count * each:
        raise Malformed(f"{len(payload)} bytes cannot hold {count} VSIs")
    queue_pairs = _within("num_queue_pairs", int(info.num_queue_pairs), 1, QUEUES_MAX)
    caps = int(info.vf_cap_flags)
    uses_rss = bool(caps & (lib.VC_CAP_RSS_PF | lib.VC_CAP_RSS_AQ))
    lut_size = _within("rss_lut_size", int(info.rss_lut_size), 16 if uses_rss else 0, LUT_MAX)
    if lut_size & (lut_size - 1):
        raise Malformed(f"rss_lut_size {lut_size} is no power of two")
    max_frame = int(info.max_mtu)
    if max_frame:
        _within("max_mtu", max_frame, FRAME_MIN, FRAME_MAX)
    found = [info.vsi_res[i] for i in range(count) if info.vsi_res[i].vsi_type == lib.VC_VSI_SRIOV]
    if not found:
        raise Malformed("no VSI of type SRIOV (6) is in it")
    return Resources(
        vsi=Vsi(
            vsi_id=_within("vsi_id", int(found[0].vsi_id), 0, VSI_ID_MAX),
            queue_pairs=_within("VSI queue pairs", int(found[0].num_queue_pairs), 1, queue_pairs),
            qset_handle=int(found[0].qset_handle),
            mac=_usable(bytes(found[0].default_mac_addr)),
        ),
        queue_pairs=queue_pairs,
        max_vectors=_within("max_vectors", int(info.max_vectors), 1, VECTORS_MAX),
        max_frame=max_frame,
        caps=caps,
        key_size=_within("rss_key_size", int(info.rss_key_size), 16 if uses_rss else 0, KEY_MAX),
        lut_size=lut_size,
    )


def _within(name: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise Malformed(f"{name} is {value}, legal is {least}..{most}")
    return value


def _usable(mac: bytes) -> bytes | None:
    """Returns None for zero and group addresses: the VF must then choose an address itself."""
    return None if mac == bytes(6) or mac[0] & 1 else mac


def _show_resources(payload: bytes) -> str:
    r = _decode_resources(payload)
    mac = mac_text(r.vsi.mac) if r.vsi.mac else "no MAC"
    return (
        f"vsi {r.vsi.vsi_id}, {r.queue_pairs} pairs, {r.max_vectors} vectors, max {r.max_frame}, "
        f"key {r.key_size}, lut {r.lut_size}, {mac}, {r.caps:#010x} ({cap_names(r.caps)})"
    )


def _encode_pairs(vsi_id: int, queue_pairs: int) -> list[bytes]:
    """The message names no VSI."""
    return [bounded("number of queue pairs", queue_pairs, 1, QUEUES_MAX).to_bytes(2, "little")]


def _decode_pairs(payload: bytes) -> int:
    pairs = int.from_bytes(payload[:2], "little")
    if pairs > QUEUES_MAX:
        raise Malformed(f"num_queue_pairs {pairs} exceeds {QUEUES_MAX}")
    return pairs


def _show_pairs(payload: bytes) -> str:
    return f"{int.from_bytes(payload[:2], 'little')} queue pairs"


def _decode_rxdids(payload: bytes) -> frozenset[int]:
    word = int(view("vc_supported_rxdids", payload).supported_rxdids)
    if not word:
        raise Malformed("it supports no descriptor format at all")
    return frozenset(bit for bit in range(64) if word >> bit & 1)


def _show_rxdids(payload: bytes) -> str:
    return f"{int.from_bytes(payload[:8], 'little'):#x}"


# Argument: our Version. The reply says the PF's; it also is the barrier after a timeout.
VERSION = MessageType(
    "VERSION",
    _encode_version,
    Length(8),
    _decode_version,
    ReplyLength(8),
    negotiates=True,
    show=_show_version,
    show_reply=_show_version,
)

# No arguments. No PF answers this message: the reset itself is the reply.
RESET_VF = MessageType("RESET_VF", lambda vsi_id: [b""], NO_CONTENT, nothing, negotiates=True)

# Arguments: the wanted capabilities, and the Version that the PF speaks. The reply for one VSI has
# 36 bytes from ice; i40e appends an empty VSI (docs/spec/virtchnl.md 4).
GET_VF_RESOURCES = MessageType(
    "GET_VF_RESOURCES",
    _encode_caps,
    Length(4),
    _decode_resources,
    ReplyLength(36),
    negotiates=True,
    show=_show_caps,
    show_reply=_show_resources,
    advice=Advice(
        "it is still finishing a reset of this VF",
        "wait for the VF to become ready and negotiate again",
    ),
)

# Argument: how many queue pairs are wanted. The reply says how many would work; a granted request
# has no reply, but a reset (docs/spec/virtchnl.md 9).
REQUEST_QUEUES = MessageType(
    "REQUEST_QUEUES",
    _encode_pairs,
    Length(2),
    _decode_pairs,
    ReplyLength(2),
    gate=lib.VC_CAP_REQ_QUEUES,
    show=_show_pairs,
    show_reply=_show_pairs,
)

# No arguments. The reply says which Rx descriptor formats queues may use.
GET_SUPPORTED_RXDIDS = MessageType(
    "GET_SUPPORTED_RXDIDS",
    lambda vsi_id: [b""],
    NO_CONTENT,
    _decode_rxdids,
    ReplyLength(8),
    gate=lib.VC_CAP_RX_FLEX_DESC,
    show_reply=_show_rxdids,
)
