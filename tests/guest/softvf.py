# SPDX-License-Identifier: BSD-3-Clause
"""A software PF for guests, in a network namespace of its own when its uplink is a TAP."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from iavfio.linuxpf.cache import LabError
from iavfio.softvf import linux_pf
from tests import journals
from tests.guest.places import REPO
from tests.guest.root import load_root

TAP = "tap0"
START_S = 90.0  # Linux's own driver takes its time on a busy machine


def _real_pf(words: Sequence[str]) -> list[str]:
    """With $IAVFIO_TEST_PF Linux drives the PF, as tests/judge/live.py tells."""
    name = os.environ.get("IAVFIO_TEST_PF")
    if not name or "--pf" in words:
        return []
    card = linux_pf.personality(name)
    if card not in words:
        pytest.skip(f"Linux's PF drives no other card than the {card} here")
    return ["--pf", name]


class SoftVf:
    """`iavfio softvf` as a process; a context manager. `sockets[i]` is VF i's.

    `tap=True` puts it into a new network namespace, where its uplink is the interface `tap0`:
    `wire(...)` runs programs there (as root only).
    """

    def __init__(self, *words: str, vfs: int = 1, tap: bool = False) -> None:
        # Short: a socket's path has room for some 100 bytes.
        self._directory = Path(tempfile.mkdtemp(prefix="iavfio-vf-"))
        self.sockets = [self._directory / f"vf{i}.sock" for i in range(vfs)]
        self._tap, self._words = tap, words
        self._log = self._directory / "log"
        command = [sys.executable, "-m", "iavfio.cli", "softvf", "--verbose", "--vfs", str(vfs)]
        command += ["--socket", str(self._directory), *words, *_real_pf(words)]
        if tap:
            command = ["unshare", "--net", *command, "--uplink", f"tap:{TAP}"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=REPO,
            )
        try:
            self._await_ready()
            if tap:
                self.wire("ip", "link", "set", "lo", "up")
                self.wire("ip", "link", "set", TAP, "up")
        except BaseException:
            self.close()
            raise

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while "ready" not in self.text().split("\n"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"the software VF did not start:\n{self.text()}")
            time.sleep(0.05)

    def text(self) -> str:
        """All that the process printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def control_path(self) -> Path:
        """The administrator's socket."""
        return self._directory / "control.sock"

    def control(self, command: str, **arguments: Any) -> dict[str, Any]:
        """One command of the administrator's socket. Raises LabError when it is refused."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(10.0)
            line.connect(str(self.control_path))
            line.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            with line.makefile("rb") as file:
                answer: dict[str, Any] = json.loads(file.readline())
        if not answer.pop("ok", False):
            raise LabError(f"{command}: {answer.get('error')}")
        return answer

    def violations(self) -> list[str]:
        """What the software VF holds against the driver, in words; notes are left out."""
        entries = self.control("log")["entries"]
        return [f"[{e['rule']}] {e['text']}" for e in entries if e["kind"] == "violation"]

    def counters(self, vf: int = 0) -> dict[str, int]:
        """The VSI's counters as the software VF keeps them."""
        stats: dict[str, int] = self.control("stats", vf=vf)["stats"]
        return stats

    def wire_command(self, words: Sequence[str]) -> list[str]:
        """A command line that runs in the uplink's namespace, with the lab's own programs."""
        tree = load_root().tree
        program = shutil.which(words[0]) or words[0]
        for place in ("usr/bin", "usr/sbin"):
            if not shutil.which(words[0]) and (tree / place / words[0]).exists():
                libraries = str(tree / "usr/lib/x86_64-linux-gnu")
                loader = [str(tree / "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", libraries]
                return [*self._enter(), *loader, str(tree / place / words[0]), *words[1:]]
        return [*self._enter(), program, *words[1:]]

    def _enter(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.process.pid}/ns/net"] if self._tap else []

    def wire(self, *words: str, timeout: float = 60.0) -> str:
        """Runs a program in the uplink's namespace; its output. Raises LabError."""
        done = subprocess.run(
            self.wire_command(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            raise LabError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def close(self) -> None:
        """Ends the process and removes its files."""
        if self.process.poll() is None:
            if journals.DIRECTORY and "--option" not in self._words:
                with suppress(LabError):
                    journals.collect(self.control, journals.DIRECTORY)
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> SoftVf:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()
