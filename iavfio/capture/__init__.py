# SPDX-License-Identifier: BSD-3-Clause
"""Frames of a VF into pcapng files, and frames of capture files onto the wire."""

from iavfio.capture.capture import Capture, Captured, Counts
from iavfio.capture.filter import Filter

__all__ = ["Capture", "Captured", "Counts", "Filter"]
