# SPDX-License-Identifier: BSD-3-Clause
"""A build that ends before it is done: nothing of it runs on, and the lock tells when that is so.

The builders are played: an apt-get with a child that would run for minutes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from iavfio.linuxpf.cache import LabError, call, discard, locked
from tests.port.rig import until
from tests.tools.played_judge import members

POLICY = "echo '  Candidate: 6.12.1-1'"
DEAF = "trap '' TERM; "
# A process group, and below what is unpacked so far a file. Its child has the same deafness.
RUNS = "sleep 600 & touch part; echo $$ > {told}.part; mv {told}.part {told}; wait; sleep 600"
COMMANDS = {
    "softvf": ["iavfio.cli", "softvf", "--pf", "linux-i40e"],
    "make": ["iavfio.linuxpf.build", "i40e-6.12"],
}


class Host:
    """A host with a cache of its own, and an apt that never ends."""

    def __init__(self, home: Path) -> None:
        self.cache, self.told = home / "cache", home / "told"
        self.tools = home / "tools"
        self.tools.mkdir()
        self.play("apt-cache", POLICY)
        self.env = {
            **os.environ,
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "IAVFIO_GUEST_CACHE": str(self.cache),
        }

    def play(self, name: str, does: str) -> None:
        path = self.tools / name
        path.write_text(f"#!/bin/bash\n{does}\n")
        path.chmod(0o755)

    @contextmanager
    def start(self, command: str, does: str) -> Iterator[subprocess.Popen[str]]:
        """A command that has begun to download; it is killed at the end of the block."""
        self.play("apt-get", does.format(told=self.told))
        for tool in ("flex", "bison", "gcc", "make", "bc", "xz"):
            self.play(tool, "exit 1")
        with subprocess.Popen(
            [sys.executable, "-P", "-m", *COMMANDS[command]],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            try:
                assert until(self.told.exists, 60)
                yield child
            finally:
                child.kill()

    def busy(self) -> bool:
        """Whether apt and its child run, as they do soon."""
        return until(lambda: len(members(self.group)) == 2, 60)

    @property
    def group(self) -> int:
        return int(self.told.read_text())

    def free(self) -> bool:
        """Whether nobody has the lock."""
        with (self.cache / "judge.lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    def left(self) -> list[str]:
        return [path.name for path in self.cache.iterdir() if ".work" in path.name]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    if made.told.exists():
        for process in members(made.group):
            os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize("deaf", ["", DEAF])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_that_a_build_has_started(
    host: Host, number: signal.Signals, command: str, deaf: str
) -> None:
    with host.start(command, deaf + RUNS) as child:
        assert host.busy() and not host.free()
        child.send_signal(number)
        out, error = child.communicate(timeout=60)
    assert child.returncode == 128 + number
    assert "Traceback" not in out + error
    assert until(lambda: members(host.group) == [] and host.free(), 60)
    assert until(lambda: host.left() == [], 60)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv of util-linux")
def test_what_a_killed_build_has_started_ends_with_it(host: Host) -> None:
    with host.start("make", f"trap 'kill $!; exit' TERM; {RUNS}") as child:
        child.kill()
        child.wait(60)
        assert until(lambda: members(host.group) == [], 60)
    assert until(host.free, 60)


def test_the_lock_is_held_while_anything_of_a_killed_build_runs(host: Host) -> None:
    with host.start("make", DEAF + RUNS) as child:
        child.kill()
        child.wait(60)
        assert host.busy() and not host.free()
        for process in members(host.group):
            os.kill(process, signal.SIGKILL)
        assert until(host.free, 60)


def test_a_builder_that_takes_too_long_ends_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IAVFIO_GUEST_CACHE", str(tmp_path / "cache"))
    told = tmp_path / "told"
    words = ["bash", "-c", RUNS.format(told=told)]
    for seconds in (1, 4, 16, 64):  # as many as a busy host needs for its start
        if not told.exists():
            with locked("judge"), pytest.raises(LabError, match=f"longer than {seconds} s; see"):
                call(words, log=tmp_path / "log", timeout=seconds, cwd=tmp_path)
    assert until(lambda: members(int(told.read_text())) == [], 60)


def test_a_builder_that_fails_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    words = ["bash", "-c", "for n in {1..20}; do echo line $n; done; exit 3"]
    with pytest.raises(LabError, match=r"bash ended with 3; see .*/log\n  line 13\n") as error:
        call(words, log=tmp_path / "log", timeout=60)
    assert str(error.value).endswith("line 20")


@pytest.mark.parametrize("log", ["/dev/full", "/dev/null/log"])
def test_a_log_that_cannot_be_written_is_named_with_what_helps(log: str) -> None:
    with pytest.raises(LabError, match=f"{log} cannot be written .*IAVFIO_GUEST_CACHE"):
        call(["true"], log=Path(log), timeout=60)


def test_a_builder_that_finds_no_room_is_told_with_what_helps(tmp_path: Path) -> None:
    words = ["sh", "-c", "echo 'write error: No space left on device'; exit 2"]
    with pytest.raises(LabError, match=f"\n{tmp_path} is full: .*IAVFIO_GUEST_CACHE"):
        call(words, log=tmp_path / "log", timeout=60)


def test_a_discarded_tree_makes_room_at_once(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    discard(tree)
    assert not tree.exists()
    tree.mkdir()
    assert until(lambda: list(tmp_path.iterdir()) == [tree], 60)
    discard(tmp_path / "none")
