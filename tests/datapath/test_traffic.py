# SPDX-License-Identifier: BSD-3-Clause
"""Packets through a port on the software VF, on every personality and in both write-back modes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import iavfio
from iavfio.datapath.pool import Pool
from iavfio.errors import ConfigError, IavfioError, StateError
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from tests.port.rig import collect, drained, send_all, udp, until
from tests.port.targets import software_pf


@pytest.fixture(scope="module", params=["e810", "x710", "x722"])
def personality(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["hardware", "immediate"])
def pf(request: pytest.FixtureRequest, personality: str) -> Iterator[SoftPf]:
    with software_pf(vfs=2, personality=personality, writeback=request.param) as pf:
        yield pf


@pytest.fixture
def pool() -> Pool:
    return Pool(4096, huge="never")


@pytest.fixture
def port(pf: SoftPf, pool: Pool) -> Iterator[Port]:
    with pf.open(0, pool=pool) as port:
        yield port
    assert pool.idle == pool.size
    assert pf.violations() == []


def test_frames_come_back_unchanged_and_in_order(port: Port) -> None:
    port.start(wait_link=5)
    frames = [udp(port.mac, port.mac, payload=bytes([i % 251]) * (18 + i)) for i in range(300)]
    send_all(port, frames)
    assert collect(port.rx, len(frames)) == frames
    assert until(lambda: drained(port))


def test_single_packet_comes_back_although_its_cache_line_is_incomplete(port: Port) -> None:
    port.start(wait_link=5)
    frame = udp(port.mac, port.mac)
    for _ in range(5):
        send_all(port, [frame])
        assert collect(port.rx, 1) == [frame]
        assert until(lambda: drained(port))


def test_receive_sleeps_until_a_packet_comes(port: Port) -> None:
    port.start(wait_link=5)
    got: list[int] = []

    def wait() -> None:
        with port.rx[0].recv(timeout=10) as burst:
            got.append(len(burst))

    for _ in range(3):
        thread = threading.Thread(target=wait)
        thread.start()
        send_all(port, [udp(port.mac, port.mac)])
        thread.join(20)
    assert got == [1, 1, 1]


def test_timeout_returns_an_empty_burst(port: Port) -> None:
    port.start(wait_link=5)
    with port.rx[0].recv(timeout=0.05) as burst:
        assert len(burst) == 0


def test_all_queues_are_used_by_default(port: Port) -> None:
    port.configure(queues=4, metadata={"rss"})
    port.start(wait_link=5)
    frames = [udp(port.mac, port.mac, sport=1024 + i) for i in range(256)]
    send_all(port, frames)
    assert len(collect(port.rx, 256)) == 256
    port.settle()
    spread = [q["packets"] for q in port.stats.snapshot().rq]
    assert sum(spread) == 256
    assert min(spread) > 20


def test_metadata_columns(port: Port) -> None:
    port.configure(metadata={"rss", "ptype", "csum"})
    port.start(wait_link=5)
    good = udp(port.mac, port.mac)
    bad = bytearray(good)
    bad[24] ^= 0xFF  # the IPv4 header checksum
    send_all(port, [good, bytes(bad)])
    seen: list[tuple[int, int, int]] = []

    def both() -> bool:
        seen.extend(_columns(port))
        return len(seen) >= 2

    assert until(both)
    assert [ptype for ptype, _, _ in seen] == [24, 24]  # IPv4 UDP (docs/spec/descriptors.md 13)
    assert seen[0][1] & 3 == 1
    assert seen[1][1] & 3 == 2
    assert seen[0][2] == seen[1][2] != 0


def _columns(port: Port) -> list[tuple[int, int, int]]:
    with port.rx[0].recv(timeout=0.1) as burst:
        assert (burst.flags & 1 == 1).all()
        return list(zip(burst.ptype.tolist(), burst.csum.tolist(), burst.rss.tolist(), strict=True))


def test_column_that_was_not_asked_for_names_the_setting(port: Port) -> None:
    port.start()
    with port.rx[0].recv() as burst, pytest.raises(ConfigError, match="metadata"):
        _ = burst.rss


def test_jumbo_frames_are_chained_both_ways(port: Port) -> None:
    port.configure(mtu=9000)
    port.start(wait_link=5)
    sizes = (60, 2044, 2048, 2049, 4096, 9014)
    frames = [udp(port.mac, port.mac, payload=bytes(range(256)) * 36)[:size] for size in sizes]
    send_all(port, frames)
    assert collect(port.rx, len(frames)) == frames
    assert port.stats.snapshot().rq[0]["fragments"] == 0 + 0 + 0 + 1 + 1 + 4
    assert until(lambda: drained(port))


def test_selection_is_sent_and_the_rest_returns_to_the_pool(port: Port) -> None:
    port.start(wait_link=5)
    frames = [udp(port.mac, port.mac, dport=i) for i in range(32)]
    with port.tx[0].build(frames) as burst:
        even = burst[burst.u16be(36) % 2 == 0]
        assert port.tx[0].send(even) == 16
        with pytest.raises(StateError, match="sent before"):
            port.tx[0].send(burst[[0]])
    assert collect(port.rx, 16) == frames[::2]
    assert until(lambda: drained(port))


def test_forwarding_between_ports_copies_nothing(pf: SoftPf, port: Port, pool: Pool) -> None:
    port.start(wait_link=5)
    with pf.open(1, pool=pool) as other:
        other.start(wait_link=5)
        frames = [udp(other.mac, port.mac, dport=i) for i in range(40)]
        send_all(port, frames)
        back: list[int] = []
        while len(back) < 40:
            with other.rx[0].recv(timeout=5) as burst:
                handles = burst.handles.copy()
                assert len(handles)
                burst.set_field(0, 4, int.from_bytes(port.mac[:4], "big"))
                burst.set_field(4, 2, int.from_bytes(port.mac[4:], "big"))
                burst.set_field(6, 4, int.from_bytes(other.mac[:4], "big"))
                burst.set_field(10, 2, int.from_bytes(other.mac[4:], "big"))
                assert other.tx[0].send(burst) == len(handles)
                back += handles.tolist()
        got = collect(port.rx, 40)
        assert [frame[12:] for frame in got] == [frame[12:] for frame in frames]
        assert until(lambda: drained(other))
    assert until(lambda: drained(port))


def test_counters_agree_with_the_pf(port: Port) -> None:
    port.start(wait_link=5)
    frames = [udp(port.mac, port.mac, payload=bytes(18 + i)) for i in range(100)]
    send_all(port, frames)
    collect(port.rx, 100)
    assert until(lambda: drained(port))
    port.refresh_stats()
    told = port.stats.as_dict()["counters"]
    octets = sum(map(len, frames))
    assert told["rq0_packets"] == told["sq0_packets"] == 100
    assert told["rq0_bytes"] == told["sq0_bytes"] == octets
    assert told["rx_unicast"] >= 100
    # The FCS counts on receive only (docs/spec/field-evidence.md 3).
    assert told["rx_bytes"] - told["tx_bytes"] == 4 * told["rx_unicast"]


def test_counters_survive_stop_and_start(port: Port) -> None:
    for round_ in (1, 2, 3):
        port.start(wait_link=5)
        send_all(port, [udp(port.mac, port.mac)] * 10)
        assert len(collect(port.rx, 10)) == 10
        port.stop()
        assert port.stats.snapshot().rq[0]["packets"] == 10 * round_


def test_pool_is_exact_after_many_starts(port: Port, pool: Pool) -> None:
    for _ in range(20):
        port.configure(queues=2, ring=64)
        port.start()
        port.stop()
        assert pool.idle == pool.size


def test_second_caller_of_a_queue_gets_an_error(port: Port) -> None:
    port.start(wait_link=5)
    inside = threading.Event()
    seen: list[str] = []

    def wait() -> None:
        inside.set()
        while not seen:
            with contextlib.suppress(StateError):  # either may be the one that is refused
                port.rx[0].recv(timeout=1.0).release()

    thread = threading.Thread(target=wait)
    thread.start()
    inside.wait()

    def refused() -> bool:
        try:
            port.rx[0].recv().release()
        except StateError as error:
            seen.append(str(error))
        return bool(seen)

    assert until(refused, 2)
    assert "in use" in seen[0]
    thread.join()


def test_burst_of_another_pool_is_refused(port: Port) -> None:
    port.start()
    with iavfio.open("softvf", pool=Pool(1024, huge="never")) as other:
        other.start()
        with other.tx[0].build([bytes(64)]) as burst, pytest.raises(ConfigError, match="same pool"):
            port.tx[0].send(burst)


def test_released_burst_raises_and_a_kept_view_stays_memory(port: Port) -> None:
    port.start()
    burst = port.tx[0].build([bytes(range(64))])
    view = burst.bytes(0)
    burst.release()
    burst.release()
    for use in (lambda: burst.handles, lambda: port.tx[0].send(burst), lambda: burst[0]):
        with pytest.raises(StateError, match="released"):
            use()
    assert len(bytes(view)) == 64


def test_handles_are_read_only(port: Port) -> None:
    port.start()
    with port.tx[0].build([bytes(64)]) as burst, pytest.raises(ValueError, match="read-only"):
        burst.handles[0] = np.uint64(1)


def test_empty_pool_is_an_error_that_loses_nothing(port: Port, pool: Pool) -> None:
    port.start()
    before = pool.idle
    with pytest.raises(IavfioError, match="no buffers"):
        port.tx[0].build([bytes(64)] * (before + 1))
    assert pool.idle == before


@pytest.mark.parametrize(("size", "words"), [(16, "at least 17"), (20_000, "longest frame")])
def test_frame_of_impossible_size_is_refused(port: Port, size: int, words: str) -> None:
    port.start()
    with pytest.raises(ConfigError, match=words):
        port.tx[0].build([bytes(64), bytes(size)])
