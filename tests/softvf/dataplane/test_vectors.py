# SPDX-License-Identifier: BSD-3-Clause
"""Interrupts and the write-back that goes with them.

The rules are those of docs/spec/registers.md 5 and docs/spec/descriptors.md 11.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.softvf.dataplane.plane_rig import (
    EOP,
    ICRC,
    IOVA,
    RS,
    TX_RING,
    Rig,
    Vf,
    data,
    mac,
    rig,
    wait_for,
)

FRAME = mac(1) + mac(1) + b"\x88\xb5" + bytes(60)
INTENA, CLEARPBA, SWINT, ITR_NONE = 1, 2, 4, 3 << 3
WB_ON_ITR, INTENA_MSK = 1 << 30, 1 << 31


def ticks(fd: int) -> int:
    """Interrupts since the last look."""
    try:
        return os.eventfd_read(fd)
    except BlockingIOError:
        return 0


@contextmanager
def vectored(
    writeback: str = "hardware", rx_itr: int = 0, tx_itr: int = 1, **plane: Any
) -> Iterator[tuple[Rig, Vf, int]]:
    """A VF whose queue 0 is served by vector 1; yields the vector's eventfd too."""
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    try:
        with rig(plane={"writeback": writeback} | plane) as r:
            vf = r.vfs[0]
            r.plane.set_eventfd(0, 1, fd)
            r.plane.set_msix(0, True, [False, False])
            r.plane.map_vector(0, 1, 1, 1, rx_itr, tx_itr)
            vf.open()
            yield r, vf, fd
    finally:
        os.close(fd)


def sent(r: Rig, vf: Vf, count: int) -> None:
    """Sends frames and waits until the device has consumed them, visible or not."""
    before = r.plane.queue_stats(0, 0, False)[0]
    vf.send(*[FRAME] * count)
    wait_for(lambda: r.plane.queue_stats(0, 0, False)[0] == before + count, "consumed")


def test_incomplete_lines_stay_invisible_without_interrupt() -> None:
    with vectored() as (r, vf, fd):
        for _ in range(3):
            sent(r, vf, 1)
            assert not any(vf.done(s) for s in range(4)), "Tx: 4 descriptors of 16 bytes a line"
        sent(r, vf, 2)
        assert vf.filled() == 4, "Rx: 2 descriptors of 32 bytes a line"
        assert [vf.done(s) for s in range(5)] == [True] * 4 + [False]
        time.sleep(0.02)
        assert vf.filled() == 4, "for ever"
        assert not vf.done(4)
        assert ticks(fd) == 0
        sent(r, vf, 3)
        assert vf.filled() == 8
        assert vf.done(7)


@pytest.mark.parametrize("group", [1, 4, 8])
def test_other_write_back_groups(group: int) -> None:
    with vectored(wb_group=group) as (r, vf, _):
        for total in range(1, 20):
            sent(r, vf, 1)
            assert vf.filled() == total - total % group


def test_tx_lines_after_a_lap_of_the_ring() -> None:
    """63 descriptors in one doorbell, from the second line round to the first."""
    with vectored() as (r, vf, _):
        sent(r, vf, 4)
        assert vf.done(3)
        before = r.plane.queue_stats(0, 0, False)[0]
        vf.post([data(vf.put(FRAME), len(FRAME), EOP | ICRC | RS) for _ in range(63)])
        wait_for(lambda: r.plane.queue_stats(0, 0, False)[0] == before + 63, "consumed")
        assert vf.tx_tail == 3
        assert all(vf.done(s) for s in range(3, 64)), "whole lines are visible"
        assert not any(vf.done(s) for s in range(3)), "the line that is not whole is not"


def test_immediate_mode_hides_nothing() -> None:
    with vectored("immediate") as (r, vf, _):
        sent(r, vf, 1)
        wait_for(lambda: vf.filled() == 1 and vf.done(0), "visible")


def test_enabled_vector_fires_once_and_masks_itself() -> None:
    with vectored() as (r, vf, fd):
        r.plane.write_dyn_ctl(0, 1, INTENA | ITR_NONE)
        assert r.plane.read_dyn_ctl(0, 1) == INTENA
        sent(r, vf, 1)
        wait_for(lambda: ticks(fd) == 1, "an interrupt")
        assert vf.filled() == 1, "written back with it"
        assert vf.done(0)
        assert r.plane.read_dyn_ctl(0, 1) == 0, "auto-mask"
        sent(r, vf, 1)
        time.sleep(0.01)
        assert ticks(fd) == 0
        assert vf.filled() == 2, "its line is whole"


@pytest.mark.parametrize("value", [INTENA | ITR_NONE, INTENA | CLEARPBA | ITR_NONE])
def test_a_cause_that_came_while_masked_fires_on_enable(value: int) -> None:
    with vectored() as (r, vf, fd):
        sent(r, vf, 1)
        assert ticks(fd) == 0
        r.plane.write_dyn_ctl(0, 1, value)
        assert ticks(fd) == 1, "before the write returns"
        assert vf.filled() == 1


def test_itr_moderates() -> None:
    with vectored() as (r, vf, fd):
        r.plane.write_dyn_ctl(0, 1, INTENA | 1 << 3 | 4080 << 5)  # ITR1 = Tx: 8160 us
        r.plane.write_dyn_ctl(0, 1, INTENA | 0 << 3 | 4080 << 5)
        assert r.plane.read_itr(0, 1, 0) == r.plane.read_itr(0, 1, 1) == 4080
        # A busy machine may keep two interrupts apart, but hardly twenty.
        start = time.monotonic_ns()
        sent(r, vf, 1)
        wait_for(lambda: ticks(fd), "the first comes at once: nothing came before it")
        for intervals in range(1, 21):
            r.plane.write_dyn_ctl(0, 1, INTENA | ITR_NONE)
            sent(r, vf, 1)
            wait_for(lambda: ticks(fd), "the next")
            lasted = time.monotonic_ns() - start
            assert lasted >= intervals * 8_160_000, "an interval lies between any two"


def test_wb_on_itr_shows_completions_without_interrupt() -> None:
    with vectored() as (r, vf, fd):
        r.plane.write_dyn_ctl(0, 1, WB_ON_ITR | 2 << 5)  # DPDK: 4 us on ITR0
        assert r.plane.read_dyn_ctl(0, 1) == WB_ON_ITR
        for total in range(1, 8):
            sent(r, vf, 1)
            wait_for(partial(vf.has_dd, total - 1), "written back on ITR")
            wait_for(partial(vf.done, total - 1), "written back on ITR")
        assert ticks(fd) == 0


def test_wb_on_itr_is_not_on_every_card() -> None:
    with vectored(wb_on_itr=False) as (r, vf, _):
        r.plane.write_dyn_ctl(0, 1, WB_ON_ITR | 2 << 5)
        sent(r, vf, 1)
        time.sleep(0.01)
        assert vf.filled() == 0
        assert r.plane.read_dyn_ctl(0, 1) == 0


def test_software_interrupt_forces_write_back() -> None:
    with vectored() as (r, vf, fd):
        sent(r, vf, 1)
        r.plane.write_dyn_ctl(0, 1, 0x0100001D)  # Linux's kick: INTENA, SWINT, SW_ITR
        assert ticks(fd) == 1
        assert vf.filled() == 1
        r.plane.write_dyn_ctl(0, 1, SWINT | ITR_NONE)
        assert ticks(fd) == 0, "without INTENA it stays pending"
        r.plane.write_dyn_ctl(0, 1, INTENA | ITR_NONE)
        assert ticks(fd) == 1


def test_intena_msk_leaves_intena_alone() -> None:
    with vectored() as (r, _, __):
        r.plane.write_dyn_ctl(0, 1, INTENA | ITR_NONE)
        r.plane.write_dyn_ctl(0, 1, INTENA_MSK | 7 << 5)
        assert r.plane.read_dyn_ctl(0, 1) == INTENA
        assert r.plane.read_itr(0, 1, 0) == 7
        r.plane.write_dyn_ctl(0, 1, INTENA_MSK | INTENA | ITR_NONE)
        r.plane.write_dyn_ctl(0, 1, ITR_NONE)
        assert r.plane.read_dyn_ctl(0, 1) == 0


@pytest.mark.parametrize("e810", [True, False])
def test_itrn_page_is_a_view_of_the_same_interval(e810: bool) -> None:
    with vectored(e810_itr=e810) as (r, vf, fd):
        at = 0x2800 + (4 * 1 if e810 else 64 * 1)  # ITR1 of vector 1
        struct.pack_into("<I", vf.bar, at, 50)
        assert r.plane.read_itr(0, 1, 1) == 50
        r.plane.write_dyn_ctl(0, 1, INTENA | 1 << 3 | 60 << 5)
        assert struct.unpack_from("<I", vf.bar, at) == (60,)
        sent(r, vf, 1)
        wait_for(lambda: ticks(fd), "an interrupt")
        assert r.plane.read_itr(0, 1, 1) == 60
        far = 0x2800 + (4 * 2 + 12 * 3 if e810 else 64 * 2 + 4 * 3)  # ITR2 of vector 4
        r.plane.write_itr(0, 4, 2, 7)
        assert struct.unpack_from("<I", vf.bar, far) == (7,)


def test_pending_bits_without_a_way_out() -> None:
    with vectored() as (r, vf, fd):
        r.plane.set_msix(0, True, [False, True])
        r.plane.write_dyn_ctl(0, 1, INTENA | ITR_NONE)
        sent(r, vf, 1)
        wait_for(lambda: r.plane.pending(0) == 2, "pending bit of vector 1")
        assert ticks(fd) == 0
        r.plane.set_msix(0, True, [False, False])
        assert ticks(fd) == 1, "it fires when it is unmasked"
        assert r.plane.pending(0) == 0
        r.plane.set_msix(0, False)
        r.plane.write_dyn_ctl(0, 1, INTENA | SWINT | ITR_NONE)
        assert r.plane.pending(0) == 2
        r.plane.write_dyn_ctl(0, 1, CLEARPBA | ITR_NONE)
        assert r.plane.pending(0) == 0
        r.plane.set_msix(0, True)
        assert ticks(fd) == 0, "CLEARPBA dropped it"


def test_eventfd_that_comes_late() -> None:
    with rig() as r:
        fd = os.eventfd(0, os.EFD_NONBLOCK)
        r.plane.set_msix(0, True)
        r.plane.write_dyn_ctl(0, 1, INTENA | SWINT | ITR_NONE)
        assert r.plane.pending(0) == 2
        r.plane.set_eventfd(0, 1, fd)
        assert ticks(fd) == 1
        r.plane.set_eventfd(0, 1, None)
        r.plane.write_dyn_ctl(0, 1, INTENA | SWINT | ITR_NONE)
        assert ticks(fd) == 0
        os.close(fd)


def test_mailbox_cause_outlives_a_write_back() -> None:
    """Queues on vector 0 in poll mode (X710): WB_ON_ITR must not swallow the mailbox's cause."""
    with rig(plane={"writeback": "hardware"}) as r:
        vf, fd = r.vfs[0], os.eventfd(0, os.EFD_NONBLOCK)
        r.plane.set_eventfd(0, 0, fd)
        r.plane.set_msix(0, True)
        r.plane.map_vector(0, 0, 1, 1, 0, 0)
        vf.open()
        r.plane.write_dyn_ctl(0, 0, WB_ON_ITR | 1 << 5)
        r.plane.raise_mailbox(0)
        sent(r, vf, 1)
        wait_for(lambda: vf.filled() == 1, "written back")
        assert ticks(fd) == 0
        r.plane.write_dyn_ctl(0, 0, INTENA | CLEARPBA | ITR_NONE)
        assert ticks(fd) == 1
        r.plane.raise_mailbox(0)
        assert ticks(fd) == 0, "auto-mask"
        os.close(fd)


def test_rx_polling_keeps_vector_0_enabled() -> None:
    with rig() as r:
        fd = os.eventfd(0, os.EFD_NONBLOCK)
        r.plane.set_eventfd(0, 0, fd)
        r.plane.set_msix(0, True)
        r.plane.set_rx_polling(0, True)
        r.plane.write_dyn_ctl(0, 0, INTENA | ITR_NONE)
        for _ in range(3):
            r.plane.raise_mailbox(0)
            assert ticks(fd) == 1
        assert r.plane.read_dyn_ctl(0, 0) == INTENA
        os.close(fd)


def test_vectors_are_mapped_before_queues_are_configured() -> None:
    """CONFIG_IRQ_MAP first, as Linux does; and a queue that no vector serves disturbs none."""
    with vectored() as (r, vf, fd):
        r.plane.disable_queue(0, 0, True)
        r.plane.configure_rx(0, 0, IOVA + vf.rx_ring(0), 64, 2048, 9728, 22)
        vf.rx_tail(63)
        r.plane.enable_queue(0, 0, True)
        r.plane.write_dyn_ctl(0, 1, INTENA | ITR_NONE)
        vf.post([data(vf.put(FRAME), len(FRAME), EOP | ICRC)])  # no RS: only Rx has a cause
        wait_for(lambda: ticks(fd), "an interrupt for Rx")
        r.plane.map_vector(0, 1, 0, 0, 0, 0)
        r.plane.write_dyn_ctl(0, 0, INTENA | ITR_NONE)
        r.plane.write_dyn_ctl(0, 1, INTENA | ITR_NONE)
        sent(r, vf, 4)
        assert ticks(fd) == 0
        assert r.plane.pending(0) == 0


def test_disable_makes_everything_visible() -> None:
    with vectored() as (r, vf, _):
        sent(r, vf, 3)
        r.plane.disable_queue(0, 0, True)
        r.plane.disable_queue(0, 0, False)
        assert vf.filled() == 3
        assert vf.done(2)
        words = struct.unpack_from("<Q", vf.memory, TX_RING + 2 * 16 + 8)
        assert words == (15,)
