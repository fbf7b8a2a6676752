# SPDX-License-Identifier: BSD-3-Clause
"""Hosts in network namespaces: each has a software PF on a TAP, a bridge, and a dask worker.

lab ns:   data bridge ---- veth ---- host ns: bridge ---- TAP ---- software PF, VF 0
          10.77.0.1   ---- veth ---- host ns: 10.77.0.N, the dask worker
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from iavfio.softvf.asking import exchange

SCHEDULER = "tcp://10.77.0.1:8786"
START = 60.0
BIN = Path(sys.executable).parent


def missing() -> str:
    """What this host lacks for the lab, in words; "" when it has all."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "ip is not installed: apt-get install iproute2"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun"
    name = f"fl{os.getpid()}probe"
    try:
        ip("netns", "add", name)
        ip("-n", name, "link", "add", "br0", "type", "bridge")
        ip("-n", name, "link", "add", "va", "type", "veth", "peer", "name", "vb")
    except subprocess.CalledProcessError as error:
        return f"the kernel makes no such network: {error.stderr.decode().strip()}"
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("netns", "del", name)
    return ""


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether `condition` came true within `seconds`; asked seldom, for it takes a while."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


class Machine:
    """A host of the lab: its namespace, the socket of its VF, its worker."""

    def __init__(self, lab: Lab, name: str, number: int) -> None:
        self.lab, self.name = lab, name
        self.space = f"{lab.space}{number}"
        self.folder = lab.folder / name
        self.folder.mkdir()
        self.port = f"vfio-user:{self.folder / 'vf0.sock'}"
        self._data, self._talk = f"d{number}", f"m{number}"
        self._wire(number)
        self.pf = self.start("softvf", "--socket", str(self.folder), "--uplink", "tap:tap0")
        self.worker: subprocess.Popen[bytes] | None = None

    def _wire(self, number: int) -> None:
        space, lab = self.space, self.lab.space
        ip("netns", "add", space)
        for name, bridge in ((self._data, "data"), (self._talk, "talk")):
            ip("-n", lab, "link", "add", name, "type", "veth", "peer", "name", name, "netns", space)
            ip("-n", lab, "link", "set", name, "master", bridge, "up")
            ip("-n", space, "link", "set", name, "up")
        ip("-n", space, "link", "set", "lo", "up")
        ip("-n", space, "link", "add", "br0", "type", "bridge")
        ip("-n", space, "link", "set", "br0", "up")
        ip("-n", space, "link", "set", self._data, "master", "br0")
        ip("-n", space, "addr", "add", f"10.77.0.{number + 10}/24", "dev", self._talk)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Starts `iavfio WORDS` on this host."""
        return self.lab.run_in(self.space, str(BIN / "iavfio"), *words)

    def join(self) -> None:
        """Puts the PF's TAP onto the wire, once it is there."""

        def joined() -> bool:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("-n", self.space, "link", "set", "tap0", "master", "br0", "up")
                return (self.folder / "vf0.sock").exists()
            return False

        assert until(joined, START), f"the software PF of {self.name} did not start"

    def begin(self, *, nanny: bool = False) -> None:
        """Starts the dask worker, a new one where there is one."""
        if self.worker is not None:
            self.worker.kill()
            self.worker.wait()
        words = [SCHEDULER, "--nthreads", "1", "--name", self.name, "--no-dashboard"]
        words += ["--nanny" if nanny else "--no-nanny", "--local-directory", str(self.folder)]
        self.worker = self.lab.run_in(self.space, str(BIN / "dask"), "worker", *words)

    def unplug(self, down: bool = True) -> None:
        """Takes the data cable out of the switch, or puts it back."""
        ip("-n", self.lab.space, "link", "set", self._data, "down" if down else "up")

    def ask(self, command: str) -> dict[str, Any]:
        """What the PF answers to its administrator."""
        request = json.dumps({"command": command}).encode() + b"\n"
        return exchange(self.folder / "control.sock", request, 20.0)

    @property
    def open(self) -> bool:
        """Whether somebody has the VF open."""
        return bool(self.ask("info")["vfs"][0]["connected"])

    @property
    def on_wire(self) -> int:
        """Frames that the PF has sent onto its wire."""
        return int(self.ask("wire")["wire"]["sent"])


class Lab:
    """A switch, a scheduler and some hosts; a context manager."""

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self.folder, self._names = folder, names
        self.space = f"fl{os.getpid() % 100000}x"
        self.hosts: dict[str, Machine] = {}
        self._children: list[subprocess.Popen[bytes]] = []
        self._log = (folder / "log").open("wb")

    def __enter__(self) -> Lab:
        try:
            ip("netns", "add", self.space)
            for bridge in ("data", "talk"):
                ip("-n", self.space, "link", "add", bridge, "type", "bridge")
                ip("-n", self.space, "link", "set", bridge, "up")
            ip("-n", self.space, "link", "set", "lo", "up")
            ip("-n", self.space, "addr", "add", "10.77.0.1/24", "dev", "talk")
            self.run_in(
                self.space,
                *(str(BIN / "dask"), "scheduler", "--host", "10.77.0.1", "--port", "8786"),
                "--no-dashboard",
            )
            for number, name in enumerate(self._names):
                self.hosts[name] = Machine(self, name, number)
                self.hosts[name].begin()
            for host in self.hosts.values():
                host.join()
        except BaseException:
            self.close()
            raise
        return self

    def environment(self, space: str) -> dict[str, str]:
        """Each host has a folder of its own for what its ports publish."""
        folder = self.folder / f"run-{space}"
        folder.mkdir(exist_ok=True, mode=0o700)
        return os.environ | {"IAVFIO_RUNTIME_DIR": str(folder)}

    def run_in(self, space: str, *words: str) -> subprocess.Popen[bytes]:
        """Starts a program in a namespace; it ends with the lab at the latest."""
        child = subprocess.Popen(
            ["ip", "netns", "exec", space, *words],
            env=self.environment(space),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        self._children.append(child)
        return child

    def iavfio(self, *words: str) -> subprocess.Popen[str]:
        """Starts `iavfio WORDS` beside the scheduler."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.space, str(BIN / "iavfio"), *words],
            env=self.environment(self.space),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.terminate()
        until(lambda: all(child.poll() is not None for child in self._children), 3.0)
        for child in self._children:
            child.kill()
            child.wait()
        for space in (*(host.space for host in self.hosts.values()), self.space):
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", space)
        self._log.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
