# SPDX-License-Identifier: BSD-3-Clause
"""What is said while a judge is built, for minutes, and when it cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iavfio.linuxpf import build, cache
from iavfio.linuxpf.build import JUDGES
from iavfio.linuxpf.kernel_source import Source
from iavfio.linuxpf.progress import Progress

LINES = "  GEN     Makefile\n  CC      init/main.o\n  LD      vmlinux\n  CC      mm/slab.o\n"


def test_each_step_is_told_with_its_time(tmp_path: Path) -> None:
    said: list[str] = []
    now = SimpleNamespace(seconds=100.0)
    progress = Progress(tmp_path / "log", said.append, lambda: now.seconds)
    progress.step("fetching")
    now.seconds = 165.4
    progress.step("configuring")
    assert said == ["     0 s: fetching", "    65 s: configuring"]
    assert progress.seconds == pytest.approx(65.4)


def test_what_is_compiled_is_counted_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(LINES)
    said: list[str] = []
    progress = Progress(tmp_path / "log", said.append)
    assert progress.compiled() == 2
    with progress.compiling(600, every=0.001):
        while len(said) < 3:
            pass
    told = len(said)
    assert said[0].endswith("s: compiling")
    assert said[1].endswith("s: 2 of about 600 files compiled")
    assert len(said) == told  # nothing more is said afterwards


@pytest.fixture
def builders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str | Path]]:
    """Builders that only note what they are asked to do, and leave what the last one makes."""
    called: list[Sequence[str | Path]] = []
    tree = tmp_path / "tree"
    (tree / "drivers/net/ethernet/intel/i40e").mkdir(parents=True)
    (tree / "drivers/net/ethernet/intel/i40e/Makefile").touch()

    def call(command: Sequence[str | Path], *, log: Path, **_: Any) -> None:
        called.append(command)
        with log.open("a") as text:
            text.write(LINES)
        (tree / "linux").write_text("a kernel")

    monkeypatch.setenv("IAVFIO_GUEST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "call", call)
    monkeypatch.setattr(build, "build_environment", lambda log: {})
    monkeypatch.setattr(build, "unpack", lambda source, work, log: (work.mkdir(), tree)[1])
    monkeypatch.setattr(build, "locked", lambda name: nullcontext())
    monkeypatch.setattr(build, "source", lambda kernel: Source("linux-source-6.12", "6.12.1-1"))
    return called


def test_a_build_names_its_steps_and_its_log(
    builders: list[Sequence[str | Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = build.build(next(judge for judge in JUDGES if judge.name == "i40e-6.12"))
    assert path.read_text() == "a kernel"
    first, *steps, last = capsys.readouterr().out.splitlines()
    assert first.startswith("building the judge i40e-6.12 from linux-source-6.12")
    assert first.endswith(f"log: {cache.cache_dir() / 'judge-i40e-6.12.log'}")
    names = [step.partition("s: ")[2] for step in steps]
    assert names == ["fetching and unpacking", "configuring", "compiling"]
    assert last.startswith("judge i40e-6.12 ready after ")
    assert "linux" in builders[-2]


def test_a_driver_that_cannot_be_had_is_told_and_the_way_out(tmp_path: Path) -> None:
    """The command ends with the reason on stderr, and stdout stays empty for who reads sockets."""
    done = subprocess.run(
        [sys.executable, "-m", "iavfio.cli", "softvf", "--pf", "linux-i40e"],
        env={**os.environ, "IAVFIO_GUEST_CACHE": str(tmp_path), "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Linux's PF driver for --pf linux-i40e cannot be had" in done.stderr
    assert "start without --pf" in done.stderr
    assert "Traceback" not in done.stderr
