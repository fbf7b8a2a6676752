# SPDX-License-Identifier: BSD-3-Clause
"""tools/c_layers.py: what it finds in small trees, and that csrc/ keeps its contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = '[room]\nmay_use = ["hw/*"]\nlayers = [["low"], ["middle"], ["high"]]\n'


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "c_layers.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def tree(tmp_path: Path, **files: str) -> subprocess.CompletedProcess[str]:
    """The program's result for csrc files, named as `room_file_c`, under LAYERS."""
    for name, text in files.items():
        path = tmp_path / "csrc" / "/".join(name.rsplit("_", 1)[0].split("_", 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(f".{name[-1]}").write_text(text, encoding="utf-8")
    contract = tmp_path / "layers.toml"
    contract.write_text(LAYERS, encoding="utf-8")
    return run("--root", str(tmp_path / "csrc"), "--contract", str(contract))


def test_csrc_keeps_its_contract() -> None:
    done = run("--quiet")
    assert (done.returncode, done.stdout) == (0, "")


def test_uses_that_go_down_pass(tmp_path: Path) -> None:
    done = tree(
        tmp_path,
        room_low_h="int low(void);\n",
        room_low_c='#include "room/low.h"\nint low(void)\n{\n    return 1;\n}\n',
        room_high_c='#include "room/low.h"\nint high(void)\n{\n    return low();\n}\n',
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 modules" in done.stdout
    assert "0 upward" in done.stdout


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"room_low_c": '#include "room/high.h"\n', "room_high_h": ""},
            "room/low uses room/high (include): upward",
        ),
        (
            {
                "room_low_c": "int high(void);\nint low(void)\n{\n    return high();\n}\n",
                "room_high_c": "int high(void)\n{\n    return 1;\n}\n",
            },
            "room/low uses room/high (high): upward",
        ),
        (
            {
                "room_low_c": "extern const int table[];\nint low(void)\n{\n return table[0];\n}\n",
                "room_high_c": "const int table[] = {1};\n",
            },
            "room/low uses room/high (table): upward",
        ),
        (
            {
                "room_low_c": "int low(void)\n{\n    return middle();\n}\n",
                "room_middle_c": "int middle(void)\n{\n    return low();\n}\n",
            },
            "circle: room/low, room/middle",
        ),
        ({"room_stray_c": ""}, "room/stray is in no layer"),
        ({"room_low_c": '#include "other/thing.h"\n', "other_thing_h": ""}, "another room's"),
    ],
)
def test_a_breach_is_named(tmp_path: Path, files: dict[str, str], said: str) -> None:
    done = tree(tmp_path, **files)
    assert done.returncode == 1
    assert said in done.stdout


def test_comments_texts_and_prototypes_are_no_use(tmp_path: Path) -> None:
    done = tree(
        tmp_path,
        room_low_c='int high(void);\n/* high() */\nchar *low(void)\n{\n return "high()";\n}\n',
        room_high_c="int high(void)\n{\n    return 1;\n}\n",
    )
    assert done.returncode == 0, done.stdout
