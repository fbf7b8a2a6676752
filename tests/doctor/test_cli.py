# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio doctor` as a user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

import iavfio
from iavfio.cli import run
from iavfio.doctor import Host
from iavfio.doctor.records import ReportRecord, UndoneRecord
from tests.doctor.well_host import VF, WellHost, locked, swap_driver

Capture = pytest.CaptureFixture[str]
GOVERNOR = "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WellHost:
    for name in ("XDG_RUNTIME_DIR", "IAVFIO_DEBUG", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "ports").mkdir()
    monkeypatch.setenv("IAVFIO_RUNTIME_DIR", str(tmp_path / "ports"))
    fake = WellHost(tmp_path / "host")

    def look(wanted_gbit: float | None = None) -> Host:
        fake.wanted_gbit = wanted_gbit
        return fake.look()

    monkeypatch.setattr("iavfio.doctor.Host", look)
    monkeypatch.setattr("iavfio.host.Tree", lambda: fake.tree)
    monkeypatch.setattr("iavfio.host.LinuxKernel", lambda: fake)
    return fake


def test_a_well_host(host: WellHost, capsys: Capture) -> None:
    for words in ([], [VF], ["3b:01.0"]):
        assert run(["doctor", *words]) == 0
        told = capsys.readouterr().out.splitlines()
        assert told[0] == "nothing was found that keeps VFs from working, or from working fast"
        assert told[1].startswith(f"looked at: {VF}, its PF: ice")


def test_a_fault_has_three_lines_and_a_status(host: WellHost, capsys: Capture) -> None:
    swap_driver(host, VF, "iavf")
    assert run(["doctor", VF]) == 1
    assert capsys.readouterr().out.splitlines()[:3] == [
        f"error: vf.driver {VF}: is not bound to vfio-pci",
        "  cause: driver iavf has it",
        f"  mend: sudo iavfio bind {VF}",
    ]


def test_notes_alone_are_status_0(host: WellHost, capsys: Capture) -> None:
    host.links.vfs[0]["trust"] = 0
    assert run(["doctor"]) == 0
    assert capsys.readouterr().out.startswith(f"note: vf.trust {VF}: it is not trusted\n")


def test_rate_is_what_the_slot_must_carry(host: WellHost, capsys: Capture) -> None:
    assert run(["doctor", "--rate", "400"]) == 1
    assert "warning: pcie.rate" in capsys.readouterr().out


def test_fix_yes_and_undo(host: WellHost, capsys: Capture) -> None:
    host.put(GOVERNOR, "powersave\n")
    assert run(["doctor"]) == 1
    assert "sudo iavfio doctor --fix" in capsys.readouterr().err
    assert run(["doctor", "--fix", "--dry-run"]) == 1
    assert f"  echo performance > {host.root}/{GOVERNOR}\n" in capsys.readouterr().out
    assert host.writes == []
    assert run(["doctor", "--fix", "--yes"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-2:] == [
        f"{host.root}/{GOVERNOR}: performance (was: powersave)",
        "errors and warnings left: 0; to put all back: iavfio doctor --undo",
    ]
    assert run(["doctor", "--undo"]) == 0
    assert capsys.readouterr().out == (
        f"{host.root}/{GOVERNOR}: powersave again (was: performance)\n"
    )
    assert run(["doctor", "--undo"]) == 0
    assert "nothing is recorded" in capsys.readouterr().out


@pytest.mark.parametrize("agreed", [True, False])
def test_fix_asks(
    host: WellHost, monkeypatch: pytest.MonkeyPatch, capsys: Capture, agreed: bool
) -> None:
    host.put(GOVERNOR, "powersave\n")
    asked: list[str] = []

    def confirm(question: str, err: bool) -> bool:
        asked.append(question)
        return agreed

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", confirm)
    assert run(["doctor", "--fix"]) == (0 if agreed else 1)
    assert asked == [f"cpu.governor:\n  echo performance > {host.root}/{GOVERNOR}\nchange it?"]
    assert (host.root / GOVERNOR).read_text().strip() == ("performance" if agreed else "powersave")


def test_json_is_what_the_schema_says(host: WellHost, capsys: Capture) -> None:
    host.put(GOVERNOR, "powersave\n")
    assert run(["doctor", VF, "--json"]) == 1
    told = msgspec.json.decode(capsys.readouterr().out, type=ReportRecord)
    assert (told.target, told.hindered, told.devices) == (VF, True, [VF])
    ((name, fixable),) = [(finding.name, finding.fixable) for finding in told.findings]
    assert (name, fixable) == ("cpu.governor", True)
    assert told.facts[VF]["pf"]["driver"] == "ice"
    assert run(["doctor", "--fix", "--yes", "--json"]) == 0
    told = msgspec.json.decode(capsys.readouterr().out, type=ReportRecord)
    assert (told.findings, [change.after for change in told.changed]) == ([], ["performance"])
    assert run(["doctor", "--undo", "--json"]) == 0
    undone = msgspec.json.decode(capsys.readouterr().out, type=UndoneRecord)
    assert [change.after for change in undone.changed] == ["powersave"]
    assert run(["schema", "doctor"]) == 0
    schema = json.dumps(json.loads(capsys.readouterr().out))
    assert "iavfio.doctor.report/1" in schema
    assert "iavfio.doctor.undone/1" in schema


def test_a_port_of_a_software_vf_needs_no_vfio(host: WellHost, capsys: Capture) -> None:
    (host.root / "sys/firmware/acpi/tables/DMAR").unlink()
    (host.root / "sys/class/iommu/dmar0").rmdir()
    swap_driver(host, VF, "iavf")
    host.put("proc/self/limits", locked("65536"))
    with iavfio.open("softvf", name="seen"):
        assert run(["doctor", "seen"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "nothing was found that keeps VFs from working, or from working fast",
            "looked at: the host only",
        ]
    assert run(["doctor", "seen"]) == 2
    assert "neither a PCI address" in capsys.readouterr().err


WRONG: list[tuple[list[str], str]] = [
    (["0000:99:00.0"], "no PCI device"),
    (["nonsense"], "neither a PCI address, nor an interface of a PCI device, nor a port"),
    (["0000:00:1f.2"], "is not a network controller"),
    (["--fix", "--undo"], "are opposites"),
    (["--fix"], "add --yes or --dry-run"),
    (["--fix", "--json"], "add --yes or --dry-run"),
    (["--yes"], "--yes needs --fix"),
    (["--dry-run"], "--dry-run needs --fix or --undo"),
    (["--undo", VF], "--undo takes no BDF"),
    (["--rate", "0"], "out of range"),
    (["--rate", "fast"], "is not a number"),
]


@pytest.mark.parametrize(("words", "told"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_use(host: WellHost, capsys: Capture, words: list[str], told: str) -> None:
    host.device("0000:00:1f.2", (0x8086, 0xA282), driver="ahci", class_code=0x010601)
    assert run(["doctor", *words]) == 2
    shown = capsys.readouterr()
    assert told in " ".join(shown.err.split())
    assert (shown.out == "") == ("--json" not in words)
    assert host.writes == []
