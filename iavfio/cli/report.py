# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio report`: what is done with reports of measurements."""

from __future__ import annotations

import click

from iavfio.cli.group import Command, Group
from iavfio.cli.options import Number, Word
from iavfio.cli.outcome import DONE, TROUBLE
from iavfio.cli.printing import printing, tell_record
from iavfio.ranges import WORSE

FILE = click.Path(exists=True, dir_okay=False)
METRICS = ("throughput", "loss", "latency", "burst")


@click.group("report", cls=Group, example="iavfio report diff before.json after.json")
def command() -> None:
    """Compare reports of ndr and bench, of one host or of a fleet."""


@command.command(
    "diff",
    cls=Command,
    needs=("iavfio.bench.comparison_report", "iavfio.bench.comparison", "iavfio.bench.report"),
    epilog="Example: iavfio report diff before.json after.json --worse 3. Exit status: 0 nothing "
    "is worse by more than --worse percent; 1 something is, or a file cannot be read; 2 wrong use, "
    "also a file that is no report, or two with nothing in common; 130 Ctrl-C; 143 SIGTERM.",
)
@click.argument("old", type=FILE, metavar="OLD")
@click.argument("new", type=FILE, metavar="NEW")
@click.option(
    "--worse",
    type=Number(WORSE, "PERCENT"),
    default=5.0,
    show_default=True,
    help="Percent by which a figure may be worse.",
)
@click.option(
    "--only",
    type=Word(METRICS),
    multiple=True,
    help="Compare these figures only: throughput, loss, latency, burst. May be given several "
    "times.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object ('iavfio schema report').",
)
def diff(old: str, new: str, worse: float, only: tuple[str, ...], as_json: bool) -> int:
    """Compare two reports, OLD and NEW, which --json of one command wrote: iavfio ndr, iavfio
    bench, iavfio fleet ndr or iavfio fleet bench.

    Throughput, loss, latencies and bursts of each frame size are compared: the ratio of the new to
    the old, and between which two it lies by the spread of the runs, the search's precision or the
    width of a latency's bucket. What was not measured alike (device, CPU, kernel, version, code
    path, settings) is told.
    """
    from iavfio.bench.comparison import compare, read_report
    from iavfio.bench.comparison_report import lines, table
    from iavfio.bench.report import console

    record = compare(read_report(old), read_report(new), worse, only or METRICS)
    if as_json:
        tell_record(record)
    else:
        with printing():
            out = console()
            out.print(table(record, out.width))
            for line in lines(record):
                out.print(line, highlight=False, markup=False, soft_wrap=True)
    return TROUBLE if record.worse else DONE
