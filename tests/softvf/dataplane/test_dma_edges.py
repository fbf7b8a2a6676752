# SPDX-License-Identifier: BSD-3-Clause
"""The ends of windows, and the end of all addresses (docs/spec/reliability.md D1).

The memory behind an end belongs to the client's file all the same, so an access too far would find
what it looks for: only the device's own check holds it back.
"""

from __future__ import annotations

import os
import struct

import pytest

from tests.softvf.dataplane.plane_rig import (
    IOVA,
    RX_RING,
    SIZE,
    TX_RING,
    Vf,
    mac,
    rig,
)

FRAME = mac(1) + mac(1) + b"\x88\xb5" + bytes(range(200))
IP = bytes.fromhex("4500005200010000401166ed0a0000010a00000204000009003e0000")
PLAIN = mac(1) + mac(1) + b"\x08\x00" + IP + bytes(54)
PAGE = 4096
TOP = 1 << 64


@pytest.mark.parametrize("side", ["Tx", "Rx"])
def test_a_ring_that_reaches_over_its_window(side: str) -> None:
    """Half of it is mapped: that half works, and the first descriptor behind it stops the queue."""
    with rig(ring=512) as r:
        vf = r.vfs[0]
        r.plane.set_bus_master(0, True)
        at, entry = (TX_RING, 16) if side == "Tx" else (RX_RING, 32)
        first, rest = at + 256 * entry, at + 512 * entry
        r.plane.dma_map(0, vf.fd, 0, IOVA, first, True, True)
        r.plane.dma_map(0, vf.fd, rest, IOVA + rest, SIZE - rest, True, True)
        vf.publish()
        vf.start()
        for _ in range(32):
            vf.exchange(*[FRAME] * 8)
        vf.send(FRAME)
        r.wait_event("mdd", f"{side} queue 0 descriptor 256", "outside the DMA windows")


def at_the_top(vf: Vf, ring: int) -> int:
    """Maps a ring of which a page lies below 2^64; the file goes on at address 0."""
    vf.plane.set_bus_master(0, True)
    vf.plane.dma_map(0, vf.fd, ring, TOP - PAGE, PAGE, True, True)
    vf.plane.dma_map(0, vf.fd, ring + PAGE, 0, PAGE, True, True)
    return TOP - PAGE


# docs/spec/reliability.md D1
def test_a_send_ring_does_not_go_on_at_address_0() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        r.plane.disable_queue(0, 0, False)
        base = at_the_top(vf, 0x10000)
        r.plane.configure_tx(0, 0, base, 512)
        r.plane.enable_queue(0, 0, False)
        for slot in range(258):
            vf.memory[0x10000 + slot * 16 : 0x10000 + slot * 16 + 16] = vf.frame(FRAME)
        vf.doorbell(0, 257)
        r.wait_event("mdd", "Tx queue 0 descriptor 256", "outside the DMA windows")
        assert r.plane.queue_stats(0, 0, False)[0] == 256


# docs/spec/reliability.md D1
def test_a_receive_ring_does_not_go_on_at_address_0() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        r.plane.disable_queue(0, 0, True)
        base = at_the_top(vf, 0x10000)
        for slot in range(130):
            where = IOVA + vf.rx_buffer(slot)
            struct.pack_into("<QQQQ", vf.memory, 0x10000 + slot * 32, where, 0, 0, 0)
        r.plane.configure_rx(0, 0, base, 256, 2048, 9728, 22)
        vf.rx_tail(129)
        r.plane.enable_queue(0, 0, True)
        for _ in range(3):
            vf.send(*[FRAME] * 43)
            vf.settle()
        r.wait_event("mdd", "Rx queue 0 descriptor 128", "outside the DMA windows")
        assert vf.memory[0x10000 + 127 * 32 + 8] & 1, "the last below the end is written back"
        assert vf.memory[0x10000 + 128 * 32 + 8] == 0


# docs/spec/reliability.md D1
def test_a_copy_does_not_go_on_at_address_0() -> None:
    with rig() as r:
        vf = r.vfs[0]
        r.plane.set_bus_master(0, True)
        r.plane.dma_map(0, vf.fd, 0, TOP - PAGE, PAGE, True, True)
        r.plane.dma_map(0, vf.fd, PAGE, 0, PAGE, True, True)
        assert r.plane.dma_read(0, TOP - 4, 4) == bytes(4)
        with pytest.raises(OSError, match="Bad address"):
            r.plane.dma_read(0, TOP - 4, 5)
        with pytest.raises(OSError, match="Bad address"):
            r.plane.dma_write(0, TOP - 4, b"12345")
        assert vf.memory[PAGE - 4 : PAGE + 1] == bytes(5), "nothing of it is written"


@pytest.mark.parametrize("frame", [FRAME, PLAIN], ids=["other", "plain"])
def test_a_frame_that_ends_behind_its_window_is_not_read(frame: bytes) -> None:
    """Whatever way it would take: the next byte of the file is not the device's."""
    with rig() as r:
        vf = r.vfs[0]
        edge = 0x300000
        r.plane.set_bus_master(0, True)
        r.plane.dma_map(0, vf.fd, 0, IOVA, edge, True, True)
        vf.publish()
        vf.start()
        for room, fits in ((len(frame), True), (len(frame) - 1, False)):
            vf.free = edge - room
            vf.send(frame)
            if fits:
                assert vf.take().data == frame
        r.wait_event("mdd", "Tx queue 0 descriptor 1", "outside the DMA windows")
        assert r.plane.queue_stats(0, 0, False)[0] == 1


@pytest.mark.parametrize("frame", [FRAME, PLAIN], ids=["other", "plain"])
def test_a_buffer_that_ends_behind_its_window_is_not_filled(frame: bytes) -> None:
    with rig() as r:
        vf = r.vfs[0]
        edge = 0x300000
        r.plane.set_bus_master(0, True)
        r.plane.dma_map(0, vf.fd, 0, IOVA, edge, True, True)
        vf.publish()
        vf.start(post=0)
        vf.post_rx(1, IOVA + edge - len(frame) + 1)
        vf.memory[edge : edge + PAGE] = b"\xee" * PAGE
        vf.rx_tail(2)
        vf.send(frame, frame)
        r.wait_event("mdd", "Rx queue 0 descriptor 1", "outside the DMA windows")
        assert vf.take().data == frame
        assert not vf.has_dd(1)
        assert vf.memory[edge : edge + PAGE] == b"\xee" * PAGE


def test_the_bar_cannot_be_taken_away() -> None:
    """Its file is the client's as well: cut, it would be the data thread's SIGBUS."""
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        for size in (0, PAGE, 0x20000):
            with pytest.raises(PermissionError):
                os.ftruncate(r.plane.bar_fd(0), size)
        assert vf.exchange(FRAME)[0].data == FRAME


@pytest.mark.parametrize("side", ["Tx", "Rx"])
def test_a_ring_whose_window_goes_is_left_alone(side: str) -> None:
    """The buffers stay mapped: only the ring itself tells the device."""
    with rig(ring=256 if side == "Tx" else 128) as r:  # a page
        vf = r.vfs[0]
        r.plane.set_bus_master(0, True)
        at, size = (TX_RING, PAGE) if side == "Tx" else (RX_RING, PAGE)
        r.plane.dma_map(0, vf.fd, 0, IOVA, size if side == "Tx" else at, True, True)
        if side == "Rx":
            r.plane.dma_map(0, vf.fd, at, IOVA + at, size, True, True)
        r.plane.dma_map(0, vf.fd, at + size, IOVA + at + size, SIZE - at - size, True, True)
        vf.publish()
        vf.start()
        vf.exchange(FRAME)
        assert r.plane.dma_unmap(0, IOVA + at, size) == size
        before = vf.memory[at + 64 : at + size]
        vf.send(FRAME)
        r.wait_event("mdd", f"{side} queue 0 descriptor", "the descriptor lies outside")
        after = vf.memory[at + 64 : at + size]
        assert side == "Tx" or after == before
        assert not vf.done(1) or side == "Rx"
