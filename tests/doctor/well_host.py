# SPDX-License-Identifier: BSD-3-Clause
"""A host on which nothing is wrong: two NUMA nodes, a PF with two VFs, one of them for VFIO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from iavfio.doctor import Host
from iavfio.stats import KnownPort
from tests.host.fake_host import link
from tests.vfs.fake_pf import INTERFACE, PF, FakePf

USER = 4242  # who looks: nobody that runs these tests
VF = "0000:3b:01.0"
OTHER = "0000:3b:01.1"
NODES = {0: "0-3", 1: "4-7"}
LIMITS = "Limit                     Soft Limit           Hard Limit           Units     \n"


def locked(soft: str, hard: str = "unlimited") -> str:
    """/proc/PID/limits with this limit of locked memory."""
    return f"{LIMITS}Max locked memory         {soft:<20} {hard:<20} bytes     \n"


class WellHost(FakePf):
    """Its kernel takes writes to any file that doctor mends."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, vfs=2)
        self.dead_ports: list[KnownPort] = []
        self.refuses_writes: dict[str, OSError] = {}  # by the file's name
        self.keeps: set[str] = set()  # names of files whose writes change nothing
        self.wanted_gbit: float | None = None
        self._devices()
        self._iommu()
        self._memory()
        self._processors()
        self.put("proc/self/limits", locked("unlimited"))
        self.put("proc/self/status", "Name:\tiavfio\nCpus_allowed_list:\t0-7\n")
        self.put("proc/cmdline", "root=/dev/sda1 intel_iommu=on isolcpus=2-3\n")

    def put(self, place: str, text: str) -> Path:
        """Writes a file of the host, which need not be there before."""
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def look(self, **how: Any) -> Host:
        """The host as doctor sees it."""
        return Host(
            tree=self.tree,
            uid=USER,
            gids=frozenset((USER,)),
            netlink=self.netlink,
            ports=lambda: self.dead_ports,
            wanted_gbit=self.wanted_gbit,
            **how,
        )

    def device_file(self, bdf: str, name: str, value: object) -> None:
        """Sets an attribute of a PCI function."""
        (self.root / "sys/bus/pci/devices" / bdf / name).write_text(f"{value}\n")

    def _devices(self) -> None:
        devices = self.root / "sys/bus/pci/devices"
        (devices / VF / "driver").unlink()
        self.attach(VF, "vfio-pci")
        for name, value in (("speed", 100000), ("carrier", 1)):
            self.device_file(PF, f"net/{INTERFACE}/{name}", value)
        for which in ("current", "max"):
            self.device_file(PF, f"{which}_link_speed", "16.0 GT/s PCIe")
            self.device_file(PF, f"{which}_link_width", 16)
        for name in ("vfio", "42"):
            self.put(f"dev/vfio/{name}", "").chmod(0o666)
        self.put("dev/iommu", "").chmod(0o666)
        self.put("etc/udev/rules.d/60-vfio.rules", 'SUBSYSTEM=="vfio", MODE="0666"\n')
        self.links.vfs[0] |= {"trust": 1, "spoofchk": 0}

    def _iommu(self) -> None:
        self.put("sys/firmware/acpi/tables/DMAR", "")
        (self.root / "sys/class/iommu/dmar0").mkdir(parents=True)
        self.put("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N\n")
        self.put("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "N\n")

    def _memory(self) -> None:
        places = ["sys/kernel/mm/hugepages"]
        for node, cpus in NODES.items():
            place = f"sys/devices/system/node/node{node}"
            self.put(f"{place}/cpulist", f"{cpus}\n")
            self.put(f"{place}/distance", "10 21\n" if node == 0 else "21 10\n")
            places.append(f"{place}/hugepages")
        for place in places:
            for kind in ("nr", "free"):
                self.put(f"{place}/hugepages-2048kB/{kind}_hugepages", "512\n")

    def _processors(self) -> None:
        self.put("sys/devices/system/cpu/online", "0-7\n")
        self.put("sys/devices/system/cpu/isolated", "2-3\n")
        for cpu in range(8):
            place = f"sys/devices/system/cpu/cpu{cpu}"
            self.put(f"{place}/cpufreq/scaling_governor", "performance\n")
            for state, (latency, off) in enumerate(((0, 0), (2, 0), (133, 1))):
                self.put(f"{place}/cpuidle/state{state}/latency", f"{latency}\n")
                self.put(f"{place}/cpuidle/state{state}/disable", f"{off}\n")
        for irq, cpus, user in ((30, "0-1", "nvme0q1"), (31, "2", "vfio-msix[0](0000:3b:01.0)")):
            self.put(f"proc/irq/{irq}/effective_affinity_list", f"{cpus}\n")
            self.put(f"proc/irq/{irq}/smp_affinity_list", f"{cpus}\n")
            (self.root / f"proc/irq/{irq}/{user}").mkdir()

    def process(self, pid: int, command: str, node: str = "") -> None:
        """A process, which may have a VFIO node open."""
        self.put(f"proc/{pid}/comm", f"{command}\n")
        self.put(f"proc/{pid}/limits", locked("unlimited"))
        if node:
            (self.root / f"proc/{pid}/fd").mkdir()
            (self.root / f"proc/{pid}/fd/7").symlink_to(self.root / node)

    def neighbour(self, driver: str, class_code: int) -> None:
        """Another device in the VF's IOMMU group."""
        self.device("0000:3b:02.0", (0x8086, 1), driver=driver, group=42, class_code=class_code)

    def worker(self, pid: int, cpus: list[str]) -> None:
        """A process of a port, with a thread for each of these lists of CPUs."""
        self.put(f"proc/{pid}/status", "Cpus_allowed_list:\t0-7\n")
        for thread, allowed in enumerate(cpus):
            self.put(f"proc/{pid}/task/{pid + thread}/status", f"Cpus_allowed_list:\t{allowed}\n")

    def write(self, path: Path, value: str) -> None:
        mended = ("nr_hugepages", "scaling_governor", "disable", "smp_affinity_list")
        if path.name not in (*mended, "enable_unsafe_noiommu_mode", "allow_unsafe_interrupts"):
            super().write(path, value)
            return
        self.writes.append((str(path.relative_to(self.root)), value))
        if path.name in self.refuses_writes:
            raise self.refuses_writes[path.name]
        if path.name in self.keeps:
            return
        path.write_text(f"{value}\n")
        if path.name == "nr_hugepages":
            (path.parent / "free_hugepages").write_text(f"{value}\n")
        if path.name == "smp_affinity_list":
            (path.parent / "effective_affinity_list").write_text(f"{value}\n")


def unlink_group(host: WellHost) -> None:
    """The VF loses its IOMMU group."""
    (host.root / "sys/bus/pci/devices" / VF / "iommu_group").unlink()


def noiommu_group(host: WellHost) -> None:
    """The VF's group is one without an IOMMU."""
    host.put("sys/kernel/iommu_groups/42/name", "vfio-noiommu\n")
    (host.root / "dev/vfio/42").rename(host.root / "dev/vfio/noiommu-42")


def swap_driver(host: WellHost, bdf: str, driver: str) -> None:
    """Another driver has a function; "" none."""
    path = host.root / "sys/bus/pci/devices" / bdf / "driver"
    path.unlink()
    if driver:
        link(path, host.driver(driver))
