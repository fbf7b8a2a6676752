# SPDX-License-Identifier: BSD-3-Clause
"""One VF: PCI function, registers, mailbox and vectors put together.

Implements contract.VfHardware for the PF's driver, and the regions for the vfio-user server.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from iavfio.softvf.contract import PfDriver, Scheduler, ViolationKind
from iavfio.softvf.function.config_space import ConfigSpace
from iavfio.softvf.function.mailbox import Mailbox
from iavfio.softvf.function.msix import Msix
from iavfio.softvf.function.registers import Registers
from iavfio.softvf.log import ViolationLog
from iavfio.softvf.server import messages as wire
from iavfio.softvf.server.messages import Refused
from iavfio.softvf.server.windows import HollowWindows

if TYPE_CHECKING:
    from iavfio.softvf.dataplane import DataPlane
    from iavfio.softvf.personality import Personality
from iavfio.softvf.function.recorder import Recorder


class PfPolicy(PfDriver, Protocol):
    """The PF's driver with what its administrator may ask."""

    def mdd(self, vf: int, text: str) -> None:
        """The hardware saw a malicious descriptor."""

    def control(self, request: dict[str, Any]) -> dict[str, Any]:
        """A command of the administrator; ValueError or IavfioError when it cannot be."""

    def snapshot(self, vf: int) -> dict[str, Any]:
        """What the PF knows of a VF."""


class Vf:
    """A virtual function and its client's wiring."""

    def __init__(
        self,
        index: int,
        personality: Personality,
        plane: DataPlane,
        scheduler: Scheduler,
        log: ViolationLog,
        trapped: bool = False,
    ) -> None:
        self.index = index
        self.personality = personality
        self.plane = plane
        self.trapped = trapped  # all doorbells are: no page of BAR0 may be mapped
        self.gone = False
        self.resets = 0
        self.recorder = Recorder()
        self._log = log
        self._scheduler = scheduler
        self._pf: PfDriver | None = None
        self.bus_master = False
        self.windows = HollowWindows(index, plane)
        self.msix = Msix(index, personality, plane)
        self.config = ConfigSpace(personality, self._set_bus_master, self._msix_changed, self.flr)
        self.mailbox = Mailbox(self)
        self.registers = Registers(index, personality, plane, self.mailbox, self)

    def attach(self, pf: PfDriver) -> None:
        """Connects the PF's driver."""
        self._pf = pf

    # ---- contract.VfHardware

    def send_to_vf(self, opcode: int, retval: int, payload: bytes) -> None:
        """A message of the PF; lost when there is no room (adminq 6)."""
        if not self.gone and self.mailbox.deliver(opcode, retval, payload):
            self.recorder.received(opcode, retval, payload)

    def set_rstat(self, state: int) -> None:
        """VFGEN_RSTAT."""
        self.registers.set_rstat(state)

    def begin_reset(self) -> None:
        """The hardware half of a VF reset (registers 8)."""
        self.recorder.note("reset")
        # An i40e PF waits for ADMINQ before it triggers; an FLR needs nobody's leave.
        if self.mailbox.atq.live and not self.registers.admin_cause_enabled:
            self.violation(
                "registers 5.2", "a reset finds ICR0_ENA.ADMINQ off: the PF is delayed", "note"
            )
        self._hardware_reset()

    def _hardware_reset(self) -> None:
        self.plane.reset_vf(self.index)
        self.mailbox.reset()
        self.registers.reset()
        self.resets += 1

    def set_gone(self, gone: bool) -> None:
        """All registers read all-ones, and nothing happens."""
        if gone and not self.gone:
            self.plane.reset_vf(self.index)
            self.mailbox.reset()
        self.gone = gone

    def violation(self, rule: str, text: str, kind: ViolationKind = "violation") -> None:
        """Logs and counts."""
        self._log.add(self.index, kind, rule, text)

    # ---- what mailbox and config space ask

    def dma_read(self, iova: int, length: int) -> bytes:
        """OSError outside the windows."""
        return self.plane.dma_read(self.index, iova, length)

    def dma_write(self, iova: int, data: bytes) -> None:
        """OSError outside the windows."""
        self.plane.dma_write(self.index, iova, data)

    def mailbox_interrupt(self) -> None:
        """The ADMINQ cause."""
        self.registers.mailbox_cause()

    def message_from_vf(self, opcode: int, payload: bytes) -> None:
        """To the PF's driver."""
        self.recorder.sent(opcode, payload)
        if self._pf:
            self._pf.message(self.index, opcode, payload)

    def queue_shutdown(self) -> None:
        """To the PF's driver."""
        if self._pf:
            self._pf.queue_shutdown(self.index)

    def soon(self, call: Callable[[], None]) -> None:
        """After the event in hand."""
        self._scheduler.call_later(0, call)

    def _set_bus_master(self, on: bool) -> None:
        self.bus_master = on
        self.plane.set_bus_master(self.index, on)
        if on:
            self.mailbox.work()

    def _msix_changed(self) -> None:
        self.msix.publish(self.config)

    def mute(self, on: bool) -> None:
        """Holds interrupts back, as if all vectors were masked."""
        self.msix.muted = on
        self.msix.publish(self.config)

    # ---- what the client asks

    def flr(self) -> None:
        """Function level reset: config space to power-on, then the hardware half; the PF's driver
        finishes it in software."""
        self.bus_master = False
        self.plane.set_bus_master(self.index, False)
        self.config.reset()
        self._hardware_reset()
        self.msix.reset(self.config)
        if self._pf:
            self._pf.flr(self.index)

    def disconnected(self) -> None:
        """The client is gone: DMA first, then its wiring, then an FLR (vfio-user 5)."""
        self.bus_master = False
        self.plane.set_bus_master(self.index, False)
        self.plane.reset_vf(self.index)
        self.windows.clear()
        self.msix.drop_all(self.config)
        if self._pf:
            self._pf.client_gone(self.index)
        self.flr()

    def region_size(self, region: int) -> int:
        """Bytes of a region; 0 when it is absent."""
        return {
            wire.BAR0: self.personality.bar0_size,
            wire.BAR3: self.personality.bar3_size,
            wire.CONFIG: 4096,
        }.get(region, 0)

    def _check(self, region: int, offset: int, count: int) -> None:
        size = self.region_size(region)
        if count > size or offset > size - count:
            raise Refused(f"[{offset:#x}, +{count}) is outside region {region} of {size} bytes")
        if count == 0:
            raise Refused(f"an access of 0 bytes to region {region}")

    def read(self, region: int, offset: int, count: int) -> bytes:
        """A trapped read. Refused outside the region."""
        self._check(region, offset, count)
        if self.gone:
            return b"\xff" * count
        if region == wire.CONFIG:
            return self.config.read(offset, count)
        if region == wire.BAR3:
            return self.msix.read(offset, count)
        if count not in (1, 2, 4, 8):
            raise Refused(f"a register access of {count} bytes")
        return self.registers.read(offset, count)

    def write(self, region: int, offset: int, data: bytes) -> None:
        """A trapped write. Refused outside the region."""
        self._check(region, offset, len(data))
        if self.gone:
            return
        if region == wire.CONFIG:
            self.config.write(offset, data)
        elif region == wire.BAR3:
            if not self.msix.write(offset, data, self.config):
                self.violation(
                    "registers 5.4", f"{len(data)}-byte write of the MSI-X table at {offset:#x}"
                )
        elif len(data) not in (1, 2, 4, 8):
            raise Refused(f"a register access of {len(data)} bytes", errno.EINVAL)
        else:
            self.registers.write(offset, data)
