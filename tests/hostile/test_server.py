# SPDX-License-Identifier: BSD-3-Clause
"""A port beside a hostile server and PF: each knob of server.py, and what is promised then."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import iavfio
from iavfio.datapath.pool import Pool
from iavfio.errors import IavfioError
from iavfio.port.port import Port
from tests.hostile.served_pf import served_pf
from tests.hostile.server import HostileServer, ReceiveRing
from tests.port.rig import collect, healthy, udp, until, works

ARQH, RSTAT, ATQH = 0x7400, 0x8800, 0x6400
MTU, RING = 9000, 64
ALL_ONES = (1 << 64) - 1
NONSENSE_DTYPE = 0x7  # neither a data descriptor nor "done"


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileServer]:
    """A server of one VF whose frames come back."""
    with served_pf(tmp_path, vfs=1) as pf:
        yield HostileServer(pf, monkeypatch)


@pytest.fixture
def pool() -> Iterator[Pool]:
    """A pool that has all its buffers again at the end."""
    made = Pool(buffers=2048, huge="never")
    yield made
    assert healthy(made)


def started(hostile: HostileServer, pool: Pool, ring: int = 256) -> Port:
    """A port with one queue, which takes frames of several buffers."""
    port = iavfio.open(hostile.name, pool=pool)
    port.configure(queues=1, ring=ring, mtu=MTU)
    port.start(wait_link=10)
    return port


# ---- write-backs


def begin_chain(ring: ReceiveRing, segments: int) -> None:
    for _ in range(segments):
        ring.put(bytes(100), eop=False)


def length_above_the_buffer(ring: ReceiveRing) -> None:
    ring.put(length=16383)


def empty(ring: ReceiveRing) -> None:
    ring.put(length=0)


def empty_within_a_chain(ring: ReceiveRing) -> None:
    ring.put(bytes(100), eop=False)
    ring.put(length=0, eop=False)
    ring.put(bytes(100))


def endless_chain(ring: ReceiveRing) -> None:
    begin_chain(ring, 20)
    ring.put(bytes(100))


def another_profile(ring: ReceiveRing) -> None:
    ring.put(bytes(100), profile=5)


def all_ones(ring: ReceiveRing) -> None:
    ring.raw(ALL_ONES, ALL_ONES, ALL_ONES, ALL_ONES)


def nothing_but_done(ring: ReceiveRing) -> None:
    ring.raw(0, 3, 0, 0)


DROPPED = {
    length_above_the_buffer: "drop_oversize",
    empty: "drop_malformed",
    empty_within_a_chain: "drop_malformed",
    endless_chain: "drop_chain",
    another_profile: "drop_malformed",
    all_ones: "drop_malformed",
    nothing_but_done: "drop_malformed",
}


# docs/spec/reliability.md F45
# docs/spec/reliability.md F46
@pytest.mark.parametrize("wrong", DROPPED, ids=lambda wrong: wrong.__name__)
def test_a_write_back_of_nonsense_is_dropped_and_the_queue_goes_on(
    wrong: object, hostile: HostileServer, pool: Pool
) -> None:
    assert callable(wrong)
    with started(hostile, pool, RING) as port:
        ring = hostile.receive_ring()
        good = [udp(port.mac, port.mac, sport=1024 + i) for i in range(2 * RING)]
        for i, frame in enumerate(good):  # twice round the ring
            ring.put(frame)
            assert collect(port.rx, 1) == [frame]
            if i % 16 == 0:
                wrong(ring)
        counters = port.stats.snapshot().rq[0]
        drops = {name: count for name, count in counters.items() if "drop" in name and count}
        assert drops == {DROPPED[wrong]: 8}
        assert counters["packets"] == 2 * RING


# docs/spec/reliability.md F45
def test_a_frame_whose_buffers_wrap_is_whole_and_one_may_end_in_an_empty_buffer(
    hostile: HostileServer, pool: Pool
) -> None:
    with started(hostile, pool, RING) as port:
        ring = hostile.receive_ring()
        for i in range(RING - 2):
            ring.put(udp(port.mac, port.mac, sport=1024 + i))
        assert len(collect(port.rx, RING - 2)) == RING - 2
        parts = [bytes([i]) * 1000 for i in range(1, 5)]
        for part in parts[:-1]:
            ring.put(part, eop=False)
        ring.put(parts[-1])  # two slots before the ring's end, two behind its begin
        assert collect(port.rx, 1) == [b"".join(parts)]
        ring.put(parts[0], eop=False)
        ring.put(length=0)  # the CRC lay there, and was taken off
        assert collect(port.rx, 1) == [parts[0]]


# docs/spec/reliability.md F46
def test_a_packet_type_that_nobody_knows_is_a_packet_of_unknown_layers(
    hostile: HostileServer, pool: Pool
) -> None:
    with started(hostile, pool, RING) as port:
        frame = udp(port.mac, port.mac)
        hostile.receive_ring().put(frame, ptype=1023)
        assert collect(port.rx, 1) == [frame]


# docs/spec/reliability.md F43
def test_a_send_descriptor_written_back_as_nonsense_is_a_stall_and_one_reset(
    hostile: HostileServer, pool: Pool
) -> None:
    """What is not said to be done waits; it is found, and its packets are told as lost."""
    with started(hostile, pool) as port:
        assert hostile.pf.control("fault", vf=0, kind="tx_stall", queue=0)["ok"]
        with port.tx[0].build([udp(port.mac, port.mac)] * 5) as burst:
            assert port.tx[0].send(burst) == 5
        hostile.writes_back_sent(NONSENSE_DTYPE, 5)
        port.tx[0].clean()
        assert port.tx[0].in_flight == 5
        assert until(lambda: bool(port.resets) and str(port.state) == "running", 60)
        works(port)
        assert port.stats.snapshot().sq[0]["drop_reset"] == 5
        assert [reset.cause for reset in port.resets] == ["a send queue stands still"]


# ---- registers


# docs/spec/reliability.md F12
def test_a_receive_head_out_of_range_is_an_error_and_a_reset_heals_it(
    hostile: HostileServer, pool: Pool
) -> None:
    with started(hostile, pool) as port:
        hostile.reads(ARQH, 900)
        with pytest.raises(IavfioError, match="head is 900"):
            port.refresh_stats()
        hostile.behaves()
        port.reset()
        assert until(lambda: str(port.state) == "running")
        works(port)


# docs/spec/reliability.md F22
def test_a_reset_state_that_has_frozen_ends_in_a_port_that_runs_or_has_failed(
    hostile: HostileServer, pool: Pool
) -> None:
    with started(hostile, pool) as port:
        before = hostile.pf.vfs[0].resets
        hostile.reads(RSTAT)
        try:
            port.reset()
        except IavfioError as error:
            assert "reset" in str(error)
        assert str(port.state) in ("running", "failed")
        assert hostile.pf.vfs[0].resets == before + 1
        hostile.behaves()
        port.recover()
        assert until(lambda: str(port.state) == "running")
        works(port)


# docs/spec/reliability.md F1
def test_a_send_head_that_has_frozen_is_a_time_out_and_a_reset_heals_it(
    hostile: HostileServer, pool: Pool
) -> None:
    with started(hostile, pool) as port:
        hostile.reads(ATQH)
        with pytest.raises(IavfioError, match="stands still"):
            port.refresh_stats()
        hostile.behaves()
        port.reset()
        assert until(lambda: str(port.state) == "running")
        works(port)


# ---- messages


# docs/spec/reliability.md I3
@pytest.mark.parametrize("size", [5, 17])
def test_replies_that_come_in_parts_are_replies(
    size: int, hostile: HostileServer, pool: Pool
) -> None:
    hostile.in_parts(size)
    with started(hostile, pool) as port:
        works(port)
        port.refresh_stats()
    assert hostile.parts > 100


# docs/spec/reliability.md F2
def test_a_reply_behind_an_event_that_came_later_is_still_the_reply(
    hostile: HostileServer, pool: Pool
) -> None:
    with started(hostile, pool) as port:
        hostile.swaps()
        asking = threading.Thread(target=port.refresh_stats)
        asking.start()
        assert until(lambda: bool(hostile.held))
        hostile.pf.control("link", state="down")
        asking.join(30)
        assert not asking.is_alive()
        assert until(lambda: not port.link.up)
        hostile.pf.control("link", state="up")
        assert port.wait_link(10).up
        works(port)
        assert port.resets == []


# ---- files


# docs/spec/reliability.md F32
def test_a_file_of_a_disk_for_the_doorbells(
    hostile: HostileServer, pool: Pool, tmp_path: Path
) -> None:
    """Nothing of it is mapped: the port works by messages, and says so."""
    path = tmp_path / "doorbells"
    path.write_bytes(bytes(hostile.pf.vfs[0].personality.bar0_size))
    with path.open("r+b") as file:
        hostile.shares(file.fileno())
        with started(hostile, pool) as port:
            works(port)
            told = "\n".join(note for note in port.notes if "F_SEAL_SHRINK" in note)
            assert told == (
                "the server's file for BAR0 is no memory, so that an access may wait for a disk or "
                "for the server: it is not mapped, and each register and doorbell is a message, "
                "which is slow\n  its server must give a memfd with F_SEAL_SHRINK"
            )
    assert not any(path.read_bytes())


def test_the_software_vfs_own_file_is_mapped(hostile: HostileServer, pool: Pool) -> None:
    with started(hostile, pool) as port:
        works(port)
        assert not any("F_SEAL_SHRINK" in note for note in port.notes)
