# SPDX-License-Identifier: BSD-3-Clause
"""Frames of a VF into pcapng files, and frames of capture files onto the wire."""

from iavfio.capture.capture import Capture, Captured, Counts
from iavfio.capture.filter import Filter
from iavfio.capture.mirror import Mirror, MirrorCapture
from iavfio.capture.packet_file import Frames, load
from iavfio.capture.replay import Replay, Replayed
from iavfio.capture.rewrite import Rule, parse_rule
from iavfio.capture.schedule import Timing
from iavfio.capture.sending import SentCounts

__all__ = [
    "Capture",
    "Captured",
    "Counts",
    "Filter",
    "Frames",
    "Mirror",
    "MirrorCapture",
    "Replay",
    "Replayed",
    "Rule",
    "SentCounts",
    "Timing",
    "load",
    "parse_rule",
]
