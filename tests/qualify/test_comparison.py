# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio qualify diff`: which side is which, what differs, and what that means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from iavfio.cli import run as cli
from iavfio.cli.printing import json_text
from iavfio.cli.records import FailureRecord
from iavfio.qualify.bundle import FORMAT, Bundle
from iavfio.qualify.comparison import MEANING, SAME, comparison, differences
from iavfio.qualify.outcome import Outcome
from iavfio.qualify.results import ComparisonRecord, ResultsRecord, comparison_of

RESULTS: dict[str, Any] = {"format": FORMAT, "host": {}, "devices": {}}


def bundle(*outcomes: Outcome, target: str = "softvf") -> Bundle:
    checks = [outcome.as_dict() for outcome in outcomes]
    return Bundle(RESULTS | {"time": "today", "targets": [target], "checks": checks})


SOFT = bundle(
    Outcome("rss", "passed", facts={"queues_used": 4}),
    Outcome("latency", "passed", figures={"trip_median_us": 3.0, "trip_max_us": 9.0}),
    Outcome("spoof", "passed", facts={"spoof_check": True, "spoofed_counted_as": "discarded"}),
    Outcome("unbind", "not run", "a software VF"),
)
CARD = bundle(
    Outcome("rss", "failed", "3 of 256 flows", facts={"queues_used": 2}),
    Outcome("latency", "passed", figures={"trip_median_us": 7.0, "trip_max_us": 10.0}),
    Outcome("spoof", "passed", facts={"spoof_check": False}),
    Outcome("sizes", "passed"),
    target="0000:3b:01.0",
)
LINES = [
    ("end", "rss: passed in A, failed (3 of 256 flows) in B"),
    ("figure", "latency: trip_median_us is 3 in A and 7 in B"),
    ("fact", "spoof: spoof_check is True in A and False in B"),
    ("fact", "spoof: spoofed_counted_as is discarded in A and not known in B"),
    ("only", "unbind: was tried in A only"),
    ("only", "sizes: was tried in B only"),
]


def test_what_differs_is_told_with_its_side() -> None:
    assert [(found.kind, found.text) for found in differences(SOFT, CARD)] == LINES


def test_the_other_way_round_the_sides_change() -> None:
    swapped = {found.text for found in differences(CARD, SOFT)}
    assert "spoof: spoof_check is False in A and True in B" in swapped
    assert "unbind: was tried in B only" in swapped
    assert len(swapped) == len(LINES)


def test_sides_are_named_first_and_meanings_come_last() -> None:
    lines = list(comparison(SOFT, CARD, ("soft.tar", "card.tar")))
    assert lines[:2] == ["A is soft.tar, today: softvf", "B is card.tar, today: 0000:3b:01.0"]
    assert lines[2:8] == [text for _, text in LINES]
    assert lines[8] == "6 differences."
    assert lines[9:] == list(MEANING.values())


def test_a_meaning_is_told_only_where_it_is_needed() -> None:
    other = bundle(Outcome("rss", "passed", facts={"queues_used": 1}))
    same = bundle(Outcome("rss", "passed", facts={"queues_used": 4}))
    assert list(comparison(same, other, ("a", "b")))[3:] == ["1 difference.", MEANING["fact"]]


def test_a_figure_of_one_side_only_is_no_likeness() -> None:
    one = bundle(Outcome("latency", "passed", figures={"a_us": 1.0, "b_us": 0.0}))
    other = bundle(Outcome("latency", "passed", figures={"a_us": 1.5, "c_us": 0.0}))
    assert [(found.kind, found.text) for found in differences(one, other)] == [
        ("only", "latency: b_us was measured in A only"),
        ("only", "latency: c_us was measured in B only"),
    ]


@pytest.mark.parametrize("one", [SOFT, CARD])
def test_a_bundle_does_not_differ_from_itself(
    one: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.tar"
    one.write(path)
    assert cli(["qualify", "diff", str(path), str(path)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(f"A is {path}, ") and out[1].startswith(f"B is {path}, ")
    assert out[2:] == [SAME] and SAME.startswith("no difference")


def test_bundles_that_differ_are_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for name, one in (("soft.tar", SOFT), ("card.tar", CARD)):
        one.write(tmp_path / name)
        files.append(str(tmp_path / name))
    assert cli(["qualify", "diff", *files]) == 1
    assert "6 differences." in capsys.readouterr().out


def test_a_record_of_a_comparison_has_both_sides() -> None:
    record = comparison_of(SOFT, CARD, ("soft.tar", "card.tar"))
    told = msgspec.json.decode(json_text(record), type=ComparisonRecord)
    assert told == record
    assert (told.a.bundle, told.a.targets) == ("soft.tar", ["softvf"])
    assert (told.b.bundle, told.b.time) == ("card.tar", "today")
    assert [(found.check, found.name, found.a, found.b) for found in told.differences] == [
        ("rss", "", "passed", "failed"),
        ("latency", "trip_median_us", 3, 7),
        ("spoof", "spoof_check", True, False),
        ("spoof", "spoofed_counted_as", "discarded", None),
        ("unbind", "", "not run", None),
        ("sizes", "", None, "passed"),
    ]


def test_the_commands_print_records_of_their_schemas(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(tmp_path / "a.tar"), str(tmp_path / "b.tar")]
    bare = Bundle(RESULTS | {"checks": [], "provenance": "none"})  # as another program may make it
    for file, made in zip(files, (SOFT, bare), strict=True):
        made.write(Path(file))
    results = []
    for file in files:
        assert cli(["qualify", "show", file, "--json"]) == 0
        results.append(msgspec.json.decode(capsys.readouterr().out, type=ResultsRecord))
    assert [check.check for check in results[0].checks] == ["rss", "latency", "spoof", "unbind"]
    assert results[0].checks[1].figures == {"trip_median_us": 3.0, "trip_max_us": 9.0}
    assert (results[1].bundle, results[1].seconds) == (files[1], None)
    assert (results[1].provenance, results[1].checks) == ({}, [])
    for other, status, count in ((0, 0, 0), (1, 1, 4)):
        assert cli(["qualify", "diff", files[0], files[other], "--json"]) == status
        told = msgspec.json.decode(capsys.readouterr().out, type=ComparisonRecord)
        assert len(told.differences) == count
    assert cli(["qualify", "diff", files[0], str(tmp_path / "c.tar"), "--json"]) == 2
    assert msgspec.json.decode(capsys.readouterr().out, type=FailureRecord).status == 2
