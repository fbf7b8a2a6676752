# SPDX-License-Identifier: BSD-3-Clause
"""Resets of a VF, from the notice to VFACTIVE (docs/spec/virtchnl.md 8, docs/spec/registers.md 8).

notice (RESET_IMPENDING, when the PF notifies) -> hardware half (queues, mailbox, RSTAT 0)
-> the PF's software half, `reset_ms` later: forget, RSTAT 1, RSTAT 2.

There is one timer per VF, whatever arrives: a second reset before the end is merged into the first,
an FLR restarts the software half, so a storm of them costs nothing and ends with one VFACTIVE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from iavfio.softvf._device import lib
from iavfio.softvf.pf import broken_resets, ice_vlans, link, rss, vlans
from iavfio.softvf.pf.vf import ZERO_MAC, Phase, Vf

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

# How much longer than one VF's reset a reset of more of the card takes.
PF_RESETS: Mapping[str, int] = MappingProxyType({"pfr": 10, "corer": 20, "globr": 40, "empr": 80})

Step = Callable[[Vf], None]


class Resets:
    """The PF driver's reset service."""

    def __init__(self, pf: Pf) -> None:
        self._pf = pf

    def start(
        self, vf: Vf, cause: str, *, notify: bool = False, latency_ms: float | None = None
    ) -> None:
        """Begins a reset that the PF decided on or the VF asked for."""
        p = self._pf.personality
        latency = p.reset_ms if latency_ms is None else latency_ms
        if vf.phase is Phase.RESETTING:
            vf.reset_latency = max(vf.reset_latency, latency)
            self._note(vf, f"{cause}: merged with the reset that runs")
            return
        if vf.reset_timer is not None:  # announced, not begun
            vf.reset_latency = max(vf.reset_latency, latency)
            if notify:
                self._note(vf, f"{cause}: merged with the reset that was announced")
                return
        else:
            vf.reset_latency = latency
        self._cancel(vf)
        self._note(vf, f"reset: {cause}")
        if notify and vf.phase is not Phase.GONE:
            for _ in range(p.notices):
                vf.hardware.send_to_vf(lib.VC_OP_EVENT, 0, link.reset_impending())
            self._after(vf, p.notice_lead_ms, self._enter_and_begin)
            return
        vf.enter(Phase.RESETTING)
        # The reset begins after the event in hand, whose mailbox is still being worked on.
        self._after(vf, 0, self._begin)

    def flr(self, vf: Vf) -> None:
        """The hardware half was done by the function-level reset."""
        if vf.phase is Phase.GONE:
            return
        self._cancel(vf)
        if vf.phase is not Phase.RESETTING:
            vf.reset_latency = self._pf.personality.reset_ms
        vf.enter(Phase.RESETTING)
        self._software_half(vf)

    def finish(self, vf: Vf) -> None:
        """Ends a reset that hung by a fault."""
        self._complete(vf)

    def stop(self, vf: Vf) -> None:
        """Drops a reset that is under way: the PF's driver goes."""
        self._cancel(vf)

    def allocate(self, vf: Vf) -> None:
        """Gives a VF what it starts with after each reset.

        Its own MAC address, whoever set it, outlives resets and the program that drove the VF
        (docs/spec/virtchnl.md 8).
        """
        p = self._pf.personality
        stripped = vf.strip
        vf.forget()
        if p.is_ice_6_1:
            vf.rules = []  # they go with the VSI, which later kernels keep
        vf.num_queue_pairs = 0
        wanted = vf.requested_pairs or p.num_queue_pairs
        vf.num_queue_pairs = min(wanted, max(self._pf.queue_pairs_left(), 1))
        if vf.own_mac == ZERO_MAC and p.mac == "set":
            vf.own_mac = p.default_mac(vf.index)
        vf.default_mac = vf.primary_mac = vf.device_mac = vf.own_mac
        vf.macs = [vf.default_mac] if vf.default_mac != ZERO_MAC else []
        rss.set_defaults(p, vf)
        vf.strip = vlans.strip_at_first(p, vf, stripped)
        if p.is_ice:
            ice_vlans.begin(p, vf)

    def _note(self, vf: Vf, text: str) -> None:
        vf.hardware.violation("docs/spec/virtchnl.md 8", text, "note")

    def _after(self, vf: Vf, delay_ms: float, call: Step) -> None:
        def run() -> None:
            vf.reset_timer = None
            call(vf)

        vf.reset_timer = self._pf.scheduler.call_later(delay_ms / 1000, run)

    def _cancel(self, vf: Vf) -> None:
        if vf.reset_timer is not None:
            vf.reset_timer.cancel()
            vf.reset_timer = None

    def _enter_and_begin(self, vf: Vf) -> None:
        vf.enter(Phase.RESETTING)
        self._begin(vf)

    def _begin(self, vf: Vf) -> None:
        vf.hardware.begin_reset()
        self._software_half(vf)

    def _software_half(self, vf: Vf) -> None:
        vf.resets += 1
        self._pf.hold_back(vf)
        self._pf.publish(vf)  # not active: the switch forgets it
        if not broken_resets.begin(self._pf, vf):
            self._note(vf, "a fault: the reset does not finish")
            return
        self._after(vf, vf.reset_latency, self._complete)

    def _complete(self, vf: Vf) -> None:
        vf.hardware.set_rstat(lib.RSTAT_COMPLETED)
        if self._pf.personality.completed_ms:
            self._after(vf, self._pf.personality.completed_ms, self._activate)
        else:
            self._activate(vf)

    def _activate(self, vf: Vf) -> None:
        self.allocate(vf)
        broken_resets.end(self._pf, vf)
        vf.enter(Phase.INIT)
        vf.active_since = self._pf.scheduler.now()
        self._pf.plane.set_rx_polling(vf.index, False)
        self._pf.publish(vf)
        vf.hardware.set_rstat(lib.RSTAT_VFACTIVE)
        self._pf.serve_held_back(vf)
