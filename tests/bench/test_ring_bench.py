# SPDX-License-Identifier: BSD-3-Clause
"""What the ring bench says about its rows, where it looks for DPDK, and that its checks pass."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.ring import mix, peer, plan, report
from bench.ring.program import ROOT, build


def _row(backend: str, work: str, isa: str, best: float, **others: Any) -> report.Row:
    values: dict[str, Any] = {
        "descriptor": "flex",
        "metadata": "none",
        "ring": 512,
        "burst": 32,
        "location": "hot",
        "cycles_median": best + 1,
        "instructions": best * 4,
    }
    return report.Row(backend, work, isa, cycles_best=best, **{**values, **others})


def test_lines_of_the_program_become_rows() -> None:
    row = _row("dpdk", "rx", "avx2", 8.5)
    lines = ['{"dpdk": "DPDK 22.11"}\n', json.dumps(row.__dict__) + "\n", "\n"]
    assert report.parse(lines) == [row]


def test_ratio_compares_the_same_work_and_instruction_set() -> None:
    rows = [
        _row("dpdk", "forward", "avx512", 10.0),
        _row("dpdk", "forward", "avx512", 99.0, descriptor="legacy"),
        _row("dpdk", "forward", "avx512", 77.0, location="l3"),
        _row("iavfio", "forward", "avx512", 4.0),
        _row("iavfio", "forward worker", "avx512", 3.0),
        _row("iavfio", "forward", "avx2", 1.0),
    ]
    assert [(r["what"], r["call"], r["worker"]) for r in report.ratios(rows)] == [
        ("forward, handles only, AVX-512", 0.4, 0.3)
    ]


def test_a_target_without_a_peer_is_not_judged() -> None:
    assert report.ratios([_row("iavfio", "forward", "avx512", 4.0)]) == []
    assert list(report.lines([])) == []


def test_scalar_is_judged_against_both_of_the_peers_scalar_paths() -> None:
    rows = [
        _row("dpdk", "forward", "scalar", 20.0),
        _row("dpdk", "forward", "scalar full", 40.0),
        _row("iavfio", "forward", "scalar", 10.0, instructions=None),
    ]
    assert [(r["call"], r["target"], r["instructions"]) for r in report.ratios(rows)] == [
        (0.5, 0.8, None),
        (0.25, 0.35, None),
    ]


def test_table_has_one_line_a_function_and_one_block_a_group() -> None:
    rows = [
        _row("iavfio", "rx", "avx2", 5.0),
        _row("iavfio", "tx", "avx2", 6.0),
        _row("iavfio", "rx", "avx2", 7.0, burst=8, instructions=None),
    ]
    lines = [line for line in report.table(rows) if line.startswith("iavfio")]
    assert len(lines) == 2
    assert lines[0].split() == "iavfio avx2 none 5.0/ 6.0 20.0i 6.0/ 7.0 24.0i".split()
    assert lines[1].split() == "iavfio avx2 none 7.0/ 8.0".split()


def test_docs_show_a_ratio_without_a_target_and_a_call_too_short_to_be_timed() -> None:
    rows = [
        _row("dpdk", "rx", "avx2", 8.0, metadata="all"),
        _row("iavfio", "rx", "avx2", 6.0, metadata="all", instructions=None),
        _row("dpdk", "empty poll", "scalar", 0.0),
    ]
    source = dict.fromkeys("cpu kernel compiler dpdk commit turns load_before load_after".split())
    text = report.markdown(report.ratios(rows), rows, source)
    assert "| receive, all metadata, AVX2 | flex | 8.00 | 6.00 | - | 0.75 | - | - |" in text


def test_json_holds_provenance_ratios_and_rows(tmp_path: Path) -> None:
    rows = [_row("iavfio", "rx", "avx2", 5.0), _row("dpdk", "rx", "avx2", 8.0)]
    path = tmp_path / "results" / "ring.json"
    report.write(path, {"cpu": "x"}, rows)
    whole = json.loads(path.read_text(encoding="utf-8"))
    assert whole["provenance"] == {"cpu": "x"}
    assert whole["ratios"] == []
    assert report.parse(json.dumps(row) for row in whole["rows"]) == rows


def test_groups_survive_their_text() -> None:
    for group in (*plan.quick(), *plan.full()):
        assert plan.parse(group.argument()) == group
    with pytest.raises(ValueError, match="fifth field"):
        plan.parse("512,32,flex,hot,often")
    with pytest.raises(ValueError, match="64,x is no RING"):
        plan.parse("64,x")


def test_no_group_has_a_burst_that_its_ring_cannot_hold() -> None:
    assert all(group.burst <= group.ring // 2 for group in plan.full())
    assert {group.ring for group in plan.full()} == set(plan.RINGS)


def test_package_sources_become_sources_of_source_packages(tmp_path: Path) -> None:
    etc = tmp_path / "apt"
    (etc / "sources.list.d").mkdir(parents=True)
    (etc / "sources.list").write_text("deb http://host.invalid/debian stable main\n# deb x\n")
    (etc / "sources.list.d" / "a.sources").write_text("Types: deb\nURIs: http://host.invalid/\n")
    (etc / "sources.list.d" / "b.sources.disabled").write_text("Types: deb\n")
    out = tmp_path / "out"
    assert peer.source_lists(etc, out) == 2
    assert (out / "a.sources").read_text() == "Types: deb-src\nURIs: http://host.invalid/\n"
    assert not (out / "b.sources.disabled").exists()
    text = (out / "sources.list").read_text()
    assert text.splitlines()[0] == "deb-src http://host.invalid/debian stable main"


def test_without_the_package_the_reason_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(peer, "_output", lambda *command: "")
    with pytest.raises(peer.PeerMissing, match="apt-get install libdpdk-dev"):
        peer.find(tmp_path)


def test_the_mix_is_told_by_function() -> None:
    symbols = mix.Symbols(["0000000000001000 T first", "0000000000001020 t second", "U puts"])
    assert [symbols.name(a) for a in (0xFFF, 0x1000, 0x101F, 0x1020, 1 << 40)] == [
        "(library)",
        "first",
        "first",
        "second",
        "(library)",
    ]
    line = {"mix": ["iavfio", "rx"], "packets": 2, "addresses": [[0x1000, 6], [0x1024, 2]]}
    assert list(mix.lines(["{}", json.dumps(line)], symbols))[1:] == [
        "iavfio rx: 4.0 a packet",
        "     3.00  first",
        "     1.00  second",
    ]


@pytest.mark.parametrize("group", ["64,8,flex,hot", "64,32,legacy,hot"])
def test_every_packet_of_every_instruction_set_passes_the_checks(
    group: str, tmp_path: Path
) -> None:
    room = ROOT / "build" / "lib_driver_room.a"
    sources = (ROOT / "csrc" / "driver").iterdir()
    if not shutil.which("cc") or not room.exists() or platform.machine() != "x86_64":
        pytest.skip("needs x86-64, a compiler and 'make build'")
    if max(path.stat().st_mtime for path in sources) > room.stat().st_mtime:
        pytest.skip("the driver's sources are newer than its library: 'make build'")
    program = build(room, tmp_path, None)
    done = subprocess.run([program, "-t", "1", group], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = report.parse(done.stdout.splitlines())
    assert {row.backend for row in rows} == {"iavfio"}
    assert {row.metadata for row in rows} == {"none", "basic", "all"}
    assert "scalar" in {row.isa for row in rows}
    assert {"rx", "rx+free", "tx", "alloc+tx", "forward"} <= {row.work for row in rows}
