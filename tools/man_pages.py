#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes a manual page of each command, made of its help.

tools/man_pages.py DIR
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from iavfio import __version__
from iavfio.cli.group import SUMMARIES, group

BARE = "\b"  # click's mark of a paragraph whose lines stay as they are


def commands(
    command: click.Command = group, name: str = "iavfio", above: click.Context | None = None
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Each command with the words that call it and its context, a group before what it has."""
    context = click.Context(command, info_name=name, parent=above)
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            below = command.get_command(context, each)
            assert below is not None
            yield from commands(below, each, context)


def page(path: str, command: click.Command, context: click.Context) -> str:
    """The page of one command, as troff text with the macros of man(7)."""
    title = path.replace(" ", "-")
    usage = " ".join(command.collect_usage_pieces(context))
    summary = SUMMARIES.get(path.partition(" ")[2]) or command.get_short_help_str(200)
    lines = [
        f'.TH "{title.upper()}" "1" "" "iavfio {__version__}" "iavfio"',
        ".SH NAME",
        f"{escaped(title)} \\- {escaped(summary.rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {escaped(path)}",
        escaped(usage),
        ".SH DESCRIPTION",
        *described(command.help or summary),
    ]
    records = [each.get_help_record(context) for each in command.get_params(context)]
    if any(records):
        lines.append(".SH OPTIONS")
        for record in filter(None, records):
            lines += [
                ".TP",
                f".B {escaped(record[0])}",
                escaped(record[1] or "It has no argument."),
            ]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for each in command.list_commands(context):
            lines += [".TP", f".B {escaped(f'{title}-{each}')}(1)"]
            below = command.get_command(context, each)
            assert below is not None
            lines.append(escaped(SUMMARIES.get(each) or below.get_short_help_str(200)))
    if command.epilog:
        lines += [".SH EXAMPLE AND EXIT STATUS", *described(command.epilog)]
    return "\n".join(lines) + "\n"


def described(text: str) -> Iterator[str]:
    """Paragraphs; those that click leaves as they are stay so here."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        lines = [line.rstrip() for line in paragraph.splitlines()]
        if number:
            yield ".PP"
        if lines[0].strip() == BARE:
            yield ".nf"
            yield from (escaped(line, blanks=True) for line in lines[1:])
            yield ".fi"
        else:
            yield escaped(" ".join(line.strip() for line in lines))


def escaped(text: str, blanks: bool = False) -> str:
    """Text that troff prints as it is: nothing in it is a request or an escape."""
    text = text if blanks else " ".join(text.split())
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def write(directory: Path) -> list[Path]:
    """Writes all pages; returns their files."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for path, command, context in commands():
        file = directory / f"{path.replace(' ', '-')}.1"
        file.write_text(page(path, command, context), encoding="utf-8")
        written.append(file)
    return written


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: tools/man_pages.py DIR")
    print(f"{len(write(Path(sys.argv[1])))} pages are in {sys.argv[1]}")
