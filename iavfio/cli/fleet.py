# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio fleet`: one measurement over a fleet of hosts."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from iavfio.arguments import counted
from iavfio.cli import signals
from iavfio.cli.group import Command, Group
from iavfio.cli.outcome import DONE, TROUBLE
from iavfio.cli.printing import note, printing, tell_record, wrapped
from iavfio.cli.progress import Progress
from iavfio.cli.report_file import ReportFile

if TYPE_CHECKING:
    from iavfio.bench.ndr import Trial
    from iavfio.fleet.fleet import Fleet
    from iavfio.fleet.ndr import Tell
    from iavfio.fleet.plan import FleetPlan

NEEDS = ("iavfio.fleet.records", "iavfio.fleet.words", "iavfio.opening")
STATUS = (
    "Exit status: 0 {done}; 1 {not_done}, a host failed, or the engine is not installed or not "
    "reached; 2 wrong use; 130 after Ctrl-C and 143 after SIGTERM, with the summary."
)
PLAN = click.argument("path", metavar="PLAN", type=click.Path(exists=True, dir_okay=False))
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no more.")
PREFLIGHT = click.option(
    "--no-preflight",
    is_flag=True,
    help="Do not send a few frames from every sender first, to see whether they arrive.",
)
FILE = click.Path(dir_okay=False, writable=True)


@click.group("fleet", cls=Group, example="iavfio fleet bench plan.toml")
def command() -> None:
    """Measure over a fleet of hosts: some send, others receive, and the sums are of all.

    \b
    iavfio fleet bench PLAN
    iavfio fleet ndr PLAN
    """


@command.command(
    "bench",
    cls=Command,
    needs=NEEDS,
    status="Example: iavfio fleet bench plan.toml. "
    + STATUS.format(done="all that was sent arrived", not_done="more was lost than max_loss"),
)
@PLAN
@PREFLIGHT
@JSON
def bench(path: str, no_preflight: bool, as_json: bool) -> int:
    """One run: all senders of PLAN send at one time, and what arrives is compared with it.

    PLAN is a TOML file with tables [engine], [traffic], [goals] and a [[host]] each. Hosts are
    dask workers, of a scheduler that runs or of a cluster that is started for the run.
    """
    from iavfio.bench.report import console
    from iavfio.fleet.read import read_plan
    from iavfio.fleet.records import bench_record
    from iavfio.fleet.words import bench_lines, bench_table

    plan = read_plan(path)
    with ExitStack() as stack:
        fleet = _open(stack, plan, no_preflight)
        with Progress() as progress:
            done = fleet.run(progress=lambda _: progress.begin("run", _doing(plan)))
            progress.end("the run is over")
        if done.interrupted is None:
            fleet.compare_clocks()
        record = bench_record(fleet, done)
        if as_json:
            tell_record(record)
        else:
            with printing():
                out = console()
                out.print(bench_table(record, out.width))
                for line in bench_lines(fleet, done, record):
                    out.print(line, highlight=False, markup=False, soft_wrap=True)
        for text in (*record.notes, *record.reasons):
            note(wrapped(f"iavfio: {text}"))
    if done.interrupted is not None:
        return signals.status(done.interrupted)
    return DONE if done.sound else TROUBLE


@command.command(
    "ndr",
    cls=Command,
    needs=(*NEEDS, "iavfio.bench.ndr_page"),
    status="Example: iavfio fleet ndr plan.toml --html ndr.html. "
    + STATUS.format(done="a rate was found for every size", not_done="none was"),
)
@PLAN
@click.option(
    "--csv", "csv_file", type=FILE, metavar="FILE", help="Write a row for each size and goal."
)
@click.option(
    "--html", "html_file", type=FILE, metavar="FILE", help="Write a page with plots and all trials."
)
@PREFLIGHT
@JSON
def ndr(
    path: str, csv_file: str | None, html_file: str | None, no_preflight: bool, as_json: bool
) -> int:
    """Find the highest rate of all senders together at which nothing is lost, by frame size.

    The search is that of iavfio ndr, with the goals of PLAN. A trial in which a host fails is told
    and made again when the host is back; when it does not come back, the search ends.
    """
    from iavfio.bench.ndr_page import as_html
    from iavfio.bench.ndr_report import as_csv, lines, table
    from iavfio.bench.report import console
    from iavfio.fleet.ndr import FleetSearch
    from iavfio.fleet.read import read_plan
    from iavfio.fleet.records import ndr_record
    from iavfio.fleet.words import clock_lines, failure_lines

    plan = read_plan(path)
    csv, html = ReportFile(csv_file, "--csv"), ReportFile(html_file, "--html")
    with ExitStack() as stack:
        fleet = _open(stack, plan, no_preflight)
        with Progress() as progress:
            search = FleetSearch(fleet, _teller(progress))
            search.run()
        record = ndr_record(search)
        if as_json:
            tell_record(record)
        else:
            with printing():
                out = console()
                if record.report.sizes:
                    out.print(table(record.report, out.width))
                for line in (
                    *lines(record.report),
                    *clock_lines(record.members),
                    *failure_lines(record.failures),
                ):
                    out.print(line, highlight=False, markup=False, soft_wrap=True)
        hurried = search.interrupted is not None
        written = csv.write(lambda: as_csv(record.report), hurried)
        written &= html.write(lambda: as_html(record.report), hurried)
    if search.interrupted is not None:
        note("iavfio: ended early: searches that were not finished are left out")
        return signals.status(search.interrupted)
    if search.lost is not None:
        note(wrapped(f"iavfio: {search.lost}"))
        return TROUBLE
    failed = [each for each in record.report.sizes if each.throughput is None]
    for each in failed:
        note(wrapped(f"iavfio: {each.size} bytes: no rate was carried: {each.limit}"))
    return TROUBLE if failed or not written else DONE


def _open(stack: ExitStack, plan: FleetPlan, no_preflight: bool) -> Fleet:
    """The fleet of a plan, ready to measure."""
    from iavfio.bench.provenance import commit
    from iavfio.fleet.fleet import Fleet, engine_of

    commit()  # no program is started for the record after a signal

    for name in ("distributed", "asyncssh"):  # what is worth a word, the report has
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with Progress() as progress:
        progress.begin("fleet", f"opening the ports of {counted(len(plan.hosts), 'host')}")
        fleet = stack.enter_context(Fleet(plan, engine_of(plan)))
        if not no_preflight:
            fleet.preflight()
        progress.end(f"the ports of {counted(len(plan.hosts), 'host')} are open")
    return fleet


def _doing(plan: FleetPlan) -> str:
    senders = sum(host.sends for host in plan.hosts)
    receivers = sum(host.receives for host in plan.hosts)
    return f"{counted(senders, 'sender')}, {counted(receivers, 'receiver')}, {plan.duration:g} s"


def _teller(progress: Progress) -> Tell:
    def tell(size: int, rate: float, trial: Trial | None, failed: str) -> None:
        at = f"{rate:.0f} packets a second" if rate else "as fast as possible"
        if trial is None:
            progress.begin(f"{size} bytes", at)
        else:
            progress.end(f"{size} bytes, {at}: {failed or 'carried'}")

    return tell
