# SPDX-License-Identifier: BSD-3-Clause
"""A software PF that runs, by its control socket: the same words as for a card's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from iavfio.errors import ConfigError
from iavfio.host import Tree
from iavfio.host.records import RecordFile, boot_of, directory_of
from iavfio.softvf.asking import ask
from iavfio.vfs.pf import VfRecord, VfState
from iavfio.vfs.words import NO_MAC, Value

FILE = "software-vfs.json"
CONTROL = "control.sock"
REQUESTS = {
    "mac": "mac",
    "vlan": "vlan",
    "trust": "on",
    "spoofchk": "on",
    "link": "state",
    "rate": "mbps",
}


class SoftwarePf:
    """The PF that serves a directory. Its VFs are as many as it was started with."""

    def __init__(self, directory: Path, tree: Tree) -> None:
        self._directory, self._tree = directory.resolve(), tree
        self.name = str(self._directory)
        self.interface = ""

    @property
    def settable(self) -> tuple[str, ...]:
        """The words that it takes: the card that Linux's own PF drives keeps no rates."""
        told = ask(self._directory, "snapshot", vf=0)["snapshot"]
        return tuple(name for name in REQUESTS if name != "rate" or "rate" in told)

    @property
    def instance(self) -> str:
        """Which socket it is: a PF that is started anew makes another one."""
        try:
            found = (self._directory / CONTROL).stat()
        except OSError:
            return ""
        return f"{found.st_ino}:{found.st_ctime_ns}"

    def describe(self) -> dict[str, Any]:
        info = ask(self._directory, "info")
        return {
            "pf": self.name,
            "kind": "software",
            "interface": "",
            "driver": str(info["personality"]),
            "max_vfs": len(info["vfs"]),
            "settable": list(self.settable),
        }

    def vfs(self) -> list[VfState]:
        return [self._state(each) for each in ask(self._directory, "info")["vfs"]]

    def _state(self, listed: Mapping[str, Any]) -> VfState:
        vf = int(listed["index"])
        told = ask(self._directory, "snapshot", vf=vf)["snapshot"]
        return VfState(
            vf=vf,
            bdf=str(listed["socket"]),
            driver="connected" if listed["connected"] else "",
            mac=str(told["admin_mac"] or NO_MAC),
            vlan=int(told["port_vlan"]),
            trust=bool(told["trusted"]),
            spoofchk=bool(told["spoofchk"]),
            link=str(told["link"]["mode"]),
            rate=int(told["rate"]) if "rate" in told else None,
        )

    def command(self, vf: int, step: Mapping[str, Value], state: VfState) -> str:
        requests = [{"command": n, "vf": vf, REQUESTS[n]: v} for n, v in step.items()]
        return "\n".join(map(json.dumps, requests))

    def put(self, vf: int, step: Mapping[str, Value], state: VfState) -> None:
        for name, value in step.items():
            ask(self._directory, name, vf=vf, **{REQUESTS[name]: value})

    def why_ignored(self, vf: int, name: str) -> tuple[str, str]:
        return (
            "somebody else changed it at the same time",
            f"look at it, and repeat the command: iavfio vf {self.name}",
        )

    def resize(self, number: int, report: Callable[[str], None], dry: bool) -> None:
        raise ConfigError(
            f"a software PF keeps the VFs that it was started with, here {len(self.vfs())}",
            "its VFs are sockets of the process that serves them",
            f"start it with others: iavfio softvf --socket {self.name} --vfs {max(number, 1)}",
        )

    def file(self) -> RecordFile[VfRecord]:
        return _File(self._place(), boot_of(self._tree), FILE, VfRecord)

    def _place(self) -> Path:
        """A software PF needs no root and often has no XDG_RUNTIME_DIR."""
        if os.geteuid() and not os.environ.get("XDG_RUNTIME_DIR"):
            state = os.environ.get("XDG_STATE_HOME", "")
            return (Path(state) if state else Path.home() / ".local/state") / "iavfio"
        return directory_of(self._tree)


class _File(RecordFile[VfRecord]):
    """Records of software PFs go with the PF: those of ended ones are left out."""

    def load(self) -> dict[str, VfRecord]:
        found = super().load()
        tree = Tree()
        return {
            name: record
            for name, record in found.items()
            if SoftwarePf(Path(name), tree).instance == record.instance
        }
