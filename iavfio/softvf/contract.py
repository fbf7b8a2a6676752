# SPDX-License-Identifier: BSD-3-Clause
"""The seam between the VF's hardware (registers, mailbox, PCI) and the PF's driver (virtchnl).

As on a card: hardware carries messages and performs the first half of a reset, the PF's driver
answers messages, decides, and finishes resets in software.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

ViolationKind = Literal["violation", "mdd", "note"]


class Timer(Protocol):
    """A call that has not happened yet."""

    def cancel(self) -> None:
        """It will not happen; harmless when it has."""


class Scheduler(Protocol):
    """The event loop of the control plane: one thread, so nothing here needs a lock."""

    def now(self) -> float:
        """Monotonic seconds."""

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        """Calls once after `delay` seconds; delay 0 = after the event in hand."""


class VfHardware(Protocol):
    """One VF as the PF's driver sees it."""

    index: int

    def send_to_vf(self, opcode: int, retval: int, payload: bytes) -> None:
        """Puts a message into the VF's receive mailbox (adminq 6) and raises vector 0.

        Lost when the queue is off or has no free descriptor; then ARQLEN.OVFL may be set.
        """

    def set_rstat(self, state: int) -> None:
        """VFGEN_RSTAT, enum vf_rstat (registers 3)."""

    def begin_reset(self) -> None:
        """The hardware half of a VF reset (registers 8): queues and vectors off, both admin queues
        disabled and zeroed, interrupt registers 0, RSTAT = INPROGRESS. No DMA after the return."""

    def set_gone(self, gone: bool) -> None:
        """While gone, all registers read 0xffffffff and nothing happens (PF driver unloaded)."""

    def violation(self, rule: str, text: str, kind: ViolationKind = "violation") -> None:
        """Logs and counts what the VF's driver did wrong: `rule` is a spec section."""


class PfDriver(Protocol):
    """The PF's driver as the hardware of its VFs sees it."""

    def message(self, vf: int, opcode: int, payload: bytes) -> None:
        """A virtchnl message arrived from a VF; at most one answer per message, maybe later."""

    def queue_shutdown(self, vf: int) -> None:
        """The VF shut its admin queue down (adminq 8)."""

    def flr(self, vf: int) -> None:
        """The VF was reset by FLR; `begin_reset` has been done, the PF finishes it in software."""

    def client_gone(self, vf: int) -> None:
        """The VF's user went away; its FLR is reported separately."""
