# SPDX-License-Identifier: BSD-3-Clause
"""A PF that a kernel driver has: VFs by sysfs, their settings by rtnetlink."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from iavfio.arguments import counted
from iavfio.host import Function, Kernel, Tree, Writer, groups, read
from iavfio.host.changes import Write
from iavfio.host.errors import InUse, KernelRefused
from iavfio.host.records import RecordFile, boot_of, directory_of
from iavfio.vfs.netlink import Netlink, attributes
from iavfio.vfs.pf import VfRecord, VfState
from iavfio.vfs.words import WORDS, Value, shown

FILE = "vfs.json"
IP_WORDS = {"link": "state", "rate": "max_tx_rate", "min-rate": "min_tx_rate"}


class KernelPf:
    """One card's PF. Settings need its network interface; making and destroying VFs does not."""

    instance = ""
    settable = tuple(WORDS)

    def __init__(
        self,
        tree: Tree,
        function: Function,
        kernel: Kernel,
        netlink: Callable[[str], Netlink] = Netlink,
        force: bool = False,
    ) -> None:
        self._tree, self._kernel, self._force = tree, kernel, force
        self._function = function
        self.name = function.bdf
        self.interface = function.interfaces[0].name if function.interfaces else ""
        self._netlink = netlink(self.interface)

    def describe(self) -> dict[str, Any]:
        return {
            "pf": self.name,
            "kind": "kernel",
            "interface": self.interface,
            "driver": self._function.driver,
            "max_vfs": self._function.max_vfs or 0,
            "settable": list(self.settable),
        }

    def vfs(self) -> list[VfState]:
        bdfs = read(self._tree, self.name).vfs
        told = self._netlink.vfs() if bdfs and self.interface else {}
        return [self._state(vf, bdf, told.get(vf, {})) for vf, bdf in enumerate(bdfs)]

    def _state(self, vf: int, bdf: str, told: Mapping[str, Value]) -> VfState:
        fields: dict[str, Any] = {name.replace("-", "_"): value for name, value in told.items()}
        return VfState(vf, bdf, groups.driver_of(self._tree, bdf), **fields)

    def command(self, vf: int, step: Mapping[str, Value], state: VfState) -> str:
        whole: dict[str, Value] = {"vlan": state.vlan or 0} if "qos" in step else {}
        whole.update(step)
        words = " ".join(f"{IP_WORDS.get(n, n)} {_ip_value(n, v)}" for n, v in whole.items())
        return f"ip link set {self.interface or 'PF'} vf {vf} {words}"

    def put(self, vf: int, step: Mapping[str, Value], state: VfState) -> None:
        if not self.interface:
            raise KernelRefused(
                f"the VFs of {self.name} cannot be set up",
                f"driver {self._function.driver} has the PF, without a network interface"
                if self._function.driver
                else "the PF has no driver, and so no network interface",
                f"give the PF to its kernel driver: iavfio unbind {self.name}",
            )
        before = {name: state.value(name) for name in WORDS}
        self._netlink.put(vf, attributes(step, before), f"setting {' and '.join(step)}")

    def why_ignored(self, vf: int, name: str) -> tuple[str, str]:
        driver = self._function.driver or "the PF's driver"
        return (
            f"{driver} answered success and kept the old value",
            f"look at: dmesg | tail; ip link show {self.interface}",
        )

    def resize(self, number: int, report: Callable[[str], None], dry: bool) -> None:
        states = read(self._tree, self.name).vfs
        if number > (self._function.max_vfs or 0):
            raise KernelRefused(
                f"{self.name} cannot have {number} VFs",
                f"the card has room for {self._function.max_vfs or 0}",
                f"use: iavfio vf {self.name} create {self._function.max_vfs or 0}",
            )
        if not number and not self._force:
            for bdf in states:
                self._check_unused(bdf)
        path = self._tree.devices / self.name / "sriov_numvfs"
        words = f"create {number}" if number else "destroy"
        writer = Writer(self._kernel, report, f"vf {self.name} {words}", dry)
        writer.write(Write(path, str(number)))
        now = read(self._tree, self.name).vfs
        if not dry and len(now) != number:
            raise KernelRefused(
                f"{self.name} has {counted(len(now), 'VF')} now, not {number}",
                "the kernel took the number and the PF's driver made others of it",
                "look at: dmesg | tail",
            )

    def _check_unused(self, bdf: str) -> None:
        function = read(self._tree, bdf)
        users = groups.users(self._tree, groups.nodes(self._tree, bdf))
        uses = [use for each in function.interfaces for use in each.uses]
        if users or uses:
            raise InUse(
                f"{bdf} is in use, and would go with its PF's other VFs",
                ", ".join([*map(str, users[:3]), *uses[:3]]),
                f"if it may go: iavfio vf {self.name} destroy --force",
            )

    def file(self) -> RecordFile[VfRecord]:
        return RecordFile(directory_of(self._tree), boot_of(self._tree), FILE, VfRecord)


def _ip_value(name: str, value: Value) -> str:
    return str(value) if name == "mac" else shown(name, value)
