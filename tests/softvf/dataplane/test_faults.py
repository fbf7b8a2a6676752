# SPDX-License-Identifier: BSD-3-Clause
"""What a malicious or broken driver gets: MDD, and violations in words.

The rules are those of docs/spec/descriptors.md 15.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.softvf.dataplane.plane_rig import (
    EOP,
    ICRC,
    IIPT4_CSUM,
    IOVA,
    RS,
    SIZE,
    TCP,
    Vf,
    context,
    data,
    mac,
    rig,
    wait_for,
)

FRAME = mac(1) + mac(1) + b"\x88\xb5" + bytes(range(200))
CMD = EOP | RS | ICRC


def pieces(vf: Vf, sizes: list[int], cmd: int = 0) -> list[bytes]:
    out, at = [], 0
    for number, size in enumerate(sizes):
        last = number + 1 == len(sizes)
        flags = cmd | ICRC | (EOP | RS if last else 0)
        out.append(data(vf.put(bytes(FRAME[at : at + size]).ljust(size, b"\0")), size, flags))
        at += size
    return out


def tso(
    vf: Vf, *, mss: int, tso_len: int, payload: int, cmd: int = IIPT4_CSUM | TCP
) -> list[bytes]:
    ip = bytes.fromhex("4500000000010000400600000a0000010a000002")
    tcp = bytes.fromhex("04000009000000010000000050100000") + bytes(4)
    packet = mac(1) + mac(1) + b"\x08\x00" + ip + tcp + bytes(payload)
    lengths = {"maclen": 14, "iplen": 20, "l4len": 20}
    return [context(tso_len=tso_len, mss=mss), vf.frame(packet, cmd, **lengths)]


CASES: list[tuple[str, str, Callable[[Vf], list[bytes]]]] = [
    ("short", "shorter than 17", lambda vf: [vf.frame(FRAME[:16])]),
    ("nine buffers", "more than 8 buffers", lambda vf: pieces(vf, [20] * 9)),
    ("no bytes", "BUF_SZ is 0", lambda vf: [data(IOVA, 0, CMD)]),
    ("dtype", "DTYPE", lambda vf: [data(vf.put(FRAME), 100, CMD, dtype=8)]),
    ("stale done", "DTYPE", lambda vf: [data(vf.put(FRAME), 100, CMD, dtype=15)]),
    ("context behind data", "behind data", lambda vf: [*pieces(vf, [20, 20])[:1], context()]),
    ("two contexts", "two context", lambda vf: [context(), context(), vf.frame(FRAME)]),
    ("too long", "longer than the limit", lambda vf: pieces(vf, [9725])),
    ("mss 63", "MSS", lambda vf: tso(vf, mss=63, tso_len=1000, payload=1000)),
    ("mss 9729", "MSS", lambda vf: tso(vf, mss=9729, tso_len=10000, payload=10000)),
    ("segment", "longer than the limit", lambda vf: tso(vf, mss=9671, tso_len=9671, payload=9671)),
    ("tso_len", "TSO_LEN", lambda vf: tso(vf, mss=500, tso_len=999, payload=1000)),
    ("tso without L4T", "L4T", lambda vf: tso(vf, mss=500, tso_len=9, payload=9, cmd=IIPT4_CSUM)),
    ("tso IIPT 2", "IIPT 3", lambda vf: tso(vf, mss=500, tso_len=9, payload=9, cmd=0x40 | TCP)),
    ("L4T alone", "without IIPT", lambda vf: [vf.frame(FRAME, TCP, maclen=14, iplen=20)]),
    ("MACLEN", "MACLEN or IPLEN", lambda vf: [vf.frame(FRAME, 0x60, maclen=200, iplen=20)]),
    ("no window", "outside the DMA", lambda vf: [data(IOVA + SIZE, 60, CMD)]),
    ("half a window", "outside the DMA", lambda vf: [data(IOVA + SIZE - 59, 60, CMD)]),
    ("2^64", "outside the DMA", lambda vf: [data(2**64 - 8, 60, CMD)]),
    ("address 0", "outside the DMA", lambda vf: [data(0, 60, CMD)]),
]


@pytest.mark.parametrize(("words", "make"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_mdd_stops_the_queue(words: str, make: Callable[[Vf], list[bytes]]) -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        vf.exchange(FRAME)
        vf.post(make(vf))
        event = r.wait_event("mdd", words)
        assert event.vf == 0
        assert "Tx queue 0" in event.text
        assert vf.stat("tx_error") == 1
        slots = vf.post([vf.frame(FRAME)])
        vf.send(FRAME)
        assert r.plane.queue_stats(0, 0, False)[0] == 1
        assert not vf.done(slots[0]), "completions cease"
        assert r.plane.events() == [], "tail writes are accepted in silence"


def test_packets_before_the_bad_one_complete() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        slots = vf.post([vf.frame(FRAME), vf.frame(FRAME), vf.frame(FRAME[:10])])
        r.wait_event("mdd", "descriptor 2")
        assert [vf.done(s) for s in slots] == [True, True, False]
        assert vf.take().data == FRAME


@pytest.mark.parametrize("rx", [False, True])
def test_a_stopped_queue_does_not_start_again_without_being_configured(rx: bool) -> None:
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open(post=0)
        b.open()
        if rx:
            a.post_rx(0, header=1)
            a.rx_tail(5)
            b.send(mac(1) + mac(2) + FRAME[12:])
        else:
            a.send(FRAME[:10])
        r.wait_event("mdd", f"{'Rx' if rx else 'Tx'} queue 0")
        r.plane.disable_queue(0, 0, rx)
        a.tx_tail = 0
        for slot in range(8):
            a.post_rx(slot)
        if rx:
            a.rx_tail(5)
        r.plane.enable_queue(0, 0, rx)
        a.send(mac(2) + mac(1) + FRAME[12:])
        b.send(*[mac(1) + mac(2) + FRAME[12:]] * 3)
        b.settle()  # in a round that served the other VF as well
        assert r.plane.queue_stats(0, 0, rx)[0] == 0
        assert a.filled() == 0


def test_a_stalled_send_queue_takes_nothing_until_it_is_let_go_or_reset() -> None:
    with rig(vfs=2, uplink="none") as r:
        a, b = r.vfs
        a.open()
        b.open()
        r.plane.stall_tx(0, 0, True)
        slots = a.post([a.frame(mac(2) + mac(1) + bytes(50))])
        time.sleep(0.02)
        assert not a.done(slots[0])
        assert b.filled() == 0 and a.stat("tx_uc") == 0
        r.plane.stall_tx(0, 0, False)
        a.settle()
        assert b.take().data == mac(2) + mac(1) + bytes(50)
        r.plane.stall_tx(0, 0, True)
        r.plane.reset_vf(0)
        a.start()
        a.publish()
        a.send(mac(2) + mac(1) + bytes(50))
        a.settle()
        with pytest.raises(OSError, match="Invalid"):
            r.plane.stall_tx(0, 16, True)


def test_tso_segment_over_too_many_buffers() -> None:
    """A wire segment has at most 8 buffers, headers included (docs/spec/descriptors.md 3)."""
    for sizes, stops in (([54] + [100] * 20, False), ([54] + [70] * 30, True)):
        with rig() as r:
            vf = r.vfs[0]
            vf.open()
            payload = sum(sizes[1:])
            whole = tso(vf, mss=500, tso_len=payload, payload=payload)
            address = int.from_bytes(whole[1][:8], "little")
            qw1 = int.from_bytes(whole[1][8:], "little") & ~(0x3FFF << 34)
            at, out = address, [whole[0]]
            for number, size in enumerate(sizes):
                cmd = qw1 if number + 1 == len(sizes) else qw1 & ~(3 << 4)
                out.append(at.to_bytes(8, "little") + (cmd | size << 34).to_bytes(8, "little"))
                at += size
            vf.post(out)
            if stops:
                r.wait_event("mdd", "more than 8 buffers")
            else:
                assert [len(vf.take().data) for _ in range(4)] == [554] * 4
                assert r.plane.events() == []


def test_no_eop_in_the_whole_ring() -> None:
    with rig(ring=32) as r:
        vf = r.vfs[0]
        vf.open()
        vf.post([data(vf.put(FRAME), 100, ICRC) for _ in range(31)])
        r.wait_event("mdd", "no EOP")


@pytest.mark.parametrize("tail", [64, 65, 0x1FFF, 0xFFFFFFFF])
def test_tail_outside_the_ring(tail: int) -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open(post=0)
        vf.rx_tail(tail)
        vf.send(FRAME)
        r.wait_event("mdd", "Rx queue 0", "tail lies outside")
        vf.doorbell(0, tail)
        r.wait_event("mdd", "Tx queue 0", "tail lies outside")


def test_header_address_with_bit_0() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open(post=0)
        vf.post_rx(1, header=1)
        vf.rx_tail(5)
        vf.send(FRAME, FRAME)
        r.wait_event("mdd", "Rx queue 0 descriptor 1", "bit 0")
        assert vf.words(0)[1] & 3 == 3, "what was received before it is visible"


@pytest.mark.parametrize("address", [0, IOVA + SIZE, IOVA + SIZE - 59, 2**64 - 30])
def test_receive_buffer_outside_the_windows(address: int) -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open(post=0)
        vf.post_rx(0, address=address)
        vf.rx_tail(5)
        vf.send(FRAME)
        r.wait_event("mdd", "Rx queue 0 descriptor 0", "outside the DMA")
        assert vf.words(0)[0] == address


def test_a_rule_broken_with_each_packet_costs_no_message_each() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        for _ in range(50):
            vf.post([data(vf.put(FRAME), 100, EOP | RS) for _ in range(40)])
            vf.settle()
        assert r.plane.violations(0) == 2000
        told = r.events("violation")
        assert 0 < len(told) < 200
        assert told[0].text == (
            "Tx queue 0 descriptor 0: ICRC is not set: the device must always be asked for the FCS"
        )


IP_UDP = bytes.fromhex("450000340001000040 11660b0a0000010a000002 0400000900200000") + bytes(24)
DOUBTS = [
    (0x20 | 0x300, 14, 40, 8, "IP version"),
    (0x60 | 0x300, 14, 24, 8, "IPLEN"),
    (0x60 | 0x300, 14, 20, 4, "L4LEN is not 8"),
    (0x60 | 0x100, 14, 20, 16, "L4LEN is too short"),
    (0x60 | 0x200, 14, 20, 8, "L4LEN is not 12"),
]


@pytest.mark.parametrize(("cmd", "maclen", "iplen", "l4len", "words"), DOUBTS)
def test_lengths_that_miss_the_headers(
    cmd: int, maclen: int, iplen: int, l4len: int, words: str
) -> None:
    """Nothing stops, but the packet is not what the driver wanted: it is told."""
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        frame = mac(1) + mac(1) + b"\x08\x00" + IP_UDP
        vf.post([vf.frame(frame, cmd, maclen=maclen, iplen=iplen, l4len=l4len)])
        vf.take()
        assert [words in event.text for event in r.events("violation")] == [True]


def test_descriptors_of_a_packet_that_disagree() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        first = data(vf.put(FRAME[:50]), 50, ICRC, maclen=14)
        vf.post([first, data(vf.put(FRAME[50:]), 100, ICRC | EOP | RS)])
        vf.take()
        assert "other descriptors" in r.events("violation")[0].text


def test_doorbell_without_bus_master() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        r.plane.set_bus_master(0, False)
        vf.send(FRAME)
        r.wait_event("violation", "doorbell without bus master")
        assert not vf.done(0)
        r.plane.set_bus_master(0, True)
        assert vf.take().data == FRAME


def test_ring_base_loses_its_low_bits() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        r.plane.disable_queue(0, 0, False)
        r.plane.configure_tx(0, 0, IOVA + 8, 64)
        assert "128-byte" in r.events("violation")[0].text
        r.plane.enable_queue(0, 0, False)
        vf.tx_tail = 0
        vf.send(FRAME)
        assert vf.take().data == FRAME


def test_contexts_that_cannot_be() -> None:
    with rig() as r:
        plane = r.plane
        for entries, buffer in ((8161, 2048), (64, 0), (64, 127), (64, 16257)):
            with pytest.raises(OSError, match="Invalid argument"):
                plane.configure_rx(0, 0, IOVA, entries, buffer, 9728, 22)
        with pytest.raises(OSError, match="Invalid argument"):
            plane.enable_queue(0, 3, True)
        r.vfs[0].open()
        with pytest.raises(OSError, match="busy"):
            plane.configure_tx(0, 0, IOVA, 64)


def test_lut_entry_of_a_queue_that_is_off_or_absent() -> None:
    ip = bytes.fromhex("45000034000100004011660b0a0000010a000002") + bytes(32)
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        for queue in (1, 15, 16, 33, 255):
            vf.publish(rss_lut=bytes([queue]) * 64)
            vf.send(mac(1) + mac(1) + b"\x08\x00" + ip)
            vf.settle()
        wait_for(lambda: vf.stat("rx_discard") == 5, "all dropped")


def test_reset_forgets_everything() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        vf.exchange(FRAME)
        r.plane.reset_vf(0)
        assert bytes(vf.bar[0:0x3000]) == bytes(0x3000)
        vf.send(FRAME)
        with pytest.raises(OSError, match="Invalid argument"):
            r.plane.enable_queue(0, 0, False)
        vf.start()
        assert vf.exchange(FRAME)[0].data == FRAME
