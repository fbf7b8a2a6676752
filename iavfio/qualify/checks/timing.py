# SPDX-License-Identifier: BSD-3-Clause
"""Interrupts, write-back, throughput and latency."""

from __future__ import annotations

import statistics
import threading
import time

from iavfio.bench.plan import Plan, least_mtu
from iavfio.bench.run import run
from iavfio.datapath.queues import RxQueue
from iavfio.port.port import Port
from iavfio.port.rss import Rss
from iavfio.qualify.frames import frame, number_of
from iavfio.qualify.outcome import Seen, require
from iavfio.qualify.vfs import Vfs

WAKES = 16  # sleeps for each queue
ASLEEP = 0.02  # seconds until a receiver certainly sleeps
LATE = 10.0  # seconds: what takes longer was lost; a busy host may take one or two
TRIPS = 1000
WINDOW = 2.0  # seconds of each throughput figure
RATES = (64, 512, 1518)


def interrupts(vfs: Vfs, seen: Seen) -> None:
    """A sleeping receiver of each queue is woken by one frame, every time."""
    most = min(4, *(port.session.resources.queue_pairs for port in vfs.ports))
    times: list[float] = []
    for queue in range(most):
        rss = Rss.make(lut=(queue,)) if most > 1 else Rss()
        source, sink = vfs.start(queues=most, rss=rss)
        for number in range(WAKES):
            times.append(wake(source, sink.rx[queue], frame(sink.mac, source.mac, number)))
            require(
                times[-1] < LATE,
                f"queue {queue}: sleeper {number} was not woken within {LATE:g} s",
            )
    seen.figures |= _spread(times, "wake")


def wake(source: Port, queue: RxQueue, data: bytes) -> float:
    """Seconds from the doorbell to the return of the sleeping receiver."""
    came: list[float] = []

    def sleep() -> None:
        end = time.monotonic() + 2 * LATE
        while time.monotonic() < end and not came:
            with queue.recv(timeout=2 * LATE) as burst:
                if any(number_of(bytes(packet)) is not None for packet in burst):
                    came.append(time.perf_counter())

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    time.sleep(ASLEEP)
    began = time.perf_counter()
    try:
        with source.tx[0].build([data]) as burst:
            source.tx[0].send(burst)
    finally:
        sleeper.join()
    return came[0] - began if came else 2 * LATE


def write_back(vfs: Vfs, seen: Seen) -> None:
    """A single packet is written back although its cache line is incomplete."""
    source, sink = vfs.start()
    times = _trips(source, sink, WAKES * 4, "was not written back")
    seen.figures |= _spread(times, "write_back")


def latency(vfs: Vfs, seen: Seen) -> None:
    """1000 frames go one at a time; their times from doorbell to write-back."""
    source, sink = vfs.start()
    seen.figures |= _spread(_trips(source, sink, TRIPS, "did not arrive"), "trip")


def _trips(source: Port, sink: Port, count: int, missing: str) -> list[float]:
    """The seconds of each of `count` trips. Raises Failed for the first that does not end."""
    times: list[float] = []
    for number in range(count):
        times.append(_trip(source, sink, number))
        require(times[-1] < LATE, f"packet {number}, alone, {missing} within {LATE:g} s")
    return times


def _trip(source: Port, sink: Port, number: int) -> float:
    with source.tx[0].build([frame(sink.mac, source.mac, number)]) as burst:
        began = time.perf_counter()
        source.tx[0].send(burst)
    end = began + LATE
    while (now := time.perf_counter()) < end:
        with sink.rx[0].recv() as burst:
            if any(number_of(bytes(packet)) == number for packet in burst):
                return now - began
    return LATE


def throughput(vfs: Vfs, seen: Seen) -> None:
    """Frames of 64, 512 and 1518 bytes as fast as they go, and where the lost ones went."""
    for size in RATES:
        if least_mtu([size]) > min(port.control.limits.mtu for port in vfs.ports):
            continue
        ports = distinct(vfs.start(mtu=max(1500, least_mtu([size]))))
        result = run(Plan(mode="loopback", sizes=(size,), duration=WINDOW, max_loss=1.0), ports)
        seen.figures[f"{size}_byte_mpps"] = round(result.mpps, 3)
        seen.figures[f"{size}_byte_loss_share"] = round(result.loss, 6)
        if result.interrupted is not None:
            raise result.interrupted
        require(result.sound, f"{size} bytes: {'; '.join(result.reasons)}")


def distinct(both: tuple[Port, Port]) -> list[Port]:
    """Sender and receiver, which with one VF are one port."""
    return [both[0]] if both[0] is both[1] else list(both)


def _spread(times: list[float], name: str) -> dict[str, float]:
    ordered = sorted(times)
    return {
        f"{name}_median_us": round(statistics.median(ordered) * 1e6, 1),
        f"{name}_p99_us": round(ordered[len(ordered) * 99 // 100] * 1e6, 1),
        f"{name}_max_us": round(ordered[-1] * 1e6, 1),
    }
