# SPDX-License-Identifier: BSD-3-Clause
"""The MSI-X vectors of a VF: eventfds that stay the same over resets."""

from __future__ import annotations

from iavfio.arguments import counted
from iavfio.errors import VfioError
from iavfio.pyvfio import Device, FewerVectors, Unsupported
from iavfio.pyvfio.device import CAP_MSIX, IRQ_MSIX

MSIX_ENABLE = 0x8000  # of the capability's control word
LEAST = 2  # the mailbox's, and one for the queues: ice takes no queue on vector 0


class Interrupts:
    """Vectors 0..count-1 of a device; vector 0 is the mailbox's. `fds` are their eventfds.

    At most `most` are taken, all at once: kernels with NORESIZE cannot add any later
    (docs/spec/vfio.md 6). Where the host has fewer, that many are taken; queues share them then.
    Raises VfioError, also when there are fewer than two.
    """

    def __init__(self, device: Device, most: int) -> None:
        self._device = device
        self.asked = min(device.irq(IRQ_MSIX).count, most)
        self.fds = _enable(device, self.asked)

    @property
    def lost(self) -> bool:
        """Whether MSI-X is off in config space, as after a function-level reset from outside."""
        config = self._device.config
        at = config.capability(CAP_MSIX)
        return at is not None and not config.read16(at + 2) & MSIX_ENABLE

    def restore(self) -> None:
        """Switches MSI-X on again after a reset that took it (docs/spec/reliability.md F25).

        The index is disabled first: eventfds that are set on an enabled index make the kernel write
        the table, but not the Enable bit (docs/spec/vfio.md 5). Raises VfioError.
        """
        if self.lost:
            self._device.disable_irqs(IRQ_MSIX)
            self._device.set_irqs(IRQ_MSIX, 0, self.fds)


def _enable(device: Device, count: int) -> list[int]:
    while count >= LEAST:
        try:
            return device.enable_msix(count)
        except FewerVectors as fewer:
            count = min(fewer.granted, count - 1)
    raise _too_few(device, count)


def _too_few(device: Device, count: int) -> VfioError:
    return Unsupported(
        f"{device.name} has {counted(count, 'MSI-X vector')}",
        "a port needs one for the mailbox and one for its queues",
        "on the host: echo 5 > /sys/bus/pci/devices/<VF>/sriov_vf_msix_count, with no driver on "
        "the VF; or close other programs that hold vectors",
    )
