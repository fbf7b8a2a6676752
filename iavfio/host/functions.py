# SPDX-License-Identifier: BSD-3-Clause
"""PCI discovery: the PFs and VFs of this host, as sysfs shows them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from iavfio.host import groups, interfaces, models, sysfs

NETWORK_CLASS = 0x02  # base class of a PCI class code, bits 23:16


@dataclass(frozen=True)
class Function:
    """One PCI function and what sysfs tells of it."""

    bdf: str
    vendor: int
    device: int
    revision: int
    subsystem: str  # "8086:0000"
    class_code: int
    name: str
    kernel_driver: str  # the kernel's network driver for it, "" if not known here
    driver: str  # the bound driver, "" without one
    driver_version: str  # of an out-of-tree module; the kernel's own have none
    driver_override: str
    numa_node: int | None
    pcie_link: str  # "16.0 GT/s PCIe x16", "" for a VF
    group: groups.Group | None
    nodes: tuple[str, ...]  # VFIO nodes in /dev
    interfaces: tuple[interfaces.Interface, ...]
    physfn: str  # BDF of a VF's PF, "" if it is no VF or the PF is not visible (in a guest)
    vf_index: int | None
    vfs: tuple[str, ...]  # of a PF: BDFs by index
    max_vfs: int | None  # of a PF; None if it is none

    @property
    def is_nic(self) -> bool:
        return self.class_code >> 16 == NETWORK_CLASS

    @property
    def is_pf(self) -> bool:
        return self.max_vfs is not None and not self.is_vf

    @property
    def is_vf(self) -> bool:
        return bool(self.physfn) or self.is_adaptive_vf

    @property
    def is_adaptive_vf(self) -> bool:
        """Whether iavfio's driver knows this VF."""
        return self.vendor == models.INTEL and self.device in models.adaptive_vfs()

    @property
    def uses_vfio(self) -> bool:
        """Whether vfio-pci or a variant of it has the function."""
        return "vfio" in self.driver

    @property
    def active(self) -> bool:
        return any(interface.active for interface in self.interfaces)

    @property
    def unused(self) -> tuple[str, ...]:
        """Drivers that could take the function and have not."""
        candidates = [self.kernel_driver, "vfio-pci"]
        return tuple(name for name in candidates if name and name != self.driver)


def read(tree: sysfs.Tree, bdf: str, routes: interfaces.Routes | None = None) -> Function:
    """Reads one existing function; whatever sysfs does not show is empty."""
    path = tree.devices / bdf
    vendor, device = sysfs.number(path / "vendor") or 0, sysfs.number(path / "device") or 0
    model = models.known(vendor, device)
    driver = groups.driver_of(tree, bdf)
    physfn = sysfs.link(path / "physfn")
    return Function(
        bdf=bdf,
        vendor=vendor,
        device=device,
        revision=sysfs.number(path / "revision") or 0,
        subsystem=_subsystem(tree, bdf),
        class_code=sysfs.number(path / "class") or 0,
        name=(model.name if model else models.listed(tree.root, vendor, device)),
        kernel_driver=model.driver if model else ("" if "vfio" in driver else driver),
        driver=driver,
        driver_version=sysfs.text(path / "driver/module/version"),
        driver_override=_override(tree, bdf),
        numa_node=node if (node := sysfs.number(path / "numa_node")) not in (None, -1) else None,
        pcie_link=_pcie_link(tree, bdf),
        group=groups.of(tree, bdf),
        nodes=tuple(str(node) for node in groups.nodes(tree, bdf)),
        interfaces=interfaces.of(tree, path, routes or interfaces.Routes.load(tree)),
        physfn=physfn,
        vf_index=_index(tree, physfn, bdf),
        vfs=_vfs(tree, bdf),
        max_vfs=sysfs.number(path / "sriov_totalvfs"),
    )


def discover(tree: sysfs.Tree) -> list[Function]:
    """Every NIC with SR-IOV, every VF of one, and every adaptive VF; by address."""
    routes = interfaces.Routes.load(tree)
    found = []
    for bdf in sysfs.names(tree.devices):
        # The class first: it keeps a list on a host with hundreds of functions quick.
        if (sysfs.number(tree.devices / bdf / "class") or 0) >> 16 != NETWORK_CLASS:
            continue
        function = read(tree, bdf, routes)
        if function.is_pf or function.is_vf or function.kernel_driver in ("i40e", "ice"):
            found.append(function)
    return found


def _override(tree: sysfs.Tree, bdf: str) -> str:
    written = sysfs.text(tree.devices / bdf / "driver_override")
    return "" if written == "(null)" else written  # the kernel's word for none


def _subsystem(tree: sysfs.Tree, bdf: str) -> str:
    path = tree.devices / bdf
    vendor = sysfs.number(path / "subsystem_vendor") or 0
    return f"{vendor:04x}:{sysfs.number(path / 'subsystem_device') or 0:04x}"


def _pcie_link(tree: sysfs.Tree, bdf: str) -> str:
    speed = sysfs.text(tree.devices / bdf / "current_link_speed")
    width = sysfs.text(tree.devices / bdf / "current_link_width")
    return f"{speed} x{width}" if width not in ("", "0") and "GT/s" in speed else ""


def _vfs(tree: sysfs.Tree, bdf: str) -> tuple[str, ...]:
    links = []
    for name in sysfs.names(tree.devices / bdf):
        if found := re.fullmatch(r"virtfn(\d+)", name):
            links.append((int(found[1]), sysfs.link(tree.devices / bdf / name)))
    return tuple(target for _, target in sorted(links))


def _index(tree: sysfs.Tree, physfn: str, bdf: str) -> int | None:
    vfs = _vfs(tree, physfn) if physfn else ()
    return vfs.index(bdf) if bdf in vfs else None
