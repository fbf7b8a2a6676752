# SPDX-License-Identifier: BSD-3-Clause
"""The host and its VFs as doctor sees them: files, this user, and what could not be read."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from iavfio.doctor.finding import Row
from iavfio.host import Function, Tree, read
from iavfio.stats import KnownPort, ports
from iavfio.vfs.netlink import Netlink
from iavfio.vfs.words import Value

SELF = "self"
MOST_CPUS = 1 << 16  # a list that names others is none: no kernel has so many


@dataclass
class Host:
    """Files below `tree`, read as user `uid`.

    `process` is the process whose CPUs matter: that of the port that was named, or this one.
    `named`: whether a device or port was named.
    """

    tree: Tree = field(default_factory=Tree)
    uid: int = field(default_factory=os.geteuid)
    gids: frozenset[int] = field(default_factory=lambda: frozenset((os.getegid(), *os.getgroups())))
    netlink: Callable[[str], Netlink] = Netlink
    ports: Callable[[], list[KnownPort]] = ports
    process: str = SELF
    named: bool = False
    uses_vfio: bool = True  # not for a port of a software VF
    wanted_gbit: float | None = None
    unread: dict[str, str] = field(default_factory=dict)  # what: why

    def path(self, place: str) -> Path:
        return self.tree.root / place

    def text(self, path: Path | str) -> str:
        """A file without white space at its ends, "" if there is none; `unread` has what is kept
        from this user.
        """
        whole = self.path(path) if isinstance(path, str) else path
        try:
            return whole.read_text(encoding="utf-8", errors="replace").strip()
        except PermissionError as denied:
            self.unread[str(whole)] = denied.strerror or "Permission denied"
        except OSError:
            pass
        return ""

    def number(self, path: Path | str) -> int | None:
        """A file as a whole number, None if it is none."""
        try:
            return int(self.text(path), 0)
        except ValueError:
            return None

    def names(self, path: Path | str) -> list[str]:
        """Names in a directory, sorted; empty if there is none; see `text`."""
        whole = self.path(path) if isinstance(path, str) else path
        try:
            return sorted(entry.name for entry in whole.iterdir())
        except PermissionError as denied:
            self.unread[str(whole)] = denied.strerror or "Permission denied"
        except OSError:
            pass
        return []

    @cached_property
    def command_line(self) -> list[str]:
        """Words of the kernel's command line."""
        return self.text("proc/cmdline").split()

    @property
    def has_iommu(self) -> bool:
        return bool(self.names("sys/class/iommu"))

    @property
    def follows_port(self) -> bool:
        """Whether a running port was named, so that CPUs are those of its workers."""
        return self.process != SELF

    @cached_property
    def cpus(self) -> frozenset[int]:
        """CPUs that matter: those that threads of the port are pinned to, one each; where there are
        none, those that the process may run on.
        """
        allowed = cpu_list(self._status("status", "Cpus_allowed_list"))
        if not self.follows_port:
            return allowed
        pinned: list[int] = []
        for thread in self.names(f"proc/{self.process}/task"):
            cpus = cpu_list(self._status(f"task/{thread}/status", "Cpus_allowed_list"))
            if len(cpus) == 1 < len(self.online):
                pinned += cpus
        return frozenset(pinned) or allowed

    @cached_property
    def online(self) -> frozenset[int]:
        return cpu_list(self.text("sys/devices/system/cpu/online"))

    @cached_property
    def isolated(self) -> frozenset[int]:
        return cpu_list(self.text("sys/devices/system/cpu/isolated"))

    def _status(self, file: str, name: str) -> str:
        for line in self.text(f"proc/{self.process}/{file}").splitlines():
            key, _, value = line.partition(":")
            if key == name:
                return value.strip()
        return ""


@dataclass
class Vf:
    """One function that is looked at, mostly a VF."""

    host: Host
    function: Function

    @property
    def bdf(self) -> str:
        return self.function.bdf

    @cached_property
    def pf(self) -> Function | None:
        """The VF's PF; None where none is visible, as in a guest, or where the VF is none."""
        return read(self.host.tree, self.function.physfn) if self.function.physfn else None

    @cached_property
    def settings(self) -> dict[str, Value]:
        """What the PF's driver tells of the VF; empty where it tells nothing. Raises HostError."""
        pf, index = self.pf, self.function.vf_index
        if pf is None or index is None or not pf.interfaces:
            return {}
        return self.host.netlink(pf.interfaces[0].name).vfs().get(index, {})


HostRow = Row[Host]
VfRow = Row[Vf]


def cpu_list(text: str) -> frozenset[int]:
    """The CPUs of a list as "0-3,8"; empty for what is none."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        ends = (first, last or first)
        if all(end.isdecimal() and len(end) < 6 and int(end) < MOST_CPUS for end in ends):
            found.update(range(int(ends[0]), int(ends[1]) + 1))
    return frozenset(found)


def shown_cpus(cpus: frozenset[int]) -> str:
    """CPUs as a list with ranges."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and parts[-1][-1] == cpu - 1:
            parts[-1][1:] = [cpu]
        else:
            parts.append([cpu])
    return ",".join("-".join(map(str, part)) for part in parts)
