# SPDX-License-Identifier: BSD-3-Clause
"""What `make fuzz` does with a finding: it becomes an input that one command repeats."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fuzz.campaign import findings, names, repeat
from tests.fuzz.target import CORPUS
from tests.fuzz.targets import HARNESSES, TARGETS


def test_what_a_c_program_left_at_its_death_becomes_an_input(tmp_path: Path) -> None:
    data = bytes(range(200))
    left = tmp_path / "crash-rx_tx"
    left.write_bytes(len(data).to_bytes(4, sys.byteorder) + data + b"of the input before")
    (found,) = findings("rx_tx", tmp_path)
    assert found.read_bytes() == data
    assert found.name.startswith("crash-rx_tx-")
    assert not left.exists()
    assert findings("rx_tx", tmp_path) == {found}
    assert findings("capture", tmp_path) == set()


def test_an_input_is_repeated_by_its_name_or_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "crash-journal-1234"
    path.write_bytes(b"[]")
    assert repeat(path, tmp_path) == 0
    assert repeat(next((CORPUS / "records").iterdir()), tmp_path) == 0
    assert capsys.readouterr().out == "nothing found\n" * 2
    other = tmp_path / "something"
    other.write_bytes(b"")
    assert repeat(other, tmp_path) == 2
    assert "belongs to no target" in capsys.readouterr().err


def test_no_name_begins_another_s_findings() -> None:
    assert len(set(names())) == len(names()) == len(TARGETS) + len(HARNESSES) + 1
    assert not any("-" in name for name in names())
