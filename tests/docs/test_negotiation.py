# SPDX-License-Identifier: BSD-3-Clause
"""The tables of docs/guides/negotiation.md are what `iavfio journal diff` prints today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from iavfio.virtchnl.journal import Journal
from iavfio.virtchnl.journal_diff import compare, table

DOCS = Path(__file__).resolve().parents[2] / "docs"
TABLE = re.compile(
    r"^```\n((?P<left>\w+-\w+)\.jsonl +(?P<right>\w+-\w+)\.jsonl\n.*?)\n```$", re.M | re.S
)
TABLES = {
    (found["left"], found["right"]): found[1]
    for found in TABLE.finditer((DOCS / "guides/negotiation.md").read_text(encoding="utf-8"))
}


def test_both_cards_are_compared_with_both_drivers() -> None:
    """Four tables: a driver of each card beside iavfio."""
    drivers = [
        (f"{card}-{driver}", f"{card}-iavfio")
        for card in ("e810", "x710")
        for driver in ("linux", "dpdk")
    ]
    assert list(TABLES) == drivers


@pytest.mark.parametrize("pair", TABLES, ids=lambda pair: pair[0])
def test_a_table_is_what_the_command_prints(pair: tuple[str, str]) -> None:
    """When this fails on purpose: iavfio journal diff docs/journals/LEFT.jsonl RIGHT."""
    names = (f"{pair[0]}.jsonl", f"{pair[1]}.jsonl")
    left, right = (Journal.load(DOCS / "journals" / name) for name in names)
    assert TABLES[pair] == table(list(compare(left, right)), names).rstrip()
