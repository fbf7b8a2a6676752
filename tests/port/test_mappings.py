# SPDX-License-Identifier: BSD-3-Clause
"""What of a device is in this process's memory, and on which NUMA node its packets lie."""

from __future__ import annotations

from pathlib import Path

import pytest

import iavfio
from iavfio.datapath.pool import Pool
from iavfio.port.shortages import say_shortages
from iavfio.port.status import PortStatus
from iavfio.port.vectors import VectorPlan
from tests.port.rig import until, works

TX_TAILS, RX_TAILS = 0x0000, 0x2000  # docs/spec/registers.md 2
PAGE = 4096


def files_of_servers() -> dict[int, list[tuple[int, int]]]:
    """By inode: (offset, bytes) of each piece of a software VF's file that is mapped here."""
    found: dict[int, list[tuple[int, int]]] = {}
    for line in Path("/proc/self/maps").read_text(encoding="ascii").splitlines():
        if "/memfd:softvf" in line:
            span, _, offset, _, inode = line.split()[:5]
            begin, end = (int(part, 16) for part in span.split("-"))
            found.setdefault(int(inode), []).append((int(offset, 16), end - begin))
    return found


# docs/spec/reliability.md S4
def test_only_the_pages_of_the_doorbells_are_mapped() -> None:
    before = (
        files_of_servers()
    )  # Software VFs that earlier tests of this process have not let go of.
    with iavfio.softvf(vfs=1) as pf:
        with pf.open(0, pool=Pool(1024, huge="never")) as port:
            port.configure(queues=1)
            port.start(wait_link=5)
            works(port)
            (mapped,) = [
                pieces for file, pieces in files_of_servers().items() if file not in before
            ]
            assert sorted(mapped) == [(TX_TAILS, PAGE), (RX_TAILS, PAGE)]
        assert set(files_of_servers()) <= set(before)


# docs/spec/reliability.md F67
@pytest.mark.parametrize(
    ("of_pool", "of_device", "told"),
    [(0, 1, True), (1, 0, True), (1, 1, False), (None, 1, False), (0, None, False), (-1, 1, False)],
)
def test_a_pool_on_another_node_is_told_and_used(
    of_pool: int | None, of_device: int | None, told: bool
) -> None:
    pool = Pool(64, huge="never")
    pool.numa_node = of_pool
    status = PortStatus("p")
    plan = VectorPlan.make(1, 2, True)
    say_shortages(status, plan, pool, "cdev", of_device)
    notes = [note for note in status.notes if "NUMA" in note]
    assert len(notes) == told
    if told:
        assert f"on NUMA node {of_pool} and the device on {of_device}" in notes[0]
        assert f"numa_node={of_device}" in notes[0]
    say_shortages(status, plan, pool, "cdev", of_pool)
    assert not any("NUMA" in note for note in status.notes)


# docs/spec/reliability.md F67
def test_a_port_on_another_node_works_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with iavfio.softvf(vfs=1) as pf, pf.open(0, pool=Pool(1024, numa_node=0)) as port:
        monkeypatch.setattr(port.device, "numa_node", 1, raising=False)
        port.configure(queues=1)
        port.start(wait_link=5)
        works(port)
        assert [note for note in port.notes if "NUMA node 0 and the device on 1" in note]


# docs/spec/reliability.md F24
def test_a_reset_that_nobody_tells_is_seen_by_registers_alone() -> None:
    with (
        iavfio.softvf(vfs=1, options={"reset_ms": 2}) as pf,
        pf.open(0, pool=Pool(1024, huge="never")) as port,
    ):
        port.configure(queues=1)
        port.start(wait_link=5)
        pf.control("mute", vf=0)
        for number in range(1, 4):
            pf.control("reset", vf=0, notify=False)
            assert until(lambda n=number: len(port.resets) == n)  # type: ignore[misc]
            port.wait_running()
        pf.control("mute", vf=0, on=False)
        works(port)
