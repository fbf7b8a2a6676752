# SPDX-License-Identifier: BSD-3-Clause
"""The IOMMU: in the firmware, on the kernel's command line, and its remapping of interrupts."""

from __future__ import annotations

from collections.abc import Iterator

from iavfio.doctor.finding import Seen
from iavfio.doctor.host import Host, HostRow
from iavfio.host.changes import Write

TABLES = ("DMAR", "IVRS", "IORT")  # Intel, AMD, Arm
OFF = ("intel_iommu=off", "amd_iommu=off", "iommu=off", "arm-smmu.disable=1")
NOT_USED = "the firmware has an IOMMU and the kernel does not use it"
UNSAFE = "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"


def _table(host: Host) -> str:
    there = host.names("sys/firmware/acpi/tables")
    return next((name for name in TABLES if name in there), "")


def _firmware(host: Host) -> Iterator[Seen]:
    if not host.has_iommu and not _table(host):
        yield Seen(
            "this host has no IOMMU, so VFIO gives no device to a program",
            "the firmware describes none (no ACPI table DMAR or IVRS): VT-d or AMD-Vi is off, or "
            "this is a guest or container without one",
            "switch VT-d (Intel) or AMD-Vi/IOMMU (AMD) on in the firmware's set-up and boot again",
        )


def _kernel(host: Host) -> Iterator[Seen]:
    table = _table(host)
    if host.has_iommu or not table:
        return
    off = next((word for word in host.command_line if word in OFF), "")
    on = "intel_iommu=on" if table == "DMAR" else ""  # AMD's and Arm's are on unasked
    if off:
        cause, change = f"the kernel's command line has {off}", f"take {off} away"
        change += f" and add {on}" * bool(on)
    elif on and on not in host.command_line:
        cause = f"the kernel's command line has no {on}, and this kernel does not do it unasked"
        change = f"add {on}"
    else:
        yield Seen(
            NOT_USED,
            "nothing on the kernel's command line forbids it, so it failed at boot",
            "look at: sudo dmesg | grep -i -e DMAR -e AMD-Vi -e smmu",
        )
        return
    where = "GRUB_CMDLINE_LINUX in /etc/default/grub"
    yield Seen(NOT_USED, cause, f"{change} in {where}, then: sudo update-grub && sudo reboot")


def _interrupts(host: Host) -> Iterator[Seen]:
    if host.text(UNSAFE) == "Y":
        path = host.path(UNSAFE)
        yield Seen(
            "devices are given to programs without remapping of interrupts",
            "vfio_iommu_type1 has allow_unsafe_interrupts=Y: a VF's DMA can forge any interrupt",
            f"echo N | sudo tee {path}, after switching interrupt remapping on in the firmware",
            (Write(path, "N"),),
        )


ROWS: tuple[HostRow, ...] = (
    HostRow("iommu.firmware", "error", _firmware),
    HostRow("iommu.kernel", "error", _kernel),
    HostRow("iommu.interrupts", "warning", _interrupts),
)
