# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio journal`: mailbox journals, recorded, printed and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from iavfio.arguments import counted
from iavfio.cli.group import Command, Group
from iavfio.cli.options import Number, OutputFile
from iavfio.cli.outcome import DONE, TROUBLE
from iavfio.cli.printing import note, tell
from iavfio.cli.report_file import ReportFile
from iavfio.errors import IavfioError
from iavfio.ranges import COLUMNS, VF

if TYPE_CHECKING:
    from iavfio.virtchnl.journal import Entry


@click.group("journal", cls=Group, example="iavfio journal show a.jsonl")
def command() -> None:
    """Record, print and compare what drivers say to their PF."""


@command.command(
    "record",
    cls=Command,
    needs=("iavfio.virtchnl.journal",),
    example="iavfio journal record /tmp/pf --vf 0 --output a.jsonl",
)
@click.argument(
    "directory", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR"
)
@click.option(
    "--vf", type=Number(VF), default=0, show_default=True, help="Which VF of the software PF."
)
@click.option(
    "-o",
    "--output",
    type=OutputFile(),
    required=True,
    metavar="FILE",
    help="Where the journal goes; a file that is there is replaced.",
)
def record(directory: Path, vf: int, output: Path) -> int:
    """Save what the driver of a software VF said so far; DIR is that of its sockets.

    Whatever drives the VF (Linux, DPDK, iavfio) is recorded alike: the software PF writes it down.
    """
    if not (directory / "control.sock").exists():
        raise click.BadParameter(
            f"no software VF answers there: {directory} has no control.sock; name the directory "
            "that 'iavfio softvf --socket DIR' serves",
            param_hint="DIR",
        )
    from iavfio.softvf.asking import ask
    from iavfio.virtchnl.journal import Entry

    entries = ask(directory, "journal", vf=vf).get("entries")
    if not isinstance(entries, list):
        raise IavfioError(
            f"what answers at {directory} gives no journal",
            "it is no software PF, or one of another version of iavfio",
            f"see what serves it: ss -xlp src {directory}/control.sock",
        )
    for entry in entries:
        Entry.from_value(entry)  # raises for what `show` would refuse
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    if not ReportFile(output, "--output").write(lambda: text):
        return TROUBLE
    tell(f"{counted(len(entries), 'entry')} in {output}")
    return DONE


@command.command(
    "show",
    cls=Command,
    needs=("iavfio.virtchnl.journal",),
    example="iavfio journal show a.jsonl",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def show(file: Path) -> None:
    """Print a saved journal, decoded."""
    entries = _load(file)
    for entry in entries:
        tell(str(entry))
    if not entries:
        note(f"{file} holds no entry")


@command.command(
    "diff",
    cls=Command,
    needs=("iavfio.virtchnl.journal_diff",),
    example="iavfio journal diff a.jsonl b.jsonl --replies",
    status="Exit status: 0 both are the same; 1 they differ, or there was trouble; 2 wrong use, "
    "also a file that is no journal; 130 Ctrl-C; 143 SIGTERM.",
)
@click.argument("left", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("right", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--replies", is_flag=True, help="Compare the PF's replies too.")
@click.option(
    "--width",
    type=Number(COLUMNS),
    default=56,
    show_default=True,
    help="Columns for each side.",
)
def diff(left: Path, right: Path, replies: bool, width: int) -> int:
    """Print two journals side by side; exit status 1 when they differ.

    "=" the same bytes, "|" the same request with other content, "<" and ">" only one side has it.
    """
    from iavfio.virtchnl.journal_diff import compare, table

    rows = list(compare(_load(left), _load(right), replies=replies))
    tell(table(rows, (left.name, right.name), width))
    return 0 if all(row.same for row in rows) else 1


def _load(file: Path) -> tuple[Entry, ...]:
    from iavfio.virtchnl.journal import Journal

    return Journal.load(file)
