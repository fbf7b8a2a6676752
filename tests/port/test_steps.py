# SPDX-License-Identifier: BSD-3-Clause
"""Promised times of releases and losses, in steps and on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from iavfio.datapath.pool import Pool
from iavfio.errors import DeviceLost
from iavfio.port import negotiation
from iavfio.port.housekeeping import Housekeeping
from iavfio.port.negotiation import NO_ANSWER, Session
from iavfio.softvf import softvf
from iavfio.virtchnl.channel import Channel
from iavfio.virtchnl.deadline import Deadline
from tests.port.rig import healthy, until

REQUESTS = 6  # that a close may make of a PF: 100 ms are enough for them, at 10 ms each
IN_PROGRESS = 0  # VFGEN_RSTAT during a reset


# docs/spec/reliability.md F33
@pytest.mark.parametrize("running", [True, False])
def test_a_device_that_the_host_wants_is_released_in_few_steps(
    monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    steps: list[str] | None = None
    wanted, request, pause = Housekeeping.device_wanted, Channel.request, Session.pause

    def begin(housekeeping: Housekeeping) -> None:
        nonlocal steps
        steps = []
        wanted(housekeeping)

    def record(what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def recording(*given: Any, **named: Any) -> Any:
            if steps is not None:
                steps.append(what)
            return call(*given, **named)

        return recording

    monkeypatch.setattr(Housekeeping, "device_wanted", begin)
    monkeypatch.setattr(Channel, "request", record("request", request))
    monkeypatch.setattr(Session, "pause", record("pause", pause))
    pool = Pool(4096, huge="never")
    with softvf(vfs=1) as pf:
        port = pf.open(0, pool=pool, release_on_request=True)
        port.configure(extra_macs=["02:00:00:00:00:71"], promiscuous=True)
        if running:
            port.start(wait_link=10)
        pf.control("request", vf=0)
        assert until(lambda: port.state == "closed", 60)
        assert steps is not None and len(steps) <= REQUESTS
        assert set(steps) <= {"request"}
        assert not any("in order" in note for note in port.notes)
    assert healthy(pool)


class Clock:
    """One that only goes on where somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Resetting(Session):
    """A session whose function is in a reset, and answers nothing any more from `gone` on."""

    def __init__(self, clock: Clock, gone: float) -> None:
        self.device: Any = SimpleNamespace(name="vf0")
        self.journal: Any = SimpleNamespace(note=lambda *_: None)
        self.deadline = Deadline(20.0, clock)
        self._clock = clock
        self._gone = clock() + gone

    def rstat(self) -> int:
        return NO_ANSWER if self._clock() >= self._gone else IN_PROGRESS

    def pause(self, seconds: float) -> None:
        assert seconds > 0
        self._clock.now += seconds


# docs/spec/reliability.md F35
@pytest.mark.parametrize("gone", [0.0, 0.0101, 0.3, 7.77])
def test_a_function_that_does_not_come_back_is_given_up_after_a_second(
    monkeypatch: pytest.MonkeyPatch, gone: float
) -> None:
    clock = Clock()
    began = clock()
    monkeypatch.setattr(negotiation, "time", SimpleNamespace(monotonic=clock))
    with pytest.raises(DeviceLost, match="is gone"):
        Resetting(clock, gone).wait_ready(after_reset=True)
    after = clock() - began - gone
    assert 1.0 - 0.011 <= after <= 1.0 + 1e-6  # counted from the last look that was answered
