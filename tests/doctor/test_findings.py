# SPDX-License-Identifier: BSD-3-Clause
"""Each fault, set alone on a host where nothing is wrong, is named, with its cause and command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from iavfio.doctor import examine, names
from iavfio.doctor.examination import named
from iavfio.doctor.host import cpu_list
from tests.doctor.host_faults import CPU, HUGE, NODE, TABLE, Break, closed
from tests.doctor.well_host import OTHER, VF, WellHost, locked, swap_driver
from tests.vfs.fake_pf import INTERFACE, PF


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WellHost:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return WellHost(tmp_path)


def test_nothing_is_found_on_a_host_where_nothing_is_wrong(host: WellHost) -> None:
    for report in (examine(host.look()), examine(host.look(named=True), [VF])):
        assert report.findings == ()
        assert (report.devices, report.unread, report.hindered) == ((VF,), {}, False)


@pytest.mark.parametrize(
    ("name", "severity", "fault", "cause", "remedy", "also"),
    TABLE,
    ids=[f"{row[0]}-{number}" for number, row in enumerate(TABLE)],
)
def test_each_fault_is_named(
    host: WellHost,
    name: str,
    severity: str,
    fault: Break,
    cause: str,
    remedy: str,
    also: set[str],
) -> None:
    fault(host)
    report = examine(host.look(named=True), [VF])
    assert {finding.name for finding in report.findings} == {name} | also
    found = next(finding for finding in report.findings if finding.name == name)
    assert (found.severity, report.hindered) == (severity, severity != "note" or bool(also))
    assert cause in found.seen.cause
    assert remedy in found.seen.remedy
    of_vf = name.startswith(("vf.", "group.", "permission.", "numa.", "pf.", "pcie."))
    assert found.device == (VF if of_vf or name == "hugepages.node" else "")
    assert found.seen.what


def test_every_finding_has_a_fault_in_the_table() -> None:
    assert set(names()) - {row[0] for row in TABLE} == {"vfio.unbound"}
    assert len(names()) == len(set(names()))


def test_a_host_without_a_vf_for_vfio_says_so_where_none_was_named(host: WellHost) -> None:
    swap_driver(host, VF, "iavf")
    (found,) = examine(host.look()).findings
    assert (found.name, found.severity) == ("vfio.unbound", "note")
    assert f"iavfio bind {VF}" in found.seen.remedy
    assert examine(host.look(named=True), [OTHER]).findings[0].name == "vf.driver"


def test_a_rate_that_is_wanted_counts_before_the_link_s(host: WellHost) -> None:
    host.wanted_gbit = 400
    (found,) = examine(host.look(), [VF]).findings
    assert found.name == "pcie.rate"
    assert "below the 400 wanted" in found.seen.what


@pytest.mark.parametrize(
    ("cpus", "name", "words"),
    [
        (["2", "3", "0-7"], "", ""),
        (["2", "5"], "numa.cpus", "workers of the port run on CPUs far from the VF: 5"),
        (["2", "1"], "cpu.isolation", "not isolated: 1"),
        (["2", "1"], "irq.workers", "interrupt 30 (nvme0q1) comes to worker CPUs 1"),
    ],
)
def test_the_cpus_of_a_port_are_those_of_its_workers(
    host: WellHost, cpus: list[str], name: str, words: str
) -> None:
    host.worker(900, cpus)
    report = examine(host.look(process="900", named=True), [VF])
    told = {finding.name: finding.seen.what for finding in report.findings}
    assert words in told.get(name, "")
    if not name:
        assert told == {}


def test_root_needs_no_permission_and_no_limit(host: WellHost) -> None:
    closed(host, "dev/vfio/42")
    host.put("proc/self/limits", locked("65536", "65536"))
    looked = host.look()
    looked.uid = 0
    assert examine(looked).findings == ()


def test_what_cannot_be_read_is_told_and_ends_nothing(
    host: WellHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = host.root / "proc/self/limits"
    honest = Path.read_text

    def read_text(path: Path, *how: str | None, **more: str | None) -> str:
        if path == kept:
            raise PermissionError(13, "Permission denied")
        return honest(path, *how, **more)

    monkeypatch.setattr(Path, "read_text", read_text)
    host.links.read_failure = NetlinkError(1)
    host.put(f"{CPU}/cpu5/cpufreq/scaling_governor", "powersave\n")
    report = examine(host.look())
    assert [finding.name for finding in report.findings] == ["cpu.governor"]
    assert report.unread[str(kept)] == "Permission denied"
    assert f"reading the VFs of {INTERFACE} failed" in report.unread[f"vf.trust {VF}"]


def test_a_guest_s_vf_without_a_visible_pf(host: WellHost) -> None:
    (host.root / "sys/bus/pci/devices" / VF / "physfn").unlink()
    assert examine(host.look()).findings == ()


def test_findings_by_name_are_fit_for_a_report(
    host: WellHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap_driver(host, VF, "iavf")
    (host.root / "sys/class/iommu/dmar0").rmdir()
    monkeypatch.setattr("iavfio.doctor.examination.Host", lambda **how: replace(host.look(), **how))
    assert named([VF, "0000:77:00.0"]) == ["error: iommu.kernel", f"error: vf.driver {VF}"]
    assert named([]) == []  # of a software VF: nothing about VFIO


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0-3,8", {0, 1, 2, 3, 8}),
        ("65535", {65535}),
        ("65536,1", {1}),
        ("0-99999999999999999999,5", {5}),
        ("99999999999999999999-99999999999999999999", set()),
        ("3-1,-2,2-,x-1", {2}),
    ],
)
def test_a_list_of_cpus_has_no_more_than_a_kernel_can(text: str, cpus: set[int]) -> None:
    assert cpu_list(text) == cpus


def test_a_slot_of_more_lanes_than_there_are_finds_nothing(host: WellHost) -> None:
    for which in ("current", "max"):
        host.device_file(PF, f"{which}_link_width", "9" * 400)
    report = examine(host.look())
    assert not [finding for finding in report.findings if finding.name.startswith("pcie")]


def test_odd_files_find_nothing_and_end_nothing(host: WellHost) -> None:
    for place in (
        f"{CPU}/isolated",
        f"{CPU}/online",
        "proc/self/limits",
        "proc/self/status",
        f"{NODE}/node0/cpulist",
        f"{NODE}/node0/distance",
        f"sys/kernel/mm/hugepages/{HUGE}/nr_hugepages",
    ):
        host.put(place, "\x00�~ no such thing\n-,;Max locked memory x\n")
    for name in ("current_link_speed", "current_link_width", "numa_node"):
        host.device_file(PF, name, "Unknown")
    assert "iommu.kernel" not in {finding.name for finding in examine(host.look()).findings}
