# SPDX-License-Identifier: BSD-3-Clause
"""Plain frames go from ring to ring by a way of their own; what arrives must not tell which."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.softvf.dataplane.plane_rig import STATS, Received, Rig, mac, rig

STAGED = 128  # bytes that the plane looks at before it copies the rest
EDGES = (STAGED - 1, STAGED, STAGED + 1, STAGED + 31, STAGED + 32, STAGED + 33, 1514)


def packet(size: int, kind: str, to: int = 1, source: int = 1, sport: int = 5) -> bytes:
    """A frame of `size` bytes with right checksums."""
    l4 = UDP(sport=sport, dport=6) if kind == "udp" else TCP(sport=sport, dport=6, seq=7)
    head = Ether(dst=mac(to), src=mac(source)) / IP(src="10.0.0.1", dst="10.0.0.2") / l4
    filler = random.Random(size).randbytes(size - len(head))
    return bytes(head / Raw(filler))


def bent(frame: bytes, draw: random.Random) -> bytes:
    """The frame with something changed that the parser, the hash or a checksum looks at."""
    out = bytearray(frame)
    where = draw.choice([12, 14, 15, 16, 17, 20, 21, 23, 24, 30, 36, 37, 38, 39, 40, 41, 47])
    choice = draw.randrange(6)
    if choice < 3:
        out[where] = draw.randrange(256)
    elif choice == 3:  # a flipped bit anywhere behind the L4 header
        out[draw.randrange(54, len(out))] ^= 1 << draw.randrange(8)
    elif choice == 4:  # no UDP checksum, or a wrong TCP sequence number
        out[40:42] = bytes(2)
    return bytes(out)


def frames() -> Iterator[bytes]:
    """Sound frames at all edges, then bent ones of any length."""
    draw = random.Random(20)
    for kind in ("udp", "tcp"):
        yield from (packet(size, kind) for size in (60, 61, *EDGES))
        yield from (packet(size, kind) + bytes(9) for size in (60, 120, *EDGES))  # a trailer
    for _ in range(600):
        size = draw.choice([draw.randrange(55, 200), draw.randrange(200, 2040)])
        whole = packet(size, draw.choice(["udp", "tcp"]), sport=draw.randrange(1 << 16))
        yield bent(whole, draw)
    for size in range(17, 60):  # padded by the device
        yield packet(60, "udp")[:size]
        yield packet(60, "tcp")[:size]


def seen(r: Rig, batch: int = 30, **changes: Any) -> tuple[list[Received], dict[str, int]]:
    """What comes back, and the VF's statistics."""
    vf, got, held = r.vfs[0], [], list(frames())
    vf.open(**changes)
    for at in range(0, len(held), batch):
        got += vf.exchange(*held[at : at + batch])
    return got, {name: vf.stat(name) for name in STATS.split()}


@pytest.mark.parametrize(
    ("rxdid", "buffer", "changes"),
    [
        (22, 2048, {}),
        (1, 2048, {"spoof_check": True}),
        (2, 512, {"symmetric": True}),
        (22, 1024, {"hashcfg": 1 << 33}),
    ],
)
def test_both_ways_say_the_same(rxdid: int, buffer: int, changes: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"rxdid": rxdid, "buffer": buffer, "ring": 256}
    with rig(**fields) as quick, rig(**fields) as general:
        plain = seen(quick, **changes)
        # VLAN rules, which let untagged frames pass, close the express way.
        ruled = seen(general, vlans=frozenset({(0x8100, 7)}), **changes)
        assert len(plain[0]) == len(ruled[0]) == len(list(frames()))
        for number, (one, other) in enumerate(zip(plain[0], ruled[0], strict=True)):
            assert one == other, f"frame {number}"
        assert plain[1] == ruled[1]
        assert not quick.events("violation") and not general.events("violation")


@pytest.mark.parametrize("kind", ["udp", "tcp"])
@pytest.mark.parametrize("size", EDGES)
def test_the_checksum_covers_what_was_delivered(kind: str, size: int) -> None:
    sound = packet(size, kind)
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        for at in sorted({42 if kind == "udp" else 54, STAGED - 1, STAGED, size - 2, size - 1}):
            if at >= size:
                continue
            broken = sound[:at] + bytes([sound[at] ^ 0x40]) + sound[at + 1 :]
            good, bad = vf.exchange(sound, broken)
            assert (good.data, good.verdict) == (sound, "l3l4p")
            assert (bad.data, bad.verdict) == (broken, "l3l4p l4e")


def test_bytes_behind_the_ip_packet_are_not_summed() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        for size in EDGES:
            frame = packet(size, "udp") + bytes([0xA5] * 40)
            (got,) = vf.exchange(frame)
            assert (got.data, got.verdict) == (frame, "l3l4p")


def test_order_holds_between_the_two_ways() -> None:
    """Frames of both ways in turn, in one burst: ARP and chains between plain ones."""
    with rig(buffer=512) as r:
        vf = r.vfs[0]
        vf.open()
        arp = mac(1) + mac(1) + b"\x08\x06" + bytes(46)
        batch = []
        for number in range(9):
            batch += [
                packet(60 + number, "udp"),
                arp + bytes([number]),
                packet(700 + number, "udp"),
            ]
        assert [got.data for got in vf.exchange(*batch)] == batch


def test_between_two_vfs_the_switch_counts_as_always() -> None:
    with rig(vfs=2) as r:
        one, two = r.vfs
        one.open()
        two.open()
        sent = [packet(60 + n * 40, "udp", to=2) for n in range(20)]
        one.send(*sent)
        got = [two.take() for _ in sent]
        assert [frame.data for frame in got] == sent
        assert all(frame.loopback for frame in got)  # from another VSI (docs/spec/descriptors.md 6)
        size = sum(len(frame) for frame in sent)
        assert (one.stat("tx_uc"), one.stat("tx_bytes")) == (20, size)
        assert (two.stat("rx_uc"), two.stat("rx_bytes")) == (20, size + 20 * 4)
        assert one.stat("rx_uc") == two.stat("tx_uc") == 0
        assert one.plane.queue_stats(0, 0, False)[:2] == (20, size)
        assert two.plane.queue_stats(1, 0, True)[:2] == (20, size)


def test_a_frame_with_a_foreign_source_takes_no_short_cut() -> None:
    with rig(vfs=2) as r:
        one, two = r.vfs
        one.open(spoof_check=True)
        two.open()
        one.send(
            packet(60, "udp", to=2), packet(60, "udp", to=2, source=7), packet(61, "udp", to=2)
        )
        assert [len(two.take().data) for _ in range(2)] == [60, 61]
        assert one.stat("tx_error") == 1
        assert "source MAC" in r.wait_event("violation").text


def test_rss_spreads_a_burst_over_queues_in_order() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open(queues=4, rss_lut=bytes(n % 4 for n in range(64)), rss_key=bytes(range(1, 53)))
        sent = [packet(64, "udp", sport=1000 + n) for n in range(40)]
        vf.send(*sent)
        vf.settle()
        for queue in range(4):
            got = [vf.take(queue) for _ in range(vf.filled(queue))]
            assert got, f"queue {queue} got nothing"
            assert all(frame.hash is not None and frame.hash % 4 == queue for frame in got)
            numbers = [sent.index(frame.data) for frame in got]
            assert numbers == sorted(numbers)
            assert vf.plane.queue_stats(0, queue, True)[0] == len(got)
