# SPDX-License-Identifier: BSD-3-Clause
"""The table of counters, what is made from it, and what C really counts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from iavfio._driver import ffi
from iavfio.stats import GLOBAL, RX, TX
from iavfio.stats.guide import guide
from iavfio.stats.names import BLOCKS, FCS_RULE, Counter

ROOT = Path(__file__).parents[2]
KNOWN_UNITS = {"packets", "bytes", "descriptors", "buffers", "events"}


def sources() -> str:
    files = [*(ROOT / "csrc/driver").rglob("*.c"), *(ROOT / "csrc/driver").rglob("*.h")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_guide_is_the_one_that_is_made() -> None:
    """`python -m iavfio.stats.guide > docs/guides/counters.md` mends it."""
    assert (ROOT / "docs/guides/counters.md").read_text(encoding="utf-8") == guide()


def test_guide_has_every_counter_with_its_unit_and_the_rules() -> None:
    text = guide()
    for prefix, table in (("", GLOBAL), ("rqN_", RX), ("sqN_", TX)):
        for each in table:
            row = re.search(rf"^\| `{prefix}{each.name}` \| (\w+) \| (.+?) \| (.*) \|$", text, re.M)
            assert row is not None, each.name
            assert row[1] == each.unit and row[2] == each.meaning and each.note in row[3]
    assert FCS_RULE in text and "pf_sample_age_s" in text


@pytest.mark.parametrize(("block", "struct", "table"), BLOCKS)
def test_table_has_every_field_of_its_c_block_in_order(
    block: str, struct: str, table: tuple[Counter, ...]
) -> None:
    fields = [name for name, _ in ffi.typeof(struct).fields]
    names = [name for name in fields if name not in ("seq", "reserved")]
    assert sorted(each.name for each in table) == sorted(names), block
    offsets = [ffi.offsetof(struct, each.name) for each in table if each.group != "own"]
    assert offsets == sorted(offsets)


@pytest.mark.parametrize("each", [*RX, *TX], ids=lambda each: f"{each.group}-{each.name}")
def test_counters_that_never_move_are_those_that_nothing_counts(each: Counter) -> None:
    """A counter that C adds to somewhere may move, and one that it never adds to is said so."""
    added = re.search(
        rf"(?:block_add\([^;]*?->|CHARGE\(\w+, |DEFER\(\w+, ){each.name}\b", sources()
    )
    assert each.still == (added is None), each.name
    assert each.note.startswith("always 0: ") == each.still


def test_units_are_few_and_every_counter_has_one() -> None:
    assert {each.unit for each in (*GLOBAL, *RX, *TX)} == KNOWN_UNITS
