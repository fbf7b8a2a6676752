# SPDX-License-Identifier: BSD-3-Clause
"""Binding and its undoing, against a kernel that reacts to writes."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from iavfio.errors import GroupNotViable, NoIommu
from iavfio.host import Bound, Unbound, Writer, bind, recorded, unbind
from iavfio.host.errors import (
    BadRecord,
    InUse,
    KernelRefused,
    NotNic,
    NotPermitted,
)
from tests.host.fake_host import FakeHost

PF, VF0, VF1 = "0000:3b:00.0", "0000:3b:01.0", "0000:3b:01.1"
DEVICES = "sys/bus/pci/devices"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    fake = FakeHost(tmp_path)
    fake.driver("vfio-pci")
    fake.device(PF, (0x8086, 0x1592), driver="ice", group=10, sriov_totalvfs=8)
    fake.device(VF0, (0x8086, 0x1889), driver="iavf", group=42)
    fake.device(VF1, (0x8086, 0x1889), driver="iavf", group=43)
    for index, bdf in enumerate((VF0, VF1)):
        fake.vf(PF, index, bdf)
        fake.interface(bdf, f"v{index}")
    return fake


def run_bind(host: FakeHost, *bdfs: str, force: bool = False, dry: bool = False) -> list[Bound]:
    writer = Writer(host, lambda line: None, f"bind {' '.join(bdfs)}", dry)
    return bind(host.tree, bdfs, writer, force=force)


def run_unbind(host: FakeHost, *bdfs: str, force: bool = False) -> list[Unbound]:
    return unbind(host.tree, bdfs, Writer(host, lambda line: None, "unbind"), force=force)


def record_file(host: FakeHost) -> Path:
    return host.root / "run/iavfio/bound.json"


def test_bind_writes_override_unbind_probe_and_unbind_restores(host: FakeHost) -> None:
    (outcome,) = run_bind(host, VF0)
    assert host.writes == [
        (f"{DEVICES}/{VF0}/driver_override", "vfio-pci\n"),
        (f"{DEVICES}/{VF0}/driver/unbind", VF0),
        ("sys/bus/pci/drivers_probe", VF0),
    ]
    assert (outcome.function.driver, outcome.previous) == ("vfio-pci", "iavf")
    assert outcome.function.nodes == (f"{host.root}/dev/vfio/42",)
    assert recorded(host.tree) == [VF0]

    host.writes.clear()
    (undone,) = run_unbind(host, VF0)
    assert host.writes == [
        (f"{DEVICES}/{VF0}/driver_override", "\n"),
        (f"{DEVICES}/{VF0}/driver/unbind", VF0),
        ("sys/bus/pci/drivers_probe", VF0),
    ]
    assert (host.bound(VF0), host.override(VF0)) == ("iavf", "(null)")
    assert "v0" in undone.outcome
    assert recorded(host.tree) == []
    assert not record_file(host).exists()


def test_the_record_is_on_disk_before_the_first_write(host: FakeHost) -> None:
    seen = []

    class Watching:
        def write(self, path: Path, value: str) -> None:
            seen.append(json.loads(record_file(host).read_text())["records"][VF0])
            host.write(path, value)

        def modprobe(self, module: str) -> None:
            raise AssertionError(module)

    bind(host.tree, [VF0], Writer(Watching(), lambda line: None, "bind"))
    assert seen[0]["driver"] == "iavf"
    assert seen[0]["driver_override"] == ""
    assert seen[0]["interfaces"] == ["v0"]
    assert len(seen[0]["changes"]) == 3


def test_each_write_is_told_in_shell_s_words(host: FakeHost) -> None:
    told: list[str] = []
    bind(host.tree, [VF0], Writer(host, told.append, "bind"))
    root = host.root
    assert told == [
        f"echo vfio-pci > {root}/{DEVICES}/{VF0}/driver_override",
        f"echo {VF0} > {root}/{DEVICES}/{VF0}/driver/unbind",
        f"echo {VF0} > {root}/sys/bus/pci/drivers_probe",
    ]


def test_dry_run_tells_and_changes_nothing(host: FakeHost) -> None:
    told: list[str] = []
    (host.root / "sys/bus/pci/drivers/vfio-pci/bind").unlink()
    (host.root / "sys/bus/pci/drivers/vfio-pci/unbind").unlink()
    (host.root / "sys/bus/pci/drivers/vfio-pci").rmdir()
    bind(host.tree, [VF0], Writer(host, told.append, "bind", dry=True))
    assert told[0] == "modprobe vfio-pci"
    assert len(told) == 4
    assert (host.writes, host.modules) == ([], [])
    assert not record_file(host).exists()


def test_a_previous_override_and_no_driver_are_restored(host: FakeHost) -> None:
    host.write(host.root / DEVICES / VF0 / "driver/unbind", VF0)
    host.write(host.root / DEVICES / VF0 / "driver_override", "none\n")
    run_bind(host, VF0)
    assert host.bound(VF0) == "vfio-pci"
    (undone,) = run_unbind(host, VF0)
    assert (host.bound(VF0), host.override(VF0)) == ("", "none")
    assert "without a driver" in undone.outcome


def test_a_vf_without_autoprobe_gets_its_driver_back(host: FakeHost) -> None:
    host.no_autoprobe.add(VF0)
    run_bind(host, VF0)
    run_unbind(host, VF0)
    assert (host.bound(VF0), host.override(VF0)) == ("iavf", "(null)")


def test_already_bound_is_said_and_nothing_is_written(host: FakeHost) -> None:
    run_bind(host, VF0)
    host.writes.clear()
    (outcome,) = run_bind(host, VF0)
    assert outcome.already
    assert host.writes == []
    assert recorded(host.tree) == [VF0]  # the first record stays: it knows iavf


def test_the_module_is_loaded_when_it_is_missing(tmp_path: Path) -> None:
    host = FakeHost(tmp_path)
    host.device(VF0, (0x8086, 0x1889), group=42)
    run_bind(host, VF0)
    assert host.modules == ["vfio-pci"]
    assert host.bound(VF0) == "vfio-pci"


def test_a_kernel_without_the_module(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, module_names=set())
    host.device(VF0, (0x8086, 0x1889), group=42)
    with pytest.raises(KernelRefused, match="vfio-pci could not be loaded") as refused:
        run_bind(host, VF0)
    assert "modprobe vfio-pci" in refused.value.remedy
    assert host.writes == []


@pytest.mark.parametrize("use", ["route", "vfs", "hidden"])
def test_what_is_in_use_needs_force(host: FakeHost, use: str) -> None:
    target = PF if use == "vfs" else VF0
    if use == "route":
        host.route("v0")
    elif use == "vfs":
        host.interface(PF, "ens1f0")
    else:
        (host.root / DEVICES / VF0 / "net/v0").rename(host.root / "elsewhere")
    with pytest.raises(InUse) as refused:
        run_bind(host, target)
    assert "--force" in refused.value.remedy
    assert (host.writes, recorded(host.tree)) == ([], [])
    run_bind(host, target, force=True)
    assert host.bound(target) == "vfio-pci"


def test_one_refusal_among_many_changes_nothing(host: FakeHost) -> None:
    host.route("v1")
    with pytest.raises(InUse, match="v1"):
        run_bind(host, VF0, VF1)
    assert host.writes == []


def test_a_group_with_another_holder_names_it_and_the_command(host: FakeHost) -> None:
    other = "0000:3b:01.2"
    host.device(other, (0x8086, 0x1889), driver="iavf", group=42)
    host.device("0000:3a:00.0", (0x8086, 0x2030), driver="pcieport", group=42, class_code=0x060400)
    with pytest.raises(GroupNotViable, match=rf"{other} \(iavf\)") as refused:
        run_bind(host, VF0)
    assert refused.value.holders == {other: "iavf"}
    assert f"iavfio bind {VF0} {other}" in refused.value.remedy
    assert host.writes == []

    (outcome,) = run_bind(host, VF0, force=True)
    assert other in outcome.warnings[0]
    run_unbind(host, VF0)
    host.interface(other, "v2")
    assert [b.function.driver for b in run_bind(host, VF0, other, force=True)] == ["vfio-pci"] * 2


def test_a_group_shared_with_a_disk_controller_is_not_offered_for_binding(host: FakeHost) -> None:
    disk = "0000:3b:02.0"
    host.device(disk, (0x8086, 0xA282), driver="ahci", group=42, class_code=0x010601)
    with pytest.raises(GroupNotViable) as refused:
        run_bind(host, VF0)
    assert "iavfio bind" not in refused.value.remedy
    assert "ACS" in refused.value.remedy


def test_no_nic_and_no_iommu(host: FakeHost) -> None:
    host.device("0000:00:1f.2", (0x8086, 0xA282), driver="ahci", class_code=0x010601, group=1)
    with pytest.raises(NotNic, match="ahci"):
        run_bind(host, "0000:00:1f.2", force=True)
    host.device("0000:3b:03.0", (0x8086, 0x1889))
    with pytest.raises(NoIommu) as refused:
        run_bind(host, "0000:3b:03.0", force=True)
    assert "intel_iommu=on" in refused.value.remedy
    unsafe = host.root / "sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
    unsafe.parent.mkdir(parents=True)
    unsafe.write_text("Y\n")
    run_bind(host, "0000:3b:03.0")
    assert host.bound("0000:3b:03.0") == "vfio-pci"


def test_without_permission_sudo_is_named(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(NotPermitted) as refused:
        run_bind(host, VF0)
    assert refused.value.remedy.startswith("run: sudo ")
    assert refused.value.remedy.endswith(f"bind {VF0}")
    assert (host.writes, record_file(host).exists()) == ([], False)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(KernelRefused, match="read-only"):
        run_bind(host, VF0)


def test_a_refusing_kernel_gives_everything_back(host: FakeHost) -> None:
    host.refuses["vfio-pci"] = {VF1}
    with pytest.raises(KernelRefused, match=f"vfio-pci did not take {VF1}"):
        run_bind(host, VF0, VF1)
    for bdf in (VF0, VF1):
        assert (host.bound(bdf), host.override(bdf)) == ("iavf", "(null)")
    assert recorded(host.tree) == []


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EBUSY, "busy"), (errno.ENODEV, "does not take this device")]
)
def test_errors_of_a_write_are_told_in_words(host: FakeHost, number: int, words: str) -> None:
    class Failing:
        def write(self, path: Path, value: str) -> None:
            raise OSError(number, "no", str(path))

        def modprobe(self, module: str) -> None:
            raise AssertionError(module)

    with pytest.raises(KernelRefused, match=words):
        bind(host.tree, [VF0], Writer(Failing(), lambda line: None, f"bind {VF0}"))
    assert host.bound(VF0) == "iavf"
    assert recorded(host.tree) == []


def test_unbind_refuses_while_a_process_has_the_node_open(host: FakeHost) -> None:
    run_bind(host, VF0)
    fd = host.root / "proc/1234/fd/7"
    fd.parent.mkdir(parents=True)
    fd.symlink_to(f"{host.root}/dev/vfio/42")
    (host.root / "proc/1234/comm").write_text("python3\n")
    with pytest.raises(InUse, match=r"python3 \(pid 1234\)"):
        run_unbind(host, VF0)
    assert host.bound(VF0) == "vfio-pci"
    run_unbind(host, VF0, force=True)
    assert host.bound(VF0) == "iavf"


def test_what_iavfio_did_not_bind_is_not_touched(host: FakeHost) -> None:
    host.device("0000:3b:01.3", (0x8086, 0x1889), driver="vfio-pci", match="iavf", group=50)
    with pytest.raises(BadRecord) as refused:
        run_unbind(host, "0000:3b:01.3")
    assert "drivers_probe" in refused.value.remedy
    (nothing,) = run_unbind(host, VF0)
    assert "nothing to undo" in nothing.outcome
    assert host.writes == []


def test_a_vf_that_is_gone_or_rebound_by_others_leaves_the_record(host: FakeHost) -> None:
    run_bind(host, VF0, VF1)
    (host.root / DEVICES / VF0).unlink()
    host.write(host.root / DEVICES / VF1 / "driver/unbind", VF1)
    host.attach(VF1, "iavf")
    gone, rebound = run_unbind(host, VF0, VF1)
    assert "gone" in gone.outcome
    assert "already with iavf" in rebound.outcome
    assert (host.bound(VF1), host.override(VF1)) == ("iavf", "(null)")
    assert recorded(host.tree) == []


def test_a_bind_cut_short_can_be_undone(host: FakeHost) -> None:
    class Dying:
        def write(self, path: Path, value: str) -> None:
            if path.name == "drivers_probe":
                raise KeyboardInterrupt
            host.write(path, value)

        def modprobe(self, module: str) -> None:
            raise AssertionError(module)

    with pytest.raises(KeyboardInterrupt):
        bind(host.tree, [VF0], Writer(Dying(), lambda line: None, "bind"))
    assert host.bound(VF0) == ""
    run_unbind(host, VF0)
    assert (host.bound(VF0), host.override(VF0)) == ("iavf", "(null)")


def test_a_driver_that_does_not_come_back_keeps_the_record(host: FakeHost) -> None:
    run_bind(host, VF0)
    host.refuses["iavf"] = {VF0}
    with pytest.raises(KernelRefused, match="did not go back to driver iavf"):
        run_unbind(host, VF0)
    assert recorded(host.tree) == [VF0]
    host.refuses.clear()
    run_unbind(host, VF0)
    assert host.bound(VF0) == "iavf"


def test_records_of_another_boot_are_forgotten(host: FakeHost) -> None:
    run_bind(host, VF0)
    (host.root / "proc/sys/kernel/random/boot_id").write_text("another\n")
    assert recorded(host.tree) == []


def test_damaged_or_foreign_record_files_are_refused(host: FakeHost) -> None:
    run_bind(host, VF0)
    record_file(host).write_text('{"version": 1, "records": {"x": 3}}')
    with pytest.raises(BadRecord, match="damaged"):
        run_unbind(host, VF0)
    record_file(host).unlink()
    record_file(host).parent.chmod(0o777)
    with pytest.raises(BadRecord, match="cannot be trusted"):
        run_bind(host, VF1)
    assert host.bound(VF1) == "iavf"
