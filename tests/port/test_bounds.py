# SPDX-License-Identifier: BSD-3-Clause
"""No call outlasts its bound when the PF is silent, and DMA has ended.

See docs/spec/reliability.md 7.
"""

from __future__ import annotations

import errno
import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from iavfio import pyvfio
from iavfio.datapath.pool import Pool
from iavfio.errors import DeviceLost, IavfioError, MailboxTimeout, ResetError, StateError
from iavfio.port import bounds, control
from iavfio.port.bringup import BringUp, BroughtUp
from iavfio.port.negotiation import Session
from iavfio.port.port import Port
from iavfio.port.queue_set import QueueSet
from iavfio.port.watchdog import Watchdog
from iavfio.pyvfio import Device, connection, user
from iavfio.pyvfio._vfio import lib
from iavfio.pyvfio.bar import SLICE_MS
from iavfio.softvf import softvf
from iavfio.softvf.launch import SoftPf
from iavfio.virtchnl.client import VirtchnlClient
from iavfio.virtchnl.deadline import Deadline
from tests.port.expected import snapshot
from tests.port.rig import freeze, healthy, until, works

SLACK = 4.0  # seconds: the machine that runs the tests may be busy


@pytest.fixture
def pf() -> Iterator[SoftPf]:
    with softvf(vfs=1) as soft:
        yield soft


@pytest.fixture
def port(pf: SoftPf) -> Iterator[Port]:
    with pf.open(0, pool=Pool(4096, huge="never")) as opened:
        opened.start(wait_link=10)
        yield opened


def silence(pf: SoftPf) -> None:
    pf.control("fault", vf=0, kind="lose", count=1_000_000)


def took(call: Callable[[], object]) -> tuple[float, IavfioError | None]:
    began = time.monotonic()
    error = None
    try:
        call()
    except IavfioError as raised:
        error = raised
    return time.monotonic() - began, error


# docs/spec/reliability.md F41
def test_stop_ends_dma_without_a_pf_and_says_so(pf: SoftPf, port: Port) -> None:
    silence(pf)
    seconds, error = took(port.stop)
    assert seconds < bounds.STOP + SLACK
    assert isinstance(error, ResetError)
    assert "not in order" in error.what
    assert "bus master is off" in error.cause
    assert "recover()" in error.remedy
    assert port.state == "failed"
    assert not port.device.config.bus_master
    assert healthy(port.pool)
    pf.control("fault", vf=0, kind="clear")
    port.recover()
    assert port.state == "stopped"  # it was stopped on purpose
    port.start(wait_link=10)
    works(port)


def test_housekeeping_gives_way_to_a_caller_while_the_pf_is_silent(pf: SoftPf, port: Port) -> None:
    """Its own request for counters waits 2 s for the PF: that is no time of the caller's."""
    silence(pf)
    lock = port.control.status.lock
    for _ in range(20):
        with lock.within(1.0) as taken:
            assert taken
        time.sleep(0.1)
    assert not lock.wanted


def test_close_ends_without_a_pf(pf: SoftPf, port: Port) -> None:
    silence(pf)
    seconds, error = took(port.close)
    assert error is None
    assert seconds < bounds.CLOSE + SLACK
    assert any("in order" in note for note in port.notes)
    assert healthy(port.pool)


def test_a_close_that_gave_its_server_up_does_not_call_the_device_gone(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registers of a connection that was given up read all ones as those of no device do."""

    def gone() -> None:
        raise DeviceLost("the VF is gone", "its registers read all ones", "it was unplugged")

    monkeypatch.setattr(port.session, "close", gone)
    monkeypatch.setattr(type(port.device), "loss", "there was no reply within 0.05 s")
    port.close()
    assert port.notes[-1] == (
        "not closed in order: the device does not answer: there was no reply within 0.05 s"
    )


@pytest.mark.parametrize("loss", ["there was no reply within 0.05 s", ""])
def test_a_lost_device_is_told_with_the_reason(
    port: Port, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    monkeypatch.setattr(type(port.device), "loss", loss)
    port.control.bar.mark_lost()
    for call in (
        port.session.adminq.enabled,
        port.session.adminq.check,
        port.session.was_reset,
        port.session.rstat,
    ):
        with pytest.raises(DeviceLost, match=loss or "registers read all ones"):
            call()


def test_refresh_stats_ends_without_a_pf(pf: SoftPf, port: Port) -> None:
    silence(pf)
    seconds, error = took(lambda: port.refresh_stats(within=0.2))
    assert error is not None
    assert seconds < bounds.REFRESH + SLACK


def test_a_reset_under_way_holds_up_neither_counters_nor_stop(pf: SoftPf, port: Port) -> None:
    """The lock is the recovery's for up to 20 s; nobody waits for that who need not."""
    pf.control("reset", vf=0, latency_ms=60_000)
    assert until(lambda: port.state == "resetting")
    for call in (port.refresh_stats, lambda: port.stats.snapshot(), lambda: port.link, port.stop):
        seconds, error = took(call)
        assert error is None
        assert seconds < bounds.STOP + SLACK
    assert port.state == "resetting"
    seconds, error = took(port.close)
    assert error is None
    assert seconds < bounds.CLOSE + SLACK


def test_a_stop_while_a_reset_brings_the_queues_up_ends_their_dma(
    pf: SoftPf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queues are enabled when stop() takes its wish back: they must not stay so."""
    with pf.open(0, pool=Pool(8192, huge="never")) as port:
        port.start(wait_link=5)
        run = BringUp.run
        stoppers: list[threading.Thread] = []

        def slow(bring_up: BringUp) -> BroughtUp:
            built = run(bring_up)
            stoppers.append(threading.Thread(target=port.stop))
            stoppers[0].start()
            time.sleep(0.1)  # it has said what it wants, and waits for the lock
            return built

        with monkeypatch.context() as patch:
            patch.setattr(BringUp, "run", slow)
            port.reset()
        stoppers[0].join()
        assert port.state == "stopped" and not port.session.dma_live
        assert snapshot(pf)["queues"]["enabled_rx"] == []
        port.configure(queues=2)  # frees the rings
        port.start(wait_link=5)
        works(port)
    assert pf.violations() == []


def test_a_server_that_was_given_up_is_not_called_gone(pf: SoftPf, port: Port) -> None:
    """The port says how long it waited, and what the server's process was doing."""
    freeze(pf)
    try:
        port.stop()
        assert port.state == "failed"
        why = port.why_stopped()
        assert why.startswith("the device does not answer: there was no reply to ")
        assert re.search(rf" within [\d.]+ s, .* its server \(process {pf.pid}\) is stopped$", why)
        assert port.notes[-1].splitlines()[0] == why
        with pytest.raises(DeviceLost, match="of port vf0 does not answer: there was no reply"):
            port.refresh_stats()
        with pytest.raises(StateError, match="is stopped"):
            port.configure(queues=1)
    finally:
        os.kill(pf.pid, signal.SIGCONT)


@pytest.mark.parametrize(
    "call",
    [
        lambda port: port.refresh_stats(),
        lambda port: port.set_promiscuous(True),
        lambda port: port.reset(),
    ],
)
def test_a_port_whose_device_is_lost_in_a_call_has_failed_when_that_raises(
    port: Port, monkeypatch: pytest.MonkeyPatch, call: Callable[[Port], object]
) -> None:
    """Error and state agree, whether or not the watchdog has found the loss yet."""

    def lost(*_: object, **__: object) -> None:
        monkeypatch.setattr(type(port.device), "lost", True)
        raise DeviceLost("it does not answer", "there was no reply", "")

    port.control.watchdog.disarm()
    with port.control.status.lock:  # the watchdog's own requests would be lost first
        monkeypatch.setattr(port.session.client, "request", lost)
        monkeypatch.setattr(port.session, "force_reset", lost)
        with pytest.raises(DeviceLost):
            call(port)
        assert port.state == "failed"


def test_each_call_tells_the_device_how_long_it_may_take(
    pf: SoftPf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also beside a server that answers each request just in time: the second number."""
    asked: list[tuple[float, float | None]] = []

    def record(device: Device, seconds: float, slow: float | None = None) -> None:
        if threading.current_thread() is threading.main_thread() and seconds < math.inf:
            asked.append((math.ceil(seconds), slow if slow is None else math.ceil(slow * 2) / 2))

    monkeypatch.setattr(user.UserDevice, "limit", record)
    monkeypatch.setattr(VirtchnlClient, "patience", 0.0)  # of a PF that was never slow
    with pf.open(0, pool=Pool(4096, huge="never")) as port:
        lock = port.control.status.lock
        with lock:  # so that the watchdog's own refresh does not come in between
            for call in (
                port.start,
                port.refresh_stats,
                lambda: port.refresh_stats(within=6),
                port.reset,
                lambda: port.set_promiscuous(True),
                port.stop,
                lambda: port.configure(queues=1),
            ):
                call()
    assert asked == [
        (30, 30),
        (32, 32),
        (8, 7.5),
        (12, 12),
        (20, 20),
        (20, 20),
        (2, None),
        (20, 20),
        (2, None),
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_all_that_opening_asks_of_its_server_is_within_one_limit(
    pf: SoftPf, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """What gives the device back after a failure, too: its time is the rest of the opening's."""
    happened: list[str] = []
    limit, request = user.UserDevice.limit, connection.Connection.request

    def limited(device: user.UserDevice, seconds: float, slow: float | None = None) -> None:
        happened.append("lifted" if seconds == math.inf else f"{math.ceil(seconds)} s")
        limit(device, seconds, slow)

    def asked(at: connection.Connection, command: connection.Command, *given: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            happened.append(command.name)
        return request(at, command, *given)

    def silent(session: Session) -> None:
        raise MailboxTimeout("the PF did not answer", "", "")

    monkeypatch.setattr(user.UserDevice, "limit", limited)
    monkeypatch.setattr(connection.Connection, "request", asked)
    monkeypatch.setattr(Watchdog, "begin", lambda *_: None)  # whose thread sets limits of its own
    pool = Pool(4096, huge="never")
    if fails:
        monkeypatch.setattr(Session, "negotiate", silent)
        with pytest.raises(MailboxTimeout):
            pf.open(0, pool=pool)
    else:
        port = pf.open(0, pool=pool)
    opened = list(happened)
    if not fails:
        port.close()
    assert opened[:3] == ["VERSION", "DEVICE_GET_INFO", "30 s"]  # the first two have 5 s
    assert [each for each in opened if each.endswith((" s", "lifted"))] == (
        ["30 s"] if fails else ["30 s", "lifted"]
    )
    assert len(opened) > 10
    assert opened[-1] == ("DEVICE_SET_IRQS" if fails else "lifted")


def test_what_comes_after_the_limit_has_a_third_of_it_for_each_request(
    pf: SoftPf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that answers is not given up for what all requests took together."""
    slices: list[int] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(lib, name)

        def vu_call_run(self, *arguments: Any) -> int:
            slices.append(int(lib.vu_call_run(*arguments)))
            return slices[-1]

    with pyvfio.open(pf.sockets[0]) as device:
        device.limit(1.5)
        time.sleep(1.05)  # two thirds, and more
        freeze(pf)
        try:
            monkeypatch.setattr(connection, "lib", Counting())
            with pytest.raises(DeviceLost, match="no reply to DEVICE_GET_REGION_INFO within"):
                device.config.read16(0)
        finally:
            os.kill(pf.pid, signal.SIGCONT)
    assert 1 < len(slices) <= 500 / SLICE_MS + 2
    assert slices[:-1] == [-errno.EAGAIN] * (len(slices) - 1)


class Recorded:
    """A device that only writes down how long it is to wait."""

    def __init__(self) -> None:
        self.limits: list[float] = []

    def limit(self, seconds: float, slow: float | None = None) -> None:
        self.limits.append(seconds)


@pytest.mark.parametrize(
    ("seconds", "before", "inside", "limits"),
    [
        (2.0, True, True, [2.0, math.inf]),
        (2.0, True, False, [2.0]),  # close() has set its own meanwhile
        (2.0, False, False, []),
        (math.inf, True, True, []),
    ],
)
def test_a_limit_is_lifted_by_who_set_it_unless_close_has_begun(
    seconds: float, before: bool, inside: bool, limits: list[float]
) -> None:
    device, allowed = Recorded(), before
    with bounds.CallLimit(cast(Device, device), lambda: allowed).within(seconds):
        allowed = inside
    assert device.limits == limits


def test_a_limit_that_another_call_has_set_meanwhile_stays() -> None:
    """A refresh that ends while stop() waits for the port must not free stop() of its limit."""
    device = Recorded()
    limit = bounds.CallLimit(cast(Device, device), lambda: True)
    refresh, stop = limit.whole(7.5), limit.within(2.0)
    with refresh:
        stop.__enter__()
    assert device.limits == [7.5, 2.0]
    with limit.whole(7.5):  # as recover() inside of stop()
        assert device.limits == [7.5, 2.0]
    stop.__exit__(None, None, None)
    assert device.limits == [7.5, 2.0, math.inf]


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_start_that_fails_leaves_the_limit_of_a_close_in_force(
    pf: SoftPf, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    """close() of another thread waits for the port's lock while start() cleans up behind itself."""
    with pf.open(0, pool=Pool(4096, huge="never")) as port:
        limits: list[float] = []
        limit, drain = port.device.limit, QueueSet.drain
        closers: list[threading.Thread] = []

        def record(seconds: float, slow: float | None = None) -> None:
            limits.append(seconds)
            limit(seconds, slow)

        def fail(bring_up: BringUp) -> BroughtUp:
            raise KeyboardInterrupt if interrupted else IavfioError("no queue today")

        def clean_up(queues: QueueSet) -> None:
            if not closers:
                closers.append(threading.Thread(target=port.close))
                closers[0].start()
                assert until(lambda: bounds.CLOSE in limits)
            drain(queues)

        monkeypatch.setattr(port.device, "limit", record)
        monkeypatch.setattr(BringUp, "run", fail)
        monkeypatch.setattr(QueueSet, "drain", clean_up)
        with pytest.raises(KeyboardInterrupt if interrupted else IavfioError):
            port.start()
        closers[0].join()
        whole = bounds.START + bounds.STOP
        started = limits[limits.index(whole) :]  # housekeeping may have asked for counters before
        assert started == [whole, *([bounds.HURRY] if interrupted else []), bounds.CLOSE]


@pytest.mark.parametrize("patience", [0.0, 0.25, 2.0])
def test_a_pf_that_was_slow_of_late_has_more_time_to_stop(
    port: Port, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    given: list[float] = []
    me = threading.get_ident()

    class Spy(Deadline):
        def __init__(self, seconds: float) -> None:
            if threading.get_ident() == me:
                given.append(seconds)
            super().__init__(seconds)

    monkeypatch.setattr(control, "Deadline", Spy)
    monkeypatch.setattr(VirtchnlClient, "patience", property(lambda _: patience))
    port.control.stop()
    assert given[:1] == [bounds.STOP + 4 * patience]
