# SPDX-License-Identifier: BSD-3-Clause
"""The soak: any duration, its progress, and a process that must not grow meanwhile."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from iavfio.bench.plan import Plan
from iavfio.bench.run import run as bench
from iavfio.port.port import Port
from iavfio.qualify.checks import CHECKS, soak
from iavfio.qualify.outcome import Outcome
from iavfio.qualify.run import qualify
from iavfio.qualify.usage import MOST, Usage
from iavfio.qualify.vfs import Vfs
from iavfio.softvf import softvf

SLICE = 0.2
UNITS = ("rss_mib", "anonymous_mib", "fds", "mappings")


@pytest.fixture
def vfs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vfs]:
    monkeypatch.setattr(soak, "FIRST", SLICE)
    monkeypatch.setattr(soak, "SLICE", SLICE)
    with softvf(vfs=2, uplink="none") as pf:
        found = Vfs(pf.sockets, {})
        yield found
        found.close()


def run(vfs: Vfs, seconds: float) -> Outcome:
    vfs.soak = seconds
    (outcome,) = qualify(vfs, [check for check in CHECKS if check.name == "soak"])
    assert not outcome.trace, outcome.trace
    return outcome


def test_begin_and_end_are_in_the_bundle_and_nothing_grows(vfs: Vfs) -> None:
    told: list[str] = []
    vfs.tell = told.append
    outcome = run(vfs, 3.0)
    assert outcome.status == "passed", outcome.reason
    figures = outcome.figures
    assert all(figures[f"{when}_{unit}"] > 0 for when in ("begin", "end") for unit in UNITS)
    assert figures["end_fds"] - figures["begin_fds"] <= 2  # of 8 that would be let pass
    assert figures["packets"] > 0
    assert told and all(text.startswith("of 3 s, ") for text in told)


def test_resets_of_other_checks_are_not_the_soaks(vfs: Vfs) -> None:
    vfs.way()
    for port in vfs.ports:
        port.reset()
    assert run(vfs, 0.5).status == "passed"


def test_a_reset_in_the_soak_is_told(vfs: Vfs, monkeypatch: pytest.MonkeyPatch) -> None:
    def resetting(plan: Plan, ports: Sequence[Port], *more: Any) -> Any:
        result = bench(plan, ports, *more)
        ports[0].reset()
        assert ports[0].wait_link(10).up
        return result

    vfs.way()
    vfs.ports[0].reset()
    monkeypatch.setattr(soak, "run", resetting)
    outcome = run(vfs, 0.2)
    assert outcome.status == "failed"
    assert outcome.reason == "resets that nobody asked for: 1 because asked for by reset()"


def _memory(kept: list[Any]) -> None:
    kept.append(bytearray(os.urandom(1)) * (16 << 20))


def _descriptors(kept: list[Any]) -> None:
    kept += [os.memfd_create("leak") for _ in range(4)]


def _mappings(kept: list[Any]) -> None:
    # Of two kinds by turns, so that the kernel cannot merge them.
    kept += [mmap.mmap(-1, 4096, prot=1 + i % 2, flags=mmap.MAP_PRIVATE) for i in range(40)]


ENOUGH = 7  # rounds in which each of them grows by more than a soak allows, the first left aside
LEAKS: list[tuple[Callable[[list[Any]], None], str]] = [
    (_memory, "anonymous memory (MiB) grew from"),
    (_descriptors, "open descriptors grew from"),
    (_mappings, "memory mappings grew from"),
]


@pytest.mark.parametrize(("leak", "words"), LEAKS, ids=[leak.__name__ for leak, _ in LEAKS])
def test_a_process_that_holds_more_and_more_fails(
    vfs: Vfs, monkeypatch: pytest.MonkeyPatch, leak: Callable[[list[Any]], None], words: str
) -> None:
    kept: list[Any] = []
    rounds = 0

    def leaking(*arguments: Any) -> Any:
        nonlocal rounds
        rounds += 1
        leak(kept)
        return bench(*arguments)

    monkeypatch.setattr(soak, "run", leaking)
    for seconds in (3.0, 12.0, 48.0):  # a busy machine gets through few rounds
        rounds = 0
        outcome = run(vfs, seconds)
        while kept:
            each = kept.pop()
            if isinstance(each, int):
                os.close(each)
        if rounds >= ENOUGH:
            break
    assert rounds >= ENOUGH
    assert outcome.status == "failed" and words in outcome.reason, outcome
    assert outcome.reason.count("grew") == 1, "the others did not grow"


BEFORE = Usage(rss_mib=100.0, anonymous_mib=50.0, fds=40, mappings=300)


@pytest.mark.parametrize(
    ("change", "grown"),
    [
        ({}, []),
        ({"rss_mib": 900.0}, []),  # buffers that are used for the first time
        ({"anonymous_mib": 82.0, "fds": 48, "mappings": 364}, []),
        ({"anonymous_mib": 82.1}, ["anonymous memory (MiB)"]),
        ({"fds": 49}, ["open descriptors"]),
        ({"mappings": 365}, ["memory mappings"]),
        ({"fds": 1, "mappings": 1, "anonymous_mib": 1.0}, []),
        ({"fds": 99, "mappings": 999}, ["open descriptors", "memory mappings"]),
    ],
)
def test_the_bounds(change: dict[str, Any], grown: list[str]) -> None:
    texts = replace(BEFORE, **change).grown(BEFORE)
    assert [text.split(" grew")[0] for text in texts] == grown


def test_what_is_measured_is_this_process() -> None:
    before = Usage.now()
    opened = [os.memfd_create("one") for _ in range(5)]
    assert Usage.now().fds == before.fds + 5
    for fd in opened:
        os.close(fd)
    assert Usage.now().fds == before.fds
    assert set(before.figures("x")) == {f"x_{unit}" for unit in UNITS} > {f"x_{u}" for u in MOST}
