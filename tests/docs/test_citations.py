# SPDX-License-Identifier: BSD-3-Clause
"""Every paper that code, tests and pages cite is in the repository, and has the section cited."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENDINGS = {".py", ".c", ".h", ".md", ".build", ".toml"}
NAMES = {"Makefile", "meson.options"}
NUMBER = r"\d+(?:\.\d+)?"
PAPER = re.compile(rf"docs/(spec/[a-z-]+\.md|design\.md)((?:,? (?:and )?{NUMBER}(?![\w%.]\w))*)")
PROMISE = re.compile(r"docs/spec/reliability\.md ((?:[FSDPI]\d+(?:-[FSDPI]\d+)?(?:, )?)+)")
ADR = re.compile(r"docs/adr/(\d{4})")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
# Papers by a bare name, as "spec: descriptors 4" or "design decision 3".
OLD = re.compile(
    r"(?<!flow )\bspec: ?[a-z]|\bdesign decision \d"
    r"|(?<![/\w.-])(?<!send )(?<!receive )(?!virtchnl [12]\.[01])(?!vfio-user 0\.)"
    r"(?:adminq|registers|descriptors|virtchnl|vfio-user|vfio|libie-stats|field-evidence"
    rf"|reliability) (?:{NUMBER}|[FSDP]\d+)\b(?! (?:VF|byte|bytes|descriptor|%))"
)


@cache
def files() -> tuple[Path, ...]:
    """Tracked text files. Skips where git or its data are missing, as in a copy of the tree."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    told = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True
    )
    paths = [ROOT / name for name in told.stdout.splitlines()]
    return tuple(
        path
        for path in paths
        if (path.suffix in ENDINGS or path.name in NAMES)
        and path.is_file()
        and path != Path(__file__)
    )


@cache
def sections(paper: str) -> frozenset[str]:
    """Numbers of a paper's headings."""
    text = (ROOT / "docs" / paper).read_text(encoding="utf-8")
    return frozenset(re.findall(rf"^#+ ({NUMBER})\.? ", text, re.MULTILINE))


@cache
def promises() -> frozenset[str]:
    """Numbers of the promises: rows of tables, and the invariants."""
    text = (ROOT / "docs/spec/reliability.md").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^\| ([FSDP]\d+) \|", text, re.MULTILINE)) | frozenset(
        re.findall(r"\*\*(I\d)\*\*", text)
    )


def broken(text: str) -> list[str]:
    """Citations in `text` that lead nowhere."""
    wrong = []
    for found in PAPER.finditer(text):
        paper, numbers = found[1], re.findall(NUMBER, found[2])
        if not (ROOT / "docs" / paper).exists():
            wrong.append(found[0])
        else:
            wrong += [f"docs/{paper} {n}" for n in numbers if n not in sections(paper)]
    for found in PROMISE.finditer(text):
        for name in re.findall(r"[FSDPI]\d+", found[1]):
            if name not in promises():
                wrong.append(f"docs/spec/reliability.md {name}")
    for found in ADR.finditer(text):
        if not list((ROOT / "docs/adr").glob(f"{found[1]}-*.md")):
            wrong.append(found[0])
    return wrong


def test_every_citation_leads_to_a_section() -> None:
    wrong = {
        str(path.relative_to(ROOT)): found
        for path in files()
        if (found := broken(path.read_text(encoding="utf-8")))
    }
    assert not wrong, wrong


def test_citations_are_paths() -> None:
    """A newcomer cannot open "descriptors 15"."""
    wrong: dict[str, list[str]] = defaultdict(list)
    for path in files():
        name = str(path.relative_to(ROOT))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if OLD.search(line):
                wrong[name].append(f"{number}: {line.strip()[:90]}")
    assert not wrong, "\n".join(f"{n}:{line}" for n, lines in wrong.items() for line in lines)


def test_links_between_pages_lead_to_files() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {found[1]}"
        for path in files()
        if path.suffix == ".md"
        for found in LINK.finditer(path.read_text(encoding="utf-8"))
        if not (path.parent / found[1]).exists()
    ]
    assert not wrong, wrong


@pytest.mark.parametrize(
    ("text", "old"),
    [
        ("the rings (descriptors 4)", True),
        ("(spec: virtchnl 5)", True),
        ("design decision 4", True),
        ("reliability F12", True),
        ("adminq 4, 5", True),
        ("docs/spec/descriptors.md 4", False),
        ("virtchnl 1.1", False),
        ("vfio-user 0.0", False),
        ("28 stores: receive descriptors 16, send descriptors 8", False),
        ("4 descriptors", False),
    ],
)
def test_citations_by_bare_names_are_known(text: str, old: bool) -> None:
    assert bool(OLD.search(text)) == old


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("docs/spec/descriptors.md 15", []),
        ("docs/spec/descriptors.md 12.1, 15", []),
        ("docs/spec/descriptors.md 99", ["docs/spec/descriptors.md 99"]),
        ("docs/spec/nothing.md 1", ["docs/spec/nothing.md 1"]),
        ("docs/spec/reliability.md F41", []),
        ("docs/spec/reliability.md F41, D2", []),
        ("docs/spec/reliability.md F99", ["docs/spec/reliability.md F99"]),
        ("docs/design.md 11", []),
        ("docs/design.md 13", ["docs/design.md 13"]),
        ("docs/adr/0005", []),
        ("docs/adr/9999", ["docs/adr/9999"]),
    ],
)
def test_the_check_finds_what_is_broken(text: str, wrong: list[str]) -> None:
    assert broken(text) == wrong
