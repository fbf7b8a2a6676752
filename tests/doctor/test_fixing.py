# SPDX-License-Identifier: BSD-3-Clause
"""`--fix` mends what can be put back, reads it back, and `--undo` puts it back."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from iavfio.doctor import Change, examine, fix, undo
from iavfio.host.errors import KernelRefused, NotPermitted
from tests.doctor.well_host import WellHost
from tests.vfs.fake_pf import PF

CPU = "sys/devices/system/cpu"
PAGES = "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
FREE = "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
NODE = "sys/devices/system/node/node0/hugepages/hugepages-2048kB"
FAULTS: list[tuple[str, dict[str, str]]] = [
    ("iommu.interrupts", {"sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts": "Y"}),
    ("vfio.noiommu", {"sys/module/vfio/parameters/enable_unsafe_noiommu_mode": "Y"}),
    ("hugepages.none", {PAGES: "0", FREE: "0"}),
    ("hugepages.node", {f"{NODE}/nr_hugepages": "3", f"{NODE}/free_hugepages": "0"}),
    ("cpu.governor", {f"{CPU}/cpu{cpu}/cpufreq/scaling_governor": "powersave" for cpu in (1, 5)}),
    ("cpu.sleep", {f"{CPU}/cpu6/cpuidle/state2/disable": "0"}),
    ("irq.workers", {"proc/irq/30/effective_affinity_list": "1-2"}),
]
IDS = [name for name, _ in FAULTS]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WellHost:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return WellHost(tmp_path)


def mend(host: WellHost, **how: Any) -> list[Change]:
    found = [finding for finding in examine(host.look()).findings if finding.fixable]
    return fix(host.tree, host, found, **how)


def recorded(host: WellHost) -> dict[str, Any]:
    path = host.root / "run/iavfio/doctor.json"
    return dict(json.loads(path.read_text())["records"]) if path.exists() else {}


def state(host: WellHost) -> dict[str, str]:
    """All files that a fix may write to."""
    kinds = ("nr_hugepages", "scaling_governor", "disable", "smp_affinity_list", "*unsafe*")
    return {str(p): p.read_text().strip() for kind in kinds for p in host.root.rglob(kind)}


@pytest.mark.parametrize(("name", "files"), FAULTS, ids=IDS)
def test_a_fault_is_mended_and_put_back(host: WellHost, name: str, files: dict[str, str]) -> None:
    for place, value in files.items():
        host.put(place, f"{value}\n")
    assert [finding.name for finding in examine(host.look()).findings] == [name]
    before = state(host)
    changes = mend(host)
    assert changes
    assert examine(host.look()).findings == ()
    assert {change.path for change in changes} == set(recorded(host))
    put_back = undo(host.tree, host)
    assert state(host) == before
    assert [change.path for change in put_back] == [change.path for change in reversed(changes)]
    assert recorded(host) == {}
    assert undo(host.tree, host) == []


def test_dry_run_changes_nothing(host: WellHost) -> None:
    host.put(PAGES, "0\n")
    host.put(FREE, "0\n")
    told: list[str] = []
    mend(host, report=told.append, dry=True)
    assert told == [f"echo 512 > {host.root}/{PAGES}"]
    assert (host.writes, recorded(host)) == ([], {})


def test_a_note_is_not_mended_unasked(host: WellHost) -> None:
    host.put(f"{CPU}/isolated", "\n")
    host.links.vfs[0]["trust"] = 0
    assert mend(host) == []
    assert host.links.requests == []


def test_what_the_kernel_refuses_is_told_and_the_rest_is_mended(host: WellHost) -> None:
    host.put("proc/irq/30/effective_affinity_list", "1-2\n")
    host.put(f"{CPU}/cpu1/cpufreq/scaling_governor", "powersave\n")
    host.refuses_writes["smp_affinity_list"] = OSError(5, "Input/output error")
    changes = mend(host)
    told = {Path(change.path).name: change.outcome for change in changes}
    assert told["scaling_governor"] == "performance (was: powersave)"
    assert told["smp_affinity_list"].startswith("not changed: writing")
    assert [Path(path).name for path in recorded(host)] == ["scaling_governor"]


def test_what_the_kernel_ignores_or_does_in_part_is_told(host: WellHost) -> None:
    host.put(f"{CPU}/cpu1/cpufreq/scaling_governor", "powersave\n")
    host.keeps.add("scaling_governor")
    (change,) = mend(host)
    assert change.outcome == "not changed: it took the value and is still powersave"
    assert recorded(host) == {}


def test_fewer_huge_pages_than_asked_for_are_told_and_put_back(host: WellHost) -> None:
    class Short(WellHost):
        def write(self, path: Path, value: str) -> None:
            super().write(path, str(int(value) // 2) if path.name == "nr_hugepages" else value)

    short = Short(host.root / "other")
    for place in (PAGES, FREE):
        short.put(place, "0\n")
    (change,) = mend(short)
    assert change.outcome == "256 (was: 0), where 512 was asked for"
    undo(short.tree, short)
    assert (short.root / PAGES).read_text() == "0\n"


def test_what_others_changed_since_is_left(host: WellHost) -> None:
    path = host.put(f"{CPU}/cpu1/cpufreq/scaling_governor", "powersave\n")
    mend(host)
    path.write_text("schedutil\n")
    (change,) = undo(host.tree, host)
    assert change.outcome == "left at schedutil: it was changed since"
    assert path.read_text() == "schedutil\n"
    assert recorded(host) == {}


def test_the_first_value_is_the_one_that_comes_back(host: WellHost) -> None:
    for place in (PAGES, FREE):
        host.put(place, "0\n")
    mend(host)
    host.put(FREE, "0\n")
    mend(host)
    assert (host.root / PAGES).read_text() == "1024\n"
    undo(host.tree, host)
    assert (host.root / PAGES).read_text() == "0\n"


@pytest.mark.parametrize("number", [1, 13, 30])
def test_without_permission_nothing_is_recorded(
    host: WellHost, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    host.put(f"{CPU}/cpu1/cpufreq/scaling_governor", "powersave\n")
    host.refuses_writes["scaling_governor"] = OSError(number, "no")
    monkeypatch.setattr("iavfio.host.errors.os.geteuid", lambda: 1000)
    monkeypatch.setattr("iavfio.doctor.fixing.directory_of", lambda _: host.root / "kept")
    monkeypatch.setattr("iavfio.host.records.RecordFile.locked", lambda *_: nullcontext())
    (host.root / "kept").mkdir()
    with pytest.raises(NotPermitted, match="may not be written") as refused:
        mend(host)
    assert "iavfio doctor --fix" in refused.value.remedy
    assert list((host.root / "kept").iterdir()) == []


def test_an_undo_that_is_refused_keeps_the_record(host: WellHost) -> None:
    host.put(f"{CPU}/cpu1/cpufreq/scaling_governor", "powersave\n")
    mend(host)
    host.refuses_writes["scaling_governor"] = OSError(16, "Device or resource busy")
    with pytest.raises(KernelRefused) as refused:
        undo(host.tree, host)
    assert "iavfio doctor --undo" in refused.value.remedy
    assert len(recorded(host)) == 1


def test_records_of_another_boot_are_forgotten(host: WellHost) -> None:
    host.put(f"{CPU}/cpu1/cpufreq/scaling_governor", "powersave\n")
    mend(host)
    (host.root / "proc/sys/kernel/random/boot_id").write_text("another\n")
    assert undo(host.tree, host) == []


def test_a_pf_is_never_written_to(host: WellHost) -> None:
    """What is set on a PF is `iavfio vf`'s, which has a record of its own."""
    host.links.vfs[0].update(link_state=2, vlan=7)
    assert mend(host) == []
    assert not any(PF in path for path, _ in host.writes)
