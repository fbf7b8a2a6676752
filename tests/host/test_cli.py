# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio list`, `bind` and `unbind` as a user sees them: text, exit status, never a traceback."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from iavfio.cli import run
from iavfio.cli.records import FunctionRecord
from tests.host.fake_host import FakeHost

VF0, VF1 = "0000:3b:01.0", "0000:3b:01.1"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    for name in ("XDG_RUNTIME_DIR", "IAVFIO_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SUDO_USER", "ada")
    fake = FakeHost(tmp_path)
    fake.driver("vfio-pci")
    for group, bdf in ((42, VF0), (43, VF1)):
        fake.device(bdf, (0x8086, 0x1889), driver="iavf", group=group)
        fake.interface(bdf, f"v{group}")
    monkeypatch.setattr("iavfio.host.Tree", lambda: fake.tree)
    monkeypatch.setattr("iavfio.host.LinuxKernel", lambda: fake)
    return fake


def test_bind_and_unbind_all(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bind", "3b:01.0", "v43"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"{VF0} bound to vfio-pci (was: iavf)"
    assert shown[1].endswith(f"sudo chown ada {host.root}/dev/vfio/42")
    assert 'OWNER="ada"' in shown[2]
    assert shown[3] == f"{VF1} bound to vfio-pci (was: iavf)"
    assert run(["bind", VF1]) == 0
    assert capsys.readouterr().out == f"{VF1} is already bound to vfio-pci\n"
    assert run(["unbind", "--all"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{VF0} is back with iavf; interface v42 comes back down and unconfigured",
        f"{VF1} is back with iavf; interface v43 comes back down and unconfigured",
    ]
    assert run(["unbind", "--all"]) == 0
    assert "nothing is recorded" in capsys.readouterr().out


def test_an_interface_that_is_no_vf_is_named_as_what_it_is(
    host: FakeHost, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no IOMMU group either, which is not what is wrong with it."""
    bdf = "0000:00:03.0"
    host.device(bdf, (0x1AF4, 0x1041), driver="virtio-pci")
    host.interface(bdf, "ens3")
    for word in ("ens3", bdf):
        assert run(["bind", word]) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert f"{bdf}, the network interface ens3, is not an Intel NIC: it is 1af4:1041" in told
        assert "IOMMU" not in told
    (host.root / "sys/class/net/dummy0").mkdir()
    for command in ("bind", "unbind"):
        assert run([command, "dummy0"]) == 2
        assert "'dummy0' is a network interface without a PCI" in capsys.readouterr().err


def test_verbose_and_dry_run_show_the_writes(
    host: FakeHost, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bind", "--dry-run", VF0]) == 0
    dry = capsys.readouterr().out.splitlines()
    assert host.bound(VF0) == "iavf"
    assert run(["bind", "--verbose", VF0]) == 0
    verbose = capsys.readouterr().out.splitlines()
    assert dry[:3] == verbose[:3]
    assert all(line.startswith("  echo ") for line in dry[:3])
    assert dry[3] == f"{VF0} would be bound to vfio-pci (now: iavf)"
    assert run(["unbind", "--dry-run", "--all"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{VF0} would go back to iavf"
    assert host.bound(VF0) == "vfio-pci"


def test_unbind_of_a_vf_that_is_gone(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    run(["bind", VF0])
    (host.root / "sys/bus/pci/devices" / VF0).unlink()
    capsys.readouterr()
    assert run(["unbind", VF0]) == 0
    assert capsys.readouterr().out == f"{VF0} is gone; its record is dropped\n"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["bind"], 2, "Missing argument"),
        (["bind", "3b:99.0"], 2, "iavfio list"),
        (["bind", "0000:99:00.0"], 2, "no PCI device"),
        (["unbind"], 2, "--all"),
        (["unbind", "--all", VF0], 2, "--all"),
        (["unbind", "nonsense"], 2, "iavfio list"),
        (["bind", "v43"], 1, "--force"),
    ],
)
def test_wrong_input_is_answered_with_a_remedy(
    host: FakeHost,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    words: str,
) -> None:
    host.route("v43")
    assert run(arguments) == status
    told = capsys.readouterr()
    assert words in told.err
    assert "internal error" not in told.err
    assert told.out == ""
    assert host.writes == []


def test_list_as_text_and_json(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [VF0, VF1]
    assert run(["list", "--json"]) == 0
    listed = msgspec.json.decode(capsys.readouterr().out, type=list[FunctionRecord])
    assert [entry.bdf for entry in listed] == [VF0, VF1]


def test_list_without_any_card_names_the_software_vf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = FakeHost(tmp_path)
    monkeypatch.setattr("iavfio.host.Tree", lambda: empty.tree)
    assert run(["list"]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "iavfio softvf" in told.err
