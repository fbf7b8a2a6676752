# SPDX-License-Identifier: BSD-3-Clause
"""What gets into `port.on_event`, and what is said of a callback that fails."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest

import iavfio
from iavfio.errors import ConfigError
from iavfio.port.events import PortEvent
from iavfio.port.status import PortStatus
from iavfio.testing import SECONDS, until


@pytest.fixture
def status() -> PortStatus:
    return PortStatus("p")


def good(event: PortEvent) -> None:
    """A callback."""


def bad(event: PortEvent) -> None:
    raise ValueError(f"no {event.kind}")


async def awaited(event: PortEvent) -> None:
    """Nobody awaits it."""


async def arriving(event: PortEvent) -> AsyncIterator[str]:
    """Nobody iterates over it."""
    yield event.kind


def yielding(event: PortEvent) -> Iterator[str]:
    """Nobody iterates over it."""
    yield event.kind


class Awaited:
    """An object whose call is a coroutine."""

    async def __call__(self, event: PortEvent) -> None:
        """Nobody awaits it."""

    async def method(self, event: PortEvent) -> None:
        """Nobody awaits it."""


class Called:
    """An object that can be called."""

    def __call__(self, event: PortEvent) -> None:
        """A callback."""


UNFINISHED: list[Any] = [
    awaited,
    arriving,
    yielding,
    Awaited(),
    Awaited().method,
    functools.partial(awaited),
    functools.partial(functools.partial(yielding)),
    functools.partial(Awaited()),
]


def add(events: Any, value: Any) -> None:
    events += [value]


def put(events: Any, value: Any) -> None:
    events[0] = value


def put_slice(events: Any, value: Any) -> None:
    events[0:1] = [good, value]


WAYS: dict[str, Callable[[Any, Any], None]] = {
    "append": lambda events, value: events.append(value),
    "insert": lambda events, value: events.insert(0, value),
    "extend": lambda events, value: events.extend([good, value]),
    "extend by an iterator": lambda events, value: events.extend(iter([good, value])),
    "+=": add,
    "[0] =": put,
    "[0:1] =": put_slice,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [5, None, "print", b"x", [good], (), *UNFINISHED])
def test_what_cannot_be_called_is_refused_however_it_is_put_in(
    status: PortStatus, way: str, value: object
) -> None:
    status.on_event.append(good)
    with pytest.raises(ConfigError, match="is no callback for events") as caught:
        WAYS[way](status.on_event, value)
    assert "port.on_event.append(function)" in str(caught.value)
    assert status.on_event == [good]


@pytest.mark.parametrize(
    "value", [good, functools.partial(good), print, Called(), list, lambda e: None]
)
@pytest.mark.parametrize("way", WAYS)
def test_whatever_can_be_called_is_taken(status: PortStatus, way: str, value: Any) -> None:
    events = status.on_event
    events.append(good)
    WAYS[way](events, value)
    assert value in events
    assert status.on_event is events
    with status.lock:
        status.emit("traffic", "x")


@pytest.mark.parametrize("value", [5, good, None])
def test_several_are_a_list(status: PortStatus, value: Any) -> None:
    with pytest.raises(ConfigError, match="no list of callbacks"):
        status.on_event.extend(value)
    assert status.on_event == []


def test_a_callback_that_fails_is_named_each_time_in_the_log_and_once_in_notes(
    status: PortStatus, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    status.on_event += [bad, lambda event: seen.append(event.kind)]
    with caplog.at_level(logging.ERROR, "iavfio.port"):
        for _ in range(3):
            with status.lock:
                status.emit("traffic", "x")
    assert seen == ["traffic", "note", "traffic", "traffic"]
    failures = [record.getMessage() for record in caplog.records]
    assert len(failures) == 4
    assert all(text.startswith("p: the callback bad (") for text in failures)
    assert [text.endswith("ValueError") for text in failures] == [True] * 4
    (note,) = status.notes
    assert note.startswith("the callback bad (")
    assert "test_callbacks.py:" in note
    assert "port.on_event.remove(" in note
    assert all(record.exc_info for record in caplog.records)


def leave(event: PortEvent) -> None:
    raise SystemExit(3)


def interrupt(event: PortEvent) -> None:
    raise KeyboardInterrupt


def cancelled(event: PortEvent) -> None:
    raise asyncio.CancelledError


def failed(event: PortEvent) -> None:
    raise BaseException("all that is raised")


def emit_in(status: PortStatus, thread: bool) -> None:
    def emit() -> None:
        with status.lock:
            status.emit("traffic", "x")

    if thread:
        worker = threading.Thread(target=emit)
        worker.start()
        worker.join()
    else:
        emit()


@pytest.mark.parametrize(
    ("callback", "thread"),
    [
        *((raises, False) for raises in (leave, cancelled, failed)),
        *((raises, True) for raises in (leave, cancelled, failed, interrupt)),
    ],
)
def test_whatever_a_callback_raises_is_told_and_goes_no_further(
    status: PortStatus, caplog: pytest.LogCaptureFixture, callback: Any, thread: bool
) -> None:
    seen: list[str] = []
    status.on_event += [callback, lambda event: seen.append(event.kind)]
    with caplog.at_level(logging.ERROR, "iavfio.port"):
        emit_in(status, thread)
        emit_in(status, thread)
    assert seen == ["traffic", "note", "traffic"]
    (note,) = status.notes
    assert note.startswith(f"the callback {callback.__name__} (")
    assert len(caplog.records) == 3
    assert all(record.exc_info for record in caplog.records)


def test_ctrl_c_in_a_callback_of_the_main_thread_is_passed_on_and_no_event_is_lost(
    status: PortStatus,
) -> None:
    seen: list[str] = []
    status.on_event += [interrupt, lambda event: seen.append(event.text)]
    with pytest.raises(KeyboardInterrupt), status.lock:
        status.emit("traffic", "1")
        status.emit("traffic", "2")
    assert seen == ["1"]
    status.on_event.remove(interrupt)
    emit_in(status, False)
    assert seen == ["1", "2", "x"]
    assert status.notes == []


@pytest.mark.parametrize("function", [awaited, arriving, yielding])
def test_a_callback_that_returns_what_nobody_runs_is_told(
    status: PortStatus, function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    status.on_event.append(lambda event: function(event))
    with warnings.catch_warnings(), caplog.at_level(logging.ERROR, "iavfio.port"):
        warnings.simplefilter("error")
        emit_in(status, False)
        gc.collect()
    assert len(status.notes) == 1
    assert caplog.records[0].exc_info is not None
    assert "which nobody runs" in str(caplog.records[0].exc_info[1])


def test_a_callback_that_would_end_the_process_ends_no_thread_of_the_port() -> None:
    with iavfio.softvf() as pf, pf.open() as port:
        port.on_event += [leave, failed]
        port.start(wait_link=SECONDS)
        threads = {thread.name for thread in threading.enumerate()}
        for _ in range(2):
            pf.control("reset", vf=0)
            assert until(lambda: len(port.resets) > 0)
            port.resets.clear()
            port.wait_running(SECONDS)
        assert {thread.name for thread in threading.enumerate()} == threads
        assert sum("the callback leave" in note for note in port.notes) == 1
        assert sum("the callback failed" in note for note in port.notes) == 1


def test_a_port_takes_callbacks_by_plus_and_by_assignment() -> None:
    with iavfio.softvf() as pf, pf.open() as port:
        events = port.on_event
        port.on_event += [good]
        assert port.on_event == [good]
        port.on_event = [bad, good]
        assert port.on_event is events
        with pytest.raises(ConfigError, match="is no callback for events"):
            port.on_event = [good, cast(Any, 5)]
        assert events == [bad, good]
