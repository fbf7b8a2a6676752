# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio vf` as a user sees it, on a card's PF and on a software PF."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pyroute2.netlink.exceptions import NetlinkError

import iavfio
from iavfio.cli import run
from iavfio.softvf.asking import ask
from iavfio.vfs.records import ChangeRecord, PfRecord
from tests.vfs.fake_pf import INTERFACE, PF, FakePf, fresh

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePf:
    for name in ("XDG_RUNTIME_DIR", "IAVFIO_DEBUG", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    fake = FakePf(tmp_path, vfs=2)
    monkeypatch.setattr("iavfio.host.Tree", lambda: fake.tree)
    monkeypatch.setattr("iavfio.host.LinuxKernel", lambda: fake)
    monkeypatch.setattr("iavfio.vfs.netlink.real_route", lambda: fake.links)
    return fake


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of a software PF with two VFs; records are kept apart from this host's."""
    (tmp_path / "records").mkdir()
    monkeypatch.setattr("iavfio.vfs.software_pf.SoftwarePf._place", lambda _: tmp_path / "records")
    with iavfio.softvf(vfs=2) as pf:
        yield Path(pf.sockets[0].removeprefix("vfio-user:")).parent


def test_list(host: FakePf, capsys: Capture) -> None:
    assert run(["vf", INTERFACE]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head == f"{PF} {INTERFACE} (ice): 2 of 8 VFs"
    assert first.split(None, 2)[2] == (
        f"{host.bdf(0)} (iavf), mac none, vlan 0, trust off, spoofchk on, link auto, rate 0"
    )
    assert second.startswith("VF 1")


def test_set_and_undo(host: FakePf, capsys: Capture) -> None:
    assert run(["vf", INTERFACE, "set", "0", "trust", "on", "vlan", "100"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "VF 0: trust on (was: off)",
        "VF 0: vlan 100 (was: 0)",
    ]
    assert run(["vf", INTERFACE, "undo", "--verbose"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"  ip link set {INTERFACE} vf 0 trust off",
        f"  ip link set {INTERFACE} vf 0 vlan 0",
        "VF 0: trust off again (was: on)",
        "VF 0: vlan 0 again (was: 100)",
    ]
    assert host.links.vfs[0] == fresh()
    assert run(["vf", INTERFACE, "undo"]) == 0
    assert capsys.readouterr().out == (
        f"{PF}: nothing to undo, no change that iavfio made is recorded\n"
    )


def test_an_undo_that_has_been_done_otherwise(host: FakePf, capsys: Capture) -> None:
    assert run(["vf", INTERFACE, "set", "0", "trust", "on"]) == 0
    assert run(["vf", INTERFACE, "undo", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "VF 0: trust off again (was: on) - not made"
    host.links.vfs[0] = fresh()
    assert run(["vf", INTERFACE, "undo"]) == 0
    told = f"{PF}: nothing to undo, all is as before the first change\n"
    assert capsys.readouterr().out == told


def test_create_and_destroy(host: FakePf, capsys: Capture) -> None:
    assert run(["vf", PF, "destroy"]) == 0
    assert capsys.readouterr().out == f"{PF} has 0 VFs (was: 2)\n"
    assert run(["vf", PF, "create", "3", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"  echo 3 > {host.root}/sys/bus/pci/devices/{PF}/sriov_numvfs",
        f"{PF} would have 3 VFs (was: 0)",
    ]
    assert run(["vf", PF, "create", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert run(["vf", PF, "create", "3"]) == 0
    assert capsys.readouterr().out == f"{PF} has 3 VFs already\n"
    assert run(["vf", PF, "undo"]) == 0
    assert capsys.readouterr().out.startswith(f"{PF} has 2 VFs again (was: 3)")


def test_json_is_what_the_schema_says(host: FakePf, capsys: Capture) -> None:
    assert run(["vf", PF, "--json"]) == 0
    listed = msgspec.json.decode(capsys.readouterr().out, type=PfRecord)
    assert [(vf.vf, vf.bdf, vf.trust) for vf in listed.vfs] == [
        (0, host.bdf(0), False),
        (1, host.bdf(1), False),
    ]
    told: list[ChangeRecord] = []
    for words in (["set", "1", "trust", "on"], ["undo"], ["destroy"], ["create", "1"]):
        assert run(["vf", PF, *words, "--json", "--verbose"]) == 0
        told.append(msgspec.json.decode(capsys.readouterr().out, type=ChangeRecord))
    assert [(t.vfs_before, t.vfs_after, len(t.changed)) for t in told] == [
        (2, 2, 1),
        (2, 2, 1),
        (2, 0, 0),
        (0, 1, 0),
    ]
    assert run(["schema", "vf"]) == 0
    schema = capsys.readouterr().out
    assert "iavfio.vf.pf/1" in schema
    assert "iavfio.vf.change/1" in schema


def test_a_refused_change_is_trouble_and_told_once(host: FakePf, capsys: Capture) -> None:
    host.links.failures = [NetlinkError(1)]
    assert run(["vf", PF, "set", "0", "trust", "on"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert f"setting trust of {INTERFACE} failed: only root" in told.err
    assert "Traceback" not in told.err
    host.links.ignores.add("trust")
    assert run(["vf", PF, "set", "0", "trust", "on"]) == 1
    assert "trust of VF 0 is off, not on" in capsys.readouterr().err


WRONG: list[tuple[list[str], str]] = [
    ([], "Missing argument"),
    ([PF, "lst"], "did you mean list?"),
    ([PF, "list", "x"], "list takes nothing more"),
    ([PF, "undo", "0"], "undo takes nothing more"),
    ([PF, "create"], "create needs the number of VFs"),
    ([PF, "create", "0"], "'0' is not the number of VFs"),
    ([PF, "create", "two"], "'two' is not the number of VFs"),
    ([PF, "create", "2", "3"], "create takes one number"),
    ([PF, "create", "4"], "has 2 VFs"),
    ([PF, "set"], "set needs the number of a VF"),
    ([PF, "set", "x", "trust", "on"], "'x' is not the number of a VF"),
    ([PF, "set", "0"], "no setting is named"),
    ([PF, "set", "0", "trst", "on"], "did you mean trust?"),
    ([PF, "set", "0", "trust"], "trust has no value"),
    ([PF, "set", "0", "trust", "maybe"], "it takes on or off"),
    ([PF, "set", "9", "trust", "on"], "has no VF 9"),
    (["0000:3b:01.0"], "is VF 0 of the PF"),
    (["0000:99:00.0"], "no PCI device"),
    (["eth77"], "neither a PCI address nor an interface"),
    (["/nowhere/at/all"], "no software PF serves /nowhere/at/all: there is no such directory"),
    (["/nowhere"], "no software PF serves /nowhere: there is no such directory"),
    (["/dev/null"], "no software PF serves /dev: there is no control.sock in it"),
]


@pytest.mark.parametrize(("words", "told"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_use(host: FakePf, capsys: Capture, words: list[str], told: str) -> None:
    assert run(["vf", *words]) == 2
    shown = capsys.readouterr()
    assert told in " ".join(shown.err.split())
    assert shown.out == ""
    assert host.links.requests == []


SETTINGS: list[tuple[list[str], str, Any]] = [
    (["trust", "on"], "trusted", True),
    (["spoofchk", "off"], "spoofchk", False),
    (["vlan", "100"], "port_vlan", 100),
    (["mac", "02:00:00:00:00:07"], "admin_mac", "02:00:00:00:00:07"),
    (["link", "disable"], "link", "disable"),
    (["rate", "1000"], "rate", 1000),
]


def test_the_same_words_on_a_software_pf(directory: Path, capsys: Capture) -> None:
    def state(vf: int) -> dict[str, Any]:
        told = ask(directory, "snapshot", vf=vf)["snapshot"]
        return {
            key: told[key] for key in ("trusted", "spoofchk", "port_vlan", "admin_mac", "rate")
        } | {"link": told["link"]["mode"]}

    before = [state(0), state(1)]
    for words, key, value in SETTINGS:
        assert run(["vf", str(directory), "set", "0", *words]) == 0
        assert state(0)[key] == value
    capsys.readouterr()
    assert run(["vf", str(directory / "vf0.sock"), "--json"]) == 0
    listed = msgspec.json.decode(capsys.readouterr().out, type=PfRecord)
    assert (listed.kind, listed.driver, listed.vfs[0].vlan) == ("software", "e810", 100)
    assert run(["vf", str(directory), "undo"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(SETTINGS)
    assert [state(0), state(1)] == before


@pytest.mark.parametrize("word", ["min-rate", "qos"])
def test_a_software_pf_says_which_words_it_has_not(
    directory: Path, capsys: Capture, word: str
) -> None:
    assert run(["vf", str(directory), "set", "0", word, "3"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"{word} cannot be set on {directory}: it takes mac, vlan, trust, spoofchk, link" in told


def test_a_software_pf_keeps_its_number_of_vfs(directory: Path, capsys: Capture) -> None:
    for words in (["create", "4"], ["destroy"]):
        assert run(["vf", str(directory), *words]) == 2
    told = capsys.readouterr().err
    assert "iavfio softvf --socket" in told


ODD: list[tuple[object, object]] = [
    ({}, {}),
    ({"vfs": 5, "personality": []}, {}),
    ({"vfs": [7], "personality": "e810"}, {}),
    ({"vfs": [{"index": "0"}], "personality": "e810"}, {}),
    ({"vfs": [{"index": 1e400, "socket": "a", "connected": True}], "personality": "x"}, {}),
    ({"vfs": [{"index": 0, "socket": "a", "connected": 1}], "personality": "x"}, {"snapshot": {}}),
    ({"vfs": [{"index": 0, "socket": "a", "connected": True}], "personality": "x"}, {}),
    (
        {"vfs": [{"index": 0, "socket": "a", "connected": True}], "personality": "x"},
        {"snapshot": {"admin_mac": None, "port_vlan": [], "link": 4}},
    ),
    (
        {"vfs": [{"index": 0, "socket": "a", "connected": True}], "personality": "x"},
        {"snapshot": 5},
    ),
]


@pytest.mark.parametrize(("info", "snapshot"), ODD)
def test_a_socket_that_answers_something_else_is_no_software_pf(
    directory: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    info: object,
    snapshot: object,
) -> None:
    monkeypatch.setattr(
        "iavfio.vfs.software_pf.ask",
        lambda _, command, **__: {"info": info, "snapshot": snapshot}[command],
    )
    for words in (["list"], ["set", "0", "trust", "on"], ["undo"]):
        assert run(["vf", str(directory), *words]) == 1
        told = capsys.readouterr().err
        assert "control.sock is no software PF of this version" in told
        assert "iavfio softvf --socket DIR" in told


def test_what_a_software_pf_says_commands_no_terminal(
    directory: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: dict[str, dict[str, Any]] = {
        "info": {
            "vfs": [{"index": 0, "socket": "\x1b[2J", "connected": False}],
            "personality": "\x1b]0;me\x07",
        },
        "snapshot": {
            "snapshot": {
                "admin_mac": "\x9b1m",
                "port_vlan": 0,
                "trusted": False,
                "spoofchk": True,
                "link": {"mode": "\u202e"},
            }
        },
    }
    monkeypatch.setattr(
        "iavfio.vfs.software_pf.ask", lambda _, command, **__: dict(answers[command])
    )
    assert run(["vf", str(directory)]) == 0
    told = capsys.readouterr().out
    assert told.replace("\n", "").isprintable()
    assert "?[2J" in told


def test_a_linux_pf_does_not_tell_of_a_host_s_mac(
    directory: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(at: Path, command: str, **arguments: Any) -> dict[str, Any]:
        told = ask(at, command, **arguments)
        if command == "snapshot":
            del told["snapshot"]["admin_mac"]
        return told

    monkeypatch.setattr("iavfio.vfs.software_pf.ask", without)
    assert run(["vf", str(directory)]) == 0
    assert "mac not told, vlan 0" in capsys.readouterr().out


def test_a_record_of_a_software_pf_goes_with_it(tmp_path: Path, directory: Path) -> None:
    with iavfio.softvf(vfs=1) as pf:
        other = Path(pf.sockets[0].removeprefix("vfio-user:")).parent
        assert run(["vf", str(other), "set", "0", "trust", "on"]) == 0
    file = tmp_path / "records/software-vfs.json"
    assert list(json.loads(file.read_text())["records"]) == [str(other)]
    assert run(["vf", str(directory), "set", "0", "trust", "on"]) == 0
    assert list(json.loads(file.read_text())["records"]) == [str(directory)]
