# SPDX-License-Identifier: BSD-3-Clause
"""The glossary has each term once, in alphabetical order."""

from __future__ import annotations

import re
from pathlib import Path

GLOSSARY = Path(__file__).parents[2] / "docs/glossary.md"


def terms() -> list[str]:
    rows = re.findall(r"^\| ([^|]+) \| ", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    return [row for row in rows if row not in ("Term", "---")]


def test_each_term_has_one_row() -> None:
    names = [term.lower() for term in terms()]
    assert len(names) > 50
    assert len(set(names)) == len(names)


def test_terms_are_in_alphabetical_order() -> None:
    names = [term.lower() for term in terms()]
    assert names == sorted(names)
