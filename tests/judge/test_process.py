# SPDX-License-Identifier: BSD-3-Clause
"""What is said of a judge that dies, and what is not said of one that lives."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from iavfio.linuxpf import process
from iavfio.linuxpf.cache import LabError
from iavfio.linuxpf.process import JudgeProcess
from tests.judge.conftest import kernel_of


def test_a_panic_is_told() -> None:
    """The error of a judge that dies begins with what its kernel says of it."""
    kernel = kernel_of("i40e", "6.12")
    with pytest.raises(LabError, match="it died: time-travel: failed to connect"):
        JudgeProcess(kernel, "time-travel=ext:/none")  # no such clock


def test_nothing_is_left_of_one_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is there anything in the home directory, which may not be there at all."""
    kernel, place = kernel_of("i40e", "6.12"), tmp_path / "place"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    for home in (str(tmp_path), "/nonexistent"):
        monkeypatch.setenv("HOME", home)
        with JudgeProcess(kernel) as judge:
            assert list(place.iterdir()) == []
            os.killpg(judge.pid, signal.SIGKILL)
            with pytest.raises(LabError, match="it died"):
                judge.say(1, bytes((1, 0, 0, 0, 1, 0, 0, 0)))
    assert list(tmp_path.iterdir()) == [place] and list(place.iterdir()) == []


def test_messages_fill_no_log() -> None:
    """A client's refused requests are messages of the PF's kernel; none of them is kept."""
    with JudgeProcess(kernel_of("i40e", "6.12")) as judge:
        before = judge.log()
        for _ in range(100):
            assert judge.say(12345)[0][1] != 0
        assert judge.log() == before
    assert "loglevel=3" in process.CONSOLE
