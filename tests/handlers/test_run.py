# SPDX-License-Identifier: BSD-3-Clause
"""Handlers inside a C worker: compiled Python, C functions, and what returns nonsense."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import iavfio
from iavfio import handlers
from iavfio.datapath.pool import Pool
from iavfio.errors import ConfigError, StateError
from iavfio.handlers import DROP, PASS, REDIRECT, TX, Counters, Meta, Run, u8, u16be, u48be
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from tests.port.rig import collect, send_all, udp, until

needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="Numba is not installed"
)
NATIVE = ctypes.CFUNCTYPE(
    None,
    ctypes.c_uint64,
    ctypes.POINTER(ctypes.POINTER(ctypes.c_uint8)),
    ctypes.POINTER(ctypes.c_uint32),
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint32),
    ctypes.c_void_p,
)
HITS = np.dtype([("port", "u8"), ("hits", "u8")])
DPORT = 36  # of UDP over IPv4 without options


@iavfio.handler
def swap(data: Any, length: int, meta: Meta, state: Any) -> int:
    """Sends back to the sender."""
    if length >= 12:
        dst, src = u48be(data, 0), u48be(data, 6)
        handlers.set_u48be(data, 0, src)
        handlers.set_u48be(data, 6, dst)
    return TX


@iavfio.handler
def choose(data: Any, length: int, meta: Meta, state: Any) -> int:
    """The UDP port is the action, but for some that go wrong."""
    port = u16be(data, DPORT)
    state[0].hits += 1
    if port == 100:
        return -1
    if port == 101:
        return 1 << 40
    if port == 102:
        return int(data[length + int(port)])  # outside
    if port == 103:
        return 7 // (int(port) - 103)
    return int(port)


@pytest.fixture(scope="module")
def pf() -> Iterator[SoftPf]:
    with iavfio.softvf(vfs=2) as pf:
        yield pf


@pytest.fixture
def pool() -> Pool:
    return Pool(4096, huge="never")


@pytest.fixture
def ports(pf: SoftPf, pool: Pool) -> Iterator[tuple[Port, Port]]:
    with pf.open(0, pool=pool) as a, pf.open(1, pool=pool) as b:
        b.configure(queues=2, metadata={"rss", "csum", "ptype"})
        a.start(wait_link=5)
        b.start(wait_link=5)
        yield a, b
    assert pool.idle == pool.size
    assert pf.violations() == []


def ended_after(run: Run, count: int) -> Counters:
    """The counters once `count` packets were received and the worker has ended."""
    assert until(lambda: run.counters.received >= count), run.counters
    run.stop()
    c = run.counters
    assert c.received == count
    assert (
        c.dropped + c.passed + c.pass_full + c.invalid + c.failed + c.sent + c.refused == c.received
    )
    return c


def native(action_of: Callable[[int, Any], int | None]) -> handlers.Handler:
    """A C function whose action on packet i with these bytes is chosen here; None: none.

    It swaps the addresses, so that what is sent passes the spoof check.
    """

    @NATIVE  # type: ignore[untyped-decorator,unused-ignore]
    def function(n: int, data: Any, length: Any, columns: Any, action: Any, state: Any) -> None:
        for i in range(n):
            value = action_of(i, data[i][: length[i]])
            for at, byte in enumerate(data[i][6:12] + data[i][:6]):
                data[i][at] = byte
            if value is not None:
                action[i] = value

    return handlers.from_address(function)


def test_fields_in_plain_python() -> None:
    data = np.arange(10, dtype=np.uint8)
    assert (u8(data, 3), u16be(data, 0), handlers.u32be(data, 6)) == (3, 0x0001, 0x06070809)
    assert (u48be(data, 4), handlers.u64be(data, 2)) == (0x040506070809, 0x0203040506070809)
    assert (u8(data, 10), u16be(data, 9), u48be(data, -1)) == (0, 0, 0)
    handlers.set_u16be(data, 8, 0x1FFFE)
    handlers.set_u32be(data, 7, 0)
    assert data.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0xFF, 0xFE]


def test_handler_is_tested_as_plain_python() -> None:
    data = np.arange(60, dtype=np.uint8)
    assert swap(data, 60, Meta(60, 0, 0, 0, 0, 0, 0, 0, 1, 0), None) == TX
    assert data[:14].tolist() == [6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 12, 13]


def swapped(frame: bytes) -> bytes:
    return frame[6:12] + frame[:6] + frame[12:]


@pytest.mark.parametrize(
    "handler", [handlers.builtin("swap_macs"), pytest.param(swap, marks=needs_numba)], ids=str
)
def test_swap_sends_back(ports: tuple[Port, Port], handler: handlers.Handler) -> None:
    a, b = ports
    frames = [udp(b.mac, a.mac, sport=i, payload=bytes([i]) * (18 + i)) for i in range(200)]
    with handlers.run(handler, b) as run:
        send_all(a, frames)
        back = collect(a.rx, 200)
        c = ended_after(run, 200)
    assert sorted(back) == sorted(map(swapped, frames))
    assert c.sent == 200 and c.sent_bytes == c.received_bytes == sum(map(len, frames))


def test_built_in_filter_counts_in_its_state(ports: tuple[Port, Port]) -> None:
    a, b = ports
    state = np.array([53, 0], dtype=np.uint64)
    with handlers.run(handlers.builtin("drop_udp"), b, state=state) as run:
        send_all(a, [udp(b.mac, a.mac, dport=53)] * 10)
        assert ended_after(run, 10).dropped == 10
    assert state.tolist() == [53, 10]


@needs_numba
def test_filter_in_python_and_its_state_while_it_runs(ports: tuple[Port, Port]) -> None:
    @iavfio.handler
    def block(data: Any, length: int, meta: Meta, state: Any) -> int:
        known = u16be(data, 12) == 0x0800 and u8(data, 14) == 0x45 and u8(data, 23) == 17
        if known and u16be(data, DPORT) == state[0].port:
            state[0].hits += 1
            return DROP
        dst, src = u48be(data, 0), u48be(data, 6)
        handlers.set_u48be(data, 0, src)
        handlers.set_u48be(data, 6, dst)
        return TX

    a, b = ports
    state = np.zeros(1, dtype=HITS)
    state["port"] = 53
    with handlers.run(block, b, state=state) as run:
        send_all(a, [udp(b.mac, a.mac, dport=50 + i % 5) for i in range(50)])
        assert until(lambda: int(state["hits"][0]) == 10)
        state["port"] = 54  # Python changes the rule
        send_all(a, [udp(b.mac, a.mac, dport=54), udp(b.mac, a.mac, dport=53)])
        c = ended_after(run, 52)
    assert (c.dropped, c.sent, int(state["hits"][0])) == (11, 41, 11)


@needs_numba
def test_metadata_reach_the_handler(ports: tuple[Port, Port]) -> None:
    @iavfio.handler
    def look(data: Any, length: int, meta: Meta, state: Any) -> int:
        at = u16be(data, DPORT)
        state[at, 0], state[at, 1] = meta.rss, meta.csum & 3
        state[at, 2], state[at, 3] = meta.ptype, meta.frame
        state[at, 4], state[at, 5] = meta.lane, meta.segments
        state[at, 6] = meta.flags & 1
        return DROP

    a, b = ports
    state = np.zeros((32, 7), dtype=np.uint64)
    good = [udp(b.mac, a.mac, sport=i, dport=i) for i in range(32)]
    bad = bytearray(good[31])
    bad[24] ^= 0xFF  # the IPv4 header checksum
    with handlers.run(look, b, state=state) as run:
        send_all(a, [*good[:31], bytes(bad)])
        assert ended_after(run, 32).dropped == 32
    assert state[:31, 1].tolist() == [1] * 31 and state[31, 1] == 2
    assert set(state[:, 2]) == {24} and set(state[:, 3]) == {60}
    assert set(state[:, 4]) == {0, 1} and set(state[:, 5]) == {1} and set(state[:, 6]) == {1}
    assert len(set(state[:, 0])) == 32  # a hash for each flow
    # As Burst.rss: the same flows give the same hashes when Python receives them.
    send_all(a, good[:4])
    seen: dict[int, int] = {}

    def receive() -> bool:
        for queue in b.rx:
            with queue.recv(timeout=0.05) as burst:
                seen.update(zip(burst.u16be(DPORT).tolist(), burst.rss.tolist(), strict=True))
        return len(seen) == 4

    assert until(receive)
    assert seen == {i: int(state[i, 0]) for i in range(4)}


def test_passed_packets_are_bursts(ports: tuple[Port, Port]) -> None:
    a, b = ports
    handler = native(lambda i, data: PASS if data[DPORT + 1] % 2 else DROP)
    frames = [udp(b.mac, a.mac, sport=i, dport=i) for i in range(64)]
    with handlers.run(handler, b, pass_ring=256, tx=False) as run:
        got: list[bytes] = []
        assert run.passed.capacity == 256
        with run.passed.recv(timeout=0.01) as none:
            assert len(none) == 0
        send_all(a, frames)
        while len(got) < 32:
            with run.passed.recv(max=10, timeout=10) as burst:
                assert 0 < len(burst) <= 10
                assert burst.rss.all() and burst.ptype.tolist() == [24] * len(burst)
                got += [bytes(packet) for packet in burst]
                # The send side is free (tx=False): Python answers.
                assert b.tx[0].send(burst) == len(burst)
        c = ended_after(run, 64)
        assert (c.passed, c.dropped) == (32, 32)
        assert len(collect(a.rx, 32)) == 32
    assert sorted(got) == sorted(map(swapped, frames[1::2]))
    with pytest.raises(StateError, match="passes no packets"):
        run.passed.recv()


def test_passed_packets_that_nobody_takes_return(ports: tuple[Port, Port]) -> None:
    a, b = ports
    with handlers.run(native(lambda i, data: PASS), b.rx[0], pass_ring=5) as run:
        send_all(a, [udp(b.mac, a.mac)] * 40)  # one flow; some may land in the other queue
        with b.rx[1].recv(timeout=0.2) as other:
            here = 40 - len(other)
        if here:
            c = ended_after(run, here)
            assert (c.passed, c.pass_full) == (8, here - 8)
            assert run.passed.waiting == 8
            with run.passed.recv(max=3) as burst:  # still there after the end
                assert len(burst) == 3


def test_queues_take_turns_in_what_they_pass(ports: tuple[Port, Port]) -> None:
    a, b = ports
    frames = [udp(b.mac, a.mac, sport=i, dport=i) for i in range(64)]
    queue_of: dict[int, int] = {}
    send_all(a, frames)

    def receive() -> bool:
        for at, queue in enumerate(b.rx):
            with queue.recv(timeout=0.05) as burst:
                queue_of.update(dict.fromkeys(burst.u16be(DPORT).tolist(), at))
        return len(queue_of) == 64

    assert until(receive)
    fewest = min(list(queue_of.values()).count(at) for at in (0, 1))
    assert fewest > 2
    with handlers.run(native(lambda i, data: PASS), b, pass_ring=64) as run:
        send_all(a, frames)
        assert until(lambda: run.passed.waiting == 64)
        turns = []
        for _ in range(2 * fewest):
            with run.passed.recv(max=1) as burst:
                turns.append(queue_of[int(burst.u16be(DPORT)[0])])
    assert turns in ([0, 1] * fewest, [1, 0] * fewest)


def test_redirect(ports: tuple[Port, Port]) -> None:
    a, b = ports
    handler = native(lambda i, data: REDIRECT + data[DPORT + 1] % 3)
    with handlers.run(handler, b, tx=False, redirect=b.tx) as run:
        with pytest.raises(StateError, match="in use"):
            b.tx[1].clean()
        send_all(a, [udp(b.mac, a.mac, sport=i, dport=i) for i in range(30)])
        assert len(collect(a.rx, 20)) == 20
        c = ended_after(run, 30)
    assert (c.sent, c.invalid) == (20, 10)
    assert [q["posted"] for q in b.stats.snapshot().sq[:2]] == [10, 10]


@needs_numba
def test_nonsense_loses_no_packet(ports: tuple[Port, Port]) -> None:
    a, b = ports
    state = np.zeros(1, dtype=HITS)
    wrong = [100, 101, 102, 103, REDIRECT, 65535]
    frames = [udp(b.mac, a.mac, sport=i, dport=wrong[i % 6]) for i in range(120)]
    with handlers.run(choose, b, state=state, tx=False) as run:
        send_all(a, [*frames, udp(b.mac, a.mac, dport=TX), udp(b.mac, a.mac, dport=PASS)])
        c = ended_after(run, 122)
    # -1, 2^40, REDIRECT and 65535 do not exist, nor do TX and PASS here; two raise an error.
    assert (c.invalid, c.failed, c.sent, c.passed) == (82, 40, 0, 0)
    assert int(state["hits"][0]) == 122


def test_native_nonsense_loses_no_packet(ports: tuple[Port, Port]) -> None:
    a, b = ports
    values = (None, 0xFFFFFFFF, 0x80000000, PASS, REDIRECT, 12345, DROP)
    handler = native(lambda i, data: values[int(data[DPORT + 1])])
    with handlers.run(handler, b) as run:
        send_all(a, [udp(b.mac, a.mac, dport=i % 7) for i in range(70)])
        c = ended_after(run, 70)
    assert (c.invalid, c.dropped, c.failed) == (60, 10, 0)


@needs_numba
def test_it_runs_while_python_holds_its_lock(ports: tuple[Port, Port]) -> None:
    a, b = ports
    state = np.zeros(1, dtype=HITS)
    hits = state["hits"]
    handler = choose
    handler.function(state)  # compiled before
    interval = sys.getswitchinterval()
    with handlers.run(handler, b, state=state) as run, a.tx[0].build([udp(b.mac, a.mac)]) as burst:
        sys.setswitchinterval(60)
        try:
            a.tx[0].send(burst)
            end = time.monotonic() + 20
            while not hits[0] and time.monotonic() < end:
                pass  # no call here lets another Python thread run
        finally:
            sys.setswitchinterval(interval)
        assert hits[0] == 1
        assert ended_after(run, 1).invalid == 1


def test_reset_under_a_handler(ports: tuple[Port, Port]) -> None:
    a, b = ports
    with handlers.run(handlers.builtin("swap_macs"), b) as run:
        send_all(a, [udp(b.mac, a.mac, sport=i) for i in range(40)])
        assert len(collect(a.rx, 40)) == 40
        b.reset()
        b.wait_running()
        send_all(a, [udp(b.mac, a.mac, sport=i) for i in range(40)])
        assert len(collect(a.rx, 40)) == 40
        assert ended_after(run, 80).sent == 80


def test_port_closed_under_a_handler(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.start()
        run = handlers.run(native(lambda i, data: PASS), port, pass_ring=16)
    assert until(lambda: run.ended)
    with run.passed.recv(timeout=-1) as burst:  # does not wait for what cannot come
        assert len(burst) == 0
    run.close()
    run.close()
    assert pool.idle == pool.size


def test_run_that_nobody_closed_ends_with_its_object(ports: tuple[Port, Port]) -> None:
    _, b = ports
    run = handlers.run(handlers.builtin("swap_macs"), b)
    with pytest.raises(StateError, match="using one of them"):
        handlers.run(handlers.builtin("swap_macs"), b)
    del run
    with handlers.run(handlers.builtin("swap_macs"), b) as second:
        assert not second.ended


def wrong_action(data: Any, length: int, meta: Meta, state: Any) -> Any:
    return 0.5


def wrong_name(data: Any, length: int, meta: Meta, state: Any) -> Any:
    return meta.colour  # type: ignore[attr-defined]


@needs_numba
@pytest.mark.parametrize(
    ("handler", "words"), [(wrong_action, "returns float64"), (wrong_name, "colour")]
)
def test_handler_that_cannot_be_compiled(handler: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        iavfio.handler(handler).function()
    assert handler.__name__ in str(caught.value) and len(str(caught.value)) < 600


def test_without_numba_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "iavfio.handlers.compile", None)
    with pytest.raises(ConfigError, match="pip install numba"):
        iavfio.handler(wrong_name).function()


def test_settings_that_cannot_work(ports: tuple[Port, Port], pf: SoftPf) -> None:
    a, b = ports
    handler = handlers.builtin("swap_macs")
    with pytest.raises(ConfigError, match="no handler"):
        handlers.builtin("swap")
    for function in (0, None, b"bytes", "text"):
        with pytest.raises(ConfigError, match="not a C function"):
            handlers.from_address(function)
    fixed = np.zeros(1)
    fixed.flags.writeable = False
    for state in (np.zeros(0), np.zeros((4, 4))[:, 1], np.array([None]), [1, 2], fixed):
        with pytest.raises(ConfigError, match="cannot be shared"):
            handlers.run(handler, b, state=state)  # type: ignore[arg-type]
    for options in ({"burst": 257}, {"cpu": 4096}, {"pass_ring": -1}, {"redirect": [b.rx[0]]}):
        with pytest.raises(ConfigError):
            handlers.run(handler, b, **options)
    with pytest.raises(ConfigError):
        handlers.run(handler, [])
    a.stop()
    a.configure(ring=256)
    with pytest.raises(StateError, match="not running"):
        handlers.run(handler, a)
