# SPDX-License-Identifier: BSD-3-Clause
"""The data path under stress: starvation, full rings, stops from every side, threads.

See docs/spec/reliability.md F40-F48.
"""

from __future__ import annotations

import gc
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

import iavfio
from iavfio.datapath.burst import Burst
from iavfio.datapath.pool import Pool
from iavfio.datapath.worker import Lane, Worker
from iavfio.errors import ConfigError, IavfioError, StateError
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from tests.port.rig import Options, collect, drained, healthy, lawful, send_all, udp, until, works

FAST: Options = {"reset_ms": 1}


@pytest.fixture(scope="module", params=["hardware", "immediate"])
def shared(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    with iavfio.softvf(vfs=2, writeback=request.param, options=FAST) as pf:
        yield pf
        assert lawful(pf)


@pytest.fixture
def pf(shared: SoftPf) -> Iterator[SoftPf]:
    yield shared
    shared.control("link", state="up")


@pytest.fixture(scope="module")
def one() -> Iterator[SoftPf]:
    with iavfio.softvf(options=FAST) as pf:
        yield pf


@pytest.fixture
def pool() -> Pool:
    return Pool(2048, huge="never")


def tx(port: Port, counter: str, queue: int = 0) -> int:
    port.settle()
    return port.stats.snapshot().sq[queue][counter]


def rx(port: Port, counter: str, queue: int = 0) -> int:
    port.settle()
    return port.stats.snapshot().rq[queue][counter]


def release(bursts: Iterable[Burst]) -> None:
    for burst in bursts:
        burst.release()


def configure(port: Port) -> None:
    port.stop()
    port.configure(ring=128)


class Sleeper:
    """A thread that receives until it is told an error."""

    def __init__(self, port: Port, timeout: float | None = -1) -> None:
        self.error: BaseException | None = None
        self.packets = 0
        self._port, self._timeout = port, timeout
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        queue = self._port.rx[0]
        while self.error is None:
            try:
                with queue.recv(timeout=self._timeout) as burst:
                    self.packets += len(burst)
            except IavfioError as error:
                if "in use" not in str(error):  # the other thread may be faster for once
                    self.error = error

    def ended(self) -> bool:
        self._thread.join(5)
        return not self._thread.is_alive()


# docs/spec/reliability.md F48
def test_twenty_opens_and_two_hundred_starts_leave_the_pool_exact(one: SoftPf, pool: Pool) -> None:
    for _ in range(20):
        with one.open(0, pool=pool) as port:
            port.configure(ring=64)
            frames = [udp(port.mac, port.mac)] * 8
            for n in range(10):
                port.start()
                if n % 3 == 0:
                    with port.tx[0].build(frames) as burst:
                        port.tx[0].send(burst)
                if n % 4 == 0:
                    port.rx[0].recv().release()
                port.stop()
                assert healthy(pool)
    assert one.violations() == []


# docs/spec/reliability.md F42
def test_empty_pool_stops_reception_and_the_first_free_buffer_resumes_it(
    pf: SoftPf, pool: Pool
) -> None:
    small = Pool(224, huge="never")
    with pf.open(0, pool=small) as port, pf.open(1, pool=pool) as other:
        port.configure(ring=64)
        port.start(wait_link=5)
        other.start(wait_link=5)
        frame = udp(port.mac, other.mac)
        held = []
        for _ in range(30):
            send_all(other, [frame] * 16)
            held.append(port.rx[0].recv(timeout=0.02))
        got = sum(len(burst) for burst in held)
        assert small.idle < 64
        assert until(lambda: drained(other))
        release(held)
        more = len(collect(port.rx, 480, 0.2))
        assert rx(port, "alloc_page_fail") > 0
        port.refresh_stats()
        missed = port.stats.snapshot().counters()["rx_discards"]
        assert got + more + missed == 480
        send_all(other, [frame])
        assert collect(port.rx, 1) == [frame]
    assert healthy(small)
    assert healthy(pool)


def test_what_a_full_ring_did_not_take_is_counted_at_release(pf: SoftPf, pool: Pool) -> None:
    pf.control("link", state="down")
    with pf.open(0, pool=pool) as port:
        port.configure(ring=64)
        port.start()
        frames = [udp(port.mac, port.mac)] * 200
        offered = sent = 0
        for _ in range(3):
            with port.tx[0].build(frames) as burst:
                offered += len(burst)
                sent += port.tx[0].send(burst)
        assert tx(port, "posted") == sent
        assert tx(port, "refused_full") == offered - sent


def test_refused_packets_of_a_selection_are_those_that_were_offered(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port, pf.open(1, pool=pool) as other:
        port.configure(ring=64)
        port.start(wait_link=5)
        other.start(wait_link=5)
        before = tx(port, "refused_full")
        burst = port.tx[0].build([udp(other.mac, port.mac)] * 200)
        took = port.tx[0].send(burst[:150])
        assert took < 150
        burst.release()
        assert tx(port, "refused_full") - before == 150 - took
        with port.tx[0].build([udp(other.mac, port.mac)] * 100) as again:
            left = 100
            while left:
                left -= port.tx[0].send(again)
        assert tx(port, "refused_full") - before == 150 - took  # sent in the end: not refused
    assert healthy(pool)


def test_refused_packets_of_another_thread_are_counted_too(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.configure(ring=64)
        port.start(wait_link=5)
        before = tx(port, "refused_full") + tx(port, "posted")
        bursts = [port.tx[0].build([udp(port.mac, port.mac)] * 100) for _ in range(4)]
        for burst in bursts:
            port.tx[0].send(burst)
        thread = threading.Thread(target=lambda: release(bursts))
        thread.start()
        for _ in range(200):
            port.tx[0].clean()
        thread.join()
        assert tx(port, "refused_full") + tx(port, "posted") - before == 400
    assert healthy(pool)


def test_bursts_at_their_edges(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        send = port.tx[0].send
        with port.tx[0].build([]) as empty:
            assert len(empty) == 0
            assert send(empty) == 0
            assert send(empty[:]) == 0
            assert list(empty) == []
        burst = port.tx[0].build([udp(port.mac, port.mac, sport=n) for n in range(10)])
        odd = np.arange(10) % 2 == 1
        assert send(burst[odd]) == 5
        with pytest.raises(StateError, match="sent before"):
            send(burst[1:3])
        with pytest.raises(ConfigError, match="twice"):
            burst[[2, 2]]
        with pytest.raises(ConfigError, match="mask"):
            burst[np.ones(9, dtype=bool)]
        with pytest.raises(IndexError):
            burst[10]
        assert send(burst[[-2]]) == 1
        assert send(burst) == 4
        assert send(burst) == 0
        burst.release()
        burst.release()
        with pytest.raises(StateError, match="released"):
            send(burst)
        assert len(collect(port.rx, 10)) == 10
        assert until(lambda: drained(port))
        forgotten = port.tx[0].build([udp(port.mac, port.mac)] * 5)
        before = pool.idle
        del forgotten
        gc.collect()
        assert pool.idle == before + 5
    assert healthy(pool)


def test_chains_in_selections(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.configure(mtu=9000)
        port.start(wait_link=5)
        frames = [udp(port.mac, port.mac, payload=bytes([n]) * (900 * n)) for n in range(1, 10)]
        burst = port.tx[0].build(frames)
        assert list(burst.lengths) == [len(frame) for frame in frames]
        assert port.tx[0].send(burst[[8, 0, 4]]) == 3
        assert collect(port.rx, 3) == [frames[8], frames[0], frames[4]]
        assert port.tx[0].send(burst) == 6
        assert collect(port.rx, 6) == [frames[n] for n in (1, 2, 3, 5, 6, 7)]
        burst.release()
    assert healthy(pool)


def test_queue_in_use_by_another_thread_is_refused(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        sleeper = Sleeper(port)
        with pytest.raises(StateError, match="another thread"):
            end = time.monotonic() + 5
            while time.monotonic() < end:
                port.rx[0].recv().release()
        port.stop()
        assert sleeper.ended()
        assert isinstance(sleeper.error, StateError)


@pytest.mark.parametrize("timeout", [None, 0.001, -1])
@pytest.mark.parametrize("end", ["close", "stop", "configure"])
def test_port_ended_under_a_receiving_thread(
    one: SoftPf, pool: Pool, end: str, timeout: float | None
) -> None:
    calls: dict[str, Callable[[Port], None]] = {
        "close": Port.close,
        "stop": Port.stop,
        "configure": configure,
    }
    for _ in range(5):
        port = one.open(0, pool=pool)
        port.start(wait_link=5)
        sleeper = Sleeper(port, timeout)
        send_all(port, [udp(port.mac, port.mac)] * 32)
        assert until(lambda s=sleeper: s.packets == 32)  # type: ignore[misc]
        calls[end](port)
        assert sleeper.ended()
        assert isinstance(sleeper.error, StateError), sleeper.error
        port.close()
        assert healthy(pool)


def test_thread_that_sleeps_through_resets_goes_on_receiving(one: SoftPf, pool: Pool) -> None:
    with one.open(0, pool=pool) as port:
        port.start(wait_link=5)
        sleeper = Sleeper(port)
        for n in range(3):
            port.reset()
            port.wait_link(5)
            send_all(port, [udp(port.mac, port.mac)] * 10)
            assert until(lambda n=n: sleeper.packets == 10 * (n + 1))  # type: ignore[misc]
        port.stop()
        assert sleeper.ended()
    assert healthy(pool)


def test_bursts_released_late_by_another_thread(one: SoftPf, pool: Pool) -> None:
    port = one.open(0, pool=pool)
    port.start(wait_link=5)
    send_all(port, [udp(port.mac, port.mac)] * 20)
    received = port.rx[0].recv(max=8, timeout=5)
    built = port.tx[0].build([bytes(64)] * 7)
    port.stop()
    port.configure(ring=128)
    held = len(received) + len(built)
    assert pool.held == held
    received.release()
    port.close()
    assert pool.held == len(built) == 7
    thread = threading.Thread(target=built.release)
    thread.start()
    thread.join()
    assert healthy(pool)


def test_port_that_is_forgotten_is_closed_with_a_warning(one: SoftPf, pool: Pool) -> None:
    port = one.open(0, pool=pool)
    port.start()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del port
        assert until(lambda: bool(gc.collect() + 1) and healthy(pool), 5)
    assert any("was not closed" in str(each.message) for each in told)
    with one.open(0, pool=pool) as again:
        again.start(wait_link=5)
        works(again)


# ---- workers


def loopback(port: Port) -> Worker:
    return Worker("loopback", [Lane(port.rx[0], None, port.mac, port.mac)], signature=0x1234)


def moves(worker: Worker) -> bool:
    before = worker.counters.received
    return until(lambda: worker.counters.received > before + 100, 5)


def test_worker_goes_on_after_a_reset_and_after_stop_and_start(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        with loopback(port) as worker:
            assert moves(worker)
            port.reset()
            port.wait_link(5)
            assert moves(worker)
            pf.control("reset", vf=0)
            assert until(lambda: len(port.resets) == 2 and port.state == "running")
            port.wait_link(5)
            assert moves(worker)
            port.stop()
            port.start(wait_link=5)
            assert moves(worker)
            with pytest.raises(StateError, match="in use"):
                port.rx[0].recv()
        assert worker.counters.error == 0
        port.rx[0].recv().release()  # the queue is free again
        port.stop()
        assert healthy(pool)


@pytest.mark.parametrize("end", ["close", "configure", "lost"])
def test_worker_ends_when_its_queue_does(pool: Pool, end: str) -> None:
    with iavfio.softvf(options=FAST) as own, own.open(0, pool=pool) as port:
        port.start(wait_link=5)
        with loopback(port) as worker:
            assert moves(worker)
            if end == "close":
                port.close()
            elif end == "configure":
                configure(port)
            else:
                own.control("remove", vf=0)
            assert worker.wait(5)
            assert worker.counters.error < 0
        port.close()
        assert healthy(pool)
