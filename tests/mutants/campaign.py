# SPDX-License-Identifier: BSD-3-Clause
"""Tries mutants in parallel lanes; each set of tests is run without a mutant first."""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from tests.mutants.lane import PATIENCE, Failed, Lane, Outcome
from tests.mutants.page import CAUGHT, EXPLAINED, SURVIVED, TIMEOUT, Result
from tests.mutants.table import Mutant

NOT_APPLIED, NOT_BUILT, UNSOUND = "does not apply", "does not compile", "fails without it"


class Campaign:
    """`tell` is called with each result, from any lane's thread, one at a time."""

    def __init__(self, mutants: list[Mutant], lanes: int, tell: Callable[[Result], None]) -> None:
        self._todo: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
        for mutant in mutants:
            self._todo.put(mutant)
        self._lanes = min(lanes, len(mutants))
        self._tell = tell
        self._lock = threading.Lock()
        self._sound: dict[tuple[str, bool], Future[Outcome]] = {}
        self._running: list[Lane] = []
        self._over = threading.Event()
        self._trouble: list[BaseException] = []

    def run(self, jobs: int) -> None:
        """Try all of them; raises Failed when the tree does not build without a mutant."""
        with tempfile.TemporaryDirectory(prefix="mut-", ignore_cleanup_errors=True) as place:
            threads = [
                threading.Thread(target=self._work, args=(Path(place) / str(number), jobs))
                for number in range(self._lanes)
            ]
            for thread in threads:
                thread.start()
            try:
                for thread in threads:
                    thread.join()
            finally:
                self._over.set()
                for lane in self._running:
                    lane.stop()
                for thread in threads:
                    thread.join()
        if self._trouble:
            raise self._trouble[0]

    def _work(self, place: Path, jobs: int) -> None:
        try:
            lane = Lane(place, jobs)
            self._running.append(lane)
            lane.build()
            while not self._over.is_set():
                try:
                    mutant = self._todo.get_nowait()
                except queue.Empty:
                    return
                result = self._try(lane, mutant)
                if not self._over.is_set():
                    with self._lock:
                        self._tell(result)
        except BaseException as error:  # the thread's caller hears of it
            self._trouble.append(error)
            self._over.set()

    def _try(self, lane: Lane, mutant: Mutant) -> Result:
        def result(word: str, by: str, seconds: float = 0.0) -> Result:
            return Result(mutant.id, mutant.area, mutant.file, word, by, round(seconds, 1))

        spent = 0.0
        for test in mutant.tests:
            before = self._without(lane, test, mutant.emulated)
            if before.failed:
                return result(UNSOUND, before.failed, before.seconds)
            spent += before.seconds
        try:
            if not lane.apply(mutant):
                return result(NOT_APPLIED, f"{mutant.file} does not have the text exactly once")
            limit = PATIENCE[0] + PATIENCE[1] * spent
            after = lane.run(mutant.tests, limit, mutant.emulated)
        except Failed as error:
            return result(NOT_BUILT, str(error))
        finally:
            lane.restore()
        if after.failed:
            return result(TIMEOUT if after.timeout else CAUGHT, after.failed, after.seconds)
        if mutant.survives:
            return result(EXPLAINED, mutant.survives, after.seconds)
        return result(SURVIVED, mutant.breaks, after.seconds)

    def _without(self, lane: Lane, test: str, emulated: bool) -> Outcome:
        """What a test does without a mutant: run once, by the lane that comes first."""
        with self._lock:
            known = self._sound.get((test, emulated))
            mine = known is None
            if known is None:
                known = self._sound[test, emulated] = Future()
        if mine:
            try:
                known.set_result(lane.run([test], emulated=emulated))
            except BaseException as error:
                known.set_exception(error)
        return known.result()
