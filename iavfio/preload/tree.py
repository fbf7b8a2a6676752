# SPDX-License-Identifier: BSD-3-Clause
"""The made-up sysfs and /dev in which a preloaded program finds its VFs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from iavfio import pyvfio

DOMAIN_BUS = "0000:b0"
FIRST_GROUP = 100
FIRST_ADDRESS = 0x3800_0000_0000
ADDRESS_STEP = 0x1000_0000
MEMORY_64_PREFETCH = 0x14220C  # resource flags as the kernel shows them for such a BAR
CONFIG = 7


@dataclass(frozen=True)
class Member:
    """A VF as the program sees it: `bars` are sizes in bytes by index, `config` its first 256."""

    socket: str
    bdf: str
    group: int
    config: bytes
    bars: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, int]:
        """Vendor and device id."""
        vendor, device = struct.unpack_from("<HH", self.config)
        return vendor, device


def member(index: int, socket: str) -> Member:
    """Asks the server behind `socket` what it is. Raises VfioError when it does not answer."""
    with pyvfio.open(f"vfio-user:{socket}") as device:
        config = device.read(CONFIG, 0, 256)
        bars = tuple(device.region(bar).size for bar in range(6))
    return Member(socket, f"{DOMAIN_BUS}:{index:02x}.0", FIRST_GROUP + index, config, bars)


def build(root: Path, members: list[Member]) -> None:
    """Writes the tree below `root`: what DPDK, pyvfio and others look for in sysfs and /dev."""
    for module in ("vfio", "vfio_pci", "vfio_iommu_type1"):
        (root / "sys/module" / module).mkdir(parents=True)
    driver = root / "sys/bus/pci/drivers/vfio-pci"
    driver.mkdir(parents=True)
    nodes = root / "dev/vfio"
    nodes.mkdir(parents=True)
    (nodes / "vfio").touch()
    for one in members:
        _device(root, one)
        (driver / one.bdf).symlink_to(f"../../devices/{one.bdf}")
        (nodes / str(one.group)).touch()
    lines = [f"{one.group} {one.bdf} {one.socket}\n" for one in members]
    (root / "devices").write_text("".join(lines), encoding="utf-8")


def _device(root: Path, one: Member) -> None:
    here = root / "sys/bus/pci/devices" / one.bdf
    here.mkdir(parents=True)
    group = root / "sys/kernel/iommu_groups" / str(one.group)
    (group / "devices").mkdir(parents=True)
    (group / "devices" / one.bdf).symlink_to(f"../../../../bus/pci/devices/{one.bdf}")
    (group / "name").write_text("iavfio\n", encoding="ascii")
    (here / "iommu_group").symlink_to(f"../../../../kernel/iommu_groups/{one.group}")
    (here / "driver").symlink_to("../../drivers/vfio-pci")
    (here / "config").write_bytes(one.config)
    vendor, device = one.ids
    revision, class_code = one.config[8], int.from_bytes(one.config[9:12], "little")
    sub_vendor, sub_device = struct.unpack_from("<HH", one.config, 0x2C)
    for name, text in {
        "vendor": f"{vendor:#06x}",
        "device": f"{device:#06x}",
        "subsystem_vendor": f"{sub_vendor:#06x}",
        "subsystem_device": f"{sub_device:#06x}",
        "class": f"{class_code:#08x}",
        "revision": f"{revision:#04x}",
        "numa_node": "-1",
        "irq": "0",
        "enable": "1",
        "driver_override": "vfio-pci",
        "resource": _resources(one),
        "uevent": f"DRIVER=vfio-pci\nPCI_CLASS={class_code:X}\n"
        f"PCI_ID={vendor:04X}:{device:04X}\n"
        f"PCI_SUBSYS_ID={sub_vendor:04X}:{sub_device:04X}\nPCI_SLOT_NAME={one.bdf}",
    }.items():
        (here / name).write_text(text + "\n", encoding="ascii")


def _resources(one: Member) -> str:
    """Start, end and flags of six BARs, the ROM and the bridge windows that a VF has not."""
    lines = []
    at = FIRST_ADDRESS + (one.group - FIRST_GROUP) * ADDRESS_STEP
    for size in one.bars:
        if size:
            lines.append(f"{at:#018x} {at + size - 1:#018x} {MEMORY_64_PREFETCH:#018x}")
            at += -(-size // 0x10000) * 0x10000
        else:
            lines.append(f"{0:#018x} {0:#018x} {0:#018x}")
    lines += [f"{0:#018x} {0:#018x} {0:#018x}"] * 7
    return "\n".join(lines)
