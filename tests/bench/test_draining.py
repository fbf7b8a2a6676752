# SPDX-License-Identifier: BSD-3-Clause
"""A run ends when its packets are accounted for, however long a software VF stands still."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

import pytest

import iavfio
from iavfio.bench import run as bench
from iavfio.bench.plan import Plan
from iavfio.datapath.worker import Worker
from iavfio.errors import DeviceError
from iavfio.port.port import Port
from iavfio.pyvfio.connection import hasten
from tests.port.rig import pressed_once, until

WINDOW = 0.25
FROZEN = 0.5  # seconds beyond the window: what was told as lost after a tenth of one


@pytest.mark.parametrize("verify", [False, True])
def test_a_software_vf_that_stands_still_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, verify: bool
) -> None:
    for limit in ("PATIENCE", "DRAIN_LIMIT", "COMPLETION"):
        monkeypatch.setattr(bench, limit, 60.0)
    watch = bench.watch
    with iavfio.softvf(vfs=2, uplink="none") as pf, pf.open(0) as a, pf.open(1) as b:
        for port in (a, b):
            port.start(wait_link=30)

        def frozen(workers: Sequence[Worker], progress: Any) -> None:
            until(lambda: all(w.counters.received > 1000 or w.window for w in workers), 30)
            os.kill(pf.pid, signal.SIGSTOP)
            threading.Timer(WINDOW + FROZEN, os.kill, (pf.pid, signal.SIGCONT)).start()
            watch(workers, progress)

        monkeypatch.setattr(bench, "watch", frozen)
        result = bench.run(Plan(duration=WINDOW, verify=verify), [a, b])
    assert result.reasons == ()
    assert result.sent == result.received > 0
    assert (result.lost, result.in_flight, result.drained) == (0, 0, True)


def test_packets_that_nobody_counts_are_lost_after_all() -> None:
    with iavfio.softvf(vfs=2, uplink="none") as pf, pf.open(0) as a, pf.open(1) as b:
        for port in (a, b):
            port.start(wait_link=30)
        pf.control("fault", vf=1, kind="spoil", how="lose", every=10)
        result = bench.run(Plan(count=1000, rate=20000.0), [a, b])
    lost = result.sent - result.received
    assert lost > 0
    assert result.lost + result.in_flight == lost
    assert any("missing, and no counter says why" in reason for reason in result.reasons)


@pytest.mark.parametrize(
    "step", ["_await_missing", "drain", "refresh_stats", "_drain", "arrived_since"]
)
def test_a_signal_after_the_window_keeps_the_result(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    watch, pressed = bench.watch, []

    def then(workers: Sequence[Worker], progress: Any) -> None:
        watch(workers, progress)
        pressed.append(pressed_once(monkeypatch, Port if step == "refresh_stats" else bench, step))

    monkeypatch.setattr(bench, "watch", then)
    with iavfio.softvf(vfs=2, uplink="none") as pf, pf.open(0) as a, pf.open(1) as b:
        for port in (a, b):
            port.start(wait_link=30)
        plan = Plan(count=1000, verify=True)
        if step == "arrived_since":
            plan = Plan(mode="txonly", count=1000, dst=b.mac)
        result = bench.run(plan, [a, b])
    assert pressed == [[step]]
    assert isinstance(result.interrupted, KeyboardInterrupt)
    assert result.sent >= 1000 and result.total.error == 0
    assert not any("as it should" in reason for reason in result.reasons)


def test_a_server_that_is_too_busy_for_a_signal_is_not_said_to_be_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has 50 ms, and its port is lost after that; nothing of it is known to be broken."""

    def pressed(workers: Sequence[Worker], _: Any) -> None:
        os.kill(pf.pid, signal.SIGSTOP)
        hasten()
        with pytest.raises(DeviceError):
            port.refresh_stats()
        assert until(lambda: workers[0].ended and bool(workers[0].counters.error), 60)
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "watch", pressed)
    with iavfio.softvf() as pf, pf.open(0) as port:
        port.start(wait_link=30)
        try:
            result = bench.run(Plan(duration=60), [port])
        finally:
            hasten(False)
            os.kill(pf.pid, signal.SIGCONT)
    assert isinstance(result.interrupted, KeyboardInterrupt)
    assert not any("as it should" in reason for reason in result.reasons)
    assert result.notes == (f"{port.name}: the PF's counters are old: {bench.UNANSWERED}",)


@pytest.mark.parametrize("queues", [1, 2])
def test_a_rate_is_shared_equally_by_ports_and_queues(queues: int) -> None:
    with iavfio.softvf(vfs=2, uplink="none") as pf, pf.open(0) as a, pf.open(1) as b:
        for port in (a, b):
            port.configure(queues=queues)
            port.start(wait_link=30)
        result = bench.run(Plan(rate=3000.0, count=600), [a, b])
        posted = [queue["posted"] for port in (a, b) for queue in port.stats.snapshot().sq]
    assert sum(posted) == result.sent == 600
    assert min(posted) >= 600 / len(posted) / 2  # where this host comes late some catch up first


def test_a_rate_that_is_not_reached_is_told() -> None:
    with iavfio.softvf(vfs=2, uplink="none") as pf, pf.open(0) as a, pf.open(1) as b:
        for port in (a, b):
            port.start(wait_link=30)
        missed = bench.run(Plan(mode="txonly", rate=1e9, duration=0.2), [a, b])
        reached = bench.run(Plan(mode="txonly", rate=100.0, count=20), [a, b])
    (note,) = missed.notes
    assert "of the asked rate was reached: " in note and float(note.split("%")[0]) < 50
    assert reached.notes == ()
