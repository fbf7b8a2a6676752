# SPDX-License-Identifier: BSD-3-Clause
"""The first reason for the end of a capture counts, and the first error is told."""

from __future__ import annotations

import threading
import time

import pytest

from iavfio.capture.ending import STILL, WRITTEN, Ending, NotTaken, watch
from iavfio.capture.sink import Sink
from iavfio.errors import IavfioError


def test_the_first_reason_counts_and_no_error_is_lost() -> None:
    ending = Ending()
    assert (ending.by, ending.error) == ("", None)
    ending.end("count")
    ending.end("signal")
    assert (ending.by, ending.error) == ("count", None)
    first, second = IavfioError("the disk is full", ""), IavfioError("another", "")
    ending.fail(first)
    ending.fail(second)
    assert (ending.by, ending.error) == ("count", first)


def test_a_port_that_moves_nothing_is_no_error_of_a_capture_that_ends_already() -> None:
    gone = IavfioError("its device is gone", "")
    ending, late = Ending(), Ending()
    ending.lost(gone)
    assert (ending.by, ending.error) == ("error", gone)
    late.end("signal")
    late.lost(gone)
    assert (late.by, late.error) == ("signal", None)


class Reader(threading.Event):
    """Takes a piece with each look, so many of them; the last is what is written."""

    def __init__(self, sink: Sink, pieces: int) -> None:
        super().__init__()
        self._sink, self._left = sink, pieces

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is None or not self._left:
            return self.is_set()
        self._left -= 1
        if not self._left:
            self.set()
        self._sink.bytes += 1
        clock.now += STILL * 0.9
        return self.is_set()


class Clock:
    """Time that passes when somebody says so."""

    now = 100.0

    def monotonic(self) -> float:
        self.now += STILL / 100
        return self.now


clock = Clock()


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Sink:
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    sink = Sink("-", b"", bytes)
    sink.prompt = True
    return sink


def test_a_reader_that_takes_nothing_is_waited_for_until_a_signal(pipe: Sink) -> None:
    before, ending = clock.now, Ending()
    ending.await_written(threading.Event(), pipe, hurried=True)
    assert clock.now - before < WRITTEN / 10
    assert ending.by == "error" and isinstance(ending.error, NotTaken)
    assert "not all that was captured is written" in str(ending.error)
    done, written = Ending(), threading.Event()
    written.set()
    done.await_written(written, pipe, hurried=False)
    assert (done.by, done.error) == ("", None)


@pytest.mark.parametrize(("pieces", "whole"), [(20, True), (200, False)])
def test_a_slow_reader_gets_all_where_that_takes_five_seconds_at_most(
    pipe: Sink, pieces: int, whole: bool
) -> None:
    ending = Ending()
    ending.await_written(Reader(pipe, pieces), pipe, hurried=True)
    assert (ending.error is None) is whole


def test_a_file_is_given_five_seconds(pipe: Sink) -> None:
    pipe.prompt = False
    before, ending = clock.now, Ending()
    ending.await_written(threading.Event(), pipe, hurried=True)
    assert isinstance(ending.error, NotTaken) and clock.now - before > WRITTEN


def test_a_watch_ends_with_the_event_and_tells_about_once_a_second() -> None:
    over = threading.Event()
    told: list[tuple[float, int]] = []

    def progress(seconds: float, count: int) -> None:
        told.append((seconds, count))
        over.set()

    watch(over, -10.0, lambda: 7, progress)
    watch(over, 0.0, lambda: 7, None)
    ((seconds, count),) = told
    assert count == 7 and seconds > 10


def test_a_header_that_nobody_took_is_told(pipe: Sink) -> None:
    ending, written = Ending(), threading.Event()
    ending.end("signal")
    ending.start_late(threading.Thread(target=written.set), written, pipe)
    assert written.wait(60) and isinstance(ending.error, NotTaken) and ending.by == "signal"
