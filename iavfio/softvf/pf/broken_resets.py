# SPDX-License-Identifier: BSD-3-Clause
"""Resets that go wrong on request, each in one way, for tests of VF drivers.

What is asked for holds from the VF's next reset on, of whatever kind, until the fault is cleared.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from iavfio.softvf.pf.vf import Phase, Vf

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

HOW: Mapping[str, str] = MappingProxyType(
    {
        "hang": "the reset does not finish",
        "mute": "no interrupt fires after it",
        "msix": "MSI-X is off in config space after it, and VFIO does not know",
        "counters": "the PF's counters run backwards after it",
        "dma": "receive buffers of before are written after it, while no receive queue is enabled",
    }
)
BACKWARDS_FROM = 1 << 30  # the first answer to GET_STATS is one less
LATE_WRITE_MS = 5.0
DESCRIPTORS = 64  # of queue 0's ring, whose buffers are written
DESCRIPTOR = 32
LATE = b"\xde\xad" * 32


def begin(pf: Pf, vf: Vf) -> bool:
    """A reset begins; whether it will end."""
    if vf.broken_reset == "dma" and 0 in vf.queues:
        vf.stale_ring = vf.queues[0].rx_iova
    return vf.broken_reset != "hang"


def end(pf: Pf, vf: Vf) -> None:
    """A reset is over, and the VF will be active."""
    if vf.broken_reset == "mute":
        vf.hardware.mute(True)
    elif vf.broken_reset == "msix":
        vf.hardware.lose_msix()
    elif vf.broken_reset == "counters":
        vf.backwards = BACKWARDS_FROM
    elif vf.broken_reset == "dma" and vf.late_timer is None:
        _write_later(pf, vf)


def clear(pf: Pf, vf: Vf) -> None:
    """The fault is over, and so is a reset that hangs."""
    how, vf.broken_reset, vf.backwards, vf.stale_ring = vf.broken_reset, "", 0, 0
    if vf.late_timer is not None:
        vf.late_timer.cancel()
        vf.late_timer = None
    if how == "mute":
        vf.hardware.mute(False)
    if how == "hang" and vf.phase is Phase.RESETTING and vf.reset_timer is None:
        pf.resets.finish(vf)


def _write_later(pf: Pf, vf: Vf) -> None:
    def write() -> None:
        try:
            if not vf.rx_enabled:
                _write(pf, vf)
        except OSError as error:
            if error.errno != errno.EFAULT:  # no bus master, or the memory is gone
                raise
        _write_later(pf, vf)

    vf.late_timer = pf.scheduler.call_later(LATE_WRITE_MS / 1000, write)


def _write(pf: Pf, vf: Vf) -> None:
    """Into the buffers that the ring's descriptors name, but for those that were written back."""
    ring = pf.plane.dma_read(vf.index, vf.stale_ring, DESCRIPTORS * DESCRIPTOR)
    for at in range(0, len(ring), DESCRIPTOR):
        buffer = int.from_bytes(ring[at : at + 8], "little")
        done = ring[at + 8] & 1
        if buffer and not done:
            pf.plane.dma_write(vf.index, buffer, LATE)
