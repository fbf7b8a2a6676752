# SPDX-License-Identifier: BSD-3-Clause
"""A name that nothing has: one exit status in all commands, and what there is instead."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import iavfio
from iavfio.cli import run
from iavfio.port.port import Port

PCI, SOCKET = "0000:ff:1f.7", "vfio-user:/nowhere/vf0.sock"
FILE = ["/nowhere/x"]
ABSENT: dict[str, list[list[str]]] = {
    "bench": [["softvf", PCI], ["softvf", SOCKET]],
    "bind": [[PCI], ["nosuch0"]],
    "info": [[PCI], [SOCKET], ["nosuch"]],
    "journal diff": [FILE * 2],
    "journal record": [["/nowhere", "-o", "x"], ["/", "-o", "x"]],
    "journal show": [FILE],
    "preload": [["/nowhere/vf0.sock", "--", "true"], ["/nowhere", "--", "no-such-program"]],
    "qualify diff": [FILE * 2],
    "qualify run": [[PCI], [SOCKET], ["nosuch"]],
    "qualify show": [FILE],
    "report diff": [FILE * 2],
    "stats": [["nosuch"], ["root/nosuch"], ["nosuch", "--interval", "1"]],
    "unbind": [[PCI], ["nosuch0"]],
    "why": [[PCI], [SOCKET], ["nosuch"]],
}
TABLE = [(name, words) for name, rows in ABSENT.items() for words in rows]


@pytest.mark.parametrize(("name", "words"), TABLE, ids=lambda value: " ".join(value)[:40])
def test_what_does_not_exist_is_wrong_use_in_every_command(
    name: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*name.split(), *words]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert any(word.removeprefix("vfio-user:") in told.err for word in words)


@pytest.fixture
def port() -> Iterator[Port]:
    with iavfio.softvf(vfs=1) as pf, pf.open(0, name=f"uplink{os.getpid()}") as port:
        yield port


@pytest.mark.parametrize("command", ["stats", "why"])
def test_a_mistyped_port_gets_the_nearest_name_and_all(
    command: str, port: Port, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, f"upilnk{os.getpid()}"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "did you mean" in told and "running ports: " in told
    assert told.count(port.name) >= 2


@pytest.mark.parametrize("command", ["info", "bench", "qualify run"])
def test_the_name_of_a_port_where_a_vf_is_wanted(
    command: str, port: Port, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command.split(), port.name]) == 2
    assert f"it is the name of a port: iavfio stats {port.name}" in capsys.readouterr().err


def test_why_of_a_vf_that_a_port_has_open_looks_at_that_port(
    port: Port, capsys: pytest.CaptureFixture[str]
) -> None:
    port.start(wait_link=5)
    assert run(["why", f"vfio-user:{port.device.name}", "--interval", "0"]) == 0
    told = capsys.readouterr()
    assert (
        f"open in the port {port.name}, which is watched" in told.err
        and "nothing was found" in told.out
    )
    assert port.state == "running"


@pytest.mark.parametrize("command", ["info", "bench"])
def test_a_vf_in_use_names_the_port_that_has_it(
    command: str, port: Port, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, f"vfio-user:{port.device.name}"]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert f"the port {port.name} has it open" in told
    assert f"iavfio why {port.name}" in told


def test_a_mistyped_socket_gets_the_nearest(port: Port, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = port.device.name.replace("vf0.sock", "vf9.sock")
    assert run(["info", f"vfio-user:{wrong}"]) == 2
    assert f"did you mean {port.device.name}?" in capsys.readouterr().err


def test_an_idle_vf_on_which_nothing_is_wrong_is_told_to_be_well(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["why", "softvf"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("softvf: nothing was found that keeps packets from moving\n")
    assert "33:33:ff:" in told
