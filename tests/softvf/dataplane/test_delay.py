# SPDX-License-Identifier: BSD-3-Clause
"""The delay that the host adds to what a VF sends.

A frame never comes before its time; how soon after it, the machine decides.
"""

from __future__ import annotations

import time

import pytest

from tests.softvf.dataplane.plane_rig import (
    IIPT4_CSUM,
    TCP,
    TX_BUFFERS,
    context,
    mac,
    rig,
    wait_for,
)

LONG_US = 100_000


def frame(to: int, sender: int, size: int = 60, number: int = 0) -> bytes:
    head = mac(to) + mac(sender) + b"\x88\xb5" + number.to_bytes(4, "big")
    return head.ljust(size, b".")


@pytest.mark.parametrize("delay_us", [1, 250, 20_000])
def test_a_frame_takes_its_delay_and_is_done_for_its_driver_before(delay_us: int) -> None:
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open(delay_us=delay_us)
        b.open()
        for number in range(5):
            began = time.monotonic_ns()
            a.send(frame(2, 1, 60, number))
            assert b.take().data == frame(2, 1, 60, number)
            assert time.monotonic_ns() - began >= delay_us * 1000


def test_descriptors_are_written_back_while_their_frames_are_under_way() -> None:
    """Their buffers may be written anew: what comes is what was sent."""
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open(delay_us=LONG_US)
        b.open()
        frames = [frame(2, 1, 60, number) for number in range(40)]
        a.send(*frames)
        a.settle()
        a.memory[TX_BUFFERS : a.free] = bytes(a.free - TX_BUFFERS)
        assert [b.take().data for _ in frames] == frames
        assert (a.stat("tx_uc"), a.stat("tx_error"), b.stat("rx_discard")) == (40, 0, 0)


def test_others_are_not_held_up_and_what_comes_back_is_not_delayed_twice() -> None:
    """C's frame passes while A's are under way, and what B answers has no delay."""
    with rig(vfs=3) as r:
        a, b, c = r.vfs
        a.open(delay_us=LONG_US)
        b.open()
        c.open()
        began = time.monotonic_ns()
        a.send(frame(2, 1), frame(1, 1))
        c.send(frame(2, 3))
        assert [b.take().data for _ in range(2)] == [frame(2, 3), frame(2, 1)]
        assert time.monotonic_ns() - began >= LONG_US * 1000
        assert a.take().data == frame(1, 1), "the wire's loop"
        assert a.exchange(frame(1, 1))[0].data == frame(1, 1)


def test_a_delay_that_is_taken_back_lets_nothing_overtake() -> None:
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open(delay_us=LONG_US)
        b.open()
        began = time.monotonic_ns()
        a.send(frame(2, 1, 60, 0))
        a.settle()
        a.publish(delay_us=0)
        a.send(frame(2, 1, 60, 1))
        assert [b.take().data for _ in range(2)] == [frame(2, 1, 60, n) for n in range(2)]
        assert time.monotonic_ns() - began >= LONG_US * 1000
        a.send(frame(2, 1, 60, 2))
        assert b.take().data == frame(2, 1, 60, 2)


def test_a_full_way_makes_the_queue_wait_and_loses_nothing() -> None:
    """Some 900 frames of 9000 bytes fit; all others wait in the ring until room is there."""
    count, size = 400, 9000
    with rig(vfs=1, ring=512, uplink="none") as r:
        (a,) = r.vfs
        a.open(delay_us=LONG_US)
        for _ in range(5):
            a.send(*[frame(9, 1, size)] * count)
            under_way, gone = a.plane.queue_stats(0, 0, False)[0], a.stat("tx_uc")
            assert (under_way - gone) * size < 16 << 20
            a.settle()
        wait_for(lambda: a.stat("tx_uc") == 5 * count, "all of them")
        assert a.stat("tx_error") == 0


def test_a_reset_of_the_sender_forgets_what_is_under_way() -> None:
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open(delay_us=LONG_US)
        b.open()
        a.send(*[frame(2, 1, 60, 7)] * 20)
        a.settle()
        r.plane.reset_vf(0)
        gone = a.stat("tx_uc")
        a.map_all()
        a.start()
        a.send(frame(2, 1, 60, 8))
        came = [b.take().data for _ in range(gone + 1)]
        assert came == [frame(2, 1, 60, 7)] * gone + [frame(2, 1, 60, 8)]


def test_what_arrives_at_a_receiver_that_has_gone_is_dropped_as_any() -> None:
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open(delay_us=LONG_US)
        b.open()
        a.send(frame(2, 1))
        a.settle()
        r.plane.reset_vf(1)
        r.plane.dma_clear(1)
        b.memory[:] = bytes(len(b.memory))
        wait_for(lambda: a.stat("tx_uc"), "the frame's time")
        wait_for(lambda: b.stat("rx_discard"), "the drop")
        assert b.memory[:] == bytes(len(b.memory))


def test_what_is_under_way_when_the_sender_may_not_send_any_more_is_an_error() -> None:
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open(delay_us=LONG_US)
        b.open()
        a.send(frame(2, 1))
        a.settle()
        a.publish(delay_us=LONG_US, link_up=False)
        wait_for(lambda: a.stat("tx_error") or a.stat("tx_uc"), "the frame's time")
        assert b.filled() == a.stat("tx_uc")


def test_rules_of_the_switch_hold_for_delayed_frames_and_segments() -> None:
    """The spoof check, a port VLAN that goes in and comes off, and TSO."""
    ip = bytes.fromhex("45000000000040004006") + bytes(10)
    whole = mac(2) + mac(1) + b"\x08\x00" + ip + bytes(12) + b"\x50\x10" + bytes(6) + bytes(5000)
    lengths = {"maclen": 14, "iplen": 20, "l4len": 20}
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open(delay_us=1000, port_vlan=7)
        b.open(port_vlan=7)
        a.send(frame(2, 9), frame(2, 1, 60, 1))
        assert b.take().data == frame(2, 1, 60, 1)
        assert a.stat("tx_error") == 1
        segmented = context(tso_len=5000, mss=1000)
        a.post([segmented, a.frame(whole, IIPT4_CSUM | TCP, **lengths)])
        assert [len(b.take().data) for _ in range(5)] == [1054] * 5
