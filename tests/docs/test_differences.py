# SPDX-License-Identifier: BSD-3-Clause
"""The tables of docs/spec/pf-dialects.md 7 and those that the judge's tests go by are the same."""

from __future__ import annotations

from pathlib import Path

from tests.judge import i40e_differences, ice_differences

PAGE = Path(__file__).resolve().parents[2] / "docs/spec/pf-dialects.md"
Kinds = dict[str, tuple[str, str]]  # by name: kernels and functions


def in_docs(driver: str) -> Kinds:
    """The rows of a driver's table."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith(f"| Difference from {driver} |"))
    found: Kinds = {}
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            break
        name, kernels, functions, why = (cell.strip() for cell in line.strip("|").split("|"))
        assert name not in found and len(why) > 40, name
        found[name] = kernels, functions.replace("`", "")
    return found


def told(kernels: tuple[str, ...], every: tuple[str, ...]) -> str:
    return "all" if set(kernels) == set(every) else ", ".join(kernels)


def test_of_ice() -> None:
    tested = {
        row.name: (told(row.kernels, ice_differences.KERNELS), row.function)
        for row in ice_differences.ROWS
    }
    assert in_docs("ice") == tested


def test_of_i40e() -> None:
    tested = {
        row.name: (told(row.kernels, i40e_differences.KERNELS), row.function)
        for row in i40e_differences.DIFFERENCES
    }
    assert in_docs("i40e") == tested


def test_there_are_no_others() -> None:
    """A driver that is judged has a table, which is found by its first words."""
    heads = [
        line for line in PAGE.read_text(encoding="utf-8").splitlines() if "| Difference" in line
    ]
    assert [head.split("|")[1].split()[-1] for head in heads] == ["ice", "i40e"]
