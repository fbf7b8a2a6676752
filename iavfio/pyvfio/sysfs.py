# SPDX-License-Identifier: BSD-3-Clause
"""What sysfs says about a PCI device that VFIO needs to know."""

from __future__ import annotations

import errno

from iavfio.pyvfio.errors import NotBound, UnknownDevice
from iavfio.pyvfio.kernel import Kernel

DEVICES = "/sys/bus/pci/devices"


def driver(kernel: Kernel, bdf: str) -> str:
    """Name of the bound driver, "" without one."""
    try:
        return kernel.readlink(f"{DEVICES}/{bdf}/driver").rsplit("/", 1)[-1]
    except OSError:
        return ""


def require_bound(kernel: Kernel, bdf: str) -> None:
    """Raises UnknownDevice or NotBound unless vfio-pci, or a variant of it, has the device."""
    if not kernel.exists(f"{DEVICES}/{bdf}"):
        raise UnknownDevice(
            f"there is no PCI device {bdf}",
            "the address is wrong, or the VF was not created",
            "list devices with: iavfio list",
            errno.ENODEV,
        )
    name = driver(kernel, bdf)
    if "vfio" not in name:
        raise NotBound(
            f"{bdf} is not bound to vfio-pci",
            f"driver {name} has it" if name else "no driver has it",
            f"bind it with: iavfio bind {bdf}",
            errno.ENODEV,
        )


def group(kernel: Kernel, bdf: str) -> str | None:
    """IOMMU group number, None without an IOMMU."""
    try:
        return kernel.readlink(f"{DEVICES}/{bdf}/iommu_group").rsplit("/", 1)[-1]
    except OSError:
        return None


def is_noiommu(kernel: Kernel, number: str) -> bool:
    """Whether a group exists only by name, without an IOMMU behind it (docs/spec/vfio.md 1)."""
    try:
        name = kernel.read_text(f"/sys/kernel/iommu_groups/{number}/name")
    except OSError:
        return False
    return name.strip() == "vfio-noiommu"


def holders(kernel: Kernel, number: str) -> dict[str, str]:
    """Members of a group that a kernel driver other than VFIO's holds: BDF to driver."""
    held = {}
    try:
        members = kernel.listdir(f"/sys/kernel/iommu_groups/{number}/devices")
    except OSError:
        return {}
    for member in members:
        name = driver(kernel, member)
        if name and "vfio" not in name and name not in ("pci-stub", "pcieport"):
            held[member] = name
    return held


def cdev(kernel: Kernel, bdf: str) -> str | None:
    """Path of the device's VFIO character device, None when the kernel has none.

    A noiommu one does not count: an IOAS gives IOVAs, and without an IOMMU the device would take
    them for physical addresses (docs/spec/vfio.md 8).
    """
    try:
        names = kernel.listdir(f"{DEVICES}/{bdf}/vfio-dev")
    except OSError:
        return None
    found = [name for name in names if name.startswith("vfio")]
    path = f"/dev/vfio/devices/{found[0]}" if found else None
    return path if path and kernel.exists(path) else None


def numa_node(kernel: Kernel, bdf: str) -> int | None:
    """NUMA node of the device, None when the platform names none."""
    try:
        node = int(kernel.read_text(f"{DEVICES}/{bdf}/numa_node"))
    except (OSError, ValueError):
        return None
    return node if node >= 0 else None
