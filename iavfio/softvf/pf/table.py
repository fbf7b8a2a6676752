# SPDX-License-Identifier: BSD-3-Clause
"""All messages that the PF's driver knows, by number."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType, ModuleType

from iavfio.softvf.pf import (
    addresses,
    adq,
    flow_rules,
    ptp,
    qos,
    queues,
    rdma,
    resources,
    rss,
    stats,
    vectors,
    vlan_v2,
    vlans,
)
from iavfio.softvf.pf.messages import Message

SUBJECTS: tuple[ModuleType, ...] = (
    addresses,
    adq,
    flow_rules,
    ptp,
    qos,
    queues,
    vectors,
    rdma,
    resources,
    rss,
    stats,
    vlan_v2,
    vlans,
)
MESSAGES: Mapping[int, Message] = MappingProxyType(
    {row.number: row for subject in SUBJECTS for row in subject.ROWS}
)


def name_of(opcode: int) -> str:
    """Returns a name with its number, for log lines."""
    message = MESSAGES.get(opcode)
    return f"{message.name if message else 'unknown opcode'} ({opcode})"
