# SPDX-License-Identifier: BSD-3-Clause
"""PCI configuration space of a VF as vfio-pci shows it.

Vendor and device read as the kernel supplies them from the PF's SR-IOV capability; there is no
INTx line, no MSI, no power management and no ROM (docs/spec/registers.md 1;
docs/spec/field-evidence.md 10).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iavfio.softvf.personality import Personality

SIZE = 4096
COMMAND, STATUS, BARS = 0x04, 0x06, 0x10
COMMAND_MEMORY, COMMAND_MASTER = 0x2, 0x4
MSIX_ENABLE = 0x8000
PREFETCHABLE_64 = 0xC
DEVICE_CONTROL = 8  # offset in the PCI Express capability
FLR = 0x8000

# The PCI Express extended capabilities: id, version (size follows from the gap).
ADVANCED_ERRORS, ARI, TPH, ACS = (0x0001, 2), (0x000E, 1), (0x0017, 1), (0x000D, 1)


class ConfigSpace:
    """4096 bytes, a mask of what a driver may change, and two bits that act when they change.

    MSI-X Message Control is not a driver's: SET_IRQS sets and clears Enable, and what a client
    writes there is dropped (docs/spec/vfio.md 5).
    """

    def __init__(
        self,
        personality: Personality,
        on_bus_master: Callable[[bool], None],
        on_flr: Callable[[], None],
    ) -> None:
        self._personality = personality
        self._on_bus_master, self._on_flr = on_bus_master, on_flr
        self._bytes = bytearray(SIZE)
        self._mask = bytearray(SIZE)
        self._build()
        self._power_on = bytes(self._bytes)

    @property
    def bus_master(self) -> bool:
        """Whether Command.BusMaster is set."""
        return bool(self._u16(COMMAND) & COMMAND_MASTER)

    @property
    def msix_enabled(self) -> bool:
        """Whether Message Control.Enable is set: without it no vector fires."""
        return bool(self._u16(self._personality.msix_offset + 2) & MSIX_ENABLE)

    def enable_msix(self, on: bool) -> None:
        """Sets or clears Message Control.Enable."""
        size = self._personality.msix_count - 1
        self._set(self._personality.msix_offset + 2, size | MSIX_ENABLE * on, 2)

    def read(self, offset: int, count: int) -> bytes:
        """Any bytes inside the configuration space."""
        return bytes(self._bytes[offset : offset + count])

    def write(self, offset: int, data: bytes) -> None:
        """Changes what a driver may change, then acts on what has changed."""
        master = self.bus_master
        part = slice(offset, offset + len(data))
        mask, old, new = (_number(each) for each in (self._mask[part], self._bytes[part], data))
        self._bytes[part] = (old & ~mask | new & mask).to_bytes(len(data), "little")
        flr_at = self._personality.pcie_offset + DEVICE_CONTROL + 1
        if offset <= flr_at < offset + len(data) and data[flr_at - offset] & FLR >> 8:
            self._on_flr()  # the bit itself always reads 0
            return
        if self.bus_master != master:
            self._on_bus_master(self.bus_master)

    def reset(self) -> None:
        """Puts everything back, as an FLR does: Bus Master off, MSI-X disabled, BARs zero."""
        self._bytes[:] = self._power_on

    def _u16(self, offset: int) -> int:
        return int.from_bytes(self._bytes[offset : offset + 2], "little")

    def _set(self, offset: int, value: int, size: int, writable: int = 0) -> None:
        self._bytes[offset : offset + size] = value.to_bytes(size, "little")
        self._mask[offset : offset + size] = writable.to_bytes(size, "little")

    def _build(self) -> None:
        p = self._personality
        self._set(0x00, p.vendor, 2)
        self._set(0x02, p.device_id, 2)
        self._set(COMMAND, 0, 2, COMMAND_MEMORY | COMMAND_MASTER)
        self._set(STATUS, 0x10, 2)  # there is a capability list
        self._set(0x08, p.revision | 0x020000 << 8, 4)  # Ethernet controller
        self._set_bar(0, p.bar0_size)
        self._set_bar(3, p.bar3_size)
        self._set(0x2C, p.subsystem_vendor, 2)
        self._set(0x2E, p.subsystem_id, 2)
        self._set(0x34, p.msix_offset, 1)
        self._set(0x3C, 0, 1, 0xFF)  # interrupt line: scratch
        self._build_msix()
        self._build_pcie()
        self._build_extended()

    def _set_bar(self, index: int, size: int) -> None:
        at = BARS + 4 * index
        mask = (1 << 64) - size
        self._set(at, PREFETCHABLE_64, 4, mask & 0xFFFFFFF0)
        self._set(at + 4, 0, 4, mask >> 32)

    def _build_msix(self) -> None:
        p, at = self._personality, self._personality.msix_offset
        self._set(at, 0x11 | p.pcie_offset << 8, 2)
        self._set(at + 2, p.msix_count - 1, 2)
        self._set(at + 4, 3, 4)  # table: BAR3 + 0
        self._set(at + 8, p.pba_offset | 3, 4)

    def _build_pcie(self) -> None:
        at = self._personality.pcie_offset
        self._set(at, 0x10, 2)  # last capability
        self._set(at + 2, 2, 2)  # version 2, endpoint
        # FLR capable, role-based error reporting, payload up to 512 bytes. The fields of Device
        # Control are the PF's: reserved in a VF, but for FLR.
        self._set(at + 4, 1 << 28 | 1 << 15 | 2, 4)
        self._set(at + 0x0C, 8 << 4 | 3, 4)  # link: 8 lanes, 8 GT/s
        self._set(at + 0x12, 8 << 4 | 3, 2)
        self._set(at + 0x24, 0x10, 4)  # completion timeout can be disabled

    def _build_extended(self) -> None:
        p = self._personality
        found = [
            (offset, kind)
            for offset, kind in (
                (p.aer_offset, ADVANCED_ERRORS),
                (p.ari_offset, ARI),
                (p.tph_offset, TPH),
                (p.acs_offset, ACS),
            )
            if offset
        ]
        found.sort()
        if found and found[0][0] != 0x100:  # the chain starts here: a null capability leads on
            self._set(0x100, found[0][0] << 20, 4)
        for i, (offset, (number, version)) in enumerate(found):
            following = found[i + 1][0] if i + 1 < len(found) else 0
            self._set(offset, number | version << 16 | following << 20, 4)
            if number == TPH[0]:
                self._set(offset + 4, 0x5, 4)  # no-ST and device-specific modes


def _number(data: bytes | bytearray) -> int:
    return int.from_bytes(data, "little")
