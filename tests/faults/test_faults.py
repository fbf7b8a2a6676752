# SPDX-License-Identifier: BSD-3-Clause
"""A bad wire in front of a port: each packet is accounted for once, and no buffer is missing."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import iavfio
from iavfio.datapath.pool import Pool
from iavfio.datapath.queues import RxQueue, TxQueue
from iavfio.errors import ConfigError, StateError
from iavfio.faults import Counts, FaultyPort, FaultyTxQueue
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from tests.port.rig import collect, drained, healthy, udp, until

share = st.sampled_from([0.0, 0.01, 0.3, 1.0]) | st.floats(0, 1)
RING = 2048
QUICK = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.generate],  # no shrinking: each failure waits for a deadline
)


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def pf() -> Iterator[SoftPf]:
    """Frames with a wrong address pass, too: a bit of it may be inverted."""
    with iavfio.softvf(vfs=1) as pf:
        pf.control("trust", vf=0, on=True)
        pf.control("spoofchk", vf=0, on=False)
        yield pf


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool(4096, huge="never")


@pytest.fixture(scope="module")
def port(pf: SoftPf, pool: Pool) -> Iterator[Port]:
    with pf.open(0, pool=pool) as port:
        port.configure(queues=1, ring=RING, mtu=5000, metadata={"rss"}, promiscuous=True)
        port.start(wait_link=5)
        yield port
    assert healthy(pool)
    assert pf.violations() == []


def numbered(port: Port, count: int, long: bool = False) -> list[bytes]:
    payload = bytes(3000 if long else 14)
    return [udp(port.mac, port.mac, payload=n.to_bytes(4, "big") + payload) for n in range(count)]


def numbers(frames: list[bytes]) -> list[int]:
    return [int.from_bytes(frame[42:46], "big") for frame in frames]


def send(bad: FaultyPort, frames: list[bytes], pieces: int = 32) -> None:
    for at in range(0, len(frames), pieces):
        with bad.tx[0].build(frames[at : at + pieces]) as burst:
            while burst.left:
                bad.tx[0].send(burst)


def taken(bad: FaultyPort, count: int) -> list[bytes]:
    """Copies of `count` packets, or fewer when the time is over."""
    return collect(cast(tuple[RxQueue, ...], bad.rx), count, 0.005)


def received(bad: FaultyPort) -> list[bytes]:
    """All that the wire lets through: by the device's word that everything was sent."""
    assert until(lambda: bad.drain() == 0)
    assert until(lambda: drained(bad.port))
    arrived: list[bytes] = []
    sent = bad.tx_counts.delivered

    def all_taken() -> bool:
        arrived.extend(taken(bad, 4096))
        return bad.rx_counts.taken == sent

    assert until(all_taken), (bad.tx_counts, bad.rx_counts, bad.port.notes)
    bad.drain()
    return arrived + taken(bad, 4096)


@QUICK
@given(
    loss=share,
    duplicate=share,
    reorder=share,
    corrupt=share,
    delay=st.sampled_from([0.0, 0.001, (0.0, 0.003)]),
    seed=st.integers(0, 1000),
    count=st.integers(1, 200),
    pieces=st.integers(1, 64),
    long=st.booleans(),
    sides=st.sampled_from(["rx", "tx", ("rx", "tx")]),
)
def test_packets_are_conserved(
    port: Port, pool: Pool, count: int, pieces: int, long: bool, **faults: Any
) -> None:
    frames = numbered(port, count, long)
    with iavfio.faults.wrap(port, **faults) as bad:
        send(bad, frames, pieces)
        got = received(bad)
        tx, rx = bad.tx_counts, bad.rx_counts
        assert tx.balanced and rx.balanced
        assert tx.held == rx.held == tx.discarded == rx.discarded == tx.refused == 0
        assert tx.taken == count
        assert rx.taken == tx.taken + tx.duplicated - tx.lost
        assert len(got) == rx.taken + rx.duplicated - rx.lost
        strange = sum((Counter(got) - Counter({f: len(got) for f in frames})).values())
        assert strange <= tx.corrupted * 2 + rx.corrupted
    assert until(lambda: pool.held <= RING)  # only the receive ring's


@pytest.mark.parametrize("side", ["rx", "tx"])
def test_each_fault_does_what_its_count_says(port: Port, side: str) -> None:
    frames = numbered(port, 400)
    for fault, wanted in (("loss", "lost"), ("duplicate", "duplicated"), ("corrupt", "corrupted")):
        with iavfio.faults.wrap(port, seed=7, sides=side, **{fault: 0.2}) as bad:  # type: ignore[arg-type]
            send(bad, frames)
            got = received(bad)
            told = getattr(bad.counts, wanted)
            assert 50 < told < 120
            seen = {
                "lost": max(400 - len(got), 0),
                "duplicated": max(len(got) - 400, 0),
                "corrupted": 0 if len(got) != 400 else sum(map(bytes.__ne__, got, frames)),
            }
            assert seen == {name: told if name == wanted else 0 for name in seen}


@pytest.mark.parametrize("side", ["rx", "tx"])
def test_a_copy_is_made_before_its_original_is_corrupted(port: Port, side: str) -> None:
    # One bit makes none of these another of them.
    frames = [udp(port.mac, port.mac, payload=bytes([n, n]) * 9) for n in range(50)]
    with iavfio.faults.wrap(port, duplicate=1, corrupt=1, sides=side) as bad:
        send(bad, frames)
        got = Counter(received(bad))
    assert bad.counts.corrupted == bad.counts.duplicated == 50
    assert [got[frame] for frame in frames] == [1] * 50
    assert sum(got.values()) == 100


def test_the_same_seed_gives_the_same_fates_however_bursts_are_cut(port: Port) -> None:
    frames = numbered(port, 300)
    faults = {"loss": 0.1, "duplicate": 0.1, "reorder": 0.2, "corrupt": 0.05}
    runs = []
    for seed, pieces in ((1, 7), (1, 64), (2, 64)):
        with iavfio.faults.wrap(port, seed=seed, hold=100, sides="tx", **faults) as bad:  # type: ignore[arg-type]
            send(bad, frames, pieces)
            runs.append((received(bad), bad.counts))
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[2][0]
    assert min(vars(runs[0][1])[name] for name in ("lost", "duplicated", "corrupted")) > 5


def test_a_reordered_packet_is_overtaken_by_no_more_than_the_distance(port: Port) -> None:
    with iavfio.faults.wrap(port, reorder=0.2, distance=3, hold=100, sides="tx") as bad:
        send(bad, numbered(port, 200))
        order = numbers(received(bad))
        assert sorted(order) == list(range(200)) != order
        behind = [sum(other > n for other in order[:at]) for at, n in enumerate(order)]
        assert bad.counts.reordered == sum(count > 0 for count in behind)
        assert max(behind) <= 3 + 2  # those that leave with the third may be two of a kind
        assert 20 < bad.counts.reordered < 60


def test_a_packet_that_nothing_overtakes_goes_after_a_while(port: Port) -> None:
    clock = Clock()
    with iavfio.faults.wrap(port, reorder=1, hold=0.5, sides="tx", clock=clock) as bad:
        send(bad, numbered(port, 1))
        assert (bad.counts.held, bad.counts.delivered, bad.next) == (1, 0, 100.5)
        clock.now += 0.4
        bad.pump()
        assert bad.counts.held == 1
        clock.now += 0.1
        bad.pump()
        assert (bad.counts.held, bad.counts.delivered, bad.counts.reordered) == (0, 1, 0)
        assert numbers(received(bad)) == [0]


@pytest.mark.parametrize("side", ["rx", "tx"])
def test_delayed_packets_come_when_their_time_has_come(port: Port, side: str) -> None:
    clock = Clock()
    with iavfio.faults.wrap(port, delay=2, sides=side, clock=clock) as bad:
        send(bad, numbered(port, 3))
        if side == "rx":
            assert until(lambda: len(bad.rx[0].recv()) == 0 and bad.rx_counts.taken == 3)
        assert bad.counts.held == 3
        clock.now += 1.9
        bad.pump()
        assert (len(bad.rx[0].recv()), bad.counts.held) == (0, 3)
        clock.now += 0.1
        assert numbers(received(bad)) == [0, 1, 2]
        assert bad.counts.delayed == 3


@pytest.mark.parametrize("side", ["rx", "tx"])
def test_recv_wakes_for_a_packet_that_was_delayed(port: Port, side: str) -> None:
    """Otherwise it sleeps on an interrupt that nothing sends."""
    with iavfio.faults.wrap(port, delay=0.05, sides=side) as bad:
        send(bad, numbered(port, 1))
        with bad.rx[0].recv(timeout=60) as burst:
            assert len(burst) == 1
        with bad.rx[0].recv(timeout=0.01) as burst:
            assert len(burst) == 0


def test_metadata_goes_with_the_packet_and_its_copy(port: Port) -> None:
    with iavfio.faults.wrap(port, duplicate=1, loss=0.3, sides="rx", seed=3) as bad:
        send(bad, [udp(port.mac, port.mac, sport=n) for n in range(1, 65)])
        assert until(lambda: drained(port))
        hashes: dict[int, set[int]] = {}
        count = 0
        while bad.rx_counts.taken < 64 or bad.rx_counts.held:
            with bad.rx[0].recv(timeout=10) as burst:
                assert len(burst)
                assert (burst.flags & 1 == 1).all()
                for sport, rss in zip(burst.u16(34).tolist(), burst.rss.tolist(), strict=True):
                    hashes.setdefault(sport, set()).add(rss)
                count += len(burst)
        assert len(hashes) == count // 2 < 64
        assert all(len(found) == 1 and 0 not in found for found in hashes.values())
        assert len(set.union(*hashes.values())) == len(hashes)


def test_a_receiver_gets_no_more_than_it_asked_for(port: Port) -> None:
    with iavfio.faults.wrap(port, duplicate=1, sides="rx") as bad:
        send(bad, numbered(port, 4))
        got: list[int] = []
        while len(got) < 8:
            with bad.rx[0].recv(max=3, timeout=5) as burst:
                assert 1 <= len(burst) <= 3
                got += numbers([bytes(burst.bytes(i)) for i in range(len(burst))])
        assert got == [0, 0, 1, 1, 2, 2, 3, 3]


def test_what_is_held_at_the_end_is_given_back_and_told(port: Port, pool: Pool) -> None:
    with iavfio.faults.wrap(port, delay=100) as bad:
        send(bad, numbered(port, 20))
        assert bad.tx[0].in_flight == 20
    assert bad.counts == Counts(taken=20, discarded=20, delayed=20)
    assert pool.held <= RING
    with pytest.raises(StateError, match="have ended"):
        bad.tx[0].send(port.tx[0].build(numbered(port, 1)))
    with pytest.raises(StateError, match="have ended"):
        bad.rx[0].recv()
    assert bad.name == port.name


def test_at_most_the_limit_waits(port: Port) -> None:
    with iavfio.faults.wrap(port, delay=100, limit=8, sides="tx") as bad:
        send(bad, numbered(port, 20))
        assert (bad.counts.held, bad.counts.delivered) == (8, 12)
        assert numbers(received(bad)) == list(range(20))


def test_a_wire_that_doubles_all_keeps_little_of_what_comes_faster_than_it_goes(
    port: Port,
) -> None:
    limit, most, frames = 64, 0, numbered(port, 32)
    with iavfio.faults.wrap(port, duplicate=1.0, sides="rx", limit=limit) as bad:
        for _ in range(60):
            port.tx[0].send(frames)
            bad.rx[0].recv(32).release()
            most = max(most, bad.rx_counts.held)
        assert 0 < most <= limit + 2 * 32
        assert bad.rx_counts.balanced and bad.rx_counts.delivered > 0
        assert until(lambda: drained(port))
        while len(left := bad.rx[0].recv(256, timeout=0.1)):
            left.release()


@pytest.mark.parametrize("most", [1, 3, 32, 300])
def test_as_many_go_as_come_whatever_is_asked_for(port: Port, most: int) -> None:
    """The port is asked for what there is room for: no packet waits without need."""
    with iavfio.faults.wrap(port, duplicate=0.5, delay=(0, 0.001), sides="rx", seed=most) as bad:
        send(bad, numbered(port, 100))
        assert until(lambda: drained(port))
        got = 0
        while bad.rx_counts.taken < 100 or bad.rx_counts.held:
            with bad.rx[0].recv(most, timeout=5) as burst:
                assert 1 <= len(burst) <= most
                got += len(burst)
        assert got == 100 + bad.rx_counts.duplicated


def test_frames_that_are_given_as_a_list_meet_the_faults_too(port: Port) -> None:
    with iavfio.faults.wrap(port, loss=1.0, sides="tx") as bad:
        assert bad.tx[0].send(numbered(port, 7)) == 7
        assert bad.tx_counts == Counts(taken=7, lost=7)


def test_packets_that_were_taken_are_told_so_though_the_port_fails_behind_it(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    with iavfio.faults.wrap(port, sides="tx") as bad:
        with monkeypatch.context() as patch, bad.tx[0].build(numbered(port, 5)) as burst:

            def fail(queue: TxQueue, packets: Any) -> int:
                raise StateError("it stopped this moment")

            patch.setattr(TxQueue, "send", fail)
            assert bad.tx[0].send(burst) == 5
            assert (burst.left, bad.tx_counts.held, bad.tx_counts.taken) == (0, 5, 5)
            with pytest.raises(StateError, match="this moment"):
                bad.tx[0].send(burst)
        assert numbers(received(bad)) == list(range(5))


def test_queues_are_whole_for_every_thread_that_meets_them(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that comes while another makes the new queues gets these, not half of them."""
    with iavfio.faults.wrap(port) as bad:
        extra: list[TxQueue] = []
        monkeypatch.setattr(Port, "tx", property(lambda port: (*port.control.queues.tx, *extra)))
        assert len(bad.tx) == 1
        began, go_on = threading.Event(), threading.Event()
        make = FaultyTxQueue.__init__

        def slow(self: FaultyTxQueue, *arguments: Any) -> None:
            began.set()
            assert go_on.wait(20)
            make(self, *arguments)

        monkeypatch.setattr(FaultyTxQueue, "__init__", slow)
        extra.append(port.control.queues.tx[0])  # as after configure(queues=2)
        with ThreadPoolExecutor(4) as threads:
            first = threads.submit(lambda: bad.tx)
            assert began.wait(20)
            others = [threads.submit(lambda: bad.tx) for _ in range(3)]
            assert not any(other.done() and len(other.result()) != 2 for other in others)
            go_on.set()
            found = first.result(20)
            assert len(found) == 2 and all(other.result(20) is found for other in others)


def test_a_wire_without_faults_changes_nothing(port: Port) -> None:
    with iavfio.faults.wrap(port) as bad:
        frames = numbered(port, 100)
        send(bad, frames)
        assert received(bad) == frames
        assert bad.counts == Counts(taken=200, delivered=200)


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        ({"loss": 1.1}, "loss"),
        ({"corrupt": -0.1}, "corrupt"),
        ({"reorder": "often"}, "reorder"),
        ({"delay": (2, 1)}, "delay"),
        ({"delay": -1}, "delay"),
        ({"distance": 0}, "distance"),
        ({"seed": 1.5}, "seed"),
        ({"sides": "both"}, "side"),
    ],
)
def test_faults_that_make_no_sense_are_refused(
    port: Port, faults: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        iavfio.faults.wrap(port, **faults)


def test_wrong_bursts_are_refused_as_by_the_port(port: Port) -> None:
    with iavfio.faults.wrap(port) as bad:
        for wrong in (numbered(port, 1)[0], 5, None):
            with pytest.raises(ConfigError, match="packets"):
                bad.tx[0].send(wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="17 bytes"):
            bad.tx[0].send([b"frame"])
        burst = bad.tx[0].build(numbered(port, 1))
        burst.release()
        with pytest.raises(StateError, match="released"):
            bad.tx[0].send(burst)
        with bad.tx[0].build(numbered(port, 4)) as burst:
            assert bad.tx[0].send(burst[[1, 2]]) == 2
            with pytest.raises(StateError, match="sent before"):
                bad.tx[0].send(burst[[2, 3]])
            assert burst.left == 2
        assert bad.tx_counts.taken == 2
        received(bad)


def test_a_full_ring_holds_packets_back_and_loses_none() -> None:
    pool = Pool(1024, huge="never")
    with pf_of_its_own() as own, own.open(0, pool=pool) as port:
        port.configure(queues=1, ring=64)
        port.start(wait_link=5)
        own.control("fault", vf=0, kind="tx_stall", queue=0)
        with iavfio.faults.wrap(port, duplicate=0.5, sides="tx") as bad:
            taken = 0
            with bad.tx[0].build(numbered(port, 200)) as burst:
                for row in range(200):
                    taken += bad.tx[0].send(burst[[row]])
                assert burst.left == 200 - taken > 0
            counts = bad.counts
            assert counts.balanced and counts.taken == taken
            assert counts.held > 0
        assert bad.counts.balanced and bad.counts.discarded == counts.held
    assert healthy(pool)


def test_new_queues_after_configure_begin_anew_and_nothing_is_lost_from_the_counts() -> None:
    pool = Pool(4096, huge="never")
    with pf_of_its_own() as own, own.open(0, pool=pool) as port:
        with iavfio.faults.wrap(port, delay=100, sides="tx") as bad:
            bad.start(wait_link=5)
            send(bad, numbered(port, 5))
            bad.stop()
            bad.configure(queues=2)
            bad.start(wait_link=5)
            assert len(bad.tx) == 2
            assert bad.counts == Counts(taken=5, discarded=5, delayed=5)
            bad.close()
        assert port.state == "closed"
    assert healthy(pool)


def pf_of_its_own() -> SoftPf:
    return iavfio.softvf(vfs=1)
