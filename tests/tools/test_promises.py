# SPDX-License-Identifier: BSD-3-Clause
"""The table of promises and tests is current, and no promise is without either test or reason."""

from __future__ import annotations

from pathlib import Path

from tools import promises

ROOT = Path(__file__).parents[2]
PAPER = """
| # | Fault | Promise |
|---|---|---|
| F1 | no reply comes | an error |
| F2 | a reply is late | it is dropped |
| F3 | a flood | bounded |
"""
TESTS = '''"""docs/spec/reliability.md F3: a head cites for readers only."""

# docs/spec/reliability.md F1
@decorated
def test_above() -> None: ...


def test_inside() -> None:
    """Says so (docs/spec/reliability.md F1-F2)."""


@pytest.mark.parametrize("text", ["docs/spec/reliability.md F3"])
def test_data(text: str) -> None:
    assert text == """# docs/spec/reliability.md F3"""
'''
HARNESS = """/* SPDX */
/* docs/spec/reliability.md F3 */
#include "rig.h"

static int helper(void)
{
}

/* docs/spec/reliability.md F2 */
static void test_one(void)
{
    assert(1); /* docs/spec/reliability.md F1 */
    assert(event.rule == "docs/spec/reliability.md F3");
}
"""


def test_the_page_is_current() -> None:
    assert (ROOT / promises.PAGE).read_text(encoding="utf-8") == promises.page(ROOT), (
        "make promises"
    )


def test_every_promise_has_a_test() -> None:
    assert promises.bare(ROOT) == []
    told = promises.promises((ROOT / promises.SOURCE).read_text(encoding="utf-8"))
    assert len(told) >= 60


def test_citations_are_found_where_they_count(tmp_path: Path) -> None:
    (tmp_path / "docs/spec").mkdir(parents=True)
    (tmp_path / "tests/c").mkdir(parents=True)
    (tmp_path / promises.SOURCE).write_text(PAPER)
    (tmp_path / "tests/test_some.py").write_text(TESTS)
    (tmp_path / "tests/c/room_some.c").write_text(HARNESS)
    assert promises.coverage(tmp_path) == {
        "F1": [
            "tests/c/room_some.c::test_one",
            "tests/test_some.py::test_above",
            "tests/test_some.py::test_inside",
        ],
        "F2": ["tests/c/room_some.c::test_one", "tests/test_some.py::test_inside"],
    }
    assert promises.bare(tmp_path) == ["F3"]
    assert "2 of 3 promises" in promises.page(tmp_path)
