# SPDX-License-Identifier: BSD-3-Clause
"""Ports, pools and bursts that nobody closed, collected as one piece of garbage in any order."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

import iavfio
from iavfio._driver import lib
from iavfio.datapath.burst import Burst


class Watched:
    """The C functions that iavfio.datapath.pool calls; freeing a pool is written down."""

    def __init__(self, real: Any, order: list[str]) -> None:
        self._real, self._order = real, order

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def pool_free(self, raw: Any) -> None:
        self._order.append("pool freed")
        self._real.pool_free(raw)


@pytest.mark.filterwarnings("ignore:port .* was not closed")
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_a_pool_outlives_the_bursts_of_the_same_garbage(
    closed: bool, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's collector calls the callbacks of weak references before any __del__."""
    order: list[str] = []
    monkeypatch.setattr("iavfio.datapath.pool.lib", Watched(lib, order))
    give = Burst.release

    def release(self: Burst) -> None:
        order.append("burst released")
        give(self)

    monkeypatch.setattr(Burst, "release", release)
    with iavfio.softvf(vfs=1) as pf:
        pool = iavfio.Pool(buffers=1024)
        port = pf.open(0, pool=pool)
        port.configure(ring=64)
        port.start()
        bursts: list[Any] = [pool] if first else []
        bursts += [port.tx[0].build([bytes(64)]) for _ in range(20)]
        if closed:
            port.close()
        bursts.append(bursts)
        del pool, port, bursts
        gc.collect()
    assert order == ["burst released"] * 20 + ["pool freed"]


def memory_files() -> int:
    """The files of DMA memory that this process has open."""
    gc.collect()
    entries = [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return sum("pyvfio-dma" in str(entry.readlink()) for entry in entries)


def test_a_pool_that_nobody_holds_gives_its_memory_back() -> None:
    before = memory_files()
    pool = iavfio.Pool(buffers=1024)
    assert memory_files() > before
    with iavfio.softvf(vfs=1) as pf, pf.open(0, pool=pool) as port:
        port.configure(ring=64)
        port.start()
        burst = port.tx[0].build([bytes(64)])
    view = pool.view  # lives as long as whoever looks at it
    del pool, port, burst
    assert memory_files() > before
    view[0] = 1
    del view
    assert memory_files() == before
