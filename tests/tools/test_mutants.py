# SPDX-License-Identifier: BSD-3-Clause
"""Every mutant applies and names tests that exist; the runner tells what became of it."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import msgspec
import pytest

from tests.mutants import lane, page, table
from tests.mutants.table import Mutant


def a_mutant(**other: object) -> Mutant:
    fields: dict[str, object] = {
        "id": "one",
        "file": "iavfio/some.py",
        "find": "wanted = 1",
        "replace": "wanted = 2",
        "breaks": "the number is wrong",
        "tests": ["tests/test_some.py"],
    }
    return msgspec.convert(fields | other, Mutant)


@pytest.mark.parametrize("area", table.areas())
def test_entries_of_an_area_are_right(area: str) -> None:
    assert table.problems(table.read(area)) == []


def test_ids_are_unique_over_all_areas() -> None:
    ids = [mutant.id for mutant in table.everything()]
    assert sorted(set(ids)) == sorted(ids)


def test_a_wrong_entry_is_told(tmp_path: Path) -> None:
    (tmp_path / "iavfio").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "iavfio/some.py").write_text("wanted = 1\n")
    (tmp_path / "tests/test_some.py").write_text("def test_some() -> None: ...\n")
    good = a_mutant(tests=["tests/test_some.py::test_some[a-b]", "tests/test_some.py"])
    assert table.problems([good], tmp_path) == []
    wrong = {
        "another mutant has this id": [good, a_mutant()],
        "has the text 0 times": [a_mutant(find="absent")],
        "changes nothing": [a_mutant(replace="wanted = 1")],
        "names no test": [a_mutant(tests=[])],
        "no test tests/test_some.py::test_other": [
            a_mutant(tests=["tests/test_some.py::test_other"])
        ],
        "no test tests/test_none.py": [a_mutant(tests=["tests/test_none.py"])],
    }
    for text, mutants in wrong.items():
        (told,) = table.problems(mutants, tmp_path)
        assert text in told
    (tmp_path / "iavfio/some.py").write_text("wanted = 1\nunwanted = 1\n")
    assert "2 times" in table.problems([good], tmp_path)[0]


def test_an_unknown_key_of_an_entry_is_told(tmp_path: Path) -> None:
    (tmp_path / "some.toml").write_text('[[mutant]]\nid = "x"\nteste = []\n')
    with pytest.raises(ValueError, match=r"some\.toml, mutant 1"):
        table.read("some", tmp_path)


def a_tree(place: Path) -> Path:
    """A package of a line, and tests that pass, hang or end the process."""
    root = place / "root"
    (root / "iavfio").mkdir(parents=True)
    (root / "tests").mkdir()
    (root / ".git").mkdir()
    (root / "iavfio/__init__.py").touch()
    (root / "iavfio/some.py").write_text("wanted = 1\n")
    (root / "tests/test_some.py").write_text(
        "import os, signal, subprocess, sys, time\n"
        "from iavfio import some\n"
        "def test_one() -> None:\n    assert some.wanted == 1\n"
        "def test_hang() -> None:\n"
        "    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],\n"
        "                     start_new_session=True)\n"
        "    time.sleep(600)\n"
        "def test_crash() -> None:\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    return root


@pytest.fixture
def a_lane(tmp_path: Path) -> lane.Lane:
    place = tmp_path / "lane"
    place.mkdir()
    made = lane.Lane(place, 1, a_tree(tmp_path))
    (place / "kept").mkdir()
    for target in lane.PLACES:
        for path in (place / "kept" / Path(target).name, place / "tree" / target):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("library")
    return made


def test_a_mutant_lives_in_the_lane_only_until_it_is_taken_out(
    a_lane: lane.Lane, tmp_path: Path
) -> None:
    test = ["tests/test_some.py::test_one"]
    for wanted in ("2", "3"):  # of one size, and within a second
        assert a_lane.apply(a_mutant(replace=f"wanted = {wanted}"))
        assert a_lane.run(test).failed == test[0]
        a_lane.restore()
    assert a_lane.run(test).failed == ""
    assert not a_lane.apply(a_mutant(find="absent"))
    assert (tmp_path / "root/iavfio/some.py").read_text() == "wanted = 1\n"
    assert not (tmp_path / "lane/tree/.git").exists()


def test_a_hang_is_a_timeout_and_a_crash_tells_its_signal(a_lane: lane.Lane) -> None:
    hung = a_lane.run(["tests/test_some.py::test_hang"], 3.0)
    assert hung.timeout and hung.failed.startswith("timeout")
    crashed = a_lane.run(["tests/test_some.py::test_crash"])
    assert not crashed.timeout
    assert crashed.failed == "pytest: signal 9"


def test_what_a_run_started_is_ended_by_its_mark() -> None:
    mark = uuid.uuid4().hex
    sleeper = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"]
    marked = subprocess.Popen(
        sleeper, env=os.environ | {lane.MARK: mark}, start_new_session=True, stdout=subprocess.PIPE
    )
    other = subprocess.Popen(sleeper, stdout=subprocess.PIPE)
    try:
        for process in (marked, other):
            assert process.stdout is not None
            process.stdout.readline()
        lane.end_marked(mark)
        assert marked.wait(30) == -9
        assert other.poll() is None
    finally:
        for process in (marked, other):
            process.kill()
            process.communicate()


def test_a_c_file_names_the_extensions_that_it_is_part_of() -> None:
    assert lane.extensions_of("csrc/driver/ring/rx.c") == ("_driver",)
    assert lane.extensions_of("csrc/hw/desc.h") == ("_vfio", "_driver", "_device")
    assert lane.extensions_of("csrc/preload/calls.c") == ()


def results(*words: str) -> list[page.Result]:
    return [
        page.Result(f"m{n}", "some", "iavfio/some.py", word, "", 1.0)
        for n, word in enumerate(words)
    ]


def test_a_score_counts_timeouts_and_reasons_apart() -> None:
    found = results(page.CAUGHT, page.CAUGHT, page.TIMEOUT, page.EXPLAINED, page.SURVIVED)
    row = page.score(found)
    assert row == {"mutants": 5, "caught": 3, "by_timeout": 1, "explained": 1, "open": 1}
    assert page.table({"some": row, "thing": row})[2:] == [
        "| some | 5 | 3 | 1 | 1 | 1 | 60.0 |",
        "| thing | 5 | 3 | 1 | 1 | 1 | 60.0 |",
        "| all | 10 | 6 | 2 | 2 | 2 | 60.0 |",
    ]


def test_scores_are_kept_of_areas_that_were_tried_whole(tmp_path: Path) -> None:
    (tmp_path / "docs/spec").mkdir(parents=True)
    (tmp_path / "tests/mutants").mkdir(parents=True)
    mutants = [a_mutant(id=f"m{n}", area="some") for n in range(2)]
    mutants.append(a_mutant(id="m9", area="other", survives="nobody can tell"))
    page.keep(tmp_path, results(page.CAUGHT, page.CAUGHT), mutants)
    whole = (tmp_path / page.PAGE).read_text()
    assert "| some | 2 | 2 | 0 | 0 | 0 | 100.0 |" in whole
    assert "| other |" not in whole
    assert "- `m9` (iavfio/some.py): nobody can tell" in whole
    page.keep(tmp_path, results(page.SURVIVED), mutants)
    assert (tmp_path / page.PAGE).read_text() == whole
