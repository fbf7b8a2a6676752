# SPDX-License-Identifier: BSD-3-Clause
"""No thread, no memory for one: open says so, and what it had made is taken back."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import iavfio
from iavfio.datapath.pool import Pool
from iavfio.errors import IavfioError
from iavfio.softvf.launch import SoftPf
from iavfio.stats import known_ports


@pytest.fixture(scope="module")
def pf() -> Iterator[SoftPf]:
    with iavfio.softvf(vfs=1) as pf:
        yield pf


def descriptors() -> int:
    gc.collect()
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_open_without_a_thread_left_leaves_nothing(
    pf: SoftPf, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool(1024, huge="never")
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("iavfio-"):
            raise RuntimeError("can't start new thread")
        start(thread)

    pf.open(0, pool=pool).close()
    before = descriptors()
    for _ in range(5):
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(IavfioError, match="thread"):
                pf.open(0, pool=pool)
        assert known_ports() == []
        assert pool.idle == pool.size
    assert descriptors() <= before + 1
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
