# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C while a server stands still, at each step of opening, starting and closing a port.

Waits are counted in slices of SLICE_MS, which a busy machine can make longer, but not more.
"""

from __future__ import annotations

import errno
import inspect
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from iavfio._driver import lib as driver_lib
from iavfio.datapath.pool import Pool
from iavfio.port import bounds, watchdog
from iavfio.pyvfio import bar, connection
from iavfio.pyvfio._vfio import lib
from iavfio.pyvfio.bar import SLICE_MS
from iavfio.softvf import softvf
from iavfio.softvf.launch import SoftPf
from tests.port.rig import freeze, until
from tests.sanitizer import no_race

Step = tuple[str, ...]
EVERY = 6  # of the steps in a row, one is tried
SPARE = 3  # slices: what is closed at last, and roundings


@pytest.fixture
def pf() -> Iterator[SoftPf]:
    with softvf(vfs=1) as soft:
        yield soft


@pytest.fixture
def pool() -> Pool:
    return Pool(4096, huge="never")


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    yield
    connection.hasten(False)


class Requests:
    """Takes the place of the C library: knows each request's step, and counts slices in vain.

    A step is the chain of iavfio's functions that led to a request. At `step` the server is
    stopped; the caller's signal comes in the first slice after that.
    """

    def __init__(self, pf: SoftPf, step: Step | None = None, *, hurried: bool = False) -> None:
        self.steps: dict[Step, None] = {}
        self.interrupted = False
        self.waited = 0  # slices after the signal
        self._pf, self._step, self._hurried = pf, step, hurried
        self._frozen = False
        self._main = threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(lib, name)

    def vu_call_run(self, *arguments: Any) -> int:
        return self._run(lib.vu_call_run, arguments)

    def bar_io_run(self, *arguments: Any) -> int:
        return self._run(lib.bar_io_run, arguments)

    def _run(self, call: Any, arguments: tuple[Any, ...]) -> int:
        if threading.get_ident() != self._main:
            return int(call(*arguments))
        step = _here()
        first = step not in self.steps
        self.steps[step] = None
        if first and step == self._step:
            freeze(self._pf)
            self._frozen = True
        result = int(call(*arguments))
        if result != -errno.EAGAIN or not self._frozen:
            return result
        if self.interrupted:
            self.waited += 1
        else:
            self.interrupted = True
            if self._hurried:
                connection.hasten()  # as the command line's handler does
            raise KeyboardInterrupt
        return result


def _here() -> Step:
    names = []
    frame = inspect.currentframe()
    while frame is not None:
        if "/iavfio/" in frame.f_code.co_filename and "/tests/" not in frame.f_code.co_filename:
            names.append(frame.f_code.co_qualname)
        frame = frame.f_back
    return tuple(names)


def lifetime(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.start()


def walk(pf: SoftPf, pool: Pool, requests: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(connection, "lib", requests)
        patch.setattr(bar, "lib", requests)
        lifetime(pf, pool)


def interrupted_at(
    pf: SoftPf, pool: Pool, step: Step, monkeypatch: pytest.MonkeyPatch, *, hurried: bool
) -> Requests:
    """What was waited for after a signal in that step, which some lives do without."""
    assert until(lambda: not pf.control("info")["vfs"][0]["connected"], 60)
    requests = Requests(pf, step, hurried=hurried)
    ended = False
    try:
        walk(pf, pool, requests, monkeypatch)
    except KeyboardInterrupt:
        ended = True
    finally:
        os.kill(pf.pid, signal.SIGCONT)
        connection.hasten(False)
    assert ended == requests.interrupted, step
    return requests


# docs/spec/reliability.md F66
@no_race
def test_no_step_of_a_life_outlasts_a_signal(
    pf: SoftPf, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Requests(pf)
    walk(pf, pool, seen, monkeypatch)
    steps = list(seen.steps)
    assert len(steps) > 40
    assert any("close" in " ".join(step) for step in steps)
    lives = [interrupted_at(pf, pool, step, monkeypatch, hurried=True) for step in steps[::EVERY]]
    assert sum(life.interrupted for life in lives) > len(lives) / 2
    assert max(life.waited for life in lives) <= lib.VU_HASTE_MS // SLICE_MS + SPARE


# docs/spec/reliability.md F66
@pytest.mark.parametrize("place", ["Device.set_irqs", "PortControl.__init__", "BringUp.run"])
def test_a_program_that_answers_signals_itself_waits_half_a_second_at_most(
    pf: SoftPf, pool: Pool, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """What cleans up behind the exception is not told of the signal: the connection knows."""
    seen = Requests(pf)
    walk(pf, pool, seen, monkeypatch)
    step = next(step for step in seen.steps if place in step)
    life = interrupted_at(pf, pool, step, monkeypatch, hurried=False)
    assert life.interrupted
    assert life.waited <= lib.VU_GIVEN_UP_MS // SLICE_MS + SPARE


class Stopping:
    """Takes the place of the C library: presses Ctrl-C while close() waits for the C watchdog."""

    def __init__(self) -> None:
        self.slices = 0  # in vain, after the signal
        self.interrupted = False

    def __getattr__(self, name: str) -> Any:
        return getattr(driver_lib, name)

    def watchdog_stop(self, *arguments: Any) -> int:
        result = int(driver_lib.watchdog_stop(*arguments))
        if result and not self.interrupted:
            self.interrupted = True
            raise KeyboardInterrupt
        self.slices += result != 0
        return result


# docs/spec/reliability.md F66
@no_race
def test_a_close_that_waits_for_the_watchdogs_register_hears_a_signal(
    pf: SoftPf, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The C watchdog asks a server that stands still, and nobody can end its thread before."""
    port = pf.open(0, pool=pool)
    port.start()
    stopping = Stopping()
    monkeypatch.setattr(watchdog, "lib", stopping)
    freeze(pf)
    try:
        time.sleep(0.1)  # the registers are looked at every 4 ms
        with pytest.raises(KeyboardInterrupt):
            port.close()
    finally:
        os.kill(pf.pid, signal.SIGCONT)
    assert stopping.interrupted
    assert stopping.slices <= bounds.HURRY * 1e3 / SLICE_MS + SPARE
    assert port.state == "closed" and pool.idle == pool.size


class Owned:
    closed = False

    def close(self) -> None:
        self.closed = True


def test_a_close_that_a_signal_hastens_is_done_to_its_end(
    pf: SoftPf, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is well: the second try of the step that was interrupted is answered."""
    port, owned = pf.open(0, pool=pool), Owned()
    port.own(owned)
    port.start()
    disable, limits = port.session.disable_queues, list[float]()

    def interrupted(bitmap: int) -> None:
        monkeypatch.undo()
        monkeypatch.setattr(port.device, "limit", limits.append)
        disable(bitmap)
        raise KeyboardInterrupt

    monkeypatch.setattr(port.session, "disable_queues", interrupted)
    with pytest.raises(KeyboardInterrupt):
        port.close()
    assert limits == [bounds.HURRY]
    assert port.state == "closed" and pool.idle == pool.size
    assert owned.closed
    assert until(lambda: not pf.control("info")["vfs"][0]["connected"], 60)
    port.close()  # nothing is left to be done


def test_a_server_that_is_stopped_hears_that_it_shall_end(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    send = subprocess.Popen.send_signal

    def record(child: subprocess.Popen[bytes], number: int) -> None:
        sent.append(number)
        send(child, number)

    monkeypatch.setattr(subprocess.Popen, "send_signal", record)
    with softvf(vfs=1) as soft:
        freeze(soft)
    assert sent[:2] == [signal.SIGTERM, signal.SIGCONT]
