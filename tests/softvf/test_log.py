# SPDX-License-Identifier: BSD-3-Clause
"""The software PF's log: bounded in number and rate whatever clients do, and exact in counts."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from iavfio.softvf.log import KEPT, LINES_PER_SECOND, PER_SECOND, Violation, ViolationLog

SOURCES = Path(__file__).parents[2] / "iavfio" / "softvf"
RULE = "docs/spec/virtchnl.md 9"


class Clock:
    """Seconds that tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def texts(log: ViolationLog, vf: int = 0) -> list[str]:
    return [entry["text"] for entry in log.entries() if entry["vf"] == vf]


# docs/spec/reliability.md P4
def test_a_flood_is_summed_up() -> None:
    """The next second's first entry says what it stands for; the counts miss nothing."""
    clock, heard = Clock(), list[Violation]()
    log = ViolationLog(clock=clock, hear=heard.append)
    for number in range(PER_SECOND + 10):
        log.add(0, "note", RULE, f"flow {number}")
        clock.now += 0.9 / (PER_SECOND + 10)
    assert texts(log) == [f"flow {number}" for number in range(PER_SECOND)]
    assert log.counts == {(0, "note", RULE): PER_SECOND + 10}
    (counted,) = log.counted()
    assert counted["text"] == f"flow {PER_SECOND + 9}"
    clock.now += 0.2
    log.add(0, "note", RULE, "the last")
    log.add(0, "note", RULE, "one more")
    assert texts(log)[PER_SECOND:] == ["the last (11 times)", "one more"]
    assert [entry.text for entry in heard] == texts(log)
    assert log.total(0, "note") == PER_SECOND + 12


def test_an_entry_that_stands_for_several_counts_as_one() -> None:
    """The data plane sums up itself."""
    clock = Clock()
    log = ViolationLog(clock=clock)
    for _ in range(PER_SECOND + 2):
        log.add(0, "mdd", RULE, "a queue", 5)
    assert texts(log) == ["a queue (5 times)"] * PER_SECOND
    clock.now += 1
    log.add(0, "mdd", RULE, "a queue", 5)
    assert texts(log)[-1] == "a queue (15 times)"
    assert log.total(0, "mdd") == 5 * (PER_SECOND + 3)


# docs/spec/reliability.md P4
def test_floods_of_one_kind_hide_no_other() -> None:
    """Of another rule, of another kind, of another VF, of the wire."""
    log = ViolationLog(clock=Clock())
    for number in range(PER_SECOND * 3):
        log.add(0, "note", RULE, str(number))
    log.add(0, "note", "docs/spec/virtchnl.md 8", "a")
    log.add(0, "violation", RULE, "b")
    log.add(1, "note", RULE, "c")
    log.add(-1, "note", RULE, "d")
    told = [(entry["vf"], entry["text"]) for entry in log.entries()]
    assert told[PER_SECOND:] == [(0, "a"), (0, "b"), (1, "c"), (-1, "d")]


# docs/spec/reliability.md P4, D6
def test_a_vf_that_always_errs_costs_no_other_its_entries() -> None:
    clock = Clock()
    log = ViolationLog(clock=clock, kept=200)
    for vf in (1, 2):
        log.add(vf, "violation", RULE, f"of {vf}")
    for number in range(2000):
        log.add(0, "violation", RULE, str(number))
        clock.now += 1
    entries = list(log.entries())
    assert len(entries) == 200
    assert (texts(log, 1), texts(log, 2)) == (["of 1"], ["of 2"])
    assert texts(log) == [str(number) for number in range(2000 - 198, 2000)]
    assert [entry["sequence"] for entry in entries] == sorted(
        entry["sequence"] for entry in entries
    )


def test_many_that_err_share_the_room() -> None:
    clock = Clock()
    log = ViolationLog(clock=clock)
    for _ in range(2 * KEPT // 4):
        for vf in range(4):
            log.add(vf, "note", RULE, "again")
        clock.now += 1
    kept = Counter(entry["vf"] for entry in log.entries())
    assert kept.total() == KEPT and set(kept.values()) == {KEPT // 4}


def test_a_cleared_log_is_empty_and_full_anew() -> None:
    clock = Clock()
    log = ViolationLog(clock=clock, kept=8)
    for _ in range(PER_SECOND + 5):
        log.add(0, "note", RULE, "before")
    log.clear()
    assert not list(log.entries()) and not log.counts and not log.newest
    for number in range(9):
        log.add(0, "note", RULE, str(number))
    assert texts(log) == [str(number) for number in range(1, 9)]  # what was held is forgotten too
    assert next(log.entries())["sequence"] == PER_SECOND + 1


# docs/spec/reliability.md P4
def test_lines_on_stderr_are_limited_for_each_vf(capfd: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    log = ViolationLog(verbose=True, clock=clock)
    for number in range(LINES_PER_SECOND + 5):
        log.add(0, "note", f"rule {number}", "text")
    log.add(1, "note", "rule", "the neighbour's")
    clock.now += 1
    log.add(0, "note", "rule", "later")
    *flood, neighbours, more, later = capfd.readouterr().err.splitlines()
    assert len(flood) == LINES_PER_SECOND
    assert "vf1 note: the neighbour's [rule]" in neighbours
    assert more == "... and 5 more of vf0"
    assert "vf0 note: later [rule]" in later


def calls(tree: ast.AST) -> Iterator[str]:
    """Functions that are called, as `owner.name`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            owner = node.func.value if isinstance(node.func, ast.Attribute) else None
            name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            yield f"{name.lower()}.{method}" if owner else getattr(node.func, "id", "")


SPEAKING = ("log", "_log", "logging", "outlet", "_outlet", "warnings")
ELSEWHERE = {  # who speaks otherwise, and what of
    "__main__.py": "an error that ends it",
    "containment.py": "exceptions, so many of an account within so long",
    "launch.py": "the process, to the program that started it",
    "linux_pf/driver.py": "the end of Linux's driver, which comes once",
    "log.py": "entries, for each VF so many lines a second",
    "process.py": "the sockets at the start, sums at the end, and what the data plane sums up",
    "speech.py": "entries, the start, the end",
}


# docs/spec/reliability.md P4
def test_nothing_is_said_of_a_client_but_through_the_log() -> None:
    """All that the software PF says of what a VF's driver does is an entry of Vf.violation."""
    speakers = dict[str, set[str]]()
    for path in SOURCES.rglob("*.py"):
        for call in calls(ast.parse(path.read_text())):
            if call == "print" or call.partition(".")[0] in SPEAKING:
                speakers.setdefault(str(path.relative_to(SOURCES)), set()).add(call)
    assert speakers.pop("function/device.py") == {"_log.add"}
    assert speakers.pop("control.py") == {"_log.entries", "_log.counted", "_log.clear"}
    assert speakers.keys() == ELSEWHERE.keys()
