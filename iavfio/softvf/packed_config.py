# SPDX-License-Identifier: BSD-3-Clause
"""A VF's configuration in the form that the data plane in C takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from iavfio.softvf._device import ffi

if TYPE_CHECKING:
    from iavfio.softvf.vf_config import FlowRule, VfConfig

TPIDS = (0x8100, 0x88A8, 0x9100)  # the types of VLAN tags
FLAGS = (  # of both, by the same names
    *("promisc_unicast", "promisc_multicast", "default_vsi", "trusted", "spoof_check"),
    *("active", "link_up", "mdd_stopped", "symmetric", "vlan_pruning", "vlan_checking"),
    *("x722_classes", "comms"),
)
STRIP = {"none": 0, "l2tag1": 1, "l2tag2_2": 2}


class _Flows(NamedTuple):
    """`array` points into `frames`, which must live as long."""

    array: Any
    frames: list[Any]


def _flows(flows: Sequence[FlowRule]) -> _Flows:
    if not flows:
        return _Flows(ffi.NULL, [])
    array: Any = ffi.new("struct softvf_flow[]", len(flows))
    frames = [ffi.from_buffer("uint8_t[]", flow.frame) for flow in flows]
    for raw, flow, frame in zip(array, flows, frames, strict=True):
        raw.headers, raw.fields = flow.headers, flow.fields
        raw.frame, raw.frame_len = frame, len(flow.frame)
        raw.action, raw.queue, raw.queues = flow.action.value, flow.queue, flow.queues
        raw.marked, raw.mark = int(flow.mark is not None), flow.mark or 0
    return _Flows(array, frames)


def packed(config: VfConfig) -> tuple[Any, Any, Any]:
    """The struct, the bitmaps of VLAN filters, and what must live as long as the struct."""
    raw: Any = ffi.new("struct softvf_config *")
    for i, mac in enumerate(config.macs):
        raw.macs[i] = mac
    raw.num_macs = len(config.macs)
    raw.primary = config.primary_mac or bytes(6)
    for flag in FLAGS:
        setattr(raw, flag, int(getattr(config, flag)))
    raw.strip = STRIP[config.strip]
    for i, tpid in enumerate(config.strip_tpids[:3]):
        raw.strip_tpids[i] = tpid
    raw.port_vlan, raw.insert_tpid = config.port_vlan, config.insert_tpid
    raw.num_queues, raw.max_frame = config.num_queues, config.max_frame
    raw.rate, raw.delay_us = config.rate, config.delay_us
    raw.hashcfg = config.hashcfg
    raw.lut_size = len(config.rss_lut)
    ffi.memmove(raw.rss_lut, config.rss_lut, len(config.rss_lut))
    ffi.memmove(raw.rss_key, config.rss_key, len(config.rss_key))
    for i, rule in enumerate(config.rules):
        each = raw.rules[i]
        each.headers, each.fields = rule.headers, rule.fields
        each.symmetric = int(rule.symmetric)
    raw.num_rules = len(config.rules)
    flows = _flows(config.flows)
    raw.num_flows, raw.flows = len(config.flows), flows.array
    raw.num_vlans = len(config.vlans)
    vlans = ffi.new("uint64_t[]", 64 * len(TPIDS))
    for tpid, vid in config.vlans:
        vlans[64 * TPIDS.index(tpid) + vid // 64] |= 1 << (vid % 64)
    return raw, vlans, flows
