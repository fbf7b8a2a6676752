# SPDX-License-Identifier: BSD-3-Clause
"""What a port says of itself: conditions that begin and end, and who waits for which state."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

import pytest

from iavfio.errors import StateError
from iavfio.port.link import Link
from iavfio.port.state import State
from iavfio.port.status import PortStatus
from iavfio.stats import PortSegment


@pytest.fixture
def status() -> PortStatus:
    return PortStatus("p")


def events_of(status: PortStatus) -> list[tuple[str, str]]:
    seen: list[tuple[str, str]] = []
    status.on_event.append(lambda event: seen.append((event.kind, event.text)))
    return seen


def test_a_condition_is_said_once_until_it_ends_also_in_other_words(status: PortStatus) -> None:
    seen = events_of(status)
    for age in (3, 4, 5):
        with status.lock:
            status.begin("stale", f"the counters are {age} s old")
    assert status.notes == ["the counters are 3 s old"]
    assert status.conditions == {"stale"}
    with status.lock:
        status.end("stale")
        status.end("stale")
    assert (status.notes, status.conditions) == ([], frozenset())
    with status.lock:
        status.begin("stale", "the counters are 9 s old")
    assert status.notes == ["the counters are 9 s old"]
    assert seen == [
        ("note", "the counters are 3 s old"),
        ("over", "the counters are 3 s old"),
        ("note", "the counters are 9 s old"),
    ]


def test_conditions_do_not_end_each_other(status: PortStatus) -> None:
    with status.lock:
        status.begin("a", "first")
        status.begin("b", "second")
        status.end("a")
    assert (status.notes, set(status.conditions)) == (["second"], {"b"})


def test_two_conditions_may_have_the_same_words(status: PortStatus) -> None:
    with status.lock:
        status.begin("a", "the same")
        status.begin("b", "the same")
        status.end("a")
        assert status.notes == ["the same"]
        status.end("b")
    assert status.notes == []


def test_what_is_told_of_a_condition_is_what_it_is_by_now(status: PortStatus) -> None:
    seen = events_of(status)
    with status.lock:
        for text in ("", "9 are left", "9 are left", "2 are left", "", ""):
            status.tell("few", text)
            assert status.notes == [text] * bool(text)
    assert seen == [("note", "9 are left"), ("note", "2 are left"), ("over", "2 are left")]


def test_a_note_is_said_once(status: PortStatus) -> None:
    seen = events_of(status)
    with status.lock:
        status.note("again")
        status.note("again")
    assert status.notes == ["again"]
    assert seen == [("note", "again")]


def waiting(call: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """A thread that waits in `call`, and what came of it."""
    came: list[object] = []

    def run() -> None:
        try:
            came.append(call())
        except StateError as error:
            came.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, came


@pytest.mark.parametrize("end", [State.FAILED, State.CLOSED])
def test_who_waits_through_a_reset_hears_of_its_end(status: PortStatus, end: State) -> None:
    for state in (State.STOPPED, State.RUNNING, State.RESETTING):
        status.move(state)
    thread, came = waiting(lambda: status.wait_running(60))
    status.move(end, "the PF is gone")
    thread.join(10)
    assert not thread.is_alive()
    assert isinstance(came[0], StateError)


def test_a_receiver_is_told_of_the_end_of_a_reset_that_has_no_limit(status: PortStatus) -> None:
    """recv(timeout=-1) sleeps in steps, and looks whether the reset is over."""
    for state in (State.STOPPED, State.RUNNING, State.RESETTING):
        status.move(state)
    thread, came = waiting(lambda: status.pause(-1))
    status.move(State.FAILED, "gone")
    thread.join(10)
    assert came == [True]
    assert status.pause(-1) is False


@pytest.mark.parametrize("end", [State.FAILED, State.CLOSED])
def test_who_waits_for_the_link_is_let_go_when_it_cannot_come(
    status: PortStatus, end: State
) -> None:
    status.move(State.STOPPED)
    thread, came = waiting(lambda: status.wait_link(60))
    status.move(end, "gone")
    thread.join(10)
    assert not thread.is_alive()
    (link,) = came
    assert isinstance(link, Link) and not link.up


def test_who_waits_for_the_link_is_told_its_speed(status: PortStatus) -> None:
    status.move(State.STOPPED)
    thread, came = waiting(lambda: status.wait_link(60))
    status.set_link(Link.now(True, 25_000))
    thread.join(10)
    (link,) = came
    assert isinstance(link, Link) and (link.up, link.mbps) == (True, 25_000)


def test_the_link_is_down_in_every_state_without_queues_of_the_pf(status: PortStatus) -> None:
    for state in (State.STOPPED, State.RUNNING):
        status.move(state)
    status.set_link(Link.now(True, 10_000))
    status.move(State.STOPPED)
    assert status.link.up  # a stopped port still hears its PF
    status.move(State.RESETTING)
    assert (status.link.up, status.link.mbps) == (False, 0)


class Shown:
    """A segment that keeps in which state of the port each thing was shown in it."""

    name = "p"

    def __init__(self, status: PortStatus) -> None:
        self.status = status
        self.calls: list[tuple[object, ...]] = []

    def set_state(self, state: str) -> None:
        self.calls.append((self.status.state, state))

    def set_link(self, up: bool, mbps: int, mac: bytes) -> None:
        self.calls.append((self.status.state, up, mbps, mac))


@pytest.mark.parametrize("end", [State.RESETTING, State.FAILED, State.CLOSED])
def test_who_sees_that_a_port_no_longer_runs_sees_no_link_anywhere(
    status: PortStatus, end: State
) -> None:
    """Readers of the segment and of the port look while the port's own thread is on its way."""
    for state in (State.STOPPED, State.RUNNING):
        status.move(state)
    shown = Shown(status)
    status.publish_in(cast(PortSegment, shown))
    status.set_link(Link.now(True, 10_000))
    shown.calls.clear()
    status.move(end, "gone", lambda: shown.calls.append(("first", status.link.up)))
    assert shown.calls == [
        (State.RUNNING, False, 0, bytes(6)),
        (State.RUNNING, {"closed": "stopped"}.get(end.value, end.value)),
        ("first", False),
    ]
    assert status.state is end


def test_who_sees_a_port_running_sees_its_address_and_no_old_failure(status: PortStatus) -> None:
    for state in (State.STOPPED, State.RUNNING):
        status.move(state)
    shown = Shown(status)
    status.publish_in(cast(PortSegment, shown))
    notes: list[list[str]] = []
    with status.lock:
        status.fail("failed", "no answer")
    assert "no answer" in status.notes[0]
    status.move(State.RESETTING)
    status.mac = b"\2\0\0\0\0\7"
    shown.calls.clear()
    status.move(State.RUNNING, first=lambda: notes.append(list(status.notes)))
    assert shown.calls == [
        (State.RESETTING, False, 0, b"\2\0\0\0\0\7"),
        (State.RESETTING, "running"),
    ]
    assert notes == [[]]


def test_who_sees_that_a_port_failed_sees_why(
    status: PortStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    status.move(State.STOPPED)
    seen: list[tuple[State, bool]] = []
    move = status.lifecycle.move

    def watched(to: State, reason: str, first: Callable[[], None]) -> None:
        def then() -> None:
            first()
            seen.append((status.state, any("no answer" in note for note in status.notes)))

        move(to, reason, then)

    monkeypatch.setattr(status.lifecycle, "move", watched)
    with status.lock:
        status.fail("failed", "no answer")
    assert seen == [(State.STOPPED, True)]


def test_a_move_that_is_refused_does_nothing_first(status: PortStatus) -> None:
    status.move(State.CLOSED)
    done: list[int] = []
    with pytest.raises(StateError):
        status.move(State.RUNNING, first=lambda: done.append(1))
    assert done == []
