# SPDX-License-Identifier: BSD-3-Clause
"""No folder of tests is left out of `make test` by forgetting it."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What needs a lab, a card, a judge or dask has a target of its own, and the sweep of failing calls,
# which takes long; `make wheel` runs tests/wheel.
ELSEWHERE = {
    "tests/cluster",
    "tests/guest",
    "tests/device",
    "tests/judge",
    "tests/nth",
    "tests/wheel",
}


def test_every_folder_with_tests_is_run() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        named = set(tomllib.load(file)["tool"]["pytest"]["ini_options"]["testpaths"])
    found = {
        f"tests/{path.relative_to(ROOT / 'tests').parts[0]}"
        for path in (ROOT / "tests").rglob("test_*.py")
    }
    assert found - ELSEWHERE == named
