# SPDX-License-Identifier: BSD-3-Clause
"""What a command prints: lines on stdout that arrive or are told to be lost, remarks on stderr."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from iavfio.cli import failure
from iavfio.cli.streams import discard_output
from iavfio.errors import IavfioError

USUAL = 80  # columns


@contextmanager
def printing() -> Iterator[None]:
    """Inside, a command prints on stdout; what was printed is written when it is left.

    A reader that is gone, such as head, ends the printing and not the command, which still has an
    exit status to find. Raises IavfioError when stdout takes nothing, because a disk is full.
    """
    try:
        yield
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # rich makes the one of the other
        discard_output()
    except OSError as error:
        discard_output()
        raise unwritable(error) from error


def unwritable(error: OSError) -> IavfioError:
    """What to say when stdout takes nothing."""
    code = errno.errorcode.get(error.errno or 0, "no number")
    return IavfioError(
        "the output is not written whole: stdout takes no more",
        f"{error.strerror or error} ({code})",
        "make room where it goes to, or send it elsewhere, and run the command again",
    )


def tell(text: str) -> None:
    """Prints a line on stdout; see `printing`."""
    with printing():
        click.echo(text)


def note(text: str, nl: bool = True) -> None:
    """Prints a line on stderr, where there is one: that it is full or closed stops nothing."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True, nl=nl)


def wrapped(text: str) -> str:
    """A message for stderr, as wide as the terminal or $COLUMNS.

    Lines are broken at blanks, so that a path or a word stays whole. Without a terminal a program
    reads the message: nothing is broken then but for a $COLUMNS that is narrower than usual, and
    that between items and clauses.
    """
    width, terminal = _width(2, sys.stderr is sys.__stderr__), os.isatty(2)
    if not width or not (terminal or width < USUAL):
        return text
    lines = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        if len(line) <= width:
            lines.append(line)
        elif terminal:
            lines += _fill(line, width, indent)
        else:
            lines += _fill_clauses(line, width, indent)
    return "\n".join(lines)


def definition(name: str, text: str) -> str:
    """A line of a list on stdout, `name` and what it means, as wide as the terminal or $COLUMNS."""
    width = _width(1, sys.stdout is sys.__stdout__)
    if not width:
        return f"{name:20} {text}"
    if width < 60:
        return "\n".join([name, *_fill(f"  {text}", width, "  ")])
    return "\n".join(_fill(f"{name:20} {text}", width, " " * 21))


def paragraph(text: str) -> str:
    """Lines for stdout, as wide as the terminal or $COLUMNS; a broken one goes on further in."""
    width = _width(1, sys.stdout is sys.__stdout__)
    if not width:
        return text
    lines = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        lines += [line] if len(line) <= width else _fill(line, width, indent)
    return "\n".join(lines)


def _fill(line: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _fill_clauses(line: str, width: int, indent: str) -> list[str]:
    lines = [""]
    for clause in re.split(r"(?<=[,;:]) ", line):
        longer = f"{lines[-1]} {clause}" if lines[-1].strip() else f"{lines[-1]}{clause}"
        if len(longer) <= width or not lines[-1].strip():
            lines[-1] = longer
        else:
            lines.append(f"{indent}{clause}")
    return [part for each in lines for part in _fill(each, width, f"{indent}  ")]


def _width(fd: int, own: bool) -> int:
    """Columns of what `fd` writes to, 0 where nobody says: a stream that is not the process's `own`
    goes to a program, such as a test.
    """
    if not own:
        return 0
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdecimal() and len(columns) < 6 and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(fd).columns
    except OSError:
        return 0


def tell_record(record: Any) -> None:
    """Prints a record on stdout as a JSON object; a failure that follows prints no other."""
    with printing():
        click.echo(json_text(record))
    failure.told()


def tagged(kind: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The object of a record type with these fields, headed by the name of its schema."""
    return {"schema": kind.__struct_config__.tag} | dict(fields)


def json_text(record: Any) -> str:
    """Returns a record of a versioned schema as one JSON object, indented."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(record)).decode()
