# SPDX-License-Identifier: BSD-3-Clause
"""What moves packets: the queues of a port and the device's DMA, begun and ended in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.errors import IavfioError
from iavfio.port import bounds
from iavfio.port.bringup import BringUp
from iavfio.port.loss import why_of
from iavfio.port.shortages import say_shortages
from iavfio.port.state import State

if TYPE_CHECKING:
    from iavfio.port.control import PortControl


class Traffic:
    """Brings a port's queues up and down; PortControl says when, and holds the status' lock."""

    def __init__(self, control: PortControl) -> None:
        self._control = control
        self.wanted = False  # also after a reset

    def begin(self, *, lenient: bool) -> None:
        """Brings the queues up, then lets the watchdog see them: none is watched after an error."""
        control, status = self._control, self._control.status
        control.sampling.begin(control.queues)
        wish, first = control.wish(lenient), control.counters.first
        built = BringUp(
            control.hardware, control.session, control.queues, wish, status.tell, first
        ).run()
        status.mac = built.mac
        for pair in control.queues:
            control.watchdog.add(pair)
        device = control.device
        say_shortages(status, built.plan, control.pool, device.transport, device.numa_node)
        control.housekeeping.conditions.rebase()

    def halt(self) -> None:
        """Keeps callers, workers and watchdog off the queues."""
        for pair in self._control.queues:
            self._control.watchdog.remove(pair)
            pair.halt()

    def take_down(self) -> None:
        """Stops callers and workers, then DMA, then takes the buffers back (docs/design.md 11)."""
        session = self._control.session
        self.halt()
        if session.dma_live:
            with session.within(session.deadline.left * bounds.DISABLE_SHARE):
                session.disable_queues(self._control.queues.bitmap)
        self.drain()

    def drain(self) -> None:
        """Empties the queues whose DMA has ended: not started, disabled, reset, bus master off."""
        self._control.session.dma_live = False
        self._control.queues.drain()

    def end(self) -> None:
        """Ends all traffic at the close: in order where that can be, at worst by bus master."""
        control, status, session = self._control, self._control.status, self._control.session
        orderly = status.state is State.RUNNING and not control.device.lost
        try:
            if orderly:
                control.counters.before_stop(session.deadline.left * bounds.SAMPLE_SHARE)
                self.take_down()
        except IavfioError as error:
            why = why_of(control.device, error)
            status.note(f"the queues could not be disabled in order: {why}")
        self.halt()
        if session.dma_live:
            session.end_bus_master()
        self.drain()
