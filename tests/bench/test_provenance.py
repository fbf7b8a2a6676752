# SPDX-License-Identifier: BSD-3-Clause
"""Where a number comes from is asked once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iavfio.bench import provenance


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A checkout, and what its git is asked."""
    words: list[Any] = []

    def run(command: Any, **_: Any) -> subprocess.CompletedProcess[str]:
        words.append(command)
        return subprocess.CompletedProcess(command, 0, "abc123-dirty\n", "")

    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "iavfio/bench/provenance.py"))
    monkeypatch.setattr(subprocess, "run", run)
    provenance.commit.cache_clear()
    yield words
    provenance.commit.cache_clear()


def test_git_is_asked_once(asked: list[Any], tmp_path: Path) -> None:
    """Who asks before a run starts no program for the summary of it."""
    assert provenance.commit() == "abc123-dirty"
    assert provenance.provenance({"vf0": "a VF"})["commit"] == "abc123-dirty"
    assert asked == [["git", "-C", str(tmp_path), "describe", "--always", "--dirty"]]
