# SPDX-License-Identifier: BSD-3-Clause
"""What a process or a device has too little of: files, interrupt vectors."""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import iavfio
from iavfio import IavfioError
from iavfio.port.vectors import VectorPlan
from iavfio.pyvfio.device import IRQ_MSIX, IrqInfo
from iavfio.pyvfio.user import UserDevice
from iavfio.softvf.launch import SoftPf


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a path object would open one more


@contextmanager
def at_most(files: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def leaving(free: int) -> int:
    """The limit below which so many numbers of files are free; what is open may have gaps."""
    used = {int(path.name) for path in Path("/proc/self/fd").iterdir() if path.exists()}
    limit = 0
    while free or limit in used:
        free -= limit not in used
        limit += 1
    return limit


def opened(pf: SoftPf, free: int) -> IavfioError | None:
    """Opens and starts a port with so many files to be had; what it raised."""
    try:
        with at_most(leaving(free)), pf.open() as port:
            port.start()
    except IavfioError as error:
        return error.with_traceback(None)  # which would hold the port
    return None


def test_too_few_files_are_told_at_every_step_and_none_is_left_open() -> None:
    with iavfio.softvf() as pf:
        pf.open().close()
        before = descriptors()
        told: set[str] = set()
        for more in range(60):
            error = opened(pf, more)
            if error is None:
                break
            assert "ulimit -n" in error.remedy, str(error)
            told.add(error.what)
            del error
            assert descriptors() == before
        else:
            raise AssertionError("60 files are not enough for a port")
    assert len(told) >= 5


def test_a_private_software_pf_needs_files_too() -> None:
    with at_most(leaving(2)), pytest.raises(IavfioError) as error:
        iavfio.open("softvf")
    assert "ulimit -n" in error.value.remedy


@pytest.mark.parametrize("count", [0, 1])
def test_a_device_with_one_vector_is_told(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    irq = UserDevice.irq

    def few(self: UserDevice, index: int) -> IrqInfo:
        return replace(irq(self, index), count=count) if index == IRQ_MSIX else irq(self, index)

    monkeypatch.setattr(UserDevice, "irq", few)
    with iavfio.softvf() as pf, pytest.raises(iavfio.VfioError) as error:
        pf.open()
    assert f"has {count} MSI-X vector" in error.value.what
    assert "sriov_vf_msix_count" in error.value.remedy


def test_two_vectors_are_enough_for_all_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    irq = UserDevice.irq

    def two(self: UserDevice, index: int) -> IrqInfo:
        return replace(irq(self, index), count=2) if index == IRQ_MSIX else irq(self, index)

    monkeypatch.setattr(UserDevice, "irq", two)
    with iavfio.softvf() as pf, pf.open() as port:
        port.configure(queues=4)
        port.start(wait_link=10)
        assert VectorPlan.make(4, 2, True).shared
        with port.tx[0].build([port.mac + port.mac + bytes(48)]) as burst:
            assert port.tx[0].send(burst) == 1
        assert any(len(queue.recv(timeout=2)) for queue in port.rx)
