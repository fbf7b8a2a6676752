# SPDX-License-Identifier: BSD-3-Clause
"""pyvfio alone: any PCI device over VFIO, without a network driver.

    python examples/pyvfio_alone.py [DEVICE]

DEVICE is a PCI address bound to vfio-pci, or "vfio-user:/path/to/socket". Without one, a private
software VF is the device; the code that drives it is the same. What is shown works with any device;
only the register that is read at the end belongs to the adaptive VF.
"""

from __future__ import annotations

import select
import sys

from iavfio import pyvfio

VFGEN_RSTAT = 0x8800  # docs/spec/registers.md: how far a reset of the VF has come
ADAPTIVE_VF = 0x1889


def show(target: str) -> None:
    with pyvfio.open(target) as device:
        config = device.config
        print(f"{config.vendor:04x}:{config.device:04x} over {device.transport}")
        print(f"{config.msix_count} MSI-X vectors, BAR0 of {device.region(0).size} bytes")
        config.bus_master = True  # VFIO clears it at open; without it there is no DMA

        memory = pyvfio.DmaMemory.allocate(1 << 16)
        iova = device.space.map(memory)  # the device must be told this address
        memory.buffer()[:4] = b"\0\1\2\3"
        print(f"64 KiB of DMA memory at IOVA {iova:#x}")

        wake = device.enable_msix(1)[0]  # an eventfd that the device's interrupt signals
        ready, _, _ = select.select([wake], [], [], 0.01)
        print("an interrupt came" if ready else "no interrupt came, as none was asked for")

        device.reset()  # function level reset: mappings and eventfds stay
        bar = device.map_bar(0)
        if config.device == ADAPTIVE_VF:
            print(f"VFGEN_RSTAT = {bar.read32(VFGEN_RSTAT)}")
        device.space.unmap(iova, memory.size)
        memory.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        show(sys.argv[1])
    else:
        from iavfio.softvf import softvf

        with softvf(vfs=1) as pf:
            show(pf.sockets[0])
