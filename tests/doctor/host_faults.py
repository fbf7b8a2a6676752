# SPDX-License-Identifier: BSD-3-Clause
"""Faults of a host where nothing else is wrong, and what the doctor says of each."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from iavfio.stats import KnownPort
from tests.doctor.well_host import (
    USER,
    VF,
    WellHost,
    locked,
    noiommu_group,
    swap_driver,
    unlink_group,
)
from tests.vfs.fake_pf import INTERFACE, PF

Break = Callable[[WellHost], object]
HUGE = "hugepages-2048kB"
CPU = "sys/devices/system/cpu"
NODE = "sys/devices/system/node"
SYSTEMD = "etc/systemd/system.conf.d/memlock.conf"


def no_iommu(host: WellHost, command_line: str = "", table: str = "DMAR") -> None:
    (host.root / "sys/class/iommu/dmar0").rmdir()
    (host.root / "sys/firmware/acpi/tables/DMAR").unlink()
    if table:
        host.put(f"sys/firmware/acpi/tables/{table}", "")
    host.put("proc/cmdline", command_line)


def no_pages(host: WellHost, place: str, which: str = "nr free") -> None:
    for kind in which.split():
        host.put(f"{place}/{HUGE}/{kind}_hugepages", "0\n")


def all_nodes(host: WellHost, which: str) -> None:
    for place in ("sys/kernel/mm/hugepages", f"{NODE}/node0/hugepages", f"{NODE}/node1/hugepages"):
        no_pages(host, place, which)


def systemd(host: WellHost, line: str) -> None:
    host.put("run/systemd/system/x", "")
    host.put(SYSTEMD, f"[Manager]\n{line}\n")


def containerd(host: WellHost, soft: str) -> None:
    host.process(700, "containerd")
    host.put("proc/700/limits", locked(soft))


def dead(host: WellHost) -> None:
    host.dead_ports = [KnownPort("p0", "ada", "dead", False, "x (pid 9)", VF)]


def far_cpus(host: WellHost) -> None:
    host.put("proc/self/status", "Cpus_allowed_list:\t5-6\n")


def irq(host: WellHost) -> None:
    host.put("proc/irq/30/effective_affinity_list", "1-2\n")


def closed(host: WellHost, place: str) -> None:
    (host.root / place).chmod(0o600)


def link_of(host: WellHost, which: str, value: object) -> None:
    host.device_file(PF, f"{which}_link_{'width' if isinstance(value, int) else 'speed'}", value)


def narrow(host: WellHost) -> None:
    """The card itself has four lanes only."""
    for which in ("current", "max"):
        link_of(host, which, 4)


def unlink(host: WellHost, *places: str) -> None:
    for place in places:
        (host.root / place).unlink()


def no_vfio(host: WellHost) -> None:
    """The module is gone, and with it the VF's driver."""
    swap_driver(host, VF, "")
    shutil.rmtree(host.root / "sys/bus/pci/drivers/vfio-pci")


# finding, severity, fault, words of cause, words of the command; further findings of the same fault
TABLE: list[tuple[str, str, Break, str, str, set[str]]] = [
    (
        "iommu.firmware",
        "error",
        lambda h: no_iommu(h, table=""),
        "no ACPI table DMAR or IVRS",
        "firmware's set-up",
        set(),
    ),
    (
        "iommu.kernel",
        "error",
        lambda h: no_iommu(h, "quiet"),
        "has no intel_iommu=on",
        "add intel_iommu=on in GRUB_CMDLINE_LINUX",
        set(),
    ),
    (
        "iommu.kernel",
        "error",
        lambda h: no_iommu(h, "intel_iommu=off"),
        "has intel_iommu=off",
        "take intel_iommu=off away",
        set(),
    ),
    (
        "iommu.kernel",
        "error",
        lambda h: no_iommu(h, "amd_iommu=off", "IVRS"),
        "has amd_iommu=off",
        "take amd_iommu=off away in GRUB_CMDLINE_LINUX",
        set(),
    ),
    (
        "iommu.kernel",
        "error",
        lambda h: no_iommu(h, "quiet", "IVRS"),
        "it failed at boot",
        "dmesg",
        set(),
    ),
    (
        "iommu.kernel",
        "error",
        lambda h: no_iommu(h, "intel_iommu=on"),
        "it failed at boot",
        "dmesg",
        set(),
    ),
    (
        "iommu.interrupts",
        "warning",
        lambda h: h.put("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n"),
        "forge any interrupt",
        "echo N",
        set(),
    ),
    ("vfio.module", "warning", no_vfio, "nothing has asked", "modprobe vfio-pci", {"vf.driver"}),
    (
        "vfio.node",
        "error",
        lambda h: unlink(h, "dev/vfio/vfio", "dev/iommu"),
        "vfio_iommu_type1",
        "modprobe vfio_iommu_type1",
        set(),
    ),
    (
        "vfio.cdev",
        "note",
        lambda h: (h.root / "dev/iommu").unlink(),
        "no iommufd",
        "modprobe iommufd",
        set(),
    ),
    (
        "vfio.noiommu",
        "warning",
        lambda h: h.put("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n"),
        "all memory of this host",
        "echo N",
        set(),
    ),
    (
        "memlock.shell",
        "error",
        lambda h: h.put("proc/self/limits", locked("8388608", "8388608")),
        "RLIMIT_MEMLOCK",
        "/etc/security/limits.d",
        set(),
    ),
    (
        "memlock.shell",
        "error",
        lambda h: h.put("proc/self/limits", locked("8388608")),
        "RLIMIT_MEMLOCK",
        "ulimit -l unlimited",
        set(),
    ),
    (
        "memlock.systemd",
        "note",
        lambda h: systemd(h, ""),
        "is not set (8M)",
        "LimitMEMLOCK=infinity",
        set(),
    ),
    (
        "memlock.systemd",
        "note",
        lambda h: systemd(h, "DefaultLimitMEMLOCK=16M"),
        "is 16M",
        "LimitMEMLOCK=infinity",
        set(),
    ),
    (
        "memlock.containers",
        "warning",
        lambda h: containerd(h, "65536"),
        "containerd (pid 700)",
        "systemctl edit containerd",
        set(),
    ),
    (
        "hugepages.none",
        "warning",
        lambda h: all_nodes(h, "nr free"),
        "pages of 4 KiB",
        "echo 512",
        set(),
    ),
    (
        "hugepages.none",
        "warning",
        lambda h: all_nodes(h, "free"),
        "all 512 (of 2 MiB) are in use",
        "echo 1024",
        set(),
    ),
    (
        "hugepages.node",
        "warning",
        lambda h: no_pages(h, f"{NODE}/node0/hugepages"),
        "far node",
        "node0/hugepages",
        set(),
    ),
    (
        "cpu.isolation",
        "note",
        lambda h: h.put(f"{CPU}/isolated", "\n"),
        "the scheduler",
        "isolcpus",
        set(),
    ),
    (
        "cpu.governor",
        "warning",
        lambda h: h.put(f"{CPU}/cpu5/cpufreq/scaling_governor", "powersave\n"),
        "governor is powersave",
        "cpupower frequency-set",
        set(),
    ),
    (
        "cpu.sleep",
        "warning",
        lambda h: h.put(f"{CPU}/cpu6/cpuidle/state2/disable", "0\n"),
        "C-states are on",
        "cpupower idle-set",
        set(),
    ),
    ("irq.workers", "warning", irq, "stops the worker", "echo 0-1,4-7", set()),
    ("port.dead", "note", dead, "without closing", "iavfio stats --clean", set()),
    (
        "vf.driver",
        "error",
        lambda h: swap_driver(h, VF, "iavf"),
        "driver iavf has it",
        f"iavfio bind {VF}",
        set(),
    ),
    ("vf.driver", "error", lambda h: swap_driver(h, VF, ""), "no driver", "iavfio bind", set()),
    ("group.none", "error", unlink_group, "does not cover", "dmesg", set()),
    (
        "group.held",
        "error",
        lambda h: h.neighbour("ixgbe", 0x020000),
        "0000:3b:02.0 (ixgbe)",
        f"iavfio bind {VF} 0000:3b:02.0",
        set(),
    ),
    (
        "group.held",
        "error",
        lambda h: h.neighbour("ahci", 0x010601),
        "0000:3b:02.0 (ahci)",
        "ACS",
        set(),
    ),
    ("group.noiommu", "warning", noiommu_group, "all memory", "iommu.firmware", set()),
    (
        "group.busy",
        "note",
        lambda h: h.process(800, "testpmd", "dev/vfio/42"),
        "one user at a time",
        "iavfio why",
        set(),
    ),
    (
        "permission.node",
        "error",
        lambda h: closed(h, "dev/vfio/42"),
        f"user {USER} may not",
        "chown",
        set(),
    ),
    (
        "permission.node",
        "error",
        lambda h: closed(h, "dev/vfio/vfio"),
        "dev/vfio/vfio",
        "udev",
        set(),
    ),
    (
        "permission.udev",
        "note",
        lambda h: (h.root / "etc/udev/rules.d/60-vfio.rules").unlink(),
        "no udev rule",
        "60-vfio.rules",
        set(),
    ),
    ("numa.cpus", "warning", far_cpus, "node 0, at distance 21", "taskset -c 0-3", set()),
    (
        "pf.driver",
        "error",
        lambda h: swap_driver(h, PF, ""),
        "nobody answers",
        "modprobe ice",
        set(),
    ),
    (
        "pf.driver",
        "error",
        lambda h: swap_driver(h, PF, "vfio-pci"),
        "--vf-token",
        f"iavfio unbind {PF}",
        set(),
    ),
    (
        "pf.down",
        "error",
        lambda h: h.device_file(PF, f"net/{INTERFACE}/flags", "0x1002"),
        "there is no link",
        f"ip link set {INTERFACE} up",
        set(),
    ),
    (
        "pf.carrier",
        "warning",
        lambda h: h.device_file(PF, f"net/{INTERFACE}/carrier", 0),
        "no cable",
        f"ethtool {INTERFACE}",
        set(),
    ),
    (
        "vf.link",
        "error",
        lambda h: h.links.vfs[0].update(link_state=2),
        "link-state disable",
        f"iavfio vf {PF} set 0 link auto",
        set(),
    ),
    (
        "vf.vlan",
        "note",
        lambda h: h.links.vfs[0].update(vlan=100),
        "other VLANs",
        f"iavfio vf {PF} set 0 vlan 0",
        set(),
    ),
    (
        "vf.trust",
        "note",
        lambda h: h.links.vfs[0].update(trust=0),
        "promiscuity",
        f"iavfio vf {PF} set 0 trust on",
        set(),
    ),
    (
        "vf.spoofchk",
        "note",
        lambda h: h.links.vfs[0].update(spoofchk=1),
        "any address but its own",
        f"iavfio vf {PF} set 0 spoofchk off",
        set(),
    ),
    (
        "vf.rate",
        "note",
        lambda h: h.links.vfs[0].update(max_tx_rate=500),
        "rate limit",
        f"iavfio vf {PF} set 0 rate 0",
        set(),
    ),
    (
        "pcie.degraded",
        "warning",
        lambda h: link_of(h, "current", 8),
        "fewer lanes",
        f"lspci -vv -s {PF}",
        set(),
    ),
    (
        "pcie.degraded",
        "warning",
        lambda h: link_of(h, "current", "8.0 GT/s PCIe"),
        "older PCIe",
        "another slot",
        set(),
    ),
    (
        "pcie.rate",
        "warning",
        narrow,
        "16 GT/s x4",
        "more lanes",
        set(),
    ),
]
