# SPDX-License-Identifier: BSD-3-Clause
"""Resets of the VFs of Linux's PF: the card's half and the time that each takes.

Linux's driver has no clock here: it has done its half of a reset when its answer comes, up to the
VFACTIVE at the end. What it did waits for the VF until the card's half is done and `reset_ms` have
passed.

There is one timer per VF, whatever arrives. A reset whose hardware half begins forgets what was
still to be told of those before it, and one that ends does for all that were asked for meanwhile:
their halves of the driver's have been done. So each order of them ends with one VFACTIVE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from iavfio.linuxpf.process import Frame, Kind, What
from iavfio.softvf._device import lib
from iavfio.softvf.contract import Timer

if TYPE_CHECKING:
    from iavfio.softvf.linux_pf.driver import LinuxPf, LinuxVf

FOR_VFS = (Kind.MESSAGE, Kind.RESET, Kind.RSTAT)
NOTICE = lib.VC_EVENT_RESET_IMPENDING.to_bytes(4, "little")  # how such an event begins


class Resets:
    """Hands VFs what the driver did, in order, and lets resets take their time."""

    def __init__(self, pf: LinuxPf) -> None:
        self._pf = pf
        self._card: Timer | None = None  # of a reset of the card that was announced
        self._card_latency = 0.0  # milliseconds

    def play(self, frames: Iterable[Frame]) -> None:
        """Does what an answer of the driver's says; after a reset that runs, what comes after."""
        for frame in frames:
            if frame.kind in FOR_VFS and frame.vf < len(self._pf.vfs):
                self._pf.vfs[frame.vf].waiting.append(frame)
        for vf in self._pf.vfs:
            self._deliver(vf)

    def flr(self, vf: LinuxVf) -> None:
        """The card's half was done by the function-level reset."""
        if not vf.begun:
            vf.latency_ms = None
        self._begun(vf)
        self._pf.ask(What.FLR, vf.index)
        self._finish_later(vf)

    def card(self, notify: bool, latency_ms: float) -> None:
        """A reset of the card: its half for all VFs, then the driver's, `latency_ms` long.

        One that comes while another is announced is merged with it.
        """
        if notify:
            self._pf.ask(What.RESET_ALL, 0, 1)
        if self._card is not None:
            self._card_latency = max(self._card_latency, latency_ms)
            return
        self._card_latency = latency_ms
        lead = self._pf.personality.notice_lead_ms if notify else 0.0
        self._card = self._pf.scheduler.call_later(lead / 1000, self._begin_card)

    def _begin_card(self) -> None:
        self._card = None
        for vf in self._pf.vfs:
            vf.hardware.begin_reset()
            self._begun(vf)
            vf.latency_ms = self._card_latency
        self._pf.ask(What.RESET_ALL)
        for vf in self._pf.vfs:
            self._finish_later(vf)

    def _deliver(self, vf: LinuxVf) -> None:
        """Hands frames to a VF, up to a reset."""
        noticed = False
        while vf.waiting and not vf.in_reset:
            frame = vf.waiting.popleft()
            if frame.kind == Kind.MESSAGE:
                noticed |= frame.opcode == lib.VC_OP_EVENT and frame.data.startswith(NOTICE)
                self._pf.answered(vf, frame)
            elif frame.kind == Kind.RSTAT:
                self._pf.set_rstat(vf, frame.status)
            else:
                vf.in_reset = True
                # One that nobody was told of begins after the event in hand, whose mailbox is
                # still worked on.
                lead = self._pf.personality.notice_lead_ms if noticed else 0.0
                self._after(vf, lead, self._begin)

    def _after(self, vf: LinuxVf, delay_ms: float, call: Callable[[LinuxVf], None]) -> None:
        def run() -> None:
            vf.reset_timer = None
            call(vf)

        self._cancel(vf)
        vf.reset_timer = self._pf.scheduler.call_later(delay_ms / 1000, run)

    @staticmethod
    def _cancel(vf: LinuxVf) -> None:
        if vf.reset_timer is not None:
            vf.reset_timer.cancel()
            vf.reset_timer = None

    def _begin(self, vf: LinuxVf) -> None:
        waiting = [*vf.waiting]  # the driver's half of this reset
        vf.hardware.begin_reset()
        self._begun(vf)
        vf.waiting.extend(waiting)
        self._finish_later(vf)

    def _begun(self, vf: LinuxVf) -> None:
        """The card has stopped everything of the VF's."""
        self._cancel(vf)
        vf.in_reset = vf.begun = True
        vf.waiting.clear()
        self._pf.forget(vf)

    def _finish_later(self, vf: LinuxVf) -> None:
        """The driver's half takes its time."""
        latency = self._pf.personality.reset_ms if vf.latency_ms is None else vf.latency_ms
        self._after(vf, latency, self._finish)

    def _finish(self, vf: LinuxVf) -> None:
        vf.in_reset = vf.begun = False
        vf.latency_ms = None
        while any(frame.kind == Kind.RESET for frame in vf.waiting):
            vf.waiting.popleft()
        self._deliver(vf)
