# SPDX-License-Identifier: BSD-3-Clause
"""A frame sent aside: from any thread, and nobody who uses the queue is refused for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import iavfio
from iavfio.datapath.pool import Pool
from iavfio.errors import ConfigError, IavfioError, StateError
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from tests.port.rig import healthy, lawful, udp, until

STRANGER = bytes.fromhex("02fffffffffe")
Pair = tuple[SoftPf, Port, Port, Pool]


@pytest.fixture
def pair() -> Iterator[Pair]:
    with iavfio.softvf(vfs=2, uplink="none") as pf:
        pool = Pool(2048, huge="never")
        with pf.open(0, pool=pool) as port, pf.open(1) as to:
            for each in (port, to):
                each.configure(ring=64)
                each.start(wait_link=10)
            yield pf, port, to, pool
            port.close()
            assert healthy(pool)
            assert lawful(pf)


def test_nobody_is_refused_and_every_frame_arrives(pair: Pair) -> None:
    _, port, to, _ = pair
    frame, other = udp(to.mac, port.mac), udp(to.mac, port.mac, payload=bytes(40))
    failed: list[IavfioError] = []
    taken = [0, 0]
    over = threading.Event()

    def use() -> None:
        try:
            while not over.is_set():
                taken[0] += port.tx[0].send([frame] * 3)
        except IavfioError as error:
            failed.append(error)

    user = threading.Thread(target=use)
    user.start()
    tried = 0
    lengths: list[int] = []

    def enough() -> bool:
        nonlocal tried
        tried += 1
        try:
            taken[1] += port.tx[0].send_aside(other)
        except StateError:
            pass  # the user was at work in it, and goes on
        with to.rx[0].recv() as burst:
            lengths.extend(burst.lengths.tolist())
        return taken[0] >= 2000 and taken[1] >= 50

    assert until(enough, 60)
    over.set()
    user.join()
    assert failed == []

    def all_there() -> bool:
        with to.rx[0].recv() as burst:
            lengths.extend(burst.lengths.tolist())
        return len(lengths) + to.stats.snapshot().pf["rx_discards"] >= sum(taken)

    assert until(lambda: to.refresh_stats() is None and all_there(), 60)
    assert port.stats.snapshot().sq[0]["posted"] == sum(taken)
    assert set(lengths) == {len(frame), len(other)}


def test_a_full_ring_and_an_empty_pool_cost_nothing(pair: Pair) -> None:
    pf, port, _, pool = pair
    pf.control("fault", vf=0, kind="tx_stall", queue=0, on=True)
    pf.control("link", vf=0, state="disable")  # without a link a stall is no reason for a reset
    assert until(lambda: not port.link.up)
    while port.tx[0].send([bytes(60)] * 8):
        pass
    idle = pool.idle
    assert not port.tx[0].send_aside(bytes(60))
    assert pool.idle == idle
    pf.control("fault", vf=0, kind="clear")
    assert until(lambda: not port.tx[0].in_flight)
    idle = pool.idle
    held = [port.tx[0].build([bytes(60)]) for _ in range(idle)]
    assert pool.idle == 0
    with pytest.raises(IavfioError, match="the pool has no buffer"):
        port.tx[0].send_aside(bytes(60))
    for burst in held:
        burst.release()
    assert pool.idle == idle


@pytest.mark.parametrize("length", [0, 16, 1523, 2048, 2049, 70000])
def test_a_frame_that_cannot_be_sent_is_named_and_costs_no_buffer(pair: Pair, length: int) -> None:
    _, port, _, pool = pair
    idle = pool.idle
    with pytest.raises(ConfigError, match=rf"frame of {length} bytes .*: 17 to 1522 bytes can"):
        port.tx[0].send_aside(bytes(length))
    assert pool.idle == idle


def test_a_queue_that_a_worker_has_or_that_does_not_run_says_so(pair: Pair) -> None:
    _, port, _, _ = pair
    with iavfio.Worker("rxdrop", [iavfio.Lane(port.rx[0])]):
        assert port.tx[0].send_aside(udp(STRANGER, port.mac))
    with iavfio.Worker("txonly", [iavfio.Lane(port.rx[0], dst=STRANGER, src=port.mac)]) as worker:
        assert until(lambda: worker.counters.sent > 0)
        with pytest.raises(StateError, match="in use"):
            port.tx[0].send_aside(udp(STRANGER, port.mac))
    port.stop()
    with pytest.raises(StateError, match="not running"):
        port.tx[0].send_aside(bytes(60))
