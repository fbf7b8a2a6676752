# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio ndr`: the most that a way carries without loss."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from iavfio.cli import signals
from iavfio.cli.devices import Vf
from iavfio.cli.group import Command
from iavfio.cli.options import FrameSizes, Number, Shares
from iavfio.cli.outcome import DONE, TROUBLE
from iavfio.cli.printing import note, printing, tell_record, wrapped
from iavfio.cli.progress import Progress
from iavfio.cli.report_file import ReportFile
from iavfio.cli.run_ports import check_targets, open_ports, run_options
from iavfio.cli.runtime_dir import runtime_dir_option
from iavfio.ranges import DECIDING, EXCEED, PRECISION, RATE, SEARCHES, SECONDS

if TYPE_CHECKING:
    from iavfio.bench.back_to_back import BackToBack
    from iavfio.bench.ndr import Trial
    from iavfio.bench.plan import Plan
    from iavfio.bench.records import NdrRecord, SizeRecord
    from iavfio.port.port import Port

SIZES = "64,128,256,512,1024,1280,1518"  # RFC 2544, 9.1
SIZES_IPV6 = "84,128,256,512,1024,1280,1518"  # as translation makes 84 bytes of 64 (RFC 8219)
AGAIN = 3  # times that a trial is repeated in which a VF was reset
FILE = click.Path(dir_okay=False, writable=True)


@click.command(
    "ndr",
    cls=Command,
    needs=(
        "iavfio.bench.ndr_page",
        "iavfio.bench.preflight",
        "iavfio.bench.run",
        "iavfio.opening",
        "iavfio.softvf.launch",
    ),
    status="Example: iavfio ndr softvf softvf --size 64 --duration 0.5. Exit status: 0 a rate was "
    "found for every size; 1 none was, or a device failed; 2 wrong use; 130 after Ctrl-C and 143 "
    "after SIGTERM, with what was found by then.",
)
@click.argument("targets", nargs=-1, metavar="VF [VF]", type=Vf())
@click.option(
    "--size",
    "sizes",
    type=FrameSizes(),
    metavar="N[,N...]",
    help=f"Frame sizes with FCS, one search each.  [default: {SIZES}; with --ipv6 84 and not 64]",
)
@click.option(
    "--duration",
    type=Number(SECONDS, "SECONDS"),
    default=2.0,
    show_default=True,
    help="Seconds of a trial. RFC 2544 wants 60 for a result.",
)
@click.option(
    "--max-loss",
    "--goal-loss-ratio",
    "goals",
    type=Shares(),
    default="0",
    show_default=True,
    metavar="SHARES",
    help="Share of packets that a trial may lose; above 0 it is a partial-drop rate. 0,0.005 finds "
    "both in one search.",
)
@click.option(
    "--trials",
    type=Number(DECIDING),
    default=3,
    show_default=True,
    help="Trials that decide about the rate found, and about the next higher one.",
)
@click.option(
    "--exceed-ratio",
    type=Number(EXCEED, "SHARE"),
    default=0.5,
    show_default=True,
    help="Share of them that may fail where the rate counts as carried.",
)
@click.option(
    "--precision",
    type=Number(PRECISION, "SHARE"),
    default=0.005,
    show_default=True,
    help="How near the search comes, as a share of the rate.",
)
@click.option(
    "--max-rate",
    type=Number(RATE),
    default=0.0,
    help="Most packets a second to try, of both VFs together; by default what can be sent.",
)
@click.option(
    "--curve", is_flag=True, help="Also loss at 100 %, 90 % ... of the highest rate that was tried."
)
@click.option(
    "--back-to-back",
    is_flag=True,
    help="Also the longest burst without loss, as fast as can be sent (RFC 2544, 26.4; RFC 9004).",
)
@click.option(
    "--searches",
    type=Number(SEARCHES),
    default=50,
    show_default=True,
    help="Searches for the longest burst, of which the average is told.",
)
@click.option(
    "--csv", "csv_file", type=FILE, metavar="FILE", help="Write a row for each size and goal."
)
@click.option(
    "--html", "html_file", type=FILE, metavar="FILE", help="Write a page with plots and all trials."
)
@run_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@runtime_dir_option
def command(targets: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Find the highest rate at which a way loses nothing, with the latency there.

    Frames go from each VF to the other, or from one back to itself, in trials at rates between what
    was carried and what was not (RFC 2544, 26.1). A trial fails by its loss, or because less than
    asked could be sent. Latency is that of every packet of the best trial. Trials that contradict
    each other are told by their numbers; more trials decide (MLRsearch).
    """
    from iavfio.bench.ndr_page import as_html
    from iavfio.bench.ndr_report import as_csv, lines, table
    from iavfio.bench.report import console
    from iavfio.port.bounds import HURRY

    check_targets("ndr", targets)
    csv = ReportFile(options["csv_file"], "--csv")
    html = ReportFile(options["html_file"], "--html")
    search = _Search(targets, options)
    with ExitStack() as stack:
        search.run(stack)
        record = search.record()
        if as_json:
            tell_record(record)
        elif record.sizes:
            with printing():
                out = console()
                out.print(table(record, out.width))
                for line in lines(record):
                    out.print(line, highlight=False, markup=False, soft_wrap=True)
        hurried = search.interrupted is not None
        written = csv.write(lambda: as_csv(record), hurried)
        written &= html.write(lambda: as_html(record), hurried)
        if search.interrupted is not None:
            note("iavfio: ended early: searches that were not finished are left out")
            for port in search.ports:
                port.close(HURRY)
            return signals.status(search.interrupted)
    failed = [each for each in record.sizes if each.throughput is None]
    for each in failed:
        note(wrapped(f"iavfio: {each.size} bytes: no rate was carried: {each.limit}"))
    return TROUBLE if failed or not written else DONE


class _Search:
    """The searches of all sizes, one after the other, on ports that are opened once."""

    def __init__(self, targets: tuple[str, ...], options: dict[str, Any]) -> None:
        from iavfio.bench.ndr import Rule
        from iavfio.bench.provenance import commit

        commit()  # no program is started for the record after a signal
        self._targets, self._options = targets, options
        self._sizes = list(dict.fromkeys(options["sizes"] or _sizes(options["ipv6"])))
        self._plan = self._first_plan()
        self._found: list[SizeRecord] = []
        self._rules = tuple(
            Rule(loss, options["precision"], options["trials"], options["exceed_ratio"])
            for loss in options["goals"]
        )
        self.ports: list[Port] = []
        self.interrupted: KeyboardInterrupt | None = None

    def _first_plan(self) -> Plan:
        from iavfio.bench.plan import Plan

        options = self._options
        return Plan(
            sizes=tuple(self._sizes),
            duration=options["duration"],
            burst=options["burst"],
            flows=options["flows"],
            latency=True,
            ipv6=options["ipv6"],
            cpus=options["cpus"] or (),
        )

    def run(self, stack: ExitStack) -> None:
        """Opens the ports and searches; `interrupted` says what ended it early."""
        from iavfio.bench.preflight import preflight

        try:
            open_ports(stack, self._targets, self._plan, self._options, self.ports)
            if not self._options["no_preflight"]:
                preflight(self._plan, self.ports)
            with Progress() as progress:
                for size in self._sizes:
                    self._found.append(self._search(size, progress))
        except KeyboardInterrupt as signal:
            self.interrupted = signal

    def _search(self, size: int, progress: Progress) -> SizeRecord:
        from iavfio.bench.ndr import loss_curve
        from iavfio.bench.ndr_report import size_record
        from iavfio.bench.search import search_goals

        def measure(rate: float) -> Trial:
            at = f"{rate:.0f} packets a second" if rate else "as fast as possible"
            progress.begin(f"{size} bytes", at)
            trial = self._trial(size, rate)
            outcome = self._rules[0].why_failed(trial) or "carried"
            progress.end(f"{size} bytes, {at}: {outcome}")
            return trial

        found = search_goals(measure, self._rules, self._options["max_rate"])
        trials = found[-1].trials
        most = max(trial.rate for trial in trials)
        curve = loss_curve(measure, most) if self._options["curve"] and most else ()
        best = found[0].best
        bursts = None
        if self._options["back_to_back"]:
            bursts = self._bursts(
                size,
                max(int(max(trial.pps for trial in trials) * self._plan.seconds), 1),
                0.0 if best is None else best.pps,
                progress,
            )
        return size_record(size, found, curve, bursts)

    def _bursts(self, size: int, most: int, throughput: float, progress: Progress) -> BackToBack:
        """The longest bursts; the longest that is tried lasts as long as a trial."""
        from iavfio.bench.back_to_back import back_to_back, burst_plan

        def measure(frames: int) -> Trial:
            at = f"burst of {frames} frames"
            progress.begin(f"{size} bytes", at)
            trial = self._run(burst_plan(self._plan, size, frames))
            outcome = trial.wrong or (f"{trial.loss} lost" if trial.loss else "carried")
            progress.end(f"{size} bytes, {at}: {outcome}")
            return trial

        searches = self._options["searches"]
        return back_to_back(measure, most, self._rules[0].precision, searches, throughput)

    def _trial(self, size: int, rate: float) -> Trial:
        from iavfio.bench.ndr import plan_of

        return self._run(plan_of(self._plan, size, rate))

    def _run(self, plan: Plan) -> Trial:
        """A trial, made again where a VF was reset in it."""
        from iavfio.bench.ndr import RESET, Trial
        from iavfio.bench.run import run

        for _ in range(1 + AGAIN):
            result = run(plan, self.ports)
            if result.interrupted is not None:
                raise result.interrupted
            trial = Trial.of(result)
            if RESET not in trial.wrong:
                break
        return trial

    def record(self) -> NdrRecord:
        """What was found so far."""
        from iavfio.bench.provenance import provenance
        from iavfio.bench.records import NdrRecord
        from iavfio.bench.run import describe

        origin = provenance({port.name: describe(port) for port in self.ports})
        return NdrRecord(
            software_device=bool(origin["software_device"]),
            ports=[port.name for port in self.ports],
            queues=self._options["queues"],
            ring=self._options["ring"],
            burst=self._plan.burst,
            flows=self._plan.flows,
            isa="/".join(sorted({queue.isa for port in self.ports for queue in port.rx})),
            trial_seconds=self._plan.seconds,
            max_loss=self._rules[0].max_loss,
            precision=self._rules[0].precision,
            sizes=self._found,
            interrupted=self.interrupted is not None,
            provenance=origin,
            ip_version=6 if self._plan.ipv6 else 4,
            confirming_trials=self._rules[0].trials,
            exceed_ratio=self._rules[0].exceed,
        )


def _sizes(ipv6: bool) -> tuple[int, ...]:
    """The sizes of the RFC for an IP version."""
    return tuple(map(int, (SIZES_IPV6 if ipv6 else SIZES).split(",")))
