# SPDX-License-Identifier: BSD-3-Clause
"""Regions and interrupts of a VF, by VFIO's numbers for PCI devices (docs/spec/vfio-user.md 4)."""

from __future__ import annotations

from enum import IntEnum


class Region(IntEnum):
    """The regions that a VF has; all others are absent."""

    BAR0 = 0  # registers
    BAR3 = 3  # MSI-X table and pending bits
    CONFIG = 7  # PCI configuration space


class Interrupt(IntEnum):
    """The interrupt indexes that a VF has; INTx and MSI have no vector."""

    MSIX = 2
    ERR = 3
    REQ = 4


class AccessRefused(Exception):
    """An access that the function cannot take: its text says why."""


class DmaFault(Exception):
    """Client memory that the device cannot reach: outside the windows, or without bus master."""
