# SPDX-License-Identifier: BSD-3-Clause
"""The driver's side of the mailbox: admin queue, virtchnl messages, client, journal."""

from iavfio.virtchnl.adminq import AdminQueue, Message
from iavfio.virtchnl.capabilities import (
    CAPABILITIES,
    ESSENTIAL,
    WANTED,
    Capability,
    CapabilityReport,
)
from iavfio.virtchnl.channel import Channel, ChannelCounters
from iavfio.virtchnl.client import QueueGrant, VirtchnlClient
from iavfio.virtchnl.journal import Entry, Journal
from iavfio.virtchnl.messages.events import Event
from iavfio.virtchnl.messages.message_type import MessageType, Request
from iavfio.virtchnl.messages.queues import QueuePairConfig, VectorMap, queue_bitmap
from iavfio.virtchnl.messages.resources import Resources, Version, Vsi
from iavfio.virtchnl.messages.rss import HashFunction
from iavfio.virtchnl.messages.stats import VsiStats
from iavfio.virtchnl.messages.vlan_v2 import Setting, Support, Tag, VlanCaps, VlanFilter

__all__ = [
    "CAPABILITIES",
    "ESSENTIAL",
    "WANTED",
    "AdminQueue",
    "Capability",
    "CapabilityReport",
    "Channel",
    "ChannelCounters",
    "Entry",
    "Event",
    "HashFunction",
    "Journal",
    "Message",
    "MessageType",
    "QueueGrant",
    "QueuePairConfig",
    "Request",
    "Resources",
    "Setting",
    "Support",
    "Tag",
    "VectorMap",
    "Version",
    "VirtchnlClient",
    "VlanCaps",
    "VlanFilter",
    "Vsi",
    "VsiStats",
    "queue_bitmap",
]
