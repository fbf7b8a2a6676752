# SPDX-License-Identifier: BSD-3-Clause
"""A PF whose kernel makes VFs on a write to sriov_numvfs, and a netlink that keeps their settings.

The netlink has the calls of pyroute2's IPRoute that iavfio uses, with answers of the same shape.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from iavfio.host import read
from iavfio.vfs.kernel_pf import KernelPf
from iavfio.vfs.netlink import Netlink
from tests.host.fake_host import FakeHost

PF = "0000:3b:00.0"
INTERFACE = "ens1f0"
UNTOLD = 0xFFFFFFFF


def fresh() -> dict[str, Any]:
    """A VF as the kernel makes it."""
    return {
        "mac": "00:00:00:00:00:00",
        "vlan": 0,
        "qos": 0,
        "trust": 0,
        "spoofchk": 1,
        "link_state": 0,
        "max_tx_rate": 0,
        "min_tx_rate": 0,
    }


@dataclass
class FakeRoute:
    """The kernel's side of rtnetlink for one PF."""

    vfs: dict[int, dict[str, Any]] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)  # of the next `set`s, in order
    read_failure: Exception | None = None
    ignores: set[str] = field(default_factory=set)  # fields that are accepted and not changed
    spoil: Callable[[list[Any]], list[Any]] | None = None  # of the answer to `get`
    gone: bool = False

    def __enter__(self) -> FakeRoute:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def link_lookup(self, ifname: str) -> list[int]:
        return [] if self.gone or ifname != INTERFACE else [7]

    def link(self, command: str, **request: Any) -> Any:
        assert request["index"] == 7
        if command == "get":
            assert request["ext_mask"] == 1
            if self.read_failure:
                raise self.read_failure
            answer = [self._message()]
            return tuple(self.spoil(answer) if self.spoil else answer)
        assert command == "set"
        if self.failures:
            raise self.failures.pop(0)
        vf = request["vf"].pop("vf")  # as pyroute2 takes it apart
        if vf not in self.vfs:
            raise NetlinkError(22)
        self.requests.append({"vf": vf} | request["vf"])
        for key, value in request["vf"].items():
            for name, each in value.items() if isinstance(value, dict) else [(key, value)]:
                if name not in self.ignores:
                    self.vfs[vf][name] = each
        return ()

    def _message(self) -> dict[str, Any]:
        if not self.vfs:
            return {"attrs": [("IFLA_IFNAME", INTERFACE)]}
        infos = [("IFLA_VF_INFO", {"attrs": _info(vf, v)}) for vf, v in self.vfs.items()]
        return {"attrs": [("IFLA_IFNAME", INTERFACE), ("IFLA_VFINFO_LIST", {"attrs": infos})]}


def _info(vf: int, values: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    def part(*names: str) -> dict[str, Any]:
        return {"vf": vf} | {name: values[name] for name in names}

    return [
        ("IFLA_VF_MAC", part("mac")),
        ("IFLA_VF_VLAN", part("vlan", "qos")),
        ("IFLA_VF_RATE", part("max_tx_rate", "min_tx_rate")),
        ("IFLA_VF_SPOOFCHK", part("spoofchk")),
        ("IFLA_VF_LINK_STATE", part("link_state")),
        ("IFLA_VF_TRUST", part("trust")),
    ]


class FakePf(FakeHost):
    """A host with one E810's PF."""

    def __init__(self, root: Path, vfs: int = 0, room: int = 8) -> None:
        super().__init__(root)
        self.links = FakeRoute()
        self.makes: Callable[[int], int] = lambda wanted: wanted  # how many VFs really come
        self.numvfs_failure: OSError | None = None
        self.driver("vfio-pci")
        self.device(PF, (0x8086, 0x1592), driver="ice", group=10, sriov_totalvfs=room)
        (self.root / "sys/bus/pci/devices" / PF / "sriov_numvfs").write_text("0\n")
        self.interface(PF, INTERFACE)
        if vfs:
            self._resize(vfs)

    @staticmethod
    def bdf(vf: int) -> str:
        return f"0000:3b:{1 + vf // 8:02x}.{vf % 8}"

    def write(self, path: Path, value: str) -> None:
        if path.name != "sriov_numvfs":
            super().write(path, value)
            return
        self.writes.append((str(path.relative_to(self.root)), value))
        if self.numvfs_failure:
            raise self.numvfs_failure
        if int(value) and self.links.vfs:
            raise OSError(16, "Device or resource busy")
        self._resize(self.makes(int(value)))

    def _resize(self, number: int) -> None:
        devices = self.root / "sys/bus/pci/devices"
        for vf in list(self.links.vfs):
            (devices / PF / f"virtfn{vf}").unlink()
            (devices / self.bdf(vf)).unlink()
        self.links.vfs = {vf: fresh() for vf in range(number)}
        for vf in range(number):
            place = self.root / "sys/devices/pci0000:00" / self.bdf(vf)
            if place.exists():
                (devices / self.bdf(vf)).symlink_to(
                    os.path.relpath(place.resolve(), devices.resolve())
                )
                (place / "physfn").unlink(missing_ok=True)
            else:
                self.device(self.bdf(vf), (0x8086, 0x1889), driver="iavf", group=42 + vf)
            self.vf(PF, vf, self.bdf(vf))

    def netlink(self, interface: str) -> Netlink:
        return Netlink(interface, lambda: self.links, patience=0.02)

    def pf(self, force: bool = False) -> KernelPf:
        return KernelPf(self.tree, read(self.tree, PF), self, self.netlink, force)
