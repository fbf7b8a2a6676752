# SPDX-License-Identifier: BSD-3-Clause
"""What the host and the process do to a port: signals, forks, interrupts.

See docs/spec/reliability.md F33, F47, F60-F66.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import iavfio
from iavfio.datapath.burst import Burst
from iavfio.datapath.pool import Pool
from iavfio.errors import StateError
from iavfio.port import housekeeping, watchdog
from iavfio.port.port import Port
from iavfio.pyvfio import AddressSpace, DmaError, VfioError
from iavfio.softvf.launch import SoftPf
from tests.port.rig import Options, collect, healthy, send_all, udp, until, works

FAST: Options = {"reset_ms": 1}


@pytest.fixture(scope="module")
def pf() -> Iterator[SoftPf]:
    with iavfio.softvf(vfs=2, options=FAST) as pf:
        yield pf


@pytest.fixture
def pool() -> Pool:
    return Pool(2048, huge="never")


def run(code: str, socket: str, *, interrupt: bool = False) -> tuple[str, float]:
    """Output of a child, and how long it took to end after SIGINT; its exit must be clean."""
    child = subprocess.Popen(
        [sys.executable, "-W", "error::ResourceWarning", "-c", code, socket],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdout is not None
    first = child.stdout.readline()
    began = time.monotonic()
    if interrupt:
        time.sleep(0.05)
        child.send_signal(signal.SIGINT)
    rest = child.stdout.read()
    child.stdout.close()
    assert child.wait(20) == 0, first + rest
    return first + rest, time.monotonic() - began


# docs/spec/reliability.md F66
@pytest.mark.parametrize(
    "call",
    [
        "port.rx[0].recv(timeout=-1)",
        "time.sleep(60)",
        "port.wait_link(60)",
        "pf.control('reset', vf=0, latency_ms=30000); port.recover()",
    ],
)
def test_interrupt_ends_any_wait_and_the_port_closes(call: str) -> None:
    code = (
        "import time, iavfio\n"
        "pool = iavfio.Pool(2048, huge='never')\n"
        "with iavfio.softvf(options={'reset_ms': 1}) as pf:\n"
        "    pf.control('link', state='down')\n"
        "    try:\n"
        "        with pf.open(0, pool=pool) as port:\n"
        "            port.start()\n"
        "            print('up', flush=True)\n"
        f"            {call}\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted', port.state, pool.held)\n"
    )
    said, took = run(code, "", interrupt=True)
    assert said.splitlines() == ["up", "interrupted closed 0"]
    assert took < 5


@pytest.mark.parametrize("late", [0, 0.002, 0.01])
def test_exit_with_a_running_port_is_clean(pf: SoftPf, pool: Pool, late: float) -> None:
    """`late`: the thread may reach its queue before, while or after the exit closes the port."""
    code = (
        "import sys, threading, time, iavfio\n"
        "port = iavfio.open(sys.argv[1], pool=iavfio.Pool(2048, huge='never'))\n"
        "port.start()\n"
        "def receive():\n"
        f"    time.sleep({late})\n"
        "    try:\n"
        "        while True: port.rx[0].recv(timeout=-1).release()\n"
        "    except iavfio.StateError:\n"
        "        pass\n"
        "threading.Thread(target=receive, daemon=True).start()\n"
        "print('up', flush=True)\n"
    )
    said, _ = run(code, pf.sockets[0])
    assert said == "up\n"
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        works(port)


def _child_of_multiprocessing(port: Port, burst: Burst, answer: object) -> None:
    said = []
    for call in (
        lambda: port.tx[0].send(burst),
        lambda: port.rx[0].recv(timeout=-1),
        port.start,
        port.stop,
        port.recover,
        lambda: port.configure(queues=2),
    ):
        try:
            call()
            said.append("nothing")
        except StateError as error:
            said.append("parent" if "parent" in str(error) else str(error))
    port.close()
    burst.release()
    answer.put(said)  # type: ignore[attr-defined]


# docs/spec/reliability.md F64
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_child_of_multiprocessing_finds_the_port_closed(pf: SoftPf, pool: Pool) -> None:
    context = multiprocessing.get_context("fork")
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        with port.tx[0].build([udp(port.mac, port.mac)] * 4) as burst:
            answer = context.SimpleQueue()
            child = context.Process(
                target=_child_of_multiprocessing, args=(port, burst, answer), daemon=True
            )
            child.start()
            said = answer.get()
            child.join(10)
            assert child.exitcode == 0
        assert said == ["parent", "parent", "parent", "nothing", "parent", "parent"]
        works(port)
    assert healthy(pool)


# docs/spec/reliability.md F64
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_waits_for_no_thread_of_its_parent(
    pf: SoftPf, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is inside a call when the process forks: what it holds then, nobody lets go there."""
    context = multiprocessing.get_context("fork")
    inside, over, parent = threading.Event(), threading.Event(), os.getpid()
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        limit = port.device.limit

        def stands(*arguments: Any) -> None:
            if os.getpid() == parent:
                inside.set()
                over.wait(60)
            limit(*arguments)

        monkeypatch.setattr(port.device, "limit", stands)
        user = threading.Thread(target=port.refresh_stats)
        user.start()
        try:
            assert inside.wait(20)
            child = context.Process(target=_uses_of_a_child, args=[port], daemon=True)
            child.start()
            child.join(20)
            waits = child.exitcode is None
            child.kill()
            child.join()
            assert not waits
            assert child.exitcode == 0
        finally:
            over.set()
            user.join()
        works(port)
    assert healthy(pool)


def _uses_of_a_child(port: Port) -> None:
    for call in (
        port.start,
        port.stop,
        port.recover,
        port.refresh_stats,
        lambda: port.wait_link(0),
    ):
        with contextlib.suppress(StateError):
            call()
    port.close()


# docs/spec/reliability.md F47
def test_spurious_and_missed_interrupts(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port, pf.open(1, pool=pool) as other:
        port.start(wait_link=5)
        other.start(wait_link=5)
        for vector in (0, 1):
            pf.control("irq", vf=0, vector=vector, count=2000)
        assert not len(port.rx[0].recv(timeout=0.05))
        frame = udp(port.mac, other.mac)
        for _ in range(20):
            pf.control("irq", vf=0, vector=1, count=3)
            send_all(other, [frame])
            with port.rx[0].recv(timeout=5) as burst:
                assert len(burst) == 1
        pf.control("mute", vf=0, on=True)
        try:
            pf.control("link", vf=0, state="disable")  # the mailbox's interrupt is held back too
            assert until(lambda: not port.link.up, 5)
            assert not len(port.rx[0].recv(timeout=0.05))
        finally:
            pf.control("mute", vf=0, on=False)
            pf.control("link", vf=0, state="auto")
        assert port.wait_link(5).up
        send_all(other, [frame])
        assert collect(port.rx, 1) == [frame]
    assert healthy(pool)


def test_socket_that_is_not_served_for_a_while(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        pf.control("stall", vf=0, seconds=0.3)
        port.refresh_stats()
        assert port.state == "running"
        works(port)
    assert healthy(pool)


# docs/spec/reliability.md F33
def test_host_that_asks_is_told_to_callbacks_when_not_opted_in(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        seen: list[str] = []
        port.on_event.append(lambda event: seen.append(event.kind))
        port.start()
        pf.control("request", vf=0)
        assert until(lambda: "request" in seen, 5)
        assert port.state == "running"


# docs/spec/reliability.md F60, F68
def test_nth_mapping_that_fails_leaves_nothing(
    pf: SoftPf, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = AddressSpace.map
    left = [0]

    def failing(space: AddressSpace, memory: object, **rest: object) -> int:
        left[0] -= 1
        if left[0] == 0:
            raise DmaError("no more entries", "the limit is reached", "raise dma_entry_limit")
        return real(space, memory, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(AddressSpace, "map", failing)
    for n in range(1, 5):  # admin queue, pool, rings of two pairs
        left[0] = n
        with pytest.raises(VfioError, match="no more entries"), pf.open(0, pool=pool) as port:
            port.configure(queues=2)
            port.start()
        assert healthy(pool)
    left[0] = 3
    with pf.open(0, pool=pool) as port:
        port.configure(queues=2)
        with pytest.raises(VfioError):
            port.start()
        assert port.state == "stopped"
        port.start(wait_link=5)
        works(port)
    assert healthy(pool)


# docs/spec/reliability.md F68
def test_failure_at_each_step_of_open_leaves_no_file_and_no_segment(
    pf: SoftPf, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fds() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    pf.open(0, pool=pool).close()
    before = fds()
    for place, name in (
        ("iavfio.port.status.PortStatus", "publish_link"),
        ("iavfio.port.control.QueueSet", "__init__"),
        ("iavfio.port.control.PortSegment", "create"),
        ("iavfio.port.control.Session", "negotiate"),
        ("iavfio.port.own_address", "own_mac"),
        ("iavfio.port.control", "Watchdog"),
    ):
        with monkeypatch.context() as patch:

            def fail(*_: object, **__: object) -> None:
                raise RuntimeError("injected")

            patch.setattr(f"{place}.{name}", fail)
            with pytest.raises(RuntimeError, match="injected"):
                pf.open(0, pool=pool, name="torso")
        assert fds() == before, name
    with pf.open(0, pool=pool, name="torso") as port:
        port.start(wait_link=5)
        works(port)
    assert healthy(pool)


def test_housekeeping_survives_what_it_cannot_know(
    pf: SoftPf, pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        with monkeypatch.context() as patch, caplog.at_level(logging.CRITICAL):
            calls: list[int] = []

            def broken(*_: object) -> None:
                calls.append(1)
                raise ZeroDivisionError

            patch.setattr(watchdog.Watchdog, "_dispatch", broken)
            assert until(lambda: len(calls) >= 1, 5)
        pf.control("reset", vf=0)
        assert until(lambda: len(port.resets) == 1 and port.state == "running", 5)


# docs/spec/reliability.md F43
def test_send_queue_that_stands_still_after_a_nudge_means_one_reset(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        port.control.housekeeping.queue_stalled()
        assert port.resets == []  # what was told is over
        pf.control("link", state="down")
        assert until(lambda: not port.link.up)
        pf.control("fault", vf=0, kind="tx_stall", queue=0, on=True)
        assert port.tx[0].send([bytes(60)] * 3) == 3
        assert until(lambda: port.control.watchdog.stalled)
        port.control.housekeeping.queue_stalled()
        assert port.resets == []  # without a link nothing can leave
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(housekeeping, "LINK_SETTLES", 100)
            pf.control("link", state="up")
            assert until(lambda: port.link.up)
            port.control.housekeeping.queue_stalled()
            assert port.resets == []  # what waited for the link has not had time to leave
        assert until(lambda: bool(port.resets) and port.state == "running")
        assert port.wait_link(5).up
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(housekeeping, "LINK_SETTLES", 0)
            port.control.housekeeping.queue_stalled()  # told before the reset, heard after it
        assert [reset.cause for reset in port.resets] == ["a send queue stands still"]
        works(port)
    assert healthy(pool)
