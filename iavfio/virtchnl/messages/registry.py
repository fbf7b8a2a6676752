# SPDX-License-Identifier: BSD-3-Clause
"""All messages that the driver knows, by number: what channel, client, journal and status read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Final

from iavfio.virtchnl.messages import (
    events,
    filters,
    queues,
    resources,
    rss,
    rss_rules,
    stats,
    vlan,
    vlan_v2,
)
from iavfio.virtchnl.messages.message_type import AnyMessage, MessageType

SUBJECTS: Final[tuple[ModuleType, ...]] = (
    events,
    filters,
    queues,
    resources,
    rss,
    rss_rules,
    stats,
    vlan,
    vlan_v2,
)


def rows(subject: ModuleType) -> list[AnyMessage]:
    """Returns the rows that a file of messages defines, in its order."""
    return [value for value in vars(subject).values() if isinstance(value, MessageType)]


MESSAGES: Final[Mapping[int, AnyMessage]] = MappingProxyType(
    {row.number: row for subject in SUBJECTS for row in rows(subject)}
)
