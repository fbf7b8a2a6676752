# SPDX-License-Identifier: BSD-3-Clause
"""A host in a directory: sysfs as the kernel lays it out, and a kernel that reacts to writes."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

from iavfio.host import Tree


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(target.resolve(), path.parent.resolve()))


@dataclass
class FakeHost:
    """Builds devices below `root` and is the `Kernel` that binding and unbinding talk to."""

    root: Path
    writes: list[tuple[str, str]] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)  # that modprobe was asked for
    module_names: set[str] = field(default_factory=lambda: {"vfio-pci"})  # that can be loaded
    match: dict[str, str] = field(default_factory=dict)  # BDF -> driver that matches by id
    refuses: dict[str, set[str]] = field(default_factory=dict)  # driver -> BDFs it fails to probe
    no_autoprobe: set[str] = field(default_factory=set)  # VFs probed only under an override

    def __post_init__(self) -> None:
        for place in ("sys/bus/pci/devices", "sys/bus/pci/drivers", "proc/net", "dev/vfio"):
            (self.root / place).mkdir(parents=True)
        boot = self.root / "proc/sys/kernel/random/boot_id"
        boot.parent.mkdir(parents=True)
        boot.write_text("11111111-2222-3333-4444-555555555555\n")
        (self.root / "sys/bus/pci/drivers_probe").write_text("")

    @property
    def tree(self) -> Tree:
        return Tree(self.root)

    def driver(self, name: str) -> Path:
        path = self.root / "sys/bus/pci/drivers" / name
        path.mkdir(exist_ok=True)
        for attribute in ("bind", "unbind"):
            (path / attribute).write_text("")
        return path

    def device(
        self,
        bdf: str,
        ids: tuple[int, int],
        *,
        driver: str = "",
        match: str = "",
        group: int | None = None,
        class_code: int = 0x020000,
        **attributes: object,
    ) -> Path:
        """A function bound to `driver`; a probe without override finds `match`."""
        path = self.root / "sys/devices/pci0000:00" / bdf
        path.mkdir(parents=True)
        link(self.root / "sys/bus/pci/devices" / bdf, path)
        values: dict[str, object] = {
            "vendor": f"{ids[0]:#06x}",
            "device": f"{ids[1]:#06x}",
            "class": f"{class_code:#08x}",
            "revision": "0x02",
            "subsystem_vendor": "0x8086",
            "subsystem_device": "0x0000",
            "numa_node": "0",
            "driver_override": "(null)",
        } | attributes
        for name, value in values.items():
            (path / name).write_text(f"{value}\n")
        if group is not None:
            link(path / "iommu_group", self.root / "sys/kernel/iommu_groups" / str(group))
            link(self.root / f"sys/kernel/iommu_groups/{group}/devices" / bdf, path)
            (self.root / f"sys/kernel/iommu_groups/{group}/name").write_text("\n")
        self.match[bdf] = match or driver
        if driver:
            self.attach(bdf, driver)
        return path

    def vf(self, pf: str, index: int, bdf: str) -> None:
        devices = self.root / "sys/bus/pci/devices"
        link(devices / bdf / "physfn", devices / pf)
        link(devices / pf / f"virtfn{index}", (devices / bdf).resolve())

    def interface(self, bdf: str, name: str, **attributes: object) -> Path:
        path = self.root / "sys/bus/pci/devices" / bdf / "net" / name
        path.mkdir(parents=True)
        values: dict[str, object] = {"address": "02:00:00:00:00:01", "mtu": 1500, "flags": "0x1003"}
        for key, value in (values | attributes).items():
            (path / key).write_text(f"{value}\n")
        link(path / "device", self.root / "sys/bus/pci/devices" / bdf)
        link(self.root / "sys/class/net" / name, path)
        return path

    def route(self, name: str, destination: str = "0000000A", mask: str = "00FFFFFF") -> None:
        path = self.root / "proc/net/route"
        head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        line = f"{name}\t{destination}\t00000000\t0001\t0\t0\t100\t{mask}\t0\t0\t0\n"
        path.write_text((path.read_text() if path.exists() else head) + line)

    def attach(self, bdf: str, name: str) -> None:
        path = self.root / "sys/bus/pci/devices" / bdf
        link(path / "driver", self.driver(name))
        group = path / "iommu_group"
        if name == "vfio-pci" and group.exists():
            (self.root / "dev/vfio" / group.readlink().name).write_text("")

    def bound(self, bdf: str) -> str:
        path = self.root / "sys/bus/pci/devices" / bdf / "driver"
        return path.readlink().name if path.is_symlink() else ""

    def override(self, bdf: str) -> str:
        return (self.root / "sys/bus/pci/devices" / bdf / "driver_override").read_text().strip()

    # What follows is the Kernel of iavfio.host.

    def write(self, path: Path, value: str) -> None:
        self.writes.append((str(path.relative_to(self.root)), value))
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        if path.name == "driver_override":
            path.write_text(value.strip() + "\n" if value.strip() else "(null)\n")
        elif path.name == "unbind":
            self._unbind(value)
        elif path.name == "drivers_probe":
            self._probe(value)
        else:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

    def modprobe(self, module: str) -> None:
        self.modules.append(module)
        if module not in self.module_names:
            raise OSError(0, f"modprobe: FATAL: Module {module} not found", module)
        self.driver(module)

    def _unbind(self, bdf: str) -> None:
        path = self.root / "sys/bus/pci/devices" / bdf
        (path / "driver").unlink()
        for entry in (path / "net").iterdir() if (path / "net").exists() else ():
            (self.root / "sys/class/net" / entry.name).unlink()
            entry.rename(self.root / f"gone-{entry.name}")

    def _probe(self, bdf: str) -> None:
        override = self.override(bdf)
        name = self.match[bdf] if override == "(null)" else override
        if self.bound(bdf) or not (self.root / "sys/bus/pci/drivers" / name).exists() or not name:
            return
        if override == "(null)" and bdf in self.no_autoprobe:
            return
        if bdf not in self.refuses.get(name, set()):
            self.attach(bdf, name)
