# SPDX-License-Identifier: BSD-3-Clause
"""virtchnl opcodes by number and name, read from the one list in `csrc/hw` (spec: virtchnl 2)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from iavfio._driver import lib

_PREFIX = "VC_OP_"
NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {
        int(getattr(lib, name)): name.removeprefix(_PREFIX)
        for name in dir(lib)
        if name.startswith(_PREFIX)
    }
)

VERSION: Final = 1
RESET_VF: Final = 2
GET_VF_RESOURCES: Final = 3
CONFIG_VSI_QUEUES: Final = 6
CONFIG_IRQ_MAP: Final = 7
ENABLE_QUEUES: Final = 8
DISABLE_QUEUES: Final = 9
ADD_ETH_ADDR: Final = 10
DEL_ETH_ADDR: Final = 11
ADD_VLAN: Final = 12
DEL_VLAN: Final = 13
CONFIG_PROMISCUOUS_MODE: Final = 14
GET_STATS: Final = 15
EVENT: Final = 17
CONFIG_RSS_HFUNC: Final = 18
CONFIG_RSS_KEY: Final = 23
CONFIG_RSS_LUT: Final = 24
GET_RSS_HASHCFG_CAPS: Final = 25
SET_RSS_HASHCFG: Final = 26
ENABLE_VLAN_STRIPPING: Final = 27
DISABLE_VLAN_STRIPPING: Final = 28
REQUEST_QUEUES: Final = 29
GET_SUPPORTED_RXDIDS: Final = 44
GET_OFFLOAD_VLAN_V2_CAPS: Final = 51
ADD_VLAN_V2: Final = 52
DEL_VLAN_V2: Final = 53
ENABLE_VLAN_STRIPPING_V2: Final = 54
DISABLE_VLAN_STRIPPING_V2: Final = 55
ENABLE_VLAN_INSERTION_V2: Final = 56
DISABLE_VLAN_INSERTION_V2: Final = 57


def opcode_name(opcode: int) -> str:
    """The field's name of an opcode, without prefix; "opcode N" for one that is not known."""
    return NAMES.get(opcode, f"opcode {opcode}")
