# SPDX-License-Identifier: BSD-3-Clause
"""The rate that the host gives a VF (docs/spec/pf-dialects.md 5): its queues wait and lose nothing.

Nothing here says how soon a frame comes, which the machine decides; only how soon it must not.
"""

from __future__ import annotations

import time

import pytest

from tests.softvf.dataplane.plane_rig import IIPT4_CSUM, TCP, context, mac, rig, wait_for

BURST_S = 0.002  # what may pass at once, in seconds of the rate
FCS = 4


def frame(to: int, sender: int, size: int = 1514) -> bytes:
    return (mac(to) + mac(sender) + b"\x88\xb5").ljust(size, b".")


def bits(frames: int, size: int = 1514) -> int:
    return 8 * frames * (size + FCS)


@pytest.mark.parametrize(("mbps", "size"), [(20, 1514), (100, 1514), (20, 60)])
def test_no_more_passes_than_the_rate_and_a_burst(mbps: int, size: int) -> None:
    count = 500
    with rig(vfs=2, ring=512) as r:
        a, b = r.vfs
        a.open(rate=mbps)
        b.open()
        began = time.monotonic()
        a.send(*[frame(2, 1, size)] * count)
        for _ in range(count):
            assert len(b.take().data) == size
        took = time.monotonic() - began
    overdrawn = bits(1, size)
    assert took >= (bits(count, size) - overdrawn) / (mbps * 1e6) - BURST_S


def test_a_vf_that_waits_for_its_rate_holds_nobody_up_and_loses_nothing() -> None:
    """At 1 Mbit/s the first VF's frames would take 6 s. The host takes the rate back before."""
    count = 500
    with rig(vfs=4, ring=512) as r:
        a, b, c, d = r.vfs
        for vf in r.vfs:
            vf.open(**({"rate": 1} if vf is a else {}))
        a.send(*[frame(2, 1)] * count)
        c.send(frame(4, 3))
        assert d.take().data == frame(4, 3)
        assert a.stat("tx_uc") < count
        a.publish(rate=0)
        for _ in range(count):
            assert b.take().data == frame(2, 1)
        assert (a.stat("tx_uc"), a.stat("tx_error"), b.stat("rx_discard")) == (count, 0, 0)


@pytest.mark.parametrize("before", [0, 1000])
def test_what_was_sent_before_a_rate_is_no_debt(before: int) -> None:
    """72 Mbit without a rate, or by a higher one: at 1 Mbit/s a debt would last for a minute."""
    with rig(vfs=2, ring=512, uplink="none") as r:
        a, b = r.vfs
        a.open(rate=before)
        b.open()
        for _ in range(2):
            a.send(*[frame(9, 1, 9000)] * 500)
            a.settle()
        a.publish(rate=0)
        a.publish(rate=1)
        a.send(frame(2, 1, 60))
        assert b.take().data == frame(2, 1, 60)


@pytest.mark.parametrize("mbps", [1, 10_000, (1 << 32) - 1])
def test_any_rate_lets_frames_pass(mbps: int) -> None:
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open(rate=mbps)
        b.open()
        a.send(*[frame(2, 1, 60)] * 30)
        assert [b.take().data for _ in range(30)] == [frame(2, 1, 60)] * 30


def test_a_reset_drops_what_waits_and_keeps_the_rate() -> None:
    with rig(vfs=2, ring=512) as r:
        a, b = r.vfs
        a.open(rate=1)
        b.open()
        a.send(*[frame(2, 1)] * 500)
        wait_for(lambda: a.stat("tx_uc") > 0, "the first frame")
        r.plane.reset_vf(0)
        sent = a.stat("tx_uc")
        assert sent < 500
        a.map_all()
        a.start()
        began = time.monotonic()
        a.send(*[frame(2, 1, 60)] * 100)
        a.settle()
        assert time.monotonic() - began >= (bits(100, 60) - bits(1, 60)) / 1e6 - BURST_S
        assert a.stat("tx_uc") == sent + 100


def test_the_segments_of_tso_count_each() -> None:
    ip = bytes.fromhex("45000000000040004006") + bytes(10)
    tcp = bytes(12) + b"\x50\x10" + bytes(6)
    payload = bytes(15_000)
    whole = mac(2) + mac(1) + b"\x08\x00" + ip + tcp + payload
    lengths = {"maclen": 14, "iplen": 20, "l4len": 20}
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open(rate=20)
        b.open()
        began = time.monotonic()
        for _ in range(2):
            segmented = context(tso_len=len(payload), mss=1000)
            a.post([segmented, a.frame(whole, IIPT4_CSUM | TCP, **lengths)])
        taken = sum(len(b.take().data) + FCS for _ in range(30))
        took = time.monotonic() - began
    assert taken == 30 * (54 + 1000 + FCS)
    # The first packet may overdraw the burst by all of its segments; the second waits for them.
    assert took >= 8 * (taken / 2) / 20e6 - BURST_S
