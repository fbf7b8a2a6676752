# SPDX-License-Identifier: BSD-3-Clause
"""IOMMU groups: who is in one, which kernel drivers hold it, which processes have it open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from iavfio.host import sysfs

# Drivers that do no DMA of their own, so a group with them is viable (docs/spec/vfio.md 1).
HARMLESS = frozenset({"pcieport", "pci-stub", ""})


@dataclass(frozen=True)
class Group:
    """One IOMMU group; `members` maps BDF to the name of its driver, "" without one."""

    number: str
    members: dict[str, str]
    noiommu: bool

    @property
    def holders(self) -> dict[str, str]:
        """Members that keep the group from being opened: BDF to kernel driver."""
        return {
            bdf: driver
            for bdf, driver in self.members.items()
            if driver not in HARMLESS and "vfio" not in driver
        }

    @property
    def node(self) -> str:
        """Name of the group's node below /dev/vfio."""
        return f"noiommu-{self.number}" if self.noiommu else self.number


@dataclass(frozen=True)
class Process:
    """A process that has a VFIO node open."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid})"


def driver_of(tree: sysfs.Tree, bdf: str) -> str:
    """Name of the driver that has a function, "" without one."""
    return sysfs.link(tree.devices / bdf / "driver")


def of(tree: sysfs.Tree, bdf: str) -> Group | None:
    """The IOMMU group of a function, None without an IOMMU."""
    number = sysfs.link(tree.devices / bdf / "iommu_group")
    if not number:
        return None
    members = sysfs.names(tree.groups / number / "devices") or [bdf]
    return Group(
        number,
        {member: driver_of(tree, member) for member in members},
        sysfs.text(tree.groups / number / "name") == "vfio-noiommu",
    )


def nodes(tree: sysfs.Tree, bdf: str) -> list[Path]:
    """Nodes through which a function can be opened: its group's, its own (docs/spec/vfio.md 1)."""
    found = []
    group = of(tree, bdf)
    if group:
        found.append(tree.nodes / group.node)
    found += [
        tree.nodes / "devices" / name for name in sysfs.names(tree.devices / bdf / "vfio-dev")
    ]
    return [path for path in found if path.exists()]


def users(tree: sysfs.Tree, paths: list[Path]) -> list[Process]:
    """Processes that have one of the nodes open, as far as this user may see them."""
    wanted = {str(path) for path in paths}
    found = []
    for entry in sysfs.names(tree.proc) if wanted else []:
        if entry.isdigit() and any(
            _target(tree.proc / entry / "fd" / fd) in wanted
            for fd in sysfs.names(tree.proc / entry / "fd")
        ):
            command = sysfs.text(tree.proc / entry / "comm", "?")
            found.append(Process(int(entry), command))
    return found


def _target(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
