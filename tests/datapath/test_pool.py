# SPDX-License-Identifier: BSD-3-Clause
"""Where the buffers of a pool lie, and what a device that writes all over them can do: nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import iavfio
from iavfio.datapath.pool import ROOM, STRIDE, Pool
from iavfio.errors import VfioError
from tests.port.rig import healthy, works

HUGE = 2 << 20
FREE = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
MOST = 64  # huge pages; on a host with more free ones the test would take too much of them


def beyond_what_is_free() -> int:
    """Buffers of a pool that needs one huge page more than the host has free."""
    try:
        free = int(FREE.read_text(encoding="ascii"))
    except OSError:
        free = 0
    if free > MOST:
        pytest.skip(f"{free} huge pages are free")
    return (free + 1) * HUGE // STRIDE


def test_without_huge_pages_small_ones_do_or_the_pool_is_refused() -> None:
    """docs/spec/reliability.md F62."""
    buffers = beyond_what_is_free()
    pool = Pool(buffers)
    needed = -(-buffers * STRIDE // HUGE)
    assert pool.memory.page_size == 4096
    assert pool.memory.fallback.endswith(f"huge pages of 2 MiB are free, {needed} are needed")
    assert healthy(pool)
    with iavfio.softvf(vfs=1) as pf, pf.open(0, pool=pool) as port:
        port.configure(queues=1, ring=128)
        port.start(wait_link=5)
        works(port)
    assert healthy(pool)
    with pytest.raises(VfioError, match="no huge pages") as caught:
        Pool(buffers, huge="require")
    assert f"vm.nr_hugepages={needed}" in str(caught.value)


@pytest.mark.parametrize("value", [0x00, 0xFF, 0xA5])
def test_nothing_that_a_device_writes_into_buffers_is_bookkeeping(value: int) -> None:
    """docs/spec/reliability.md S3: every byte that DMA reaches is overwritten, held and idle."""
    pool = Pool(1024, huge="never")
    frames = [bytes([n % 251]) * (64 + n) for n in range(300)]
    with iavfio.softvf(vfs=1) as pf, pf.open(0, pool=pool) as port:
        port.configure(queues=1, ring=128)
        port.start(wait_link=5)
        works(port)
        with port.tx[0].build(frames) as burst:
            handles = burst.handles.copy()
            idle = pool.idle
            pool.view[:] = value
            assert pool.idle == idle
            assert burst.handles.tolist() == handles.tolist()
            assert burst.lengths.tolist() == [len(frame) for frame in frames]
            assert all(set(bytes(packet)) == {value} for packet in burst)
        pool.view[:] = value
        with port.tx[0].build([bytes(ROOM // 2)] * pool.idle) as every:
            numbers = every.handles & np.uint64(0xFFFFFFFF)
            assert len(np.unique(numbers)) == len(every) == numbers.size
        works(port)
    assert healthy(pool)
