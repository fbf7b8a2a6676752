# SPDX-License-Identifier: BSD-3-Clause
"""Negotiation messages: VERSION, GET_VF_RESOURCES, REQUEST_QUEUES, GET_SUPPORTED_RXDIDS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from iavfio._driver import ffi, lib
from iavfio.errors import MailboxError
from iavfio.virtchnl.messages import opcodes as op
from iavfio.virtchnl.messages.wire import VSI_ID_MAX, blank, bounded, check_reply, malformed, view

QUEUES_MAX: Final = 256  # E810 silicon; a VF without LARGE_NUM_QPAIRS has 16
VECTORS_MAX: Final = 2048  # an MSI-X table has no more entries
VSIS_MAX: Final = 4
FRAME_MIN, FRAME_MAX = 64, 16383  # a PF accepts max_pkt_size in this range (spec: virtchnl 9)
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


def encode_version(version: Version) -> bytes:
    """VERSION request."""
    data, info = blank("vc_version_info", op.VERSION)
    info.major, info.minor = version.major, version.minor
    return bytes(data)


def decode_version(payload: bytes) -> Version:
    """VERSION reply; 1.0 and 1.1 are accepted, else MailboxError names both versions (F7)."""
    check_reply(op.VERSION, len(payload))
    info = view("vc_version_info", op.VERSION, payload)
    version = Version(int(info.major), int(info.minor))
    if version.major != lib.VC_VERSION_MAJOR or version.minor > lib.VC_VERSION_MINOR:
        raise MailboxError(
            f"the PF speaks virtchnl {version}, this driver speaks 1.0 and 1.1",
            "PF driver and VF driver do not fit",
            "use a PF driver (ice or i40e) that speaks virtchnl 1.1",
        )
    return version


def encode_resources(caps: int, version: Version) -> bytes:
    """GET_VF_RESOURCES request: the wanted capabilities; a 1.0 peer takes no payload."""
    if version.minor == 0:
        return b""
    return bounded("capability word", caps, 0, 0xFFFFFFFF).to_bytes(4, "little")


def decode_resources(payload: bytes) -> Resources:
    """GET_VF_RESOURCES reply with every field checked (F5); raises MailboxError."""
    opcode = op.GET_VF_RESOURCES
    check_reply(opcode, len(payload))
    info = view("vc_vf_resource", opcode, payload)
    count = _within("num_vsis", int(info.num_vsis), 1, VSIS_MAX)
    header, each = ffi.sizeof("struct vc_vf_resource"), ffi.sizeof("struct vc_vsi_resource")
    if len(payload) < header + count * each:
        raise malformed(opcode, f"{len(payload)} bytes cannot hold {count} VSIs")
    queue_pairs = _within("num_queue_pairs", int(info.num_queue_pairs), 1, QUEUES_MAX)
    caps = int(info.vf_cap_flags)
    uses_rss = bool(caps & (lib.VC_CAP_RSS_PF | lib.VC_CAP_RSS_AQ))
    lut_size = _within("rss_lut_size", int(info.rss_lut_size), 16 if uses_rss else 0, LUT_MAX)
    if lut_size & (lut_size - 1):
        raise malformed(opcode, f"rss_lut_size {lut_size} is no power of two")
    max_frame = int(info.max_mtu)
    if max_frame:
        _within("max_mtu", max_frame, FRAME_MIN, FRAME_MAX)
    found = [info.vsi_res[i] for i in range(count) if info.vsi_res[i].vsi_type == lib.VC_VSI_SRIOV]
    if not found:
        raise malformed(opcode, "no VSI of type SRIOV (6) is in it")
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


def encode_request_queues(queue_pairs: int) -> bytes:
    """REQUEST_QUEUES: the number of queue pairs wanted."""
    return bounded("number of queue pairs", queue_pairs, 1, QUEUES_MAX).to_bytes(2, "little")


def decode_request_queues(payload: bytes) -> int:
    """REQUEST_QUEUES reply: the number that would work. A granted request has no reply."""
    check_reply(op.REQUEST_QUEUES, len(payload))
    pairs = int.from_bytes(payload, "little")
    if pairs > QUEUES_MAX:
        raise malformed(op.REQUEST_QUEUES, f"num_queue_pairs {pairs} exceeds {QUEUES_MAX}")
    return pairs


def decode_rxdids(payload: bytes) -> frozenset[int]:
    """GET_SUPPORTED_RXDIDS reply: the Rx descriptor formats that queues may use."""
    check_reply(op.GET_SUPPORTED_RXDIDS, len(payload))
    word = int(view("vc_supported_rxdids", op.GET_SUPPORTED_RXDIDS, payload).supported_rxdids)
    if not word:
        raise malformed(op.GET_SUPPORTED_RXDIDS, "it supports no descriptor format at all")
    return frozenset(bit for bit in range(64) if word >> bit & 1)


def _within(name: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise malformed(op.GET_VF_RESOURCES, f"{name} is {value}, legal is {least}..{most}")
    return value


def _usable(mac: bytes) -> bytes | None:
    """A MAC address, or None for zero and group addresses: the VF must then choose its own."""
    return None if mac == bytes(6) or mac[0] & 1 else mac
