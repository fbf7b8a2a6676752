# SPDX-License-Identifier: BSD-3-Clause
"""Eventfds of clients: whatever a client does to them, nobody waits for it (D6).

The counter is full and the flag O_NONBLOCK, which belongs to the open file that both sides share,
is off, or changes all the time while other threads fill and empty the counter.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iavfio.softvf.dataplane import DataPlane
from tests.hostile.served_pf import served_pf
from tests.hostile.waiters import wait_for_it
from tests.softvf.dataplane.plane_rig import mac, rig
from tests.softvf.function.mailbox_rings import DYN_CTL01, RSTAT, Rings

FULL = (1 << 64) - 2
FRAME = bytes(12) + b"\x08\x00" + bytes(46)


def full_eventfd() -> int:
    """A blocking eventfd to which nothing can be added."""
    fd = os.eventfd(0, os.EFD_CLOEXEC)
    os.eventfd_write(fd, FULL)
    return fd


MEDDLER = """
import contextlib, os, sys, threading

fd, full, blocks = int(sys.argv[1]), int(sys.argv[2]), False

def toggle():
    global blocks
    while True:
        blocks = not blocks
        os.set_blocking(fd, blocks)

def fill():
    while True:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(fd, full)

def drain():
    while True:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(fd)

for each in (toggle, fill, drain):
    threading.Thread(target=each).start()
print(flush=True)
"""


@contextlib.contextmanager
def meddled_with(fd: int) -> Iterator[None]:
    """Three threads: one turns O_NONBLOCK on and off, one fills the counter, one empties it.

    They run in a process of their own: in this one they would keep Python's lock from the server.
    """
    words = [sys.executable, "-c", MEDDLER, str(fd), str(FULL)]
    with subprocess.Popen(words, pass_fds=(fd,), stdout=subprocess.PIPE) as meddler:
        try:
            assert meddler.stdout is not None and meddler.stdout.readline()
            yield
        finally:
            meddler.kill()
    os.set_blocking(fd, False)


@pytest.fixture
def plane() -> Iterator[DataPlane]:
    made = DataPlane(1, bar_size=0x10000, uplink="none")
    yield made
    made.stop()


@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000])
@pytest.mark.parametrize("blocking", [True, False])
def test_each_signal_adds_one(plane: DataPlane, count: int, blocking: bool) -> None:
    fd = os.eventfd(0, 0 if blocking else os.EFD_NONBLOCK)
    for _ in range(count):
        plane.signal(0, fd)
    assert os.eventfd_read(fd) == count
    os.close(fd)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_full_counter_stays_full(plane: DataPlane, blocking: bool) -> None:
    fd = full_eventfd()
    os.set_blocking(fd, blocking)
    for _ in range(1000):
        plane.signal(0, fd)
    assert os.eventfd_read(fd) >= FULL
    plane.signal(0, fd)  # and it can be signalled again
    assert os.eventfd_read(fd) == 1
    os.close(fd)


def test_a_file_that_is_no_eventfd_is_left_alone(plane: DataPlane) -> None:
    read, write = os.pipe()
    plane.signal(0, write)
    plane.signal(0, -1)
    os.set_blocking(read, False)
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    os.close(read)
    os.close(write)


def arrived(fd: int) -> int:
    """What the counter is as soon as it is not 0; 0 after a while."""
    return os.eventfd_read(fd) if select.select([fd], [], [], 20)[0] else 0


def processor_seconds(call: Callable[[], object]) -> float:
    """What this thread itself works for: a busy machine does not lengthen it."""
    start = time.thread_time()
    call()
    return time.thread_time() - start


# docs/spec/reliability.md D6
def test_an_eventfd_that_many_wait_for_holds_nobody_up() -> None:
    """Some signals call 20,000 waiters; what follows is another thread's work."""
    plane = DataPlane(2, bar_size=0x10000, uplink="none")
    fd, quick = os.eventfd(0), os.eventfd(0, os.EFD_NONBLOCK)
    with wait_for_it(fd, 100, 200):
        first: list[float] = []
        notes = plane.events()
        while not notes and len(first) < 30:  # one that is quick takes one of four back
            first.append(processor_seconds(lambda: plane.signal(0, fd)))
            notes = plane.events()
        assert len(first) >= 4
        assert arrived(fd) == len(first)
        (note,) = notes
        assert (note.vf, note.kind, note.rule) == (0, "note", "docs/spec/reliability.md D6")
        assert "many wait for it" in note.text
        assert plane.violations(0) == 0, "no rule of the hardware's is broken"
        for _ in range(5):
            assert processor_seconds(lambda: plane.signal(0, fd)) < max(first) / 2
        assert arrived(fd) >= 1
        plane.signal(1, quick)
        assert os.eventfd_read(quick) == 1, "another VF's is signalled at once"
    plane.stop()
    for each in (fd, quick):
        os.close(each)


def test_signals_of_the_other_thread_are_not_lost() -> None:
    """One after the other, many more than may be on their way; then more at once than may be."""
    plane = DataPlane(1, bar_size=0x10000, uplink="none")
    slow, quick = os.eventfd(0), os.eventfd(0)
    with wait_for_it(slow, 100, 200):
        for _ in range(4):
            plane.signal(0, slow)
    for _ in range(200):
        plane.signal(0, quick)
        assert arrived(quick) == 1
    for _ in range(1000):
        plane.signal(0, quick)
    count = 0
    while select.select([quick], [], [], 0.5)[0]:
        count += os.eventfd_read(quick)
    assert 1 <= count <= 1000
    plane.signal(0, quick)
    assert arrived(quick) == 1, "what was lost left nothing behind"
    plane.stop()
    for each in (slow, quick):
        os.close(each)


def test_vectors_wait_for_a_signal_that_is_on_its_way() -> None:
    """One at a time is, and none is lost."""
    slow, quick = os.eventfd(0), os.eventfd(0)
    with rig() as r, wait_for_it(slow, 100, 200):
        r.plane.set_msix(0, True)
        for vector, fd in ((1, slow), (2, quick)):
            r.plane.set_eventfd(0, vector, fd)
        for _ in range(50):
            r.plane.write_dyn_ctl(0, 1, 1 | 1 << 2 | 3 << 3)  # INTENA, SWINT_TRIG
            r.plane.write_dyn_ctl(0, 2, 1 | 1 << 2 | 3 << 3)
            assert arrived(quick) == 1
            assert arrived(slow) == 1
        r.wait_event("note", "many wait for it")
    for each in (slow, quick):
        os.close(each)


@pytest.mark.parametrize("meddle", [False, True])
def test_the_data_thread_never_waits(meddle: bool) -> None:
    fd = full_eventfd()
    with contextlib.ExitStack() as stack:
        r = stack.enter_context(rig(vfs=2))
        a, b = r.vfs
        a.open()
        b.open()
        r.plane.set_eventfd(0, 1, fd)
        r.plane.map_vector(0, 1, 1, 1, 3, 3)
        r.plane.set_msix(0, True)
        if meddle:
            stack.enter_context(meddled_with(fd))
        for _ in range(300 if meddle else 20):
            r.plane.write_dyn_ctl(0, 1, 1 | 3 << 3)  # INTENA
            a.exchange(mac(1) + mac(1) + FRAME[12:])  # moves packets of vector 1
            b.exchange(mac(2) + mac(2) + FRAME[12:])
    os.close(fd)


@pytest.mark.parametrize("meddle", [False, True])
def test_the_control_loop_never_waits(meddle: bool, tmp_path: Path) -> None:
    fd = full_eventfd()
    with served_pf(tmp_path) as served, contextlib.ExitStack() as stack:
        hostile, victim = Rings(served.paths[0]), Rings(served.paths[1])
        for rings in (hostile, victim):
            rings.wait_active()
            rings.start_length_last()
        for index in (2, 3, 4):  # MSI-X, ERR, REQ
            irqs = struct.pack("<IIIII", 20, 4 | 32, index, 0, 1)
            assert hostile.client.ask(8, irqs, (fd,))[0] == 0
        if meddle:
            stack.enter_context(meddled_with(fd))
        trigger = struct.pack("<IIIII", 20, 1 | 32, 2, 0, 1)
        for _ in range(200 if meddle else 5):
            hostile.client.write32(DYN_CTL01, 1 | 0x18)
            assert hostile.client.ask(8, trigger)[0] == 0
            assert victim.client.read32(RSTAT) == 2
        hostile.send(payload=struct.pack("<II", 1, 1))
        for command in ("request", "error"):
            assert served.control(command, vf=0)["signalled"]
        assert served.control("irq", vf=0, vector=0, count=10_000)["signalled"]
        assert served.control("info")["vfs"][0]["faults"] == 0
        assert victim.client.read32(RSTAT) == 2
        for rings in (hostile, victim):
            rings.close()
    os.close(fd)
