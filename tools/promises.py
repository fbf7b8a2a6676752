#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Which test shows each promise of docs/spec/reliability.md: makes docs/spec/coverage.md.

    tools/promises.py [--check]

A test shows a promise when it cites it, in its docstring, in a comment inside of it or right above
it: docs/spec/reliability.md F12, D3. What its data or messages say is no citation. Tests are the
test functions of tests/*.py and the test_ functions of the C harnesses in tests/c. A citation at
the head of a file is for readers only.
--check writes nothing; the exit status is 1 when the page is not current, or a promise has no test.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = "docs/spec/reliability.md"
PAGE = "docs/spec/coverage.md"
ROW = re.compile(r"^\| ([FSDP]\d+) \| (.*?) \|(?: (.*) \|)?$", re.MULTILINE)
CITED = re.compile(r"docs/spec/reliability\.md ((?:[FSDPI]\d+(?:-[FSDPI]\d+)?(?:, )?)+)")
C_FUNCTION = re.compile(r"^(?:static )?(?:void|int) (\w+)\(", re.MULTILINE)
C_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
LONGEST = 110  # characters of a promise in the table
HEAD = f"""# Promises and the tests that show them

This page is made by `make promises` from [reliability.md](reliability.md) and the citations in the
tests; a test fails when it is not current. A promise counts as covered when a test names it in its
own text (`{SOURCE}`, a blank and the number). That says where to look, not that
every case is tried.
"""


def promises(text: str) -> dict[str, str]:
    """Number -> what it is about, in the order of the paper: of a fault the fault."""
    return {found[1]: _short(found[2]) for found in ROW.finditer(text)}


def _short(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    cut = text[:LONGEST].rsplit(" ", 1)[0].rstrip(",;:.")
    return f"{cut}`..." if cut.count("`") % 2 else f"{cut}..."


def cited(text: str) -> set[str]:
    """Numbers of the promises that a text cites, ranges spelled out."""
    numbers: set[str] = set()
    for found in CITED.finditer(text):
        for part in re.findall(r"([FSDPI])(\d+)(?:-[FSDPI](\d+))?", found[1]):
            letter, first, last = part
            numbers |= {f"{letter}{n}" for n in range(int(first), int(last or first) + 1)}
    return numbers


def python_tests(text: str) -> Iterator[tuple[str, str]]:
    """(name, words) of each test function: docstrings, comments, and the comment right above it."""
    lines = text.splitlines()
    words = _words(text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)]) - 1
            while first and lines[first - 1].lstrip().startswith("#"):
                first -= 1
            last = node.end_lineno or node.lineno
            yield node.name, "\n".join(words[n] for n in range(first, last) if n in words)


def _words(text: str) -> dict[int, str]:
    """Line, from 0 -> the comment in it, or the docstring that begins there."""
    words = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            words[token.start[0] - 1] = token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            said = ast.get_docstring(node)
            if said:
                words[node.body[0].lineno - 1] = said
    return words


def c_tests(text: str) -> Iterator[tuple[str, str]]:
    """(name, comments) of each function of a harness, from the comment right above it."""
    starts = [(found.start(), found[1]) for found in C_FUNCTION.finditer(text)]
    begins = [_comment_above(text, start) for start, _ in starts] + [len(text)]
    for (_, name), begin, end in zip(starts, begins, begins[1:], strict=False):
        yield name, "\n".join(C_COMMENT.findall(text[begin:end]))


def _comment_above(text: str, start: int) -> int:
    before = text[:start].rstrip()
    if not before.endswith("*/"):
        return start
    opened = before.rfind("/*")
    return opened if text[:opened].strip() else start  # the head of a file is no function's


def coverage(root: Path) -> dict[str, list[str]]:
    """Number of a promise -> the tests that cite it, as file::name, sorted."""
    found: dict[str, set[str]] = {}
    for path in sorted((root / "tests").rglob("*.*")):
        if path.suffix not in (".py", ".c"):
            continue
        text = path.read_text(encoding="utf-8")
        if SOURCE not in text:
            continue
        for name, body in (python_tests if path.suffix == ".py" else c_tests)(text):
            for number in cited(body):
                found.setdefault(number, set()).add(f"{path.relative_to(root)}::{name}")
    return {number: sorted(tests) for number, tests in found.items()}


def bare(root: Path) -> list[str]:
    """Promises that have no test."""
    told = promises((root / SOURCE).read_text(encoding="utf-8"))
    tests = coverage(root)
    return [number for number in told if number not in tests]


def page(root: Path) -> str:
    """The whole page as Markdown."""
    told = promises((root / SOURCE).read_text(encoding="utf-8"))
    tests = coverage(root)
    shown = sum(number in tests for number in told)
    lines = [HEAD, f"{shown} of {len(told)} promises have tests.", ""]
    lines += ["| # | about | tests |", "|---|---|---|"]
    for number, about in told.items():
        cell = "<br>".join(f"`{test}`" for test in tests.get(number, [])) or "none"
        lines.append(f"| {number} | {about} | {cell} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    args = parser.parse_args()
    missing = bare(ROOT)
    if missing:
        print(f"without a test: {', '.join(missing)}", file=sys.stderr)
    made = page(ROOT)
    current = (ROOT / PAGE).exists() and (ROOT / PAGE).read_text(encoding="utf-8") == made
    if not args.check:
        (ROOT / PAGE).write_text(made, encoding="utf-8")
        print(f"{PAGE}: {len(coverage(ROOT))} promises and invariants are cited by tests")
    elif not current:
        print(f"{PAGE} is not current: make promises", file=sys.stderr)
    return 1 if missing or (args.check and not current) else 0


if __name__ == "__main__":
    sys.exit(main())
