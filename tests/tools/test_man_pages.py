# SPDX-License-Identifier: BSD-3-Clause
"""Manual pages: one of each command, with its options, and nothing that troff complains of."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from iavfio.cli.group import SUMMARIES
from tools import man_pages


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    files = man_pages.write(tmp_path_factory.mktemp("man") / "man1")
    return {file.name: file.read_text(encoding="utf-8") for file in files}


def test_each_command_has_its_page(pages: dict[str, str]) -> None:
    below = {f"iavfio-{name}.1" for name in SUMMARIES}
    assert {"iavfio.1", *below} <= set(pages)
    assert "iavfio-journal-show.1" in pages  # commands of a group have their own
    for name in below:
        assert f"{man_pages.escaped(name[:-2])}(1)\n" in pages["iavfio.1"]


def test_a_page_has_every_option_of_its_command(pages: dict[str, str]) -> None:
    for path, command, context in man_pages.commands():
        text = pages[f"{path.replace(' ', '-')}.1"]
        for section in (".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS"):
            assert text.count(f"{section}\n") == 1, path
        for option in command.get_params(context):
            for name in option.opts:
                if name.startswith("-"):
                    assert man_pages.escaped(name) in text, (path, name)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        (".TH x", "\\&.TH x"),
        ("'quoted'", "\\&'quoted'"),
        ("a\\fB -b", "a\\efB \\-b"),
        ("two  blanks\nand a line", "two blanks and a line"),
    ],
)
def test_text_is_printed_as_it_is(text: str, printed: str) -> None:
    assert man_pages.escaped(text) == printed


def test_troff_has_nothing_to_say(pages: dict[str, str], tmp_path: Path) -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed")
    for name, text in pages.items():
        done = subprocess.run(
            [groff, "-man", "-Tutf8", "-ww", "-z", "-rLL=200n"],
            input=text,
            capture_output=True,
            text=True,
        )
        assert (name, done.returncode, done.stderr) == (name, 0, "")
