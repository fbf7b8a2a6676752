# SPDX-License-Identifier: BSD-3-Clause
"""The first reason for the end of a capture counts, and the first error is told."""

from __future__ import annotations

import threading

from iavfio.capture.ending import Ending, watch
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


def test_what_is_not_written_in_time_is_an_error() -> None:
    written, ending = threading.Event(), Ending()
    ending.await_written(written, 0.0)
    assert ending.by == "error" and "not all that was captured is written" in str(ending.error)
    written.set()
    done = Ending()
    done.await_written(written, None)
    assert (done.by, done.error) == ("", None)


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
