# SPDX-License-Identifier: BSD-3-Clause
"""libie-compatible counters: one table, a shared segment, ethtool text and JSON."""

from iavfio.stats.listing import KnownPort, clean, damaged, known_ports, ports, read
from iavfio.stats.names import GLOBAL, RX, TX, Counter
from iavfio.stats.reader import PortStats, SegmentReader
from iavfio.stats.runtime import base_dir, shown_base
from iavfio.stats.segment import PortSegment
from iavfio.stats.snapshot import Snapshot

__all__ = [
    "GLOBAL",
    "RX",
    "TX",
    "Counter",
    "KnownPort",
    "PortSegment",
    "PortStats",
    "SegmentReader",
    "Snapshot",
    "base_dir",
    "clean",
    "damaged",
    "known_ports",
    "ports",
    "read",
    "shown_base",
]
