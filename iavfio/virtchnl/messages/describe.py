# SPDX-License-Identifier: BSD-3-Clause
"""One readable line for any message, in either direction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal

from iavfio.errors import IavfioError
from iavfio.virtchnl.capabilities import cap_names
from iavfio.virtchnl.messages import filters, queues, resources, rss, vlan
from iavfio.virtchnl.messages import opcodes as op
from iavfio.virtchnl.messages.events import decode_event
from iavfio.virtchnl.messages.wire import view
from iavfio.virtchnl.status import status_name

Direction = Literal["out", "in"]


def _version(payload: bytes) -> str:
    info = view("vc_version_info", op.VERSION, payload)
    return f"{info.major}.{info.minor}"


def _caps(payload: bytes) -> str:
    word = int.from_bytes(payload[:4], "little")
    return f"{word:#010x} ({cap_names(word)})" if payload else "(version 1.0: none)"


def _word(payload: bytes) -> str:
    return f"{int.from_bytes(payload[:8], 'little'):#x}"


def _pairs(payload: bytes) -> str:
    return f"{int.from_bytes(payload[:2], 'little')} queue pairs"


def _vsi(payload: bytes) -> str:
    return f"vsi {view('vc_queue_select', op.GET_STATS, payload).vsi_id}"


def _resources(payload: bytes) -> str:
    r = resources.decode_resources(payload)
    mac = filters.mac_text(r.vsi.mac) if r.vsi.mac else "no MAC"
    return (
        f"vsi {r.vsi.vsi_id}, {r.queue_pairs} pairs, {r.max_vectors} vectors, max {r.max_frame}, "
        f"key {r.key_size}, lut {r.lut_size}, {mac}, {r.caps:#010x} ({cap_names(r.caps)})"
    )


def _stats(payload: bytes) -> str:
    s = queues.decode_stats(payload)
    return f"rx {s.rx_bytes} bytes, {s.rx_discards} discards; tx {s.tx_bytes} bytes"


def _vlan_caps(payload: bytes) -> str:
    c = vlan.decode_vlan_caps(payload)
    return (
        f"filter {c.filtering.outer:#x}/{c.filtering.inner:#x} max {c.max_filters}, "
        f"strip {c.stripping.outer:#x}/{c.stripping.inner:#x}, "
        f"insert {c.insertion.outer:#x}/{c.insertion.inner:#x}"
    )


_REQUESTS: Final[Mapping[int, Callable[[bytes], str]]] = MappingProxyType(
    {
        op.VERSION: _version,
        op.GET_VF_RESOURCES: _caps,
        op.CONFIG_VSI_QUEUES: queues.describe_config,
        op.CONFIG_IRQ_MAP: queues.describe_irq_map,
        op.ENABLE_QUEUES: queues.describe_select,
        op.DISABLE_QUEUES: queues.describe_select,
        op.ADD_ETH_ADDR: filters.describe_macs,
        op.DEL_ETH_ADDR: filters.describe_macs,
        op.ADD_VLAN: filters.describe_vlans,
        op.DEL_VLAN: filters.describe_vlans,
        op.CONFIG_PROMISCUOUS_MODE: filters.describe_promiscuous,
        op.GET_STATS: _vsi,
        op.CONFIG_RSS_HFUNC: rss.describe_rss_hfunc,
        op.CONFIG_RSS_KEY: rss.describe_rss_key,
        op.CONFIG_RSS_LUT: rss.describe_rss_lut,
        op.SET_RSS_HASHCFG: _word,
        op.REQUEST_QUEUES: _pairs,
        op.ADD_VLAN_V2: vlan.describe_vlan_filters,
        op.DEL_VLAN_V2: vlan.describe_vlan_filters,
        op.ENABLE_VLAN_STRIPPING_V2: vlan.describe_vlan_setting,
        op.DISABLE_VLAN_STRIPPING_V2: vlan.describe_vlan_setting,
        op.ENABLE_VLAN_INSERTION_V2: vlan.describe_vlan_setting,
        op.DISABLE_VLAN_INSERTION_V2: vlan.describe_vlan_setting,
    }
)

_REPLIES: Final[Mapping[int, Callable[[bytes], str]]] = MappingProxyType(
    {
        op.VERSION: _version,
        op.GET_VF_RESOURCES: _resources,
        op.GET_STATS: _stats,
        op.GET_RSS_HASHCFG_CAPS: _word,
        op.REQUEST_QUEUES: _pairs,
        op.GET_SUPPORTED_RXDIDS: _word,
        op.GET_OFFLOAD_VLAN_V2_CAPS: _vlan_caps,
    }
)


def describe(
    direction: Direction, opcode: int, status: int, payload: bytes, adv_link_speed: bool = True
) -> str:
    """One line: opcode name, status of a reply, content. Never raises on any bytes."""
    name = op.opcode_name(opcode)
    if direction == "in" and opcode == op.EVENT:
        try:
            return f"{name} {decode_event(payload, adv_link_speed)}"
        except IavfioError as error:
            return f"{name} malformed: {error.cause}"
    if direction == "in" and status:
        return f"{name} refused {status} ({status_name(status)})"
    decode = (_REQUESTS if direction == "out" else _REPLIES).get(opcode)
    try:
        content = decode(payload) if decode else f"{len(payload)} bytes" if payload else ""
    except IavfioError as error:
        content = f"malformed: {error.cause}"
    ok = "ok " if direction == "in" else ""
    return f"{name} {ok}{content}".rstrip()
