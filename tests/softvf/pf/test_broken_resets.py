# SPDX-License-Identifier: BSD-3-Clause
"""Resets that go wrong on request: from the next one on, until they are cleared."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

import pytest

from iavfio.errors import ConfigError
from iavfio.softvf.pf.broken_resets import DESCRIPTORS, HOW, LATE
from tests.softvf.pf.pf_rig import CARDS, Rig, config_queues, pair, rig, select

RING, BUFFERS, SIZE = 0x20000, 0x40000, 0x100000
RESETS: dict[str, Callable[[Rig], object]] = {
    "own": lambda pf: pf.say(2),
    "flr": lambda pf: pf.pf.flr(0),
    "administrator": lambda pf: pf.pf.control({"command": "reset", "vf": 0, "notify": False}),
}
each_card = pytest.mark.parametrize("card", CARDS)
each_reset = pytest.mark.parametrize("reset", RESETS.values(), ids=RESETS)


def fault(pf: Rig, kind: str = "reset", **more: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = pf.pf.control({"command": "fault", "vf": 0, "kind": kind} | more)
    return found


def told(pf: Rig) -> tuple[int, ...]:
    status, payload = pf.ask(15, select(pf.vsi, 0, 0))
    assert status == 0
    return struct.unpack(f"<{len(payload) // 8}Q", payload)[:12]


def settled(pf: Rig) -> None:
    pf.clock.advance(1000)
    assert pf.hardware[0].rstat[-1] == 2


@each_card
@each_reset
def test_a_reset_that_hangs_ends_with_the_fault(card: str, reset: Callable[[Rig], object]) -> None:
    with rig(card) as pf:
        pf.negotiate()
        assert fault(pf, how="hang") == {"waiting": ["reset, hang"]}
        assert pf.snapshot()["state"] == "active", "nothing happens before a reset"
        for _ in range(2):  # another one does not help
            reset(pf)
            pf.clock.advance(60_000)
            assert pf.snapshot()["state"] == "resetting" and 2 not in pf.hardware[0].rstat[1:]
        fault(pf, "clear")
        settled(pf)
        assert pf.snapshot()["state"] == "init" and pf.snapshot()["faults"] == []
        reset(pf)
        settled(pf)


@each_card
@each_reset
def test_interrupts_are_held_back_from_the_reset_on(
    card: str, reset: Callable[[Rig], object]
) -> None:
    with rig(card) as pf:
        pf.negotiate()
        fault(pf, how="mute")
        assert not pf.hardware[0].muted
        reset(pf)
        settled(pf)
        assert pf.hardware[0].muted
        fault(pf, "clear")
        assert not pf.hardware[0].muted


@each_card
@each_reset
def test_msix_is_lost_by_each_reset_before_the_vf_is_active(
    card: str, reset: Callable[[Rig], object]
) -> None:
    with rig(card) as pf:
        pf.negotiate()
        fault(pf, how="msix")
        assert pf.hardware[0].msix_losses == 0
        for count in (1, 2):
            reset(pf)
            settled(pf)
            assert pf.hardware[0].msix_losses == count
        fault(pf, "clear")
        reset(pf)
        settled(pf)
        assert pf.hardware[0].msix_losses == 2


@each_card
@each_reset
def test_counters_run_backwards_from_the_reset_on(
    card: str, reset: Callable[[Rig], object]
) -> None:
    with rig(card) as pf:
        pf.negotiate()
        fault(pf, how="counters")
        assert told(pf) == told(pf) == (0,) * 12
        reset(pf)
        settled(pf)
        pf.negotiate()
        first, second = told(pf), told(pf)
        assert all(b == a - 1 for a, b in zip(first, second, strict=True))
        fault(pf, "clear")
        assert told(pf) == (0,) * 12


@each_card
@each_reset
def test_buffers_of_before_are_written_while_no_queue_is_enabled(
    card: str, reset: Callable[[Rig], object]
) -> None:
    with rig(card) as pf:
        fd = os.memfd_create("client")
        os.truncate(fd, SIZE)
        try:
            pf.plane.dma_map(0, fd, 0, 0, SIZE, True, True)
            pf.plane.set_bus_master(0, True)
            done = 5  # written back: its words are the device's, not an address
            for i in range(DESCRIPTORS):
                words = struct.pack("<QQQQ", BUFFERS + 2048 * i, int(i == done), 0, 0)
                os.pwrite(fd, words, RING + 32 * i)
            pf.negotiate()
            assert pf.status(6, config_queues(pf.vsi, pair(pf.vsi, 0, rx_ring=RING))) == 0
            fault(pf, how="dma")
            pf.clock.advance(100)
            assert os.pread(fd, 64, BUFFERS) == bytes(64), "nothing before the reset"
            reset(pf)
            settled(pf)
            for i in range(DESCRIPTORS):
                expected = bytes(64) if i == done else LATE
                assert os.pread(fd, 64, BUFFERS + 2048 * i) == expected, i
            fault(pf, "clear")
            os.pwrite(fd, bytes(64), BUFFERS)
            pf.clock.advance(100)
            assert os.pread(fd, 64, BUFFERS) == bytes(64) and not pf.clock.waiting
        finally:
            os.close(fd)


@each_card
def test_memory_that_is_gone_is_no_error(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        assert pf.status(6, config_queues(pf.vsi, pair(pf.vsi, 0, rx_ring=RING))) == 0
        fault(pf, how="dma")
        pf.say(2)
        settled(pf)
        assert pf.clock.waiting == 1
        fault(pf, "clear")
        assert not pf.clock.waiting


def test_one_way_takes_the_place_of_another() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        for how in HOW:
            assert fault(pf, how=how) == {"waiting": [f"reset, {how}"]}
            pf.say(2)
            pf.clock.advance(1000)
        assert not pf.hardware[0].muted
        fault(pf, "clear")
        settled(pf)
        with pytest.raises(ConfigError, match='"how" must be one of hang'):
            fault(pf, how="nosuch")
