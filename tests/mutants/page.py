# SPDX-License-Identifier: BSD-3-Clause
"""docs/spec/mutants.md: the scores of the last run of each area, and what no test can notice."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import msgspec

from tests.mutants.table import Mutant

PAGE = "docs/spec/mutants.md"
SCORES = "tests/mutants/scores.json"
CAUGHT, TIMEOUT, SURVIVED, EXPLAINED = "caught", "caught by timeout", "SURVIVED", "explained"
GOOD = (CAUGHT, TIMEOUT, EXPLAINED)
HEAD = """# Mutants

A mutant is a defect that is put in on purpose, one at a time: a buffer given back too early, a
counter that is too narrow, a step that comes too late. The tests that it names must then fail.
`make mutants` tries all of them and makes this page anew:

    make mutants                            # everything, in as many lanes as there are processors
    tools/mutants --area pyvfio --lanes 1   # one area
    tools/mutants --id space-iova-zero      # one mutant, and which test caught it

Each lane is a copy of the tree under a temporary directory, with extensions of its own; the
checkout is not touched. The tests of a mutant are first run without it, and must pass. With it at
least one must fail, or hang beyond a limit (60 seconds and five times what the tests take), which
is said as such. The exit status is 1 when a mutant survives without a reason, does not apply, does
not compile, or when its tests fail without it. A test in `tests/tools` sees that every mutant
still applies: whoever changes the place changes the mutant.

The tables are `tests/mutants/AREA.toml`. An entry is:

    [[mutant]]
    id = "space-iova-zero"                      # once in all tables
    file = "iavfio/pyvfio/space.py"
    find = \"\"\"text that the file has exactly once\"\"\"
    replace = \"\"\"what stands there instead\"\"\"
    breaks = "what is wrong then, in one sentence"
    tests = ["tests/pyvfio/test_contract.py::test_dma_refusals", "tests/c/driver_isa.c"]
    survives = "why no test can notice it"      # only then

Tests are arguments of pytest, or C harnesses, which are built without sanitizers; for
`csrc/driver/simd/neon.c` they are built for 64-bit ARM and run under emulation. They are few and
fast: the first that fails ends the run. A defect that came through deserves a mutant beside its
test.
"""


class Result(msgspec.Struct, frozen=True):
    """What became of one mutant: `result` in a word or three, `by` says which test or why."""

    id: str
    area: str
    file: str
    result: str
    by: str
    seconds: float


def score(results: Iterable[Result]) -> dict[str, int]:
    """How many there are, were caught, were caught by a timeout, and survived (with reasons)."""
    found = [each.result for each in results]
    return {
        "mutants": len(found),
        "caught": found.count(CAUGHT) + found.count(TIMEOUT),
        "by_timeout": found.count(TIMEOUT),
        "explained": found.count(EXPLAINED),
        "open": sum(each not in GOOD for each in found),
    }


def table(scores: dict[str, dict[str, int]]) -> list[str]:
    """Rows of Markdown: one an area, and the sum."""
    lines = [
        "| area | mutants | caught | by a timeout | survive with a reason | open | caught, % |",
        "|---|---|---|---|---|---|---|",
    ]
    total = dict.fromkeys(("mutants", "caught", "by_timeout", "explained", "open"), 0)
    for area, row in [*sorted(scores.items()), ("all", total)]:
        cells = [str(row[key]) for key in total]
        share = f"{100 * row['caught'] / max(row['mutants'], 1):.1f}"
        lines.append(f"| {' | '.join([area, *cells, share])} |")
        for key in total:
            total[key] += row[key] if area != "all" else 0
    return lines


def page(scores: dict[str, dict[str, int]], mutants: list[Mutant]) -> str:
    """The whole page as Markdown."""
    lines = [HEAD, "## Scores of the last run", "", *table(scores), ""]
    lines += ["## What no test can notice", ""]
    lines += [
        f"- `{each.id}` ({each.file}): {each.survives}" for each in mutants if each.survives
    ] or ["Nothing."]
    return "\n".join(lines) + "\n"


def keep(root: Path, results: list[Result], mutants: list[Mutant]) -> None:
    """Write the scores of the areas that were tried whole, and the page; others stay."""
    path = root / SCORES
    scores = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    there = {each.area for each in mutants}
    for area in there:
        tried = [each for each in results if each.area == area]
        if len(tried) == sum(each.area == area for each in mutants):
            scores[area] = score(tried)
    scores = {area: row for area, row in sorted(scores.items()) if area in there}
    path.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    (root / PAGE).write_text(page(scores, mutants), encoding="utf-8")
