# SPDX-License-Identifier: BSD-3-Clause
"""What a judge leaves behind, however it ends, and where it can have its memory."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from iavfio.linuxpf import process as process_module
from iavfio.linuxpf import scratch
from iavfio.linuxpf.cache import LabError
from iavfio.linuxpf.process import MEMORY, JudgeProcess, What
from tests.port.rig import until
from tests.tools.played_judge import ENDS, HANGS, PANICS, judge, members, told


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place for a judge's files; no home directory is there."""
    path = tmp_path / "place"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setattr(scratch, "PLACES", ())
    return path


@pytest.mark.parametrize("does", [ENDS, HANGS])
def test_a_judge_that_runs_has_left_no_file(tmp_path: Path, place: Path, does: str) -> None:
    """So nothing is left of one that is killed, nor of a killed software VF."""
    kernel = judge(tmp_path / "judge", does)
    with JudgeProcess(kernel):
        home, memory, mode = told(kernel)
        assert Path(home) == Path(memory) and Path(memory).parent == place
        assert home.endswith("/") and mode == "700"
        assert list(place.iterdir()) == []


@pytest.mark.parametrize("does", [PANICS, "kill -9 $$"])
def test_a_judge_that_does_not_start_leaves_no_file(tmp_path: Path, place: Path, does: str) -> None:
    with pytest.raises(LabError, match="it died"):
        JudgeProcess(judge(tmp_path / "judge", does))
    assert list(place.iterdir()) == []


def test_one_that_has_died_is_told_with_the_last_lines_of_its_log(
    tmp_path: Path, place: Path
) -> None:
    """Also where nobody speaks to it."""
    with JudgeProcess(judge(tmp_path / "judge", HANGS)) as process:
        assert select.select([process.end_fd], [], [], 0)[0] == []
        os.killpg(process.pid, signal.SIGKILL)
        assert select.select([process.end_fd], [], [], 60)[0] == [process.end_fd]
        assert str(process.died()) == (
            "the judge does not answer: it died; its log ends with: line 7 | line 8 | line 9"
        )
        with pytest.raises(LabError, match="it died"):
            process.request(What.MESSAGE)


def test_one_that_does_not_answer_is_killed(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "ANSWERING", 0.01)
    with JudgeProcess(judge(tmp_path / "judge", HANGS)) as process:
        with pytest.raises(LabError, match="its time was over, and it was killed"):
            process.request(What.MESSAGE)
        assert select.select([process.end_fd], [], [], 0)[0] == [process.end_fd]
        assert until(lambda: members(process.pid) == [], 60)


def test_the_memory_lies_where_it_can(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's /dev/shm may be small, or its files may not be executed."""
    places = {"small": (MEMORY - 1, 0), "noexec": (MEMORY, os.ST_NOEXEC), "good": (MEMORY, 0)}
    found = {}
    for name, (free, flags) in places.items():
        (tmp_path / name).mkdir()
        found[str(tmp_path / name)] = SimpleNamespace(f_bavail=free, f_frsize=1 << 20, f_flag=flags)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    monkeypatch.setattr(scratch, "PLACES", tuple(found))
    genuine = os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda path: found.get(path) or genuine(path))
    with scratch.scratch(MEMORY) as path:
        assert path.parent == tmp_path / "good"
    monkeypatch.setattr(scratch, "PLACES", tuple(found)[:2])
    with (
        pytest.raises(LabError, match="set TMPDIR to one that can be written") as error,
        scratch.scratch(MEMORY),
    ):
        pass
    for words in ("missing: No such file", f"small: {MEMORY - 1} MiB are free", "mounted noexec"):
        assert words in str(error.value)


def test_a_path_that_is_too_long_for_the_kernel_is_not_taken(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 200)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr(scratch, "PLACES", (str(place),))
    with scratch.scratch(1) as path:
        assert path.parent == place
    assert list(place.iterdir()) == []
