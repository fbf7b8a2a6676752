# SPDX-License-Identifier: BSD-3-Clause
"""The seam between the VF's hardware (registers, mailbox, PCI) and the PF's driver (virtchnl).

The work is divided as on a card: the hardware carries messages and performs the first half of a
reset; the PF's driver answers messages, decides, and finishes resets in software.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from iavfio.softvf.containment import Account

ViolationKind = Literal["violation", "mdd", "note"]
QueueName = Literal["atq", "arq"]
QueueError = Literal["vfe", "ovfl", "crit"]


class Timer(Protocol):
    """A call that has not happened yet."""

    def cancel(self) -> None:
        """Takes the call back; a call that has happened is left as it is."""


class Scheduler(Protocol):
    """The event loop of the control plane: one thread, so nothing there needs a lock."""

    def now(self) -> float:
        """Monotonic seconds."""

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        """Calls once after `delay` seconds; a delay of 0 means after the event in hand."""

    def post(self, call: Callable[[], None], account: Account) -> None:
        """Calls once, in the loop's thread, whatever thread asks for it."""


class VfHardware(Protocol):
    """One VF as the PF's driver sees it."""

    index: int

    def send_to_vf(self, opcode: int, retval: int, payload: bytes) -> None:
        """Puts a message into the VF's receive mailbox and raises vector 0.

        The message is lost when the queue is off or has no free descriptor; then ARQLEN.OVFL may
        be set (docs/spec/admin-queue.md 6).
        """

    def set_rstat(self, state: int) -> None:
        """Sets VFGEN_RSTAT to a value of enum vf_rstat (docs/spec/registers.md 3)."""

    def begin_reset(self) -> None:
        """Performs the hardware half of a VF reset (docs/spec/registers.md 8).

        Queues and vectors are switched off, both admin queues are disabled and zeroed, the
        interrupt registers read 0, and RSTAT says INPROGRESS. No DMA happens after the return.
        """

    def set_gone(self, gone: bool) -> None:
        """While the VF is gone, all registers read 0xffffffff and nothing happens.

        A VF is gone while its PF's driver is unloaded.
        """

    def queue_error(self, queue: QueueName, error: QueueError) -> None:
        """Sets an error bit of an admin queue; after `crit` the queue is dead until a reset.

        The bits are those of docs/spec/registers.md 3.
        """

    def mute(self, on: bool) -> None:
        """Holds the VF's interrupts back, as if all vectors were masked: a fault."""

    def lose_msix(self) -> None:
        """Switches MSI-X off in config space without the client's VFIO: a fault."""

    def violation(self, rule: str, text: str, kind: ViolationKind = "violation") -> None:
        """Logs and counts what the VF's driver did wrong.

        `text` says in words what was done and what the rule is; `rule` cites the section that has
        the rule, for example "docs/spec/virtchnl.md 9".
        """


class PfDriver(Protocol):
    """The PF's driver as the hardware of its VFs sees it."""

    def message(self, vf: int, opcode: int, payload: bytes) -> None:
        """Takes a virtchnl message of a VF; each gets at most one answer, which may come later."""

    def queue_shutdown(self, vf: int) -> None:
        """Hears that the VF shut its admin queue down (docs/spec/admin-queue.md 8)."""

    def flr(self, vf: int) -> None:
        """Finishes in software the reset of a VF by FLR, whose hardware half has been done."""

    def client_gone(self, vf: int) -> None:
        """Hears that the VF's user went away; the FLR that follows is reported by `flr`."""
