# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio softvf --pf linux-...`: what is refused before minutes go into a build."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-P", "-m", "iavfio.cli", "softvf", "--pf"]
APT = """#!/bin/sh
echo "$0 $*" >> {asked}
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that tells what apt was asked, on a host where no judge is and none can be built."""
    path, tools = tmp_path / "asked", tmp_path / "tools"
    tools.mkdir()
    for name in ("apt-cache", "apt-get"):
        (tools / name).write_text(APT.format(asked=path))
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("IAVFIO_GUEST_CACHE", str(tmp_path / "cache"))
    return path


def refused(*words: str) -> str:
    done = subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (1, 2) and done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["linux-i40e", "--option", "pf_kernel=6.1"], "option pf_kernel is of the software PF"),
        (["linux-i40e", "--option", "true_promisc=on"], "use --pf linux-ice --personality e810"),
        (["linux-ice", "--option", "notify=off"], "option notify is of the software PF"),
        (["linux-i40e", "--personality", "e810"], "i40e cannot drive e810 here"),
        (["linux-ice-newest", "--personality", "x722"], "ice cannot drive x722 here"),
        (["linux-i40e", "--uplink", "pigeon"], "cannot open the uplink 'pigeon'"),
        (["linux-i40e", "--uplink", "pcap:/nowhere/x.pcap"], "/nowhere/x.pcap"),
        (["linux-i40e", "--uplink", "tap:lo"], "lo is a network interface of this host and no TAP"),
        (["linux-i40e", "--socket", "/dev/null/s"], "cannot use the directory /dev/null/s"),
        (["linux-i40e", "--socket", "/tmp/" + "x" * 110], "is too long"),
    ],
)
def test_what_needs_no_driver_to_be_refused_is_refused_before_one_is_built(
    asked: Path, words: list[str], told: str
) -> None:
    assert told in refused(*words)
    assert not asked.exists()


def test_a_directory_that_cannot_be_used_is_refused_before_a_build(
    asked: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("d")
    words = ["linux-i40e", "--vfs", "2", "--socket", str(directory)]
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(directory / "vf1.sock"))
        other.listen()
        assert "vf1.sock is served by another process" in refused(*words)
    (directory / "vf1.sock").unlink()
    (directory / "control.sock").touch()
    assert "control.sock is in the way" in refused(*words)
    (directory / "control.sock").unlink()
    directory.chmod(0o777)
    assert "may be written by others" in refused(*words)
    assert not asked.exists()
    directory.chmod(0o700)
    assert "apt knows no package linux-source-6.12" in refused(*words)
    assert "linux-source-6.12" in asked.read_text()
    assert list(directory.iterdir()) == []
