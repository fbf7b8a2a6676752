# SPDX-License-Identifier: BSD-3-Clause
"""A port's vectors: too few of them, lost in a reset from outside, and the host's ERR interrupt."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import iavfio
from iavfio import pyvfio
from iavfio.datapath.pool import Pool
from iavfio.port.interrupts import Interrupts
from tests.port.rig import healthy, until, works
from tests.pyvfio.rigs import KernelRig

FAST = {"reset_ms": 1}


@pytest.fixture(params=["cdev", "group"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KernelRig]:
    rig = KernelRig(request.param, tmp_path)
    yield rig
    assert rig.left_over() == []
    rig.end()


@pytest.fixture
def pool() -> Pool:
    return Pool(4096, huge="never")


@pytest.mark.parametrize(("there", "taken"), [(17, 5), (5, 5), (3, 3), (2, 2)])
def test_vectors_that_the_host_does_not_have_are_done_without(
    rig: KernelRig, there: int, taken: int
) -> None:
    rig.device.vectors_available = there
    with rig.open() as device:
        vectors = Interrupts(device, 17)
        assert (vectors.asked, len(vectors.fds)) == (5, taken)  # the device's table has 5
        assert all(rig.fire(2, vector) for vector in range(taken))
        assert not rig.fire(2, taken)


def test_one_vector_is_too_few_and_the_error_says_so(rig: KernelRig) -> None:
    rig.device.vectors_available = 1
    with rig.open() as device, pytest.raises(pyvfio.VfioError, match="vectors") as caught:
        Interrupts(device, 17)
    assert caught.value.remedy


# docs/spec/reliability.md F25
def test_msix_lost_in_a_reset_from_outside_comes_back(rig: KernelRig) -> None:
    with rig.open() as device:
        vectors = Interrupts(device, 4)
        assert not vectors.lost
        vectors.restore()
        assert rig.fire(2, 1)  # nothing was lost, nothing changes
        rig.device.msix_enabled = False
        assert vectors.lost and not rig.fire(2, 1)
        vectors.restore()
        assert not vectors.lost
        for vector, fd in enumerate(vectors.fds):
            while has_event(fd):
                pass
            assert rig.fire(2, vector) and has_event(fd)


def came_back(port: iavfio.Port, known: int) -> bool:
    return len(port.resets) > known and port.state == "running"


def has_event(fd: int) -> bool:
    try:
        return bool(os.eventfd_read(fd))
    except BlockingIOError:
        return False


def test_port_comes_through_a_reset_that_takes_its_interrupts(pool: Pool) -> None:
    with iavfio.softvf(options=FAST) as pf, pf.open(0, pool=pool) as port:
        port.configure(queues=2)
        port.start(wait_link=5)
        port.device.reset()
        assert until(lambda: len(port.resets) == 1 and port.state == "running")
        port.wait_link(5)
        works(port)  # asleep in recv(timeout=...): only an interrupt wakes it
    assert healthy(pool)


# docs/spec/reliability.md F25
@pytest.mark.parametrize("personality", ["x710", "e810"])
def test_port_brings_msix_back_that_a_reset_took_behind_vfios_back(
    pool: Pool, personality: str
) -> None:
    with (
        iavfio.softvf(personality=personality, options=FAST) as pf,
        pf.open(0, pool=pool) as port,
    ):
        port.start(wait_link=5)
        assert not port.control.interrupts.lost
        pf.control("fault", vf=0, kind="reset", how="msix")
        for _ in range(2):
            known = len(port.resets)
            pf.control("reset", vf=0)
            assert until(partial(came_back, port, known))
            assert not port.control.interrupts.lost
            port.wait_link(5)
            works(port)
        assert pf.violations() == []
    assert healthy(pool)


def test_pci_error_that_the_host_reports_means_a_reset(pool: Pool) -> None:
    with iavfio.softvf(options=FAST) as pf, pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        assert pf.control("error", vf=0)["signalled"]
        assert until(lambda: len(port.resets) == 1 and port.state == "running")
        assert "PCI error" in port.resets[0].cause
        assert any("PCI error" in note for note in port.notes)
        port.wait_link(5)
        works(port)
        assert pf.violations() == []
    assert healthy(pool)


@pytest.mark.parametrize("personality", ["x710", "e810"])
def test_more_queues_than_vectors_share_them(pool: Pool, personality: str) -> None:
    options = FAST | {"vectors": 3, "num_queue_pairs": 2}
    with (
        iavfio.softvf(personality=personality, options=options) as pf,
        pf.open(0, pool=pool) as port,
    ):
        port.configure(queues=2)
        port.start(wait_link=5)
        works(port)
        maps = pf.control("snapshot", vf=0)["snapshot"]["queues"]["vectors"]
        assert [both[0] for both in maps.values() if any(both)] == [1, 2]
