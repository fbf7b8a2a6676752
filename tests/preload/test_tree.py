# SPDX-License-Identifier: BSD-3-Clause
"""The made-up sysfs, and what a program's environment becomes."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from iavfio.preload import Preload, tree
from iavfio.preload.launch import library
from iavfio.softvf.server.directory import new_directory
from tests.hostile.test_trust import OTHER, listening, root_only
from tests.sanitizer import no_preload

CONFIG = struct.pack("<HHHHB3s", 0x8086, 0x1889, 6, 0x10, 2, b"\0\0\2").ljust(256, b"\0")


def member(index: int, bars: tuple[int, ...] = (0x20000, 0, 0, 0x4000, 0, 0)) -> tree.Member:
    bdf = f"{tree.DOMAIN_BUS}:{index:02x}.0"
    return tree.Member(f"/nowhere/vf{index}.sock", bdf, tree.FIRST_GROUP + index, CONFIG, bars)


def said(preload: Preload, group: int) -> str:
    """What a program writes to stderr that opens a group and nothing else."""
    return subprocess.run(
        [sys.executable, "-c", f"import os; os.open('/dev/vfio/{group}', os.O_RDWR)"],
        env=preload.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stderr


def resources(root: Path, one: tree.Member) -> list[tuple[int, int, int]]:
    """Lines of `resource` as start, size and flags."""
    text = (root / "sys/bus/pci/devices" / one.bdf / "resource").read_text(encoding="ascii")
    found = [tuple(int(word, 16) for word in line.split()) for line in text.splitlines()]
    return [(start, end + 1 - start if end else 0, flags) for start, end, flags in found]


def test_bars_have_their_size_and_a_place_of_their_own(tmp_path: Path) -> None:
    members = [member(0), member(1), member(2, (0x1000, 0, 0x400000, 0, 0, 0))]
    tree.build(tmp_path, members)
    taken: list[range] = []
    for one in members:
        lines = resources(tmp_path, one)
        assert len(lines) == 13  # six BARs, the ROM, and what only bridges have
        assert tuple(size for _, size, _ in lines) == one.bars + (0,) * 7
        for start, size, flags in lines:
            assert bool(flags) is bool(size)
            if size:
                assert start % 0x10000 == 0
                place = range(start, start + size)
                assert all(place.stop <= o.start or o.stop <= place.start for o in taken)
                taken.append(place)
    assert len(taken) == 6


def test_ids_are_as_the_kernel_writes_them(tmp_path: Path) -> None:
    one = member(0)
    tree.build(tmp_path, [one])
    here = tmp_path / "sys/bus/pci/devices" / one.bdf
    told = {name: (here / name).read_text(encoding="ascii") for name in ("vendor", "class")}
    assert told == {"vendor": "0x8086\n", "class": "0x020000\n"}
    assert (here / "revision").read_text(encoding="ascii") == "0x02\n"
    assert "PCI_ID=8086:1889\n" in (here / "uevent").read_text(encoding="ascii")
    assert (here / "iommu_group").resolve().name == str(one.group)
    assert (tmp_path / "devices").read_text() == f"{one.group} {one.bdf} {one.socket}\n"


@no_preload
def test_a_library_of_the_users_own_stays(tmp_path: Path) -> None:
    preload = Preload(tmp_path, [member(0)], {"IAVFIO_PRELOAD_TRACE": "1"})
    found = preload.environment({"LD_PRELOAD": "/lib/own.so", "HOME": "/home"})
    assert found["LD_PRELOAD"] == f"/lib/own.so:{library()}"
    assert (found["HOME"], found["IAVFIO_PRELOAD_TRACE"]) == ("/home", "1")
    assert found["IAVFIO_PRELOAD"] == str(tmp_path)
    assert preload.environment({})["LD_PRELOAD"] == str(library())


# docs/spec/reliability.md D5
@no_preload
@root_only
def test_a_socket_that_another_user_serves_gets_no_memory() -> None:
    root = new_directory()
    path = root / "vf0.sock"
    root.chmod(0o777)
    try:
        with listening(path, OTHER):
            one = tree.Member(str(path), member(0).bdf, tree.FIRST_GROUP, CONFIG, (0,) * 6)
            tree.build(root, [one])
            told = said(Preload(root, [one], {}), one.group)
        assert "PermissionError" in told
        assert f"{path} is served by another user" in told
    finally:
        subprocess.run(["rm", "-rf", os.fspath(root)], check=True)


@pytest.mark.parametrize("bars", [(), (0x4000,)])
def test_absent_bars_are_zeros(bars: tuple[int, ...], tmp_path: Path) -> None:
    one = member(0, bars + (0,) * (6 - len(bars)))
    tree.build(tmp_path, [one])
    assert resources(tmp_path, one)[len(bars) :] == [(0, 0, 0)] * (13 - len(bars))
