# SPDX-License-Identifier: BSD-3-Clause
"""One VF: PCI function, registers, mailbox and vectors put together.

`Vf` implements contract.VfHardware for the PF's driver, and the regions for the vfio-user server.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from iavfio.softvf.burial import Burial
from iavfio.softvf.containment import Account
from iavfio.softvf.contract import PfDriver, QueueError, QueueName, Scheduler, ViolationKind
from iavfio.softvf.function.config_space import SIZE, ConfigSpace
from iavfio.softvf.function.mailbox import Mailbox
from iavfio.softvf.function.msix import Msix
from iavfio.softvf.function.recorder import Recorder
from iavfio.softvf.function.regions import AccessRefused, DmaFault, Region
from iavfio.softvf.function.registers import Registers

if TYPE_CHECKING:
    from iavfio.softvf.dataplane import DataPlane
    from iavfio.softvf.log import ViolationLog
    from iavfio.softvf.personality import Personality

WIDTHS = (1, 2, 4, 8)  # bytes of one access to a register
TOP = 1 << 64  # of the addresses that a device can name


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
        self.account = Account(f"vf{index}")  # of the VF's client
        self.personality = personality
        self.plane = plane
        self.trapped = trapped  # every doorbell is trapped: no page of BAR0 may be mapped
        self.gone = False
        self.resets = 0
        self.recorder = Recorder()
        self._log = log
        self._scheduler = scheduler
        self._pf: PfDriver | None = None
        self.bus_master = False
        self.config = ConfigSpace(personality, self._set_bus_master, self.flr)
        self.msix = Msix(index, personality, plane, self.config)
        self.burial = Burial(index, plane, self._post)
        self.mailbox = Mailbox(self)
        self.registers = Registers(index, personality, plane, self.mailbox, self)

    def attach(self, pf: PfDriver) -> None:
        """Connects the PF's driver."""
        self._pf = pf

    # ---- contract.VfHardware: on the account of this VF's client, whoever made the PF act

    def send_to_vf(self, opcode: int, retval: int, payload: bytes) -> None:
        """Delivers a message of the PF; it is lost where contract.VfHardware says so."""
        self.account.run(self._deliver, opcode, retval, payload)

    def _deliver(self, opcode: int, retval: int, payload: bytes) -> None:
        if not self.gone and self.mailbox.deliver(opcode, retval, payload):
            self.recorder.received(opcode, retval, payload)

    def set_rstat(self, state: int) -> None:
        """Sets VFGEN_RSTAT."""
        self.registers.set_rstat(state)

    def begin_reset(self) -> None:
        """Performs the hardware half of a VF reset (docs/spec/registers.md 8)."""
        self.account.run(self._begin_reset)

    def _begin_reset(self) -> None:
        self.recorder.note("reset")
        # An i40e PF waits for ADMINQ before it triggers a reset; an FLR needs nobody's leave.
        if self.mailbox.atq.live and not self.registers.admin_cause_enabled:
            self.violation(
                "docs/spec/registers.md 5.2",
                "a reset finds ICR0_ENA.ADMINQ off: the PF is delayed",
                "note",
            )
        self._hardware_reset()

    def _hardware_reset(self) -> None:
        self.plane.reset_vf(self.index)
        self.mailbox.reset()
        self.registers.reset()
        self.resets += 1

    def set_gone(self, gone: bool) -> None:
        """While the VF is gone, all registers read all-ones and nothing happens."""
        if gone and not self.gone:
            self.account.run(self.plane.reset_vf, self.index)
            self.account.run(self.mailbox.reset)
        self.gone = gone

    def queue_error(self, queue: QueueName, error: QueueError) -> None:
        """Sets an error bit of an admin queue and raises vector 0."""
        self.account.run(self.mailbox.fail, queue, error)

    def mute(self, on: bool) -> None:
        """Holds interrupts back, as if all vectors were masked."""
        self.account.run(self.msix.mute, on)

    def lose_msix(self) -> None:
        """Switches MSI-X off behind the client's back."""
        self.account.run(self.msix.lose)

    def violation(self, rule: str, text: str, kind: ViolationKind = "violation") -> None:
        """Logs and counts what the VF's driver did wrong."""
        self._log.add(self.index, kind, rule, text)

    # ---- what mailbox and configuration space ask

    def dma_read(self, iova: int, length: int) -> bytes:
        """Reads the client's memory; raises DmaFault outside its DMA windows."""
        _check_range(iova, length)
        with _faults():
            return self.plane.dma_read(self.index, iova, length)

    def dma_write(self, iova: int, data: bytes) -> None:
        """Writes the client's memory; raises DmaFault outside its DMA windows."""
        _check_range(iova, len(data))
        with _faults():
            self.plane.dma_write(self.index, iova, data)

    def mailbox_interrupt(self) -> None:
        """Raises the ADMINQ cause."""
        self.registers.mailbox_cause()

    def message_from_vf(self, opcode: int, payload: bytes) -> None:
        """Records a message of the VF's driver and hands it to the PF's."""
        self.recorder.sent(opcode, payload)
        if self._pf:
            self._pf.message(self.index, opcode, payload)

    def queue_shutdown(self) -> None:
        """Tells the PF's driver that the VF's admin queue was shut down."""
        if self._pf:
            self._pf.queue_shutdown(self.index)

    def soon(self, call: Callable[[], None]) -> None:
        """Calls after the event in hand."""
        self._scheduler.call_later(0, call)

    def _post(self, call: Callable[[], None]) -> None:
        self._scheduler.post(call, self.account)

    def _set_bus_master(self, on: bool) -> None:
        self.bus_master = on
        self.plane.set_bus_master(self.index, on)
        if on:
            self.mailbox.work()

    # ---- what the client asks

    def flr(self) -> None:
        """Performs a function-level reset: the configuration space is as after power-on, then comes
        the hardware half of a VF reset; the PF's driver finishes it in software."""
        self.bus_master = False
        self.plane.set_bus_master(self.index, False)
        self.config.reset()
        self._hardware_reset()
        self.msix.reset()
        if self._pf:
            self._pf.flr(self.index)

    def disconnected(self) -> None:
        """Cleans up after a client that is gone (docs/spec/vfio-user.md 5).

        DMA ends first, then the client's windows and eventfds go, then an FLR follows.
        """
        self.bus_master = False
        steps: list[tuple[Callable[..., object], tuple[int | bool, ...]]] = [
            (self.plane.set_bus_master, (self.index, False)),
            (self.plane.reset_vf, (self.index,)),
            (self.plane.dma_clear, (self.index,)),
            (self.plane.forgive, (self.index,)),
            (self.burial.begin, ()),
            (self.msix.drop_all, ()),
        ]
        if self._pf:
            steps.append((self._pf.client_gone, (self.index,)))
        steps.append((self.flr, ()))
        for step, arguments in steps:  # one that fails does not keep the others from being done
            self.account.run(step, *arguments)

    def region_size(self, region: int) -> int:
        """Bytes of a region; 0 when it is absent."""
        sizes: dict[int, int] = {
            Region.BAR0: self.personality.bar0_size,
            Region.BAR3: self.personality.bar3_size,
            Region.CONFIG: SIZE,
        }
        return sizes.get(region, 0)

    def _check(self, region: int, offset: int, count: int) -> None:
        size = self.region_size(region)
        if count > size or offset > size - count:
            raise AccessRefused(
                f"[{offset:#x}, +{count}) is outside region {region} of {size} bytes"
            )
        if count == 0:
            raise AccessRefused(f"an access of 0 bytes to region {region}")
        if region == Region.BAR0 and not self.gone and count not in WIDTHS:
            raise AccessRefused(f"a register access of {count} bytes: it has 1, 2, 4 or 8")

    def read(self, region: int, offset: int, count: int) -> bytes:
        """Reads a region as a trapped load does; raises AccessRefused outside the region."""
        self._check(region, offset, count)
        if self.gone:
            return b"\xff" * count
        if region == Region.CONFIG:
            return self.config.read(offset, count)
        if region == Region.BAR3:
            return self.msix.read(offset, count)
        return self.registers.read(offset, count)

    def write(self, region: int, offset: int, data: bytes) -> None:
        """Writes a region as a trapped store does; raises AccessRefused outside the region."""
        self._check(region, offset, len(data))
        if self.gone:
            return
        if region == Region.CONFIG:
            self.config.write(offset, data)
        elif region == Region.BAR0:
            self.registers.write(offset, data)
        elif not self.msix.write(offset, data):
            self.violation(
                "docs/spec/registers.md 5.4",
                f"{len(data)}-byte write of the MSI-X table at {offset:#x}: "
                "it takes aligned words of 4 or 8 bytes",
            )


def _check_range(iova: int, length: int) -> None:
    """Raises DmaFault for a range that no window can hold, since it goes beyond 2^64.

    The base of a ring comes from registers and its index from a third one, so a client chooses the
    sum freely (docs/spec/reliability.md D1).
    """
    if not 0 <= length <= TOP or not 0 <= iova <= TOP - length:
        raise DmaFault(f"[{iova:#x}, +{length:#x}) goes beyond 2^64")


@contextmanager
def _faults() -> Iterator[None]:
    """Makes a DmaFault of what the data plane refuses; any other error of it is a bug."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EFAULT:
            raise
        raise DmaFault(str(error.strerror)) from error
