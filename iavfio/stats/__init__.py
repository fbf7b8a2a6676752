# SPDX-License-Identifier: BSD-3-Clause
"""libie-compatible counters: one table, a shared segment, ethtool text and JSON."""

from iavfio.stats.names import GLOBAL, RX, TX, Counter
from iavfio.stats.reader import PortStats, SegmentReader, read
from iavfio.stats.runtime import known_ports, runtime_dir, segment_path
from iavfio.stats.segment import PortSegment
from iavfio.stats.snapshot import Snapshot

__all__ = [
    "GLOBAL",
    "RX",
    "TX",
    "Counter",
    "PortSegment",
    "PortStats",
    "SegmentReader",
    "Snapshot",
    "known_ports",
    "read",
    "runtime_dir",
    "segment_path",
]
