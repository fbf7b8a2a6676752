# SPDX-License-Identifier: BSD-3-Clause
"""The driver's side of the mailbox: admin queue, virtchnl messages, client, journal."""

from iavfio.virtchnl.adminq import AdminQueue, Message
from iavfio.virtchnl.capabilities import CAPABILITIES, WANTED, Capability, CapabilityReport
from iavfio.virtchnl.channel import Channel, ChannelCounters
from iavfio.virtchnl.client import QueueGrant, VirtchnlClient
from iavfio.virtchnl.events import Event
from iavfio.virtchnl.journal import Entry, Journal
from iavfio.virtchnl.queues import QueuePair, VectorMap, VsiStats, queue_bitmap
from iavfio.virtchnl.resources import Resources, Version, Vsi
from iavfio.virtchnl.rss import HashFunction
from iavfio.virtchnl.vlan import Setting, Support, Tag, VlanCaps, VlanFilter

__all__ = [
    "CAPABILITIES",
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
    "QueueGrant",
    "QueuePair",
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
