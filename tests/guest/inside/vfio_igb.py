# SPDX-License-Identifier: BSD-3-Clause
"""pyvfio on two igb VFs through the kernel's VFIO: MODE VF0 VF1; facts as JSON lines."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
from typing import Any, cast

from iavfio import pyvfio
from iavfio.pyvfio.opening import Mode
from tests.guest.inside.facts import PCI, bind, caught, collect

SET_IRQS = 0x3B6E
NONE_TRIGGER = 0x21
# Registers of an 82576 VF (its datasheet's VF register list): status, interrupt cause set, mask
# set, mask clear, base address and control of receive ring 0.
STATUS, EICS, EIMS, EIMC, RDBAL, RXDCTL = 0x8, 0x1520, 0x1524, 0x1528, 0x2800, 0x2828
RING_ENABLE = 1 << 25


def fired(fds: list[int], wait: float = 2.0) -> list[int]:
    """Which of these eventfds are signalled; waits for the first."""
    ready, _, _ = select.select(fds, [], [], wait)
    for fd in ready:
        os.eventfd_read(fd)
    return [fds.index(fd) for fd in ready]


class Checks:
    """Every check opens what it needs and closes it again."""

    def __init__(self, mode: str, first: str, second: str) -> None:
        self.mode, self.first, self.second = cast(Mode, mode), first, second
        self.unsafe = mode == "noiommu"

    def open(self, bdf: str, space: pyvfio.AddressSpace | None = None) -> pyvfio.Device:
        """A VF in the mode under test."""
        return pyvfio.open(bdf, mode=self.mode, space=space, unsafe_noiommu=self.unsafe)

    def identity(self) -> dict[str, Any]:
        """Device info and configuration space."""
        with self.open(self.first) as device:
            info, config = device.info(), device.config
            before = config.bus_master
            config.bus_master = True
            after = config.bus_master
            return {
                "transport": device.transport,
                "resettable": info.resettable,
                "regions": info.num_regions,
                "irqs": info.num_irqs,
                "id": f"{config.vendor:04x}:{config.device:04x}",
                "class": f"{config.class_code:06x}",
                "msix": config.msix_count,
                "irq_count": device.irq(pyvfio.device.IRQ_MSIX).count,
                "config_size": device.region(7).size,
                "bus_master": [before, after],
            }

    def registers(self) -> dict[str, Any]:
        """BAR 0: mapped, and the same by pread; a written register; what a reset makes of it."""
        with self.open(self.first) as device:
            bar = device.map_bar(0)
            device.config.bus_master = True
            region = device.region(0)
            by_read = int.from_bytes(device.read(0, STATUS, 4), "little")
            bar.write32(RDBAL, 0x12345680)
            written = bar.read32(RDBAL)
            bar.write32(RXDCTL, RING_ENABLE)
            enabled = bool(bar.read32(RXDCTL) & RING_ENABLE)
            device.reset()
            return {
                "size": region.size,
                "mapped": bar.mapped(STATUS),
                "status": [bar.read32(STATUS), by_read],
                "written": written,
                "enabled": [enabled, bool(bar.read32(RXDCTL) & RING_ENABLE)],
                "bus_master": device.config.bus_master,
                "lost": device.lost,
            }

    def interrupts(self) -> dict[str, Any]:
        """MSI-X: fired by the kernel's loop-back, then by the device's own cause register."""
        with self.open(self.first) as device:
            bar = device.map_bar(0)
            device.config.bus_master = True
            count = device.config.msix_count
            fds = device.enable_msix(count)
            request = struct.pack("<IIIII", 20, NONE_TRIGGER, pyvfio.device.IRQ_MSIX, 1, 1)
            fcntl.ioctl(device.fd, SET_IRQS, request)
            loopback = fired(fds)
            bar.write32(EIMS, 1)
            bar.write32(EICS, 1)
            by_device = fired(fds)
            bar.write32(EIMC, 1)
            bar.write32(EICS, 1)
            masked = fired(fds, 0.3)
            too_many = caught(lambda: device.enable_msix(count + 1))
            device.disable_msix()
            return {
                "count": count,
                "loopback": loopback,
                "by_device": by_device,
                "masked": masked,
                "too_many": too_many,
            }

    def dma(self) -> dict[str, Any]:
        """Mappings: chosen and wished addresses, overlap, the interrupt window, unmap."""
        with self.open(self.first) as device:
            space = device.space
            memory = pyvfio.DmaMemory.allocate(1 << 16, huge="never")
            other = pyvfio.DmaMemory.allocate(1 << 16, huge="never")
            iova = space.map(memory)
            facts = {
                "ranges": [[span.start, span.last] for span in space.ranges],
                "iova": iova,
                "overlap": caught(lambda: space.map(other, iova=iova)),
                "window": caught(lambda: space.map(other, iova=0xFEE00000)),
                "unaligned": caught(lambda: space.map(other, iova=iova + 0x10000 + 12)),
            }
            space.unmap(iova, memory.size)
            facts["twice"] = caught(lambda: space.unmap(iova, memory.size))
            again = space.map(other, iova=iova)
            facts["again"] = again == iova
            return facts

    def shared_space(self) -> dict[str, Any]:
        """Two VFs, one address space: one mapping, which outlives the first device."""
        first = self.open(self.first)
        memory = pyvfio.DmaMemory.allocate(1 << 16, huge="never")
        iova = first.space.map(memory)
        with self.open(self.second, first.space) as second:
            same = second.space is first.space
            first.close()
            kept = [mapping.iova for mapping in second.space.mappings] == [iova]
            later = second.space.map(pyvfio.DmaMemory.allocate(4096, huge="never"))
            second.space.unmap(iova, memory.size)
        with self.open(self.first) as again:
            return {"same": same, "kept": kept, "later": later != iova, "again": again.name}

    def no_address_space(self) -> dict[str, Any]:
        """Without an IOMMU small pages cannot be mapped, and opening so needs an explicit word."""
        plain = caught(lambda: pyvfio.open(self.first))
        unspoken = caught(lambda: pyvfio.open(self.first, mode="noiommu"))
        with self.open(self.first) as device:
            memory = pyvfio.DmaMemory.allocate(4096, huge="never")
            refused = caught(lambda: device.space.map(memory))
            piece = device.space.allocate(3 << 20)
            at = device.space.map(piece)
        return {"plain": plain, "unspoken": unspoken, "map": refused, "at": at, "size": piece.size}

    def second_opener(self) -> dict[str, Any]:
        """Another process that opens a VF in use is told so; afterwards it may."""
        words = [sys.executable, __file__, "open", self.mode, self.first]
        with self.open(self.first):
            taken = subprocess.run(words, capture_output=True, text=True, timeout=60)
        free = subprocess.run(words, capture_output=True, text=True, timeout=60)
        return {"taken": taken.stdout, "free": free.stdout, "noise": taken.stderr + free.stderr}

    def request(self) -> dict[str, Any]:
        """The host unbinds a VF in use: REQ fires, and closing lets the host go on."""
        with self.open(self.second) as device:
            event = device.request_event()
            if event is None:
                return {"event": False}
            quiet = fired([event], 0.2)
            path = PCI / "devices" / self.second / "driver" / "unbind"
            unbind = subprocess.Popen(["sh", "-c", f"echo {self.second} > {path}"])
            heard = fired([event], 20.0)
            waiting = unbind.poll() is None
        status = unbind.wait(30)
        gone = caught(lambda: self.open(self.second))
        bind(self.second, "vfio-pci")
        with self.open(self.second) as back:
            return {
                "event": True,
                "quiet": quiet,
                "heard": heard,
                "waiting": waiting,
                "unbind": status,
                "gone": gone,
                "back": back.name,
            }

    def refusals(self) -> dict[str, Any]:
        """Devices that are not there, not bound, not of this world."""
        bind(self.second, "")
        try:
            unbound = caught(lambda: self.open(self.second))
        finally:
            bind(self.second, "vfio-pci")
        return {
            "unbound": unbound,
            "absent": caught(lambda: self.open("0000:77:00.0")),
            "nonsense": caught(lambda: self.open("eth0")),
        }


def main() -> None:
    """Runs the checks of one mode."""
    mode, first, second = sys.argv[1:]
    if mode == "open":
        way, unsafe = cast(Mode, first), first == "noiommu"
        print(caught(lambda: pyvfio.open(second, mode=way, unsafe_noiommu=unsafe))["error"])
        return
    checks = Checks(mode, first, second)
    for name in (first, second):
        bind(name, "vfio-pci")
    names = ["identity", "registers", "interrupts"]
    names += ["no_address_space"] if checks.unsafe else ["dma", "shared_space"]
    names += ["second_opener", "request", "refusals"]
    for name in names:
        collect(name, getattr(checks, name))


if __name__ == "__main__":
    main()
