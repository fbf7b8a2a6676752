# SPDX-License-Identifier: BSD-3-Clause
"""The messages that a PF's driver knows: names, exact lengths, what unlocks them.

Lengths (spec: virtchnl 5): `fixed + per * n`, compared for equality. The fixed part of most
variable-length messages holds one element more than is sent, by an old convention of the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from iavfio.softvf._device import lib

ALWAYS = "always"
AFTER_RESOURCES = "after GET_VF_RESOURCES"
BY_CAPABILITY = "by capability"


@dataclass(frozen=True)
class Message:
    """One opcode: `per` bytes for each of n elements, n being a little-endian field at `count_at`
    of `count_size` bytes; `unlock` and `gate` are ice's allow-list (virtchnl 9)."""

    name: str
    fixed: int = 0
    per: int = 0
    count_at: int = 0
    count_size: int = 2
    unlock: str = BY_CAPABILITY
    gate: int = 0
    any_length: bool = False


_M = Message
MESSAGES: Mapping[int, Message] = MappingProxyType(
    {
        1: _M("VERSION", 8, unlock=ALWAYS),
        2: _M("RESET_VF", 0, unlock=ALWAYS),
        3: _M("GET_VF_RESOURCES", 4, unlock=ALWAYS),
        4: _M("CONFIG_TX_QUEUE", 24, unlock=AFTER_RESOURCES),
        5: _M("CONFIG_RX_QUEUE", 40, unlock=AFTER_RESOURCES),
        6: _M("CONFIG_VSI_QUEUES", 72, 64, 2, unlock=AFTER_RESOURCES),
        7: _M("CONFIG_IRQ_MAP", 14, 12, 0, unlock=AFTER_RESOURCES),
        8: _M("ENABLE_QUEUES", 12, unlock=AFTER_RESOURCES),
        9: _M("DISABLE_QUEUES", 12, unlock=AFTER_RESOURCES),
        10: _M("ADD_ETH_ADDR", 12, 8, 2, gate=lib.VC_CAP_L2),
        11: _M("DEL_ETH_ADDR", 12, 8, 2, gate=lib.VC_CAP_L2),
        12: _M("ADD_VLAN", 6, 2, 2, gate=lib.VC_CAP_VLAN),
        13: _M("DEL_VLAN", 6, 2, 2, gate=lib.VC_CAP_VLAN),
        14: _M("CONFIG_PROMISCUOUS_MODE", 4, gate=lib.VC_CAP_L2),
        15: _M("GET_STATS", 12, unlock=AFTER_RESOURCES),
        18: _M("CONFIG_RSS_HFUNC", 8, gate=lib.VC_CAP_RSS_PF),
        20: _M("RDMA", gate=lib.VC_CAP_RDMA, any_length=True),
        21: _M("CONFIG_RDMA_IRQ_MAP", 4, 12, 0, 4, gate=lib.VC_CAP_RDMA),
        22: _M("RELEASE_RDMA_IRQ_MAP", 0, gate=lib.VC_CAP_RDMA),
        23: _M("CONFIG_RSS_KEY", 5, 1, 2, gate=lib.VC_CAP_RSS_PF),
        24: _M("CONFIG_RSS_LUT", 5, 1, 2, gate=lib.VC_CAP_RSS_PF),
        25: _M("GET_RSS_HASHCFG_CAPS", 0, gate=lib.VC_CAP_RSS_PF),
        26: _M("SET_RSS_HASHCFG", 8, gate=lib.VC_CAP_RSS_PF),
        27: _M("ENABLE_VLAN_STRIPPING", 0, gate=lib.VC_CAP_VLAN),
        28: _M("DISABLE_VLAN_STRIPPING", 0, gate=lib.VC_CAP_VLAN),
        29: _M("REQUEST_QUEUES", 2, gate=lib.VC_CAP_REQ_QUEUES),
        30: _M("ENABLE_CHANNELS", 8, 16, 0, 4, gate=lib.VC_CAP_ADQ),
        31: _M("DISABLE_CHANNELS", 0, gate=lib.VC_CAP_ADQ),
        32: _M("ADD_CLOUD_FILTER", 272, gate=lib.VC_CAP_ADQ),
        33: _M("DEL_CLOUD_FILTER", 272, gate=lib.VC_CAP_ADQ),
        44: _M("GET_SUPPORTED_RXDIDS", 0, gate=lib.VC_CAP_RX_FLEX_DESC),
        45: _M("ADD_RSS_CFG", 2444, gate=lib.VC_CAP_ADV_RSS_PF),
        46: _M("DEL_RSS_CFG", 2444, gate=lib.VC_CAP_ADV_RSS_PF),
        47: _M("ADD_FDIR_FILTER", 2616, gate=lib.VC_CAP_FDIR_PF),
        48: _M("DEL_FDIR_FILTER", 12, gate=lib.VC_CAP_FDIR_PF),
        51: _M("GET_OFFLOAD_VLAN_V2_CAPS", 0, gate=lib.VC_CAP_VLAN_V2),
        52: _M("ADD_VLAN_V2", 8, 32, 2, gate=lib.VC_CAP_VLAN_V2),
        53: _M("DEL_VLAN_V2", 8, 32, 2, gate=lib.VC_CAP_VLAN_V2),
        54: _M("ENABLE_VLAN_STRIPPING_V2", 16, gate=lib.VC_CAP_VLAN_V2),
        55: _M("DISABLE_VLAN_STRIPPING_V2", 16, gate=lib.VC_CAP_VLAN_V2),
        56: _M("ENABLE_VLAN_INSERTION_V2", 16, gate=lib.VC_CAP_VLAN_V2),
        57: _M("DISABLE_VLAN_INSERTION_V2", 16, gate=lib.VC_CAP_VLAN_V2),
        60: _M("1588_PTP_GET_CAPS", 48, gate=lib.VC_CAP_PTP),
        61: _M("1588_PTP_GET_TIME", 16, gate=lib.VC_CAP_PTP),
        66: _M("GET_QOS_CAPS", 0, gate=lib.VC_CAP_QOS),
        112: _M("CONFIG_QUEUE_BW", 4, 12, 2, gate=lib.VC_CAP_QOS),
        113: _M("CONFIG_QUANTA", 12, gate=lib.VC_CAP_QOS),
    }
)


def name_of(opcode: int) -> str:
    """For log lines: the name with the number."""
    message = MESSAGES.get(opcode)
    return f"{message.name if message else 'unknown opcode'} ({opcode})"


def length_fault(opcode: int, payload: bytes, version: tuple[int, int]) -> str | None:
    """What is wrong with a known message's length, in words; None when it is right."""
    message = MESSAGES[opcode]
    if message.any_length:
        return None if payload else "0 bytes, at least 1 wanted"
    wanted = message.fixed
    if opcode == lib.VC_OP_GET_VF_RESOURCES and version != (1, 1):
        wanted = 0  # a v1.0 VF sends no capabilities (virtchnl 1)
    if message.per and len(payload) >= wanted:
        n = int.from_bytes(payload[message.count_at :][: message.count_size], "little")
        if n == 0:
            return "a list of 0 elements"
        wanted += n * message.per
    if len(payload) != wanted:
        return f"{len(payload)} bytes, exactly {wanted} wanted"
    return None
