# SPDX-License-Identifier: BSD-3-Clause
"""Runs cases, each in a process of its own, many at a time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

from bench.bounds.cases import Case, named
from bench.bounds.conditions import Rig
from bench.bounds.metronome import Delay, beat
from bench.bounds.stopwatch import Span, Stopwatch

PREPARING = 2  # processes that start at a time: the others wait in their calls
START_SECONDS = 180.0  # of a busy machine
HOPELESS = 90.0  # seconds after which a call is taken for one that never ends
CONTEXT = get_context("forkserver")


@dataclass(frozen=True)
class Outcome:
    """What came of a case: the spans of its calls, and why there are none.

    `patience`: seconds by which the bound grew, because the PF had been slow.
    """

    case: Case
    spans: tuple[Span, ...]
    error: str = ""
    patience: float = 0.0

    @property
    def longest(self) -> float:
        """Seconds of the longest call; 0 where none was measured."""
        return max((span.seconds for span in self.spans), default=0.0)


def measure(case: Case, line: Connection | None = None) -> Outcome:
    """Makes one measurement in this process; says on the line when the call begins."""
    watch = Stopwatch()
    rig = Rig(case.condition, (lambda: None) if line is None else (lambda: line.send(None)))
    try:
        rig.serve(trapped=case.call.trapped)
        case.call.measure(rig, watch)
    finally:
        rig.close()
    grown = case.call.patience * watch.patience
    return Outcome(case, tuple(watch.spans), patience=grown)


def _alone(name: str, line: Connection) -> None:
    try:
        found = measure(named(name), line)
        line.send((found.spans, "", found.patience))
    except Exception as error:  # a case that cannot be prepared ends no other
        line.send(((), f"{type(error).__name__}: {error}".splitlines()[0], 0.0))


class Campaign:
    """Cases that run side by side; `delays` is what the machine itself was late by."""

    def __init__(self, lanes: int, told: Callable[[Outcome], object]) -> None:
        self._lanes = lanes
        self._told = told
        self._preparing = threading.Semaphore(PREPARING)
        self.delays: list[Delay] = []

    def run(self, cases: Sequence[Case]) -> list[Outcome]:
        """The outcomes, in order."""
        CONTEXT.set_forkserver_preload([__name__])
        with self._metronome(), ThreadPoolExecutor(self._lanes) as pool:
            return list(pool.map(self._case, cases))

    @contextmanager
    def _metronome(self) -> Iterator[None]:
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=beat, args=(theirs,), daemon=True)
        process.start()
        try:
            yield
        finally:
            ours.send(None)
            self.delays += ours.recv()
            process.join()

    def _case(self, case: Case) -> Outcome:
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=_alone, args=(case.name, theirs))
        with self._preparing:
            process.start()
            theirs.close()
            said = _said(ours, START_SECONDS)
        began = time.monotonic()
        if said is None:  # it has begun
            said = _said(ours, HOPELESS)
        if said is None:
            process.kill()
            outcome = Outcome(case, (Span(began, math.inf),))
        else:
            outcome = Outcome(case, *said)
        process.join()
        self._told(outcome)
        return outcome


Said = tuple[tuple[Span, ...], str, float]  # as the fields of Outcome


def _said(line: Connection, seconds: float) -> Said | None:
    """What the process says next; None: that its call begins, or nothing in time."""
    try:
        said: Said | None = line.recv() if line.poll(seconds) else None
    except EOFError:
        return (), "its process ended", 0.0
    return said
