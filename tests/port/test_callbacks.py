# SPDX-License-Identifier: BSD-3-Clause
"""What gets into `port.on_event`, and what is said of a callback that fails."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, cast

import pytest

import iavfio
from iavfio.errors import ConfigError
from iavfio.port.events import PortEvent
from iavfio.port.status import PortStatus


@pytest.fixture
def status() -> PortStatus:
    return PortStatus("p")


def good(event: PortEvent) -> None:
    """A callback."""


def bad(event: PortEvent) -> None:
    raise ValueError(f"no {event.kind}")


async def awaited(event: PortEvent) -> None:
    """Nobody awaits it."""


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
@pytest.mark.parametrize("value", [5, None, "print", b"x", [good], (), awaited])
def test_what_cannot_be_called_is_refused_however_it_is_put_in(
    status: PortStatus, way: str, value: object
) -> None:
    status.on_event.append(good)
    with pytest.raises(ConfigError, match="is no callback for events") as caught:
        WAYS[way](status.on_event, value)
    assert "port.on_event.append(function)" in str(caught.value)
    assert status.on_event == [good]


@pytest.mark.parametrize("value", [good, functools.partial(good), print, lambda event: None])
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
