# SPDX-License-Identifier: BSD-3-Clause
"""Captures: what the file says, as others read it, against what was sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import iavfio
from iavfio.capture.capture import Capture, Captured
from iavfio.capture.filter import STEP, Filter
from iavfio.errors import StateError
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from tests.capture.files import blocks, options, records, statistics, write_pcap
from tests.port.rig import drained, send_all, udp, until

BROADCAST = b"\xff" * 6
LOCAL = bytes.fromhex("02000000aa01")


@pytest.fixture
def pf() -> Iterator[SoftPf]:
    with iavfio.softvf(vfs=2, uplink="none") as made:
        yield made


class Running:
    """A capture in a thread of its own; `result` waits for its end."""

    def __init__(self, capture: Capture, **how: Any) -> None:
        self.capture = capture
        self._result: list[Captured] = []
        self._thread = threading.Thread(
            target=lambda: self._result.append(capture.run(**how)), daemon=True
        )
        self._thread.start()

    def reached(self, condition: Callable[..., bool]) -> bool:
        return until(lambda: condition(self.capture), 30)

    def result(self) -> Captured:
        self._thread.join(60)
        assert self._result, "the capture does not end"
        return self._result[0]


def opened(pf: SoftPf, vf: int, **settings: Any) -> Port:
    port = iavfio.open(pf.sockets[vf])
    port.configure(**settings)
    port.start(wait_link=10)
    return port


def test_what_is_sent_is_in_the_file(pf: SoftPf, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with opened(pf, 0) as receiver, opened(pf, 1) as sender:
        frames = [
            udp(receiver.mac, sender.mac, sport=1000 + i, payload=bytes([i]) * (18 + i))
            for i in range(200)
        ]
        before = time.time_ns()
        running = Running(Capture(receiver, str(path), limit=200))
        send_all(sender, frames)
        done = running.result()
        found = records(path)
        assert [record.data for record in found] == frames
        assert [record.length for record in found] == [len(frame) for frame in frames]
        assert {record.interface for record in found} == {receiver.name}
        times = [record.time_ns for record in found]
        assert times == sorted(times) and before <= times[0] and times[-1] <= time.time_ns()
        assert (done.ended_by, done.error, done.drops, done.waiting) == ("count", None, {}, 0)
        assert done.counts.received == done.counts.taken == 200
        assert done.counts.bytes == sum(map(len, frames))
        assert done.written == path.stat().st_size
        assert statistics(path) == {
            "received": 200, "dropped": 0, "accepted": 200, "os_dropped": 0, "delivered": 200
        }  # fmt: skip


def test_the_interface_is_described(pf: SoftPf, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with opened(pf, 0) as port:
        filter = Filter.of_steps(STEPS_ALL, "udp and host 10.0.0.1")
        Capture(port, str(path), filter=filter, snaplen=99).run(0.01)
        (section, interface, _) = blocks(path)
        assert section[0] == 0x0A0D0D0A
        assert b"iavfio" in options(section[1], 16)[4]
        given = options(interface[1], 8)
        assert given[2].decode() == port.name
        assert given[6] == port.mac
        assert int.from_bytes(given[8], "little") == port.link.mbps * 10**6
        assert given[9] == b"\x09"
        assert given[11] == b"\0udp and host 10.0.0.1"
        assert interface[1][:8] == bytes.fromhex("0100000063000000")


@pytest.mark.parametrize("snaplen", [16, 60, 61, 64, 100])
def test_frames_are_cut_to_snaplen_and_their_length_is_kept(
    pf: SoftPf, tmp_path: Path, snaplen: int
) -> None:
    path = tmp_path / "a.pcapng"
    with opened(pf, 0) as receiver, opened(pf, 1) as sender:
        frames = [udp(receiver.mac, sender.mac, payload=bytes([7]) * n) for n in range(18, 60)]
        running = Running(Capture(receiver, str(path), snaplen=snaplen, limit=len(frames)))
        send_all(sender, frames)
        done = running.result()
        found = records(path)
        assert [record.data for record in found] == [frame[:snaplen] for frame in frames]
        assert [record.length for record in found] == [len(frame) for frame in frames]
        assert done.counts.cut == sum(len(frame) > snaplen for frame in frames)


def test_long_frames_of_several_buffers_are_in_one_piece(pf: SoftPf, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with opened(pf, 0, mtu=9000) as receiver, opened(pf, 1, mtu=9000) as sender:
        sizes = (60, 2043, 2044, 2048, 2049, 4096, 4100, 9000)
        frames = [
            udp(receiver.mac, sender.mac, payload=bytes(i % 251 for i in range(size - 42)))
            for size in sizes
        ]
        running = Running(Capture(receiver, str(path), limit=len(frames)))
        send_all(sender, frames)
        running.result()
        assert [record.data for record in records(path)] == frames


def tagged(dst: bytes, tag: int, i: int, tpid: int = 0x8100) -> bytes:
    plain = udp(dst, LOCAL, sport=2000 + i, payload=bytes(30))
    return plain[:12] + tpid.to_bytes(2, "big") + tag.to_bytes(2, "big") + plain[12:]


@pytest.mark.parametrize("metadata", [["vlan"], []])
def test_a_tag_that_was_stripped_is_put_back(tmp_path: Path, metadata: list[str]) -> None:
    """The frames are those of the wire: with the tag, in its place, whether or not it was taken."""
    wire, path = tmp_path / "wire.pcap", tmp_path / "a.pcapng"
    frames = [tagged(BROADCAST, 0xA000 + 5 * i, i) for i in range(40)]
    frames += [udp(BROADCAST, LOCAL, sport=i) for i in range(10)]
    write_pcap(wire, frames)
    with (
        iavfio.softvf(vfs=1, uplink=f"pcap:{wire},start=command") as pf,
        opened(pf, 0, metadata=metadata) as port,
    ):
        running = Running(Capture(port, str(path), limit=len(frames)))
        pf.control("wire", play=True)
        done = running.result()
    assert [record.data for record in records(path)] == frames
    assert done.counts.tagged == (40 if metadata else 0)


def test_a_filter_sees_the_frame_as_it_was_on_the_wire(tmp_path: Path) -> None:
    """Tagged with 10, by the bytes 12 to 15: what "vlan 10" compiles to."""
    wire, path = tmp_path / "wire.pcap", tmp_path / "a.pcapng"
    frames = [tagged(BROADCAST, i % 20, i) for i in range(60)]
    write_pcap(wire, frames)
    with (
        iavfio.softvf(vfs=1, uplink=f"pcap:{wire},start=command") as pf,
        opened(pf, 0, metadata=["vlan"]) as port,
    ):
        running = Running(Capture(port, str(path), filter=Filter.of_steps(STEPS_VLAN_10)))
        pf.control("wire", play=True)
        assert running.reached(lambda capture: capture.counts.received == 60)
        port.close()
        done = running.result()
    assert [record.data for record in records(path)] == [f for f in frames if f[15] == 10]
    assert (done.counts.received, done.counts.taken) == (60, 3)


def test_a_closed_port_ends_a_capture_and_the_file_is_whole(pf: SoftPf, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with opened(pf, 0) as port:
        running = Running(Capture(port, str(path)))
        port.close()
        done = running.result()
        assert done.ended_by == "error"
        assert "moves nothing any more: it is closed" in str(done.error)
        assert statistics(path)["delivered"] == 0


def test_a_capture_goes_on_after_a_reset(pf: SoftPf, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with opened(pf, 0) as receiver, opened(pf, 1) as sender:
        first = [udp(receiver.mac, sender.mac, sport=i) for i in range(50)]
        second = [udp(receiver.mac, sender.mac, sport=100 + i) for i in range(50)]
        running = Running(Capture(receiver, str(path), limit=100))
        send_all(sender, first)
        assert running.reached(lambda capture: capture.counts.taken == 50)
        receiver.reset()
        send_all(sender, second)
        done = running.result()
        assert [record.data for record in records(path)] == first + second
        assert done.resets == 1


def test_several_queues_are_captured_together_and_one_alone(pf: SoftPf, tmp_path: Path) -> None:
    both, one = tmp_path / "both.pcapng", tmp_path / "one.pcapng"
    with opened(pf, 0, queues=2) as receiver, opened(pf, 1) as sender:
        frames = [udp(receiver.mac, sender.mac, sport=1000 + i) for i in range(100)]
        running = Running(Capture(receiver, str(both), limit=100))
        send_all(sender, frames)
        running.result()
        assert sorted(record.data for record in records(both)) == sorted(frames)
        running = Running(Capture(receiver, str(one), queues=[1]))
        send_all(sender, frames)
        assert until(lambda: receiver.rx[0].waiting + running.capture.counts.taken == 100)
        waiting = receiver.rx[0].waiting
        receiver.close()
        running.result()
        assert 0 < waiting < 100
        assert len(records(one)) == 100 - waiting


def test_what_the_device_dropped_is_told_and_stands_in_the_file(pf: SoftPf, tmp_path: Path) -> None:
    """Nobody receives while more frames come than the ring holds: the PF counts the rest."""
    path = tmp_path / "a.pcapng"
    with opened(pf, 0, rx_ring=64) as receiver, opened(pf, 1) as sender:
        capture = Capture(receiver, str(path))
        frames = [udp(receiver.mac, sender.mac, sport=i) for i in range(500)]
        send_all(sender, frames)
        assert until(lambda: drained(sender))
        done = capture.run(0.3)
    assert done.counts.taken + done.dropped == 500
    assert done.drops == {"rx_discards": done.dropped} and done.dropped > 400
    assert statistics(path)["dropped"] == done.dropped
    assert statistics(path)["received"] == 500


def test_a_second_capture_of_a_queue_is_refused(pf: SoftPf, tmp_path: Path) -> None:
    with opened(pf, 0) as port, opened(pf, 1) as sender:
        running = Running(Capture(port, str(tmp_path / "a.pcapng")), duration=60)
        send_all(sender, [udp(port.mac, sender.mac)])
        assert running.reached(lambda capture: capture.counts.taken >= 1)  # the queue is its own
        assert until(lambda: _busy(Capture(port, str(tmp_path / "b.pcapng"))), 10)
        port.close()
        running.result()


def _busy(capture: Capture) -> bool:
    done = capture.run(0.05)
    with pytest.raises(StateError, match="a capture runs once"):
        capture.run(0.05)
    return done.error is not None and "in use" in str(done.error)


@pytest.mark.parametrize("size", [100_000, 250_000])
def test_no_file_of_a_series_is_longer_than_asked_for(
    pf: SoftPf, tmp_path: Path, size: int
) -> None:
    with opened(pf, 0) as receiver, opened(pf, 1) as sender:
        frames = [udp(receiver.mac, sender.mac, sport=i, payload=bytes(900)) for i in range(800)]
        path = tmp_path / "a.pcapng"
        running = Running(Capture(receiver, str(path), limit=800, rotate_size=size))
        for at in range(0, 800, 100):
            send_all(sender, frames[at : at + 100])
            assert running.reached(lambda capture, least=at + 100: capture.counts.taken >= least)
        done = running.result()
    names = [Path(name).name for name in done.files]
    assert names == [f"a_{i + 1:05}.pcapng" for i in range(len(names))]
    assert len(names) >= 800 * 970 // size
    assert all(Path(name).stat().st_size <= size for name in done.files)
    assert [record.data for name in done.files for record in records(name)] == frames
    assert all(statistics(name) for name in done.files)


def _steps(*steps: tuple[int, int, int, int]) -> Any:
    return np.array([*steps], dtype=STEP)


STEPS_ALL = _steps((0x06, 0, 0, 262144))
STEPS_VLAN_10 = _steps(
    (0x28, 0, 0, 12), (0x15, 0, 4, 0x8100), (0x28, 0, 0, 14), (0x54, 0, 0, 0xFFF),
    (0x15, 0, 1, 10), (0x06, 0, 0, 262144), (0x06, 0, 0, 0),
)  # fmt: skip
