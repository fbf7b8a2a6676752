# SPDX-License-Identifier: BSD-3-Clause
"""Rings: fetch, write-back, chains, doorbells (docs/spec/descriptors.md 1, 4-7, 11)."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable

import pytest

from tests.softvf.dataplane.plane_rig import (
    EOP,
    ICRC,
    IOVA,
    QRX_TAIL,
    QTX_TAIL,
    RS,
    TX_RING,
    context,
    data,
    mac,
    rig,
    wait_for,
)

FORMATS = [1, 2, 22]


def frame(size: int, number: int = 0, to: int = 1, sender: int = 1) -> bytes:
    body = bytes((number + i) & 0xFF for i in range(size - 14))
    return mac(to) + mac(sender) + b"\x88\xb5" + body


@pytest.mark.parametrize("rxdid", FORMATS)
def test_frame_comes_back(rxdid: int) -> None:
    with rig(rxdid=rxdid) as r:
        vf = r.vfs[0]
        vf.open()
        for size in (60, 61, 64, 128, 255, 256, 257, 1514, 2048):
            (got,) = vf.exchange(frame(size, size))
            assert got.data == frame(size, size)
            assert got.ptype == 1
            assert got.hash is None
            assert got.verdict == ""
            assert not got.loopback, "it came back from the wire"
        assert r.plane.events() == []


def test_flex_words_bit_by_bit() -> None:
    with rig(rxdid=22) as r:
        vf = r.vfs[0]
        vf.open()
        (got,) = vf.exchange(frame(100))
        assert got.words == (22 | 1 << 16 | 100 << 32, 3 | 0xFFFFFFFF << 32, 0, 0)


def test_legacy_words_bit_by_bit() -> None:
    with rig(rxdid=1) as r:
        vf = r.vfs[0]
        vf.open()
        (got,) = vf.exchange(frame(100))
        assert got.words == (0, 3 | 1 << 30 | 100 << 38, 0, 0)


def test_rxdid_is_ignored_without_flex() -> None:
    with rig(rxdid=1, plane={"flex": False}) as r:
        vf = r.vfs[0]
        vf.map_all()
        vf.publish()
        vf.start()
        r.plane.disable_queue(0, 0, True)
        r.plane.configure_rx(0, 0, IOVA + vf.rx_ring(0), 64, 2048, 9728, 22)
        vf.rx_tail(63)
        r.plane.enable_queue(0, 0, True)
        (got,) = vf.exchange(frame(77))
        assert got.data == frame(77), (
            "the format of docs/spec/descriptors.md 6 in spite of RXDID 22"
        )


def test_short_frames_are_padded_to_60() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        vf.exchange(b"\xff" * 6 + mac(1) + bytes([0xAA]) * 200)  # what must not shine through
        (got,) = vf.exchange(frame(17))
        assert got.data == frame(17) + bytes(43)


@pytest.mark.parametrize("rxdid", FORMATS)
def test_scattered_receive(rxdid: int) -> None:
    with rig(rxdid=rxdid, buffer=256) as r:
        vf = r.vfs[0]
        vf.open()
        for size, parts in ((256, (256,)), (257, (256, 1)), (1000, (256, 256, 256, 232))):
            (got,) = vf.exchange(frame(size))
            assert got.data == frame(size)
            assert got.parts == parts
        vf.send(frame(5 * 256 + 1))
        vf.settle()
        wait_for(lambda: vf.stat("rx_discard") == 1, "six buffers are more than a chain may have")
        (got,) = vf.exchange(frame(5 * 256))
        assert got.parts == (256,) * 5


def test_only_the_last_descriptor_of_a_chain_has_facts() -> None:
    with rig(buffer=256) as r:
        vf = r.vfs[0]
        vf.open()
        vf.send(frame(300))
        wait_for(lambda: vf.filled() == 2, "two descriptors")
        assert vf.words(0) == (22 | 256 << 32, 1, 0, 0)
        assert vf.words(1)[1] & 3 == 3


def test_buffer_size_counts_in_units_of_128() -> None:
    with rig(buffer=300) as r:
        vf = r.vfs[0]
        vf.open()
        (got,) = vf.exchange(frame(300))
        assert got.parts == (256, 44)


def test_multi_segment_send() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        whole = frame(1400, 5)
        cuts = [0, 1, 14, 15, 600, 601, 1000, 1399, 1400]
        pieces = [whole[a:b] for a, b in itertools.pairwise(cuts)]
        assert len(pieces) == 8
        descriptors = [data(vf.put(piece), len(piece), ICRC) for piece in pieces]
        last = data(vf.put(pieces[-1]), len(pieces[-1]), ICRC | EOP | RS)
        slots = vf.post([*descriptors[:-1], last])
        assert vf.take().data == whole
        vf.settle()
        untouched = [vf.memory[TX_RING + s * 16 : TX_RING + s * 16 + 16] for s in slots[:-1]]
        assert untouched == descriptors[:-1], "descriptors without RS are never written"


def test_write_back_only_where_rs_stands() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        plain = [data(vf.put(frame(60, i)), 60, EOP | ICRC) for i in range(5)]
        vf.post([*plain, vf.frame(frame(60, 5))])
        assert [vf.take().data for _ in range(6)] == [frame(60, i) for i in range(6)]
        vf.settle()
        assert [vf.done(s) for s in range(6)] == [False] * 5 + [True]
        vf.post([plain[0]])  # alone, and all that the device takes at once
        vf.take()
        vf.post([vf.frame(frame(60, 7))])
        vf.settle()
        assert [vf.done(s) for s in range(8)] == [False] * 5 + [True, False, True]


def test_a_packet_split_over_doorbells_waits_and_is_told() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        whole = frame(200)
        vf.post([data(vf.put(whole[:100]), 100, ICRC)])
        r.wait_event("violation", "split over doorbells")
        vf.post([data(vf.put(whole[100:]), 100, ICRC | EOP | RS)])
        assert vf.take().data == whole


def test_context_descriptor_as_nop() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        vf.post([context(), vf.frame(frame(90))])
        assert vf.take().data == frame(90)


def test_dummy_sends_nothing_and_completes() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        vf.post([vf.frame(frame(90), 0x10), vf.frame(frame(91))])
        assert vf.take().data == frame(91)
        assert vf.done(0)


@pytest.mark.parametrize("ring", [32, 96, 512])
def test_wrap_of_any_ring_size(ring: int) -> None:
    with rig(ring=ring, buffer=128) as r:
        vf = r.vfs[0]
        vf.open()
        for first in range(0, 2 * ring + 7, 7):
            sent = [frame(60, first + i) for i in range(7)]
            assert [got.data for got in vf.exchange(*sent)] == sent


def test_receive_without_buffers_is_counted() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open(post=0)
        vf.send(frame(60), frame(60))
        vf.settle()
        wait_for(lambda: vf.stat("rx_discard") == 2, "both dropped")
        assert r.plane.queue_stats(0, 0, True)[2] == 2
        vf.rx_tail(10)
        (got,) = vf.exchange(frame(61))
        assert got.data == frame(61)


def udp(size: int) -> bytes:
    """A plain frame, which goes from ring to ring by the short way."""
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, size - 14, 0, 0, 64, 17, 0, 0x0A000001, 0x0A000002)
    return (mac(1) + mac(1) + b"\x08\x00" + ip + struct.pack(">HHHH", 5, 6, size - 34, 0)).ljust(
        size, b"u"
    )


@pytest.mark.parametrize("make", [frame, udp])
@pytest.mark.parametrize("keep_crc", [False, True])
def test_frames_longer_than_max_pkt_size_are_dropped(
    make: Callable[[int], bytes], keep_crc: bool
) -> None:
    """max_pkt_size counts the FCS, delivered or not (docs/spec/descriptors.md 10)."""
    with rig(max_frame=500, keep_crc=keep_crc) as r:
        vf = r.vfs[0]
        vf.open()
        vf.send(make(500), make(497), make(496))
        assert len(vf.take().data) == (500 if keep_crc else 496)
        assert vf.stat("rx_discard") == 2


def test_a_tag_that_is_stripped_counts_in_max_pkt_size() -> None:
    with rig(max_frame=500) as r:
        vf = r.vfs[0]
        vf.open(strip="l2tag1")
        tag = b"\x81\x00\x00\x05"
        vf.send(*(frame(size)[:12] + tag + frame(size)[12:] for size in (493, 492)))
        got = vf.take()
        assert (got.data, got.tag1) == (frame(492), 5)
        assert vf.stat("rx_discard") == 1


@pytest.mark.parametrize("rxdid", FORMATS)
def test_keep_crc_delivers_the_real_fcs(rxdid: int) -> None:
    with rig(rxdid=rxdid, keep_crc=True, buffer=128) as r:
        vf = r.vfs[0]
        vf.open()
        for size in (60, 124, 126, 128):
            (got,) = vf.exchange(frame(size))
            fcs = struct.pack("<I", zlib.crc32(frame(size)))
            assert got.data == frame(size) + fcs
            assert sum(got.parts) == size + 4
        assert vf.stat("rx_bytes") == 60 + 124 + 126 + 128 + 16


def test_tx_doorbell_written_while_the_queue_is_off_is_ignored() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        vf.exchange(*[frame(60)] * 5)
        r.plane.disable_queue(0, 0, False)
        vf.doorbell(QTX_TAIL, 9)
        vf.tx_tail = 0
        r.plane.configure_tx(0, 0, IOVA + TX_RING, 64)
        r.plane.enable_queue(0, 0, False)
        (got,) = vf.exchange(frame(99))
        assert got.data == frame(99)
        assert r.plane.queue_stats(0, 0, False)[:2] == (1, 99)


def test_restart_of_one_queue_without_configuring_it() -> None:
    """DPDK's queue stop and start: the indices are 0 again (docs/spec/descriptors.md 4, 5)."""
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        vf.exchange(*[frame(60)] * 7)
        r.plane.disable_queue(0, 0, False)
        r.plane.disable_queue(0, 0, True)
        vf.tx_tail = vf.rx_heads[0] = 0
        for slot in range(64):
            vf.post_rx(slot)
        vf.rx_tail(63)
        r.plane.enable_queue(0, 0, True)
        r.plane.enable_queue(0, 0, False)
        (got,) = vf.exchange(frame(98))
        assert got.data == frame(98)


def test_statistics_of_the_vsi() -> None:
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open()
        b.open(promisc_multicast=True)
        a.send(
            frame(60, to=2),
            b"\xff" * 6 + frame(70)[6:],
            b"\x01\0\x5e\0\0\x01" + frame(80)[6:],
        )
        got = [b.take() for _ in range(3)]
        assert [g.cast for g in got] == [0, 2, 1]
        assert all(g.loopback for g in got), "from another VSI"
        assert (a.stat("tx_bytes"), a.stat("tx_uc"), a.stat("tx_bc"), a.stat("tx_mc")) == (
            210,
            1,
            1,
            1,
        )
        assert (b.stat("rx_bytes"), b.stat("rx_uc"), b.stat("rx_bc"), b.stat("rx_mc")) == (
            222,
            1,
            1,
            1,
        )
        r.plane.clear_stats(1)
        assert r.plane.stats(1) == (0,) * 12


@pytest.mark.parametrize("step", [1, 8])
def test_the_tail_counts_in_steps(step: int) -> None:
    """An E810 ignores the low three bits of QRX_TAIL (docs/spec/registers.md 4)."""
    with rig(plane={"rx_tail_step": step}) as r:
        vf = r.vfs[0]
        vf.open(post=0)
        seen = 0
        for tail in (0, 1, 5, 7, 8, 9, 15, 16, 23, 24, 40, 63):
            vf.rx_tail(tail)
            vf.send(*[frame(60, number) for number in range(20)])
            vf.settle()
            room = tail // step * step - seen
            dropped = 20 - min(room, 20)
            assert vf.filled() == seen + 20 - dropped, f"tail {tail}"
            seen = vf.filled()
        vf.rx_tail(64)
        vf.send(*[frame(60)] * 40)
        assert "outside the ring" in r.wait_event("mdd").text


def test_tail_steps_over_the_end_of_the_ring() -> None:
    with rig(plane={"rx_tail_step": 8}) as r:
        vf = r.vfs[0]
        vf.open()
        for number in range(200):
            (got,) = vf.exchange(frame(60, number))
            assert got.data == frame(60, number)
        assert r.plane.events() == []


@pytest.mark.parametrize("stay", [False, True])
def test_tails_over_a_reset(stay: bool) -> None:
    """A receive queue counts what its tail says when it is enabled, a send queue begins at 0."""
    with rig(plane={"tails_stay": stay}) as r:
        vf = r.vfs[0]
        vf.open()
        vf.exchange(frame(60), frame(61), frame(62))
        before = tuple(vf.words_of_bar[at // 4] for at in (QTX_TAIL, QRX_TAIL))
        assert before == (3, 2)
        r.plane.reset_vf(0)
        after = tuple(vf.words_of_bar[at // 4] for at in (QTX_TAIL, QRX_TAIL))
        assert after == (before if stay else (0, 0))
        vf.publish(num_queues=1)
        vf.start(post=vf.words_of_bar[QRX_TAIL // 4])
        vf.send(frame(63))
        wait_for(lambda: r.plane.queue_stats(0, 0, False)[0] == 1, "sent")
        vf.settle()
        assert vf.filled() == int(stay)


def test_tails_over_a_disabled_queue() -> None:
    with rig(plane={"tails_stay": True}) as r:
        vf = r.vfs[0]
        vf.open()
        vf.exchange(frame(60), frame(61))
        for way in (True, False):
            r.plane.disable_queue(0, 0, way)
        assert [vf.words_of_bar[at // 4] for at in (QTX_TAIL, QRX_TAIL)] == [2, 1]
        vf.start()
        assert [each.data for each in vf.exchange(frame(61))] == [frame(61)]
