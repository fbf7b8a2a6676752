# SPDX-License-Identifier: BSD-3-Clause
"""What a vector keeps, loses and waits for (docs/spec/registers.md 5, docs/spec/descriptors.md 11).

No test here measures time. An interrupt that must not wait is there when the write that enables its
vector returns; one that waited for the slowest interval would not be.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.softvf.dataplane.plane_rig import Rig, Vf, mac, rig, wait_for

FRAME = mac(1) + mac(1) + b"\x88\xb5" + bytes(60)
INTENA, SWINT, ITR_NONE = 1, 4, 3 << 3
SLOWEST = 4080  # 8160 us


@contextmanager
def wired(vector: int = 1) -> Iterator[tuple[Rig, Vf, int]]:
    """A VF with a running queue, and the eventfd of one vector, to which nothing is mapped yet."""
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    try:
        with rig(plane={"writeback": "hardware"}) as r:
            r.plane.set_eventfd(0, vector, fd)
            r.plane.set_msix(0, True, [False] * 2)
            r.vfs[0].open()
            yield r, r.vfs[0], fd
    finally:
        os.close(fd)


def ticks(fd: int) -> int:
    try:
        return os.eventfd_read(fd)
    except BlockingIOError:
        return 0


def give_cause(r: Rig, vf: Vf) -> None:
    """Two frames, so that whole lines are written back whatever the vector does."""
    before = r.plane.queue_stats(0, 0, False)[0]
    vf.send(FRAME, FRAME)
    wait_for(lambda: r.plane.queue_stats(0, 0, False)[0] == before + 2, "consumed")
    vf.take()
    vf.take()


@pytest.mark.parametrize(("rx", "tx"), [(0, SLOWEST), (SLOWEST, 0)])
def test_the_interval_that_ends_first_counts(rx: int, tx: int) -> None:
    with wired() as (r, vf, fd):
        r.plane.map_vector(0, 1, 1, 1, 0, 1)
        r.plane.write_itr(0, 1, 0, rx)
        r.plane.write_itr(0, 1, 1, tx)
        for _ in range(20):
            give_cause(r, vf)
            r.plane.write_dyn_ctl(0, 1, INTENA | ITR_NONE)
            assert ticks(fd) == 1


def test_the_mailbox_waits_for_no_interval() -> None:
    with wired(vector=0) as (r, _, fd):
        r.plane.map_vector(0, 0, 1, 1, 0, 1)
        for itr in range(3):
            r.plane.write_itr(0, 0, itr, SLOWEST)
        for _ in range(20):
            r.plane.write_dyn_ctl(0, 0, INTENA | ITR_NONE)
            r.plane.raise_mailbox(0)
            assert ticks(fd) == 1


def test_a_cause_outlives_writes_that_do_not_enable() -> None:
    with wired() as (r, vf, fd):
        r.plane.map_vector(0, 1, 1, 1, 0, 1)
        give_cause(r, vf)
        for interval in (0, 5, 0):
            r.plane.write_dyn_ctl(0, 1, interval << 5)
        assert ticks(fd) == 0
        r.plane.write_dyn_ctl(0, 1, INTENA | ITR_NONE)
        assert ticks(fd) == 1


def test_a_reset_keeps_mask_bits_and_eventfds() -> None:
    """They are PCI's, and not the function's (docs/spec/vfio-user.md 5)."""
    with wired() as (r, _, fd):
        r.plane.set_msix(0, True, [False, True])
        r.plane.reset_vf(0)
        r.plane.write_dyn_ctl(0, 1, INTENA | SWINT | ITR_NONE)
        assert (ticks(fd), r.plane.pending(0)) == (0, 2)
        r.plane.set_msix(0, True, [False, False])
        assert (ticks(fd), r.plane.pending(0)) == (1, 0)


def test_an_interrupt_of_before_a_reset_does_not_come_after_it() -> None:
    with wired() as (r, vf, fd):
        r.plane.map_vector(0, 1, 1, 1, 0, 1)
        r.plane.set_msix(0, True, [False, True])
        give_cause(r, vf)
        r.plane.write_dyn_ctl(0, 1, INTENA | ITR_NONE)
        assert r.plane.pending(0) == 2
        r.plane.reset_vf(0)
        assert r.plane.pending(0) == 0
        r.plane.set_msix(0, True, [False, False])
        r.plane.write_dyn_ctl(0, 1, INTENA | ITR_NONE)
        assert ticks(fd) == 0
        assert r.plane.read_dyn_ctl(0, 1) == INTENA
