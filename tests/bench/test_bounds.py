# SPDX-License-Identifier: BSD-3-Clause
"""`make bench-bounds` measures what docs/spec/reliability.md 7 promises, and tells what is broken.

No time is asserted from above: what the machine does beside the tests is not known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.bounds import __main__ as program
from bench.bounds import verdict
from bench.bounds.calls import BEHIND, CALLS, CLOSE, DEVICE, OPEN, RESET, STOP
from bench.bounds.campaign import Campaign, Outcome, measure
from bench.bounds.cases import cases, named
from bench.bounds.metronome import lateness
from bench.bounds.page import CONDITIONS, PAGE, promises, seconds
from bench.bounds.stopwatch import Span
from bench.bounds.verdict import BROKEN, HOLDS, SHOWS_NOTHING, WORK, judged, table

SILENT, STOPPED, SLOW = CONDITIONS
FROZEN = f"[{STOPPED}: it is stopped]"
ROW = "| Call | PF silent | Server of a software VF silent | Server slow | What happens then |"


def outcome(name: str, *lengths: float) -> Outcome:
    return Outcome(named(f"{name} {FROZEN}"), tuple(Span(100.0, 100.0 + each) for each in lengths))


def test_each_row_of_the_page_is_measured_under_each_condition() -> None:
    rows = {call.row: None for call in CALLS}
    assert list(rows) == list(promises())
    for row in rows:
        assert {c.condition.column for c in cases() if c.call.row == row} == set(CONDITIONS)


def test_each_case_has_a_name_and_a_promise() -> None:
    of = promises()
    names = [case.name for case in cases()]
    assert len(names) == len(set(names))
    for case in cases():
        call = case.call
        assert seconds(of, call.row, case.condition.column, call.of, call.command) >= 0


@pytest.mark.parametrize(
    ("row", "condition", "call", "command", "wanted"),
    [
        (DEVICE, SILENT, "", False, 0.0),
        (OPEN, SLOW, "", False, 30.0),
        ("`recv`, `send`", SILENT, "", False, 0.0),
        ("`refresh_stats`", SLOW, "", False, 7.5),
        ("`close` after Ctrl-C", STOPPED, "", False, 0.03),
        ("`configure`, `set_promiscuous`", SILENT, "", False, 20.0),
        (BEHIND, SILENT, CLOSE, False, 2.0),
        (BEHIND, SLOW, STOP, True, 4.0),
        (BEHIND, STOPPED, RESET, False, 0.5),
        (BEHIND, STOPPED, RESET, True, 0.05),
    ],
)
def test_the_page_says_in_numbers(
    row: str, condition: str, call: str, command: bool, wanted: float
) -> None:
    assert seconds(promises(), row, condition, call, command) == wanted


def test_a_cell_that_says_no_number_and_a_table_of_another_form_are_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        f"before\n{ROW}\n|---|---|---|---|---|\n| `stop` | soon | 2 s | 4 s | x |\n\n| y |\n"
    )
    found = promises(path)
    assert found == {"`stop`": ("soon", "2 s", "4 s")}
    with pytest.raises(ValueError, match=r"'soon' of `stop` says no number"):
        seconds(found, STOP, SILENT, "")
    path.write_text(ROW.replace("Server slow", "Server late"))
    with pytest.raises(ValueError, match="has the columns"):
        promises(path)


def test_the_page_has_the_block_that_is_filled() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("<!-- bounds-results -->\n") == text.count("<!-- /bounds-results -->") == 1


def test_the_smallest_measurement() -> None:
    """One call to a slow server, whose first access asks for the region's size, too."""
    found = measure(named(f"pyvfio config.read16 [{SLOW}: each request takes 0.65 s]"))
    assert len(found.spans) == 1
    assert found.longest >= 2 * 0.65


def test_a_call_that_is_interrupted_is_timed_from_the_signal() -> None:
    found = measure(named(f"refresh_stats, 0.05 s [{SILENT}: it gets no message]"))
    assert len(found.spans) == 1
    assert found.longest > 0


@pytest.mark.parametrize(
    ("took", "late", "status", "word"),
    [
        (2.0 + WORK, 0.0, HOLDS, "each call ends in the time"),
        (2.1 + WORK, 0.05, BROKEN, "stop [Server of a software VF silent: it is stopped] took"),
        (2.1 + WORK, 0.2, SHOWS_NOTHING, "the machine was late by 200 ms"),
    ],
)
def test_a_bound_that_is_broken_is_told(took: float, late: float, status: int, word: str) -> None:
    results = judged([outcome("stop", 0.1, took), outcome("close", 1.0)], promises())
    found, why = verdict.verdict(results, [], [(101.0, late)])
    assert found == status
    assert len(why) == 1
    assert word in why[0]


def test_a_call_that_had_no_cpu_shows_nothing() -> None:
    case = named(f"stop {FROZEN}")
    for delayed, status in ((0.5, SHOWS_NOTHING), (0.25, BROKEN)):
        spans = (Span(0.0, 0.1), Span(1.0, 3.4 + WORK, delayed), Span(4.0, 4.1, 9.0))
        assert verdict.verdict(judged([Outcome(case, spans)], promises()), [], [])[0] == status


def test_a_pf_that_was_slow_of_late_is_given_more_time() -> None:
    slow = named(f"stop [{SLOW}: each request takes 0.3 s]")
    for case, most in ((slow, 4.25), (named(f"stop {FROZEN}"), 2.125)):
        spans = (Span(0.0, most + WORK),)
        (found,) = judged([Outcome(case, spans, patience=0.125)], promises())
        assert found.excess == pytest.approx(0)


def test_what_could_not_be_measured_shows_nothing() -> None:
    failed = Outcome(named(f"stop {FROZEN}"), (), "its process ended")
    status, why = verdict.verdict([], [failed], [])
    assert status == SHOWS_NOTHING
    assert "was not measured: its process ended" in why[0]


def test_the_machine_is_late_only_while_a_call_lasts() -> None:
    delays = [(1.0, 0.5), (2.0, 0.25), (4.0, 0.125), (9.0, 4.0)]
    assert lateness(delays, 1.2, 4.0) == 0.875
    assert lateness(delays, 5.0, 6.0) == 0


def test_a_cell_shows_the_call_that_comes_nearest_to_its_bound() -> None:
    outcomes = [
        outcome("stop", 0.2, 1.5),
        outcome("stop, 0.05 s", 0.2),
        outcome("close, 0.05 s", 0.4),
        outcome("stop, 0.05 s in a command", 0.01),
        outcome("pyvfio region", 4.9),
        outcome("pyvfio info", 0.0),
    ]
    assert table(judged(outcomes, promises())).splitlines()[2:] == [
        f"| {STOP} |  | 1.5 s of 2 s |  |",
        f"| {BEHIND} |  | 400 ms of 500 ms |  |",
        "| the same in a command of iavfio's |  | 10 ms of 50 ms |  |",
        f"| {DEVICE} |  | 4.9 s of 5 s |  |",
    ]


def test_a_bound_that_is_broken_is_the_programs_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ran: list[str] = []

    def run(self: Campaign, chosen: list[Any]) -> list[Outcome]:
        ran.extend(case.name for case in chosen)
        return [outcome("stop", 9.0)]

    monkeypatch.setattr(Campaign, "run", run)
    monkeypatch.setattr("bench.record.RESULTS", tmp_path)
    monkeypatch.setattr("sys.argv", ["bounds", "--only", f"stop {FROZEN}", "--docs"])
    before = PAGE.read_text(encoding="utf-8")
    assert program.main() == BROKEN
    assert ran == [f"stop {FROZEN}"]
    out = capsys.readouterr().out
    assert f"| {STOP} |  | 9 s of 2 s |  |" in out
    assert "took 9 s, 2 s are promised" in out
    assert PAGE.read_text(encoding="utf-8") == before, "what is broken is not put into the page"


def test_a_campaign_runs_its_cases_in_processes() -> None:
    told: list[Outcome] = []
    chosen = [named(f"pyvfio info [{SILENT}: it gets no message]")]
    found = Campaign(2, told.append).run(chosen)
    assert told == found
    assert len(found[0].spans) == 1
    assert not found[0].error
