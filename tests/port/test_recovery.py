# SPDX-License-Identifier: BSD-3-Clause
"""How a port comes back, step by step: attempts, deadlines and what the registers say.

The session is played, so that each step and each second can be told apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

import iavfio
from iavfio._driver import lib
from iavfio.datapath.pool import Pool
from iavfio.errors import DeviceLost, MailboxError, PfRefused, ResetError, ResetUnderWay, StateError
from iavfio.port import bounds, negotiation, recovery
from iavfio.port.negotiation import Session
from iavfio.port.recovery import check_grant, come_back, taken_away
from iavfio.port.settings import Settings
from iavfio.virtchnl.deadline import Deadline
from tests.port.expected import snapshot


class Clock:
    """Seconds that only a pause moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Played:
    """A session whose resets and pauses are written down."""

    clock: Clock = field(default_factory=Clock)
    reset_already: bool = False  # hardware took the mailbox away
    begins: bool = False  # a reset that was announced comes
    seconds: float = math.inf  # of the whole operation
    steps: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.deadline = Deadline(self.seconds, self.clock)
        self.device = SimpleNamespace(lost=False)
        self.journal = SimpleNamespace(note=lambda *arguments: None)

    def was_reset(self) -> bool:
        return self.reset_already

    def wait_reset_begins(self) -> bool:
        self.steps.append("wait")
        return self.begins

    def force_reset(self) -> None:
        self.steps.append("reset")

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.now += seconds

    def back(self, rebuild: Callable[[], None], *, coming: bool = False) -> int:
        halt = lambda: self.steps.append("halt")  # noqa: E731
        return come_back(cast(Session, self), rebuild, halt, coming)


def failing(played: Played, *errors: Exception) -> Callable[[], None]:
    """A rebuild that raises these one after the other, and then works."""
    left = list(errors)

    def rebuild() -> None:
        played.steps.append("rebuild")
        if left:
            raise left.pop(0)

    return rebuild


REFUSED = MailboxError("no")


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    """A session on whose clock the recovery looks."""
    session = Played()
    monkeypatch.setattr(recovery, "time", SimpleNamespace(monotonic=session.clock))
    return session


def test_each_attempt_begins_with_a_vf_that_was_reset_and_ends_halted(played: Played) -> None:
    assert played.back(failing(played, REFUSED, REFUSED)) == 3
    assert played.steps == [
        *("reset", "rebuild", "halt"),
        *("reset", "rebuild", "halt"),
        *("reset", "rebuild"),
    ]
    assert played.pauses == [0.2, 0.4]


def test_five_attempts_are_all_there_are(played: Played) -> None:
    with pytest.raises(MailboxError):
        played.back(failing(played, *[REFUSED] * 9))
    assert played.steps.count("reset") == played.steps.count("rebuild") == recovery.ATTEMPTS == 5
    assert played.pauses == [0.2, 0.4, 0.8, 1.6]


@pytest.mark.parametrize(
    ("already", "begins", "coming", "steps"),
    [
        (False, False, False, ["reset"]),
        (True, False, False, []),  # it was reset: no second one
        (True, True, True, []),
        (False, True, True, ["wait"]),
        (False, False, True, ["wait", "reset"]),  # what was announced has not come
    ],
)
def test_a_reset_that_came_is_not_asked_for(
    played: Played, already: bool, begins: bool, coming: bool, steps: list[str]
) -> None:
    played.reset_already, played.begins = already, begins
    assert played.back(failing(played), coming=coming) == 1
    assert played.steps == [*steps, "rebuild"]


def test_only_the_first_attempt_waits_for_the_reset_that_was_announced(played: Played) -> None:
    played.begins = True
    assert played.back(failing(played, REFUSED), coming=True) == 2
    assert played.steps == ["wait", "rebuild", "halt", "reset", "rebuild"]


def test_a_reset_in_the_middle_is_no_failed_attempt(played: Played) -> None:
    again = [ResetUnderWay("again")] * 20
    assert played.back(failing(played, *again)) == 1
    assert played.steps.count("halt") == 20
    assert set(played.pauses) == {recovery.SHORT}


def test_a_storm_of_resets_ends_by_one_deadline(played: Played) -> None:
    """Which does not begin anew with each of them."""
    began = played.clock.now

    def stormy() -> None:
        played.clock.now += 1.0
        assert played.clock.now - began < 10 * recovery.STORM_DEADLINE, "it does not end"
        raise ResetUnderWay("again")

    with pytest.raises(ResetUnderWay):
        played.back(stormy)
    assert recovery.STORM_DEADLINE < played.clock.now - began < recovery.STORM_DEADLINE + 2


@pytest.mark.parametrize("error", [ResetUnderWay("again"), MailboxError("no")])
def test_no_attempt_begins_when_the_operations_time_is_over(
    played: Played, error: Exception
) -> None:
    played.deadline = Deadline(1.5, played.clock)

    def slow() -> None:
        played.steps.append("rebuild")
        played.clock.now += 1.0
        raise error

    with pytest.raises(type(error)):
        played.back(slow)
    assert played.steps.count("rebuild") == 2


@pytest.mark.parametrize("error", [DeviceLost("gone"), ResetError("no"), StateError("closing")])
def test_what_no_attempt_can_mend_ends_it_at_once(played: Played, error: Exception) -> None:
    with pytest.raises(type(error)):
        played.back(failing(played, error))
    assert played.steps == ["reset", "rebuild"]


def test_a_lost_device_ends_it_at_once_whatever_was_raised(played: Played) -> None:
    played.device.lost = True
    with pytest.raises(MailboxError):
        played.back(failing(played, REFUSED))
    assert played.steps == ["reset", "rebuild"]


# ---- what a PF may give after a reset


def granting(pairs: int, max_frame: int) -> Session:
    resources = SimpleNamespace(queue_pairs=pairs)
    return cast(Session, SimpleNamespace(resources=resources, max_frame=max_frame))


@pytest.mark.parametrize(
    ("pairs", "max_frame", "words"),
    [
        (2, 1526, ""),  # an MTU of 1500 makes frames of 1522 bytes, and 4 of FCS
        (1, 1526, "came back with 1 queue pair"),
        (2, 1525, "frames of at most 1525 bytes"),
    ],
)
def test_the_grant_after_a_reset_must_hold_what_is_configured(
    pairs: int, max_frame: int, words: str
) -> None:
    session = granting(pairs, max_frame)
    if not words:
        check_grant("p", session, Settings(queues=2))
        return
    with pytest.raises(ResetError, match=words) as error:
        check_grant("p", session, Settings(queues=2))
    assert "close the port and open it again with" in error.value.remedy


def test_only_what_was_granted_before_can_be_taken_away() -> None:
    assert taken_away(lib.VC_CAP_L2 | lib.VC_CAP_VLAN, lib.VC_CAP_L2) == "VLAN"
    assert taken_away(lib.VC_CAP_L2, lib.VC_CAP_L2 | lib.VC_CAP_VLAN) == ""


# ---- what the registers say


class Registers:
    """A BAR whose every register reads as told: a list is read in order, its last value stays."""

    def __init__(self, *values: int) -> None:
        self.values = list(values)

    def read32(self, offset: int) -> int:
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]


@pytest.fixture
def session() -> Any:
    with iavfio.softvf() as pf, pf.open(0, pool=Pool(256, huge="never")) as port:
        kept = port.session.bar
        yield port.session
        port.session.bar = kept


def test_one_look_at_all_ones_is_no_loss(session: Session) -> None:
    """A function does not answer while it is reset, and for up to a second after it."""
    gone, resetting, active = 0xFFFFFFFF, 0, int(lib.RSTAT_VFACTIVE)
    session.bar = cast(Any, Registers(gone, resetting, gone, gone, active))
    session.wait_ready(after_reset=True)


def test_a_function_that_does_not_answer_any_more_is_lost(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(negotiation, "GONE_DEADLINE", 0.02)
    session.bar = cast(Any, Registers(0, 0xFFFFFFFF))
    with pytest.raises(DeviceLost, match="all ones"):
        session.wait_ready(after_reset=True)


@pytest.mark.parametrize(("after_reset", "ready"), [(False, True), (True, False)])
def test_completed_will_do_at_the_start_alone(
    session: Session, monkeypatch: pytest.MonkeyPatch, after_reset: bool, ready: bool
) -> None:
    monkeypatch.setattr(negotiation, "READY_DEADLINE", 0.02)
    session.bar = cast(Any, Registers(int(lib.RSTAT_COMPLETED)))
    if ready:
        session.wait_ready(after_reset=after_reset)
    else:
        with pytest.raises(ResetError, match="did not become active"):
            session.wait_ready(after_reset=after_reset)


@pytest.mark.parametrize(
    ("arqlen", "reset"),
    [
        (32 | 1 << 31, False),
        (1 << 31 | 1 << 30 | 32, False),  # a critical error is no reset
        (32, True),
        (0, True),
        (0xDEADBEEF, True),  # what E810 and X710 read meanwhile: bit 31 is set in it
        (0xFFFFFFFF, True),
    ],
)
def test_a_reset_is_told_by_the_receive_rings_enable_bit(
    session: Session, arqlen: int, reset: bool
) -> None:
    session.bar = cast(Any, Registers(arqlen))
    assert session.was_reset() is reset


# ---- one deadline for an operation


def test_the_earlier_of_two_deadlines_counts_and_the_outer_one_comes_back(
    session: Session,
) -> None:
    unbound = session.deadline
    with session.within(1.0) as outer:
        for seconds, most in ((50.0, 1.0), (0.5, 0.5)):
            with session.within(seconds) as inner:
                assert inner.left <= most
                assert session.deadline is session.client.deadline is inner
            assert session.deadline is session.client.deadline is outer
    assert session.deadline is session.client.deadline is unbound


def test_a_pf_that_refuses_for_ever_is_given_up_by_one_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Refusals, resets and smaller requests share the time of the negotiation."""
    monkeypatch.setattr(negotiation, "NEGOTIATE_DEADLINE", 0.3)
    with iavfio.softvf(options={"reset_ms": 1}) as pf:
        opcode = lib.VC_OP_GET_VF_RESOURCES
        # Far more than there is time to ask for; who asks on for ever is answered in the end.
        pf.control("fault", vf=0, kind="retval", opcode=opcode, value=-5, count=16)
        with pytest.raises(PfRefused, match="GET_VF_RESOURCES"):
            pf.open(0, pool=Pool(256, huge="never"))
        assert 1 <= int(snapshot(pf)["resets"]) <= 3


def test_a_slow_part_leaves_the_rest_its_time() -> None:
    """Of what stopping may take, DISABLE_QUEUES gets less than half: a reset needs the rest."""
    assert bounds.SAMPLE_SHARE + bounds.DISABLE_SHARE < bounds.PF_SHARE < 1
