# SPDX-License-Identifier: BSD-3-Clause
"""A software PF that runs, by its control socket: the same words as for a card's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iavfio.errors import ConfigError, IavfioError
from iavfio.foreign import a_list, an_object, flag, plain, whole
from iavfio.host import Tree
from iavfio.host.records import RecordFile, boot_of, directory_of
from iavfio.softvf.asking import ask
from iavfio.vfs.pf import VfRecord, VfState
from iavfio.vfs.words import NO_MAC, Value

FILE = "software-vfs.json"
CONTROL = "control.sock"
MOST_VFS = 1 << 12
MOST_VLAN = (1 << 12) - 1
LONGEST_PATH = 4096  # characters
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
        answer = ask(self._directory, "snapshot", vf=0)
        with self._understood():
            told = an_object(answer["snapshot"])
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
        with self._understood():
            return {
                "pf": self.name,
                "kind": "software",
                "interface": "",
                "driver": plain(info["personality"]),
                "max_vfs": len(a_list(info["vfs"], MOST_VFS)),
                "settable": list(self.settable),
            }

    def vfs(self) -> list[VfState]:
        info = ask(self._directory, "info")
        with self._understood():
            return [self._state(an_object(each)) for each in a_list(info["vfs"], MOST_VFS)]

    def _state(self, listed: Mapping[str, Any]) -> VfState:
        """A VF's state; LookupError or ValueError for an answer that is none of a software PF."""
        vf = whole(listed["index"], 0, MOST_VFS)
        told = an_object(ask(self._directory, "snapshot", vf=vf)["snapshot"])
        return VfState(
            vf=vf,
            bdf=plain(listed["socket"], LONGEST_PATH),
            driver="connected" if flag(listed["connected"]) else "",
            # Linux's own driver does not tell whether the host has set one.
            mac=plain(told["admin_mac"] or NO_MAC) if "admin_mac" in told else None,
            vlan=whole(told["port_vlan"], 0, MOST_VLAN),
            trust=flag(told["trusted"]),
            spoofchk=flag(told["spoofchk"]),
            link=plain(an_object(told["link"])["mode"]),
            rate=whole(told["rate"]) if "rate" in told else None,
        )

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Whoever made the socket may answer anything: what is read inside is checked."""
        try:
            yield
        except IavfioError:
            raise  # a refusal, which is a ValueError too
        except (LookupError, ValueError) as odd:
            raise IavfioError(
                f"what answers at {self._directory / CONTROL} is no software PF of this version",
                f"{odd} is missing" if isinstance(odd, LookupError) else f"its answer is {odd}",
                "name the directory that 'iavfio softvf --socket DIR' serves",
            ) from None

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
