# SPDX-License-Identifier: BSD-3-Clause
"""Frames arrive unchanged: on every queue, by every code path and descriptor, in every size."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from iavfio.datapath.isa import usable
from iavfio.port.port import Port
from iavfio.port.rss import Rss
from iavfio.qualify.frames import LEAST, PORT, frame, number_of, toeplitz
from iavfio.qualify.outcome import Failed, NotRun, Seen, require
from iavfio.qualify.vfs import Received, Vfs, exchange

A_QUEUE = 64  # frames for each queue
A_PATH = 200  # frames for each code path
FLOWS = 256
MOST_QUEUES = 16
FCS = 4


def first_way(vfs: Vfs, seen: Seen) -> None:
    """Checks `both_ways`; that two VFs of one PF do not reach each other is a failure."""
    try:
        vfs.way()
    except NotRun as reason:
        if len(vfs.targets) == 1:
            raise
        raise Failed(str(reason)) from None
    both_ways(vfs, seen)


def both_ways(vfs: Vfs, seen: Seen) -> None:
    """Frames go from each VF to the other and arrive unchanged and in order."""
    ports = vfs.start()
    ways = [ports] if ports[0] is ports[1] else [ports, (ports[1], ports[0])]
    seen.facts["ways"] = len(ways)
    for source, sink in ways:
        frames = [frame(sink.mac, source.mac, i) for i in range(A_PATH)]
        _equal(frames, exchange(source.tx[0], sink.rx, frames), f"{source.name} to {sink.name}")


def queues(vfs: Vfs, seen: Seen) -> None:
    """Every queue pair sends and receives: RSS is pointed at one after the other."""
    most = min(MOST_QUEUES, *(port.session.resources.queue_pairs for port in vfs.ports))
    seen.facts["queues"] = most
    for queue in range(most):
        rss = Rss.make(lut=(queue,)) if most > 1 else Rss()
        source, sink = vfs.start(queues=most, rss=rss)
        frames = [frame(sink.mac, source.mac, i, sport=PORT + i) for i in range(A_QUEUE)]
        got = exchange(source.tx[queue], sink.rx, frames)
        _equal(frames, got, f"queue {queue}")
        strays = sorted({number for number, _, _ in got} - {queue})
        require(not strays, f"frames for queue {queue} came to {strays}")


def code_paths(vfs: Vfs, seen: Seen) -> None:
    """Each instruction set of this CPU with each descriptor format receives and sends exactly."""
    formats = ["auto"]
    if vfs.sender.session.rxdid and vfs.receiver.session.rxdid:
        formats.append("legacy")
    seen.facts["formats"] = [
        f"RXDID {vfs.receiver.session.rxdid}" if vfs.receiver.session.rxdid else "legacy",
        *formats[1:],
    ]
    wrong = []
    for descriptors in formats:
        for isa in usable():
            name = f"{isa} with {descriptors} descriptors"
            columns = ("ptype", "csum")
            source, sink = vfs.start(isa=isa, descriptors=descriptors, metadata=columns)
            frames = [_varied(sink, source, i) for i in range(A_PATH)]
            try:
                _equal(frames, exchange(source.tx[0], sink.rx, frames), name)
            except Failed as failure:
                wrong.append(str(failure))
    require(not wrong, "; ".join(wrong))


def checksums(vfs: Vfs, seen: Seen) -> None:
    """The device tells right checksums from wrong ones, in both descriptor formats."""
    formats = ["auto"] + ["legacy"] * bool(vfs.receiver.session.rxdid)
    for descriptors in formats:
        source, sink = vfs.start(descriptors=descriptors, metadata=("csum",))
        good = frame(sink.mac, source.mac, 0)
        bad_l4 = good[:40] + bytes([good[40] ^ 0x55, good[41] ^ 0xAA]) + good[42:]
        words = []
        for data in (good, bad_l4):
            with source.tx[0].build([data]) as burst:
                source.tx[0].send(burst)
            with sink.rx[0].recv(timeout=1.0) as burst:
                require(len(burst) == 1, "a frame did not arrive")
                words.append(int(burst.csum[0]))
        seen.facts[f"csum_{descriptors}"] = words
        require(words[0] & 3 == 1 and words[0] >> 2 & 3 == 1, f"a right frame: {words[0]:#x}")
        require(words[1] >> 2 & 3 == 2, f"a wrong UDP checksum was not seen: {words[1]:#x}")


def sizes(vfs: Vfs, seen: Seen) -> None:
    """Every size up to 1518 bytes, and those around each further buffer up to the PF's limit."""
    ports = vfs.ports
    mtu = min(port.control.limits.mtu for port in ports)
    source, sink = vfs.start(mtu=mtu)
    longest = min(port.settings.frame for port in ports)
    around = {room * 2048 + more for room in range(1, 6) for more in range(-8, 9)}
    wanted = sorted({*range(60, min(1519, longest + 1)), *around, longest - 1, longest})
    chosen = [size for size in wanted if LEAST <= size <= longest]
    seen.facts |= {"longest_frame": longest + FCS, "mtu": mtu}
    frames = [frame(sink.mac, source.mac, i, size) for i, size in enumerate(chosen)]
    _equal(frames, exchange(source.tx[0], sink.rx, frames), f"sizes 60 to {longest}")


def rss(vfs: Vfs, seen: Seen) -> None:
    """Hash and queue of 256 flows are those of the Toeplitz function with a random key."""
    session = vfs.receiver.session
    if not session.resources.key_size:
        raise NotRun("the PF grants this VF no RSS")
    most = min(4, *(port.session.resources.queue_pairs for port in vfs.ports))
    key = secrets.token_bytes(session.resources.key_size)
    source, sink = vfs.start(queues=most, metadata=("rss",), rss=Rss.make(key=key))
    frames = [frame(sink.mac, source.mac, i, sport=PORT + i) for i in range(FLOWS)]
    got = exchange(source.tx[0], sink.rx, frames, hashes=True)
    require(len(got) == FLOWS, f"{len(got)} of {FLOWS} flows arrived")
    table = session.resources.lut_size
    wrong = []
    for queue, data, seen_hash in got:
        flow = number_of(data)
        assert flow is not None
        hashed = toeplitz(key, PORT + flow)
        if seen_hash != hashed:
            wrong.append(f"flow {flow}: hash {seen_hash:08x}, not {hashed:08x}")
        elif queue != hashed % table % most:
            wrong.append(f"flow {flow}: queue {queue}, not {hashed % table % most}")
    seen.facts["queues_used"] = len({queue for queue, _, _ in got})
    require(not wrong, f"{len(wrong)} of {FLOWS} flows: {'; '.join(wrong[:3])}")


def _varied(sink: Port, source: Port, number: int) -> bytes:
    return frame(sink.mac, source.mac, number, 60 + number * 37 % 1440, PORT + number % 8)


def _equal(sent: Sequence[bytes], got: Sequence[Received], name: str) -> None:
    """Raises Failed unless exactly the sent frames came, in order."""
    received = [data for _, data, _ in got]
    if received == list(sent):
        return
    numbers = [number_of(data) for data in received]
    lost = sorted(set(range(len(sent))) - {n for n in numbers if n is not None})
    if lost:
        raise Failed(f"{name}: {len(lost)} of {len(sent)} frames lost, the first is {lost[0]}")
    if len(received) > len(sent):
        raise Failed(f"{name}: {len(received) - len(sent)} frames came twice")
    if sorted(received) == sorted(sent):
        raise Failed(f"{name}: frames came out of order")
    changed = sum(a != b for a, b in zip(sorted(received), sorted(sent), strict=True))
    raise Failed(f"{name}: {changed} frames were changed on the way")
