# SPDX-License-Identifier: BSD-3-Clause
"""Mirrors of running ports: every frame, every loss, over all that happens to the port."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

import iavfio
from iavfio.capture import Filter, Mirror, MirrorCapture
from iavfio.capture.filter import STEP
from iavfio.datapath.worker import Lane, VerifyTable, Worker
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from tests.capture.files import records, statistics
from tests.capture.mirror.rig import numbered, sides, taken
from tests.port.rig import collect, send_all, udp, until

SHORT_PORTS = [(0x28, 0, 0, 34), (0x15, 0, 1, 1005), (6, 0, 0, 0xFFFF), (6, 0, 0, 0)]


def test_every_frame_of_both_directions(port: Port, peer: Port, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    came, went = numbered(port, peer, 150), numbered(peer, port, 100, 700)
    send_all(peer, came[:50])  # before the mirror
    assert collect(port.rx, 50) == came[:50]
    mirror = Mirror("mirrored")
    assert mirror.sides == [(0, False), (0, True)] and mirror.mac == port.mac
    send_all(peer, came[50:])
    assert collect(port.rx, 100) == came[50:]
    send_all(port, went)
    done = taken(mirror, path)
    found = records(path)
    assert [each.data for each in found] == came[50:] + went
    assert sides(path) == [(1, 0)] * 100 + [(2, 0)] * 100
    assert [each.time_ns for each in found] == sorted(each.time_ns for each in found)
    assert {each.interface for each in found} == {"mirrored"}
    assert (done.ended_by, done.error, done.drops, done.waiting) == ("duration", None, {}, 0)
    assert done.counts.received == done.counts.taken == 200
    assert done.counts.bytes == sum(map(len, came[50:] + went))
    assert statistics(path)["received"] == statistics(path)["delivered"] == 200
    assert collect(peer.rx, 100) == went  # the port goes on
    send_all(peer, came)
    assert collect(port.rx, 150) == came


def test_filter_snaplen_direction_and_limit(port: Port, peer: Port, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    chosen = Filter.of_steps(np.array(SHORT_PORTS, dtype=STEP), "udp src port 1005")
    mirror = Mirror("mirrored", direction="rx", filter=chosen, snaplen=40)
    frames = numbered(port, peer, 10)
    for _ in range(3):
        send_all(peer, frames)
        assert collect(port.rx, 10) == frames
        send_all(port, numbered(peer, port, 10))
    done = taken(mirror, path, filter=chosen, limit=2)
    assert [each.data for each in records(path)] == [frames[5][:40]] * 2
    assert {each.length for each in records(path)} == {60}
    assert (done.counts.received, done.counts.taken, done.waiting) == (30, 2, 1)
    assert done.ended_by == "count" and done.counts.cut == 3


def test_a_tag_that_the_device_strips_is_put_back(pf: SoftPf, peer: Port, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with iavfio.open(pf.sockets[0], name="stripping") as port:
        port.configure(metadata=["vlan"])
        port.start(wait_link=10)
        plain = udp(b"\xff" * 6, peer.mac)
        tagged = plain[:12] + bytes.fromhex("81000064") + plain[12:]
        mirror = Mirror("stripping", direction="rx")
        send_all(peer, [plain, tagged])
        got = collect(port.rx, 1, 5)
        done = taken(mirror, path)
        found = [each.data for each in records(path)]
        assert len(got) >= 1 and plain in found
        assert done.counts.tagged == found.count(tagged)


def test_losses_are_told_exactly_by_queue(port: Port, peer: Port, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    mirror = Mirror("mirrored", memory=0)  # rings of the least size, 32 KiB
    frames = numbered(port, peer, 600)
    for i in range(0, 600, 200):
        send_all(peer, frames[i : i + 200])
        assert collect(port.rx, 200) == frames[i : i + 200]
    kept = 32768 // (16 + 64)  # a record's head, and 60 bytes padded to 64
    assert mirror.lost == {"mirror_rq0": 600 - kept}
    done = taken(mirror, path)
    assert [each.data for each in records(path)] == frames[:kept]
    assert done.drops == {"mirror_rq0": 600 - kept} and done.dropped == 600 - kept
    assert statistics(path) == {
        "received": 600, "dropped": 600 - kept, "accepted": 600, "os_dropped": 0,
        "delivered": kept,
    }  # fmt: skip


def test_what_lies_in_the_rings_at_the_end_is_written(
    port: Port, peer: Port, tmp_path: Path
) -> None:
    """More than the reader takes between two looks at the clock."""
    path, frames = tmp_path / "a.pcapng", numbered(port, peer, 200)
    mirror = Mirror("mirrored", direction="rx")
    for _ in range(4):
        send_all(peer, frames)
        assert collect(port.rx, len(frames)) == frames
    done = taken(mirror, path)
    assert [each.data for each in records(path)] == frames * 4
    assert (done.counts.taken, done.waiting) == (800, 0)


def test_workers_forward_verified_traffic_meanwhile(port: Port, peer: Port, tmp_path: Path) -> None:
    """Mirrors come and go while C workers run; no frame is lost, and none is missing in a count."""
    table = VerifyTable(1, 1)
    lane = Lane(peer.rx[0], dst=port.mac, src=peer.mac)
    forward = Worker("forward", [Lane(port.rx[0])])
    source = Worker("loopback", [lane], verify=table, signature=7, rate=20000)
    try:
        for number in range(4):
            mirror = Mirror("mirrored", snaplen=64)
            assert until(partial(_has_moved, mirror, 400))
            done = taken(mirror, tmp_path / f"{number}.pcapng")
            lost = done.dropped
            assert done.counts.received == done.counts.taken + lost > 400
        source.finish()
        assert until(lambda: source.ended, 30)
    finally:
        source.stop()
        counters = source.counters
        forward.stop()
    assert counters.lost == counters.corrupted == counters.duplicated == counters.reordered == 0
    assert counters.received > 1600


def _has_moved(mirror: Mirror, frames: int) -> bool:
    return mirror.counts.received > frames


def test_it_goes_on_over_resets_and_new_settings(port: Port, peer: Port, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    mirror = Mirror("mirrored")
    capture = MirrorCapture(mirror, str(path))
    frames = numbered(port, peer, 10)

    def moves() -> None:
        port.wait_link(10)
        send_all(peer, frames)
        assert sorted(collect(port.rx, 10)) == sorted(frames)
        send_all(port, frames)

    moves()
    port.reset()
    moves()
    port.stop()
    port.configure(ring=256)
    port.start()
    moves()
    done = capture.run(0)
    assert done.resets == 1 and done.error is None
    assert [each.data for each in records(path)].count(frames[3]) == 3 * 2
    assert len(records(path)) == 3 * 20
