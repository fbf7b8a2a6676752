# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio ndr`: the most that a way carries without loss."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from iavfio.cli import report_file, signals
from iavfio.cli.group import Command
from iavfio.cli.options import FrameSizes, Number, Vf
from iavfio.cli.outcome import DONE, TROUBLE
from iavfio.cli.printing import note, printing, tell_record, wrapped
from iavfio.cli.progress import Progress
from iavfio.cli.run_ports import check_targets, open_ports, run_options
from iavfio.cli.runtime_dir import runtime_dir_option
from iavfio.ranges import PRECISION, RATE, SECONDS, SHARE

if TYPE_CHECKING:
    from iavfio.bench.ndr import Rule, Trial
    from iavfio.bench.plan import Plan
    from iavfio.bench.records import NdrRecord, SizeRecord
    from iavfio.port.port import Port

SIZES = "64,128,256,512,1024,1280,1518"  # RFC 2544, 9.1
AGAIN = 3  # times that a trial is repeated in which a VF was reset
FILE = click.Path(dir_okay=False, writable=True)


@click.command(
    "ndr",
    cls=Command,
    needs=(
        "iavfio.bench.ndr_report",
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
    default=SIZES,
    show_default=True,
    metavar="N[,N...]",
    help="Frame sizes with FCS, one search each.",
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
    type=Number(SHARE),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Share of packets that a trial may lose; above 0 it is a partial-drop rate.",
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
@click.option("--csv", "csv_file", type=FILE, metavar="FILE", help="Write a row for each size.")
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
    asked could be sent. Latency is that of every packet of the best trial.
    """
    from iavfio.bench.ndr_report import as_csv, as_html, lines, table
    from iavfio.bench.report import console
    from iavfio.port.bounds import HURRY

    check_targets("ndr", targets)
    report_file.check(options["csv_file"], "--csv")
    report_file.check(options["html_file"], "--html")
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
        written = report_file.write(options["csv_file"], "--csv", lambda: as_csv(record))
        written &= report_file.write(options["html_file"], "--html", lambda: as_html(record))
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

        self._targets, self._options = targets, options
        self._sizes = list(dict.fromkeys(options["sizes"]))
        self._plan = self._first_plan()
        self._found: list[SizeRecord] = []
        self.rule: Rule = Rule(options["max_loss"], options["precision"])
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
        from iavfio.bench.ndr import RESET, loss_curve, search
        from iavfio.bench.ndr_report import size_record

        def measure(rate: float) -> Trial:
            at = f"{rate:.0f} packets a second" if rate else "as fast as possible"
            progress.begin(f"{size} bytes", at)
            trial = self._trial(size, rate)
            for _ in range(AGAIN):
                if RESET not in trial.wrong:
                    break
                trial = self._trial(size, rate)
            outcome = self.rule.why_failed(trial) or "carried"
            progress.end(f"{size} bytes, {at}: {outcome}")
            return trial

        found = search(measure, self.rule, self._options["max_rate"])
        most = max(trial.asked or trial.pps for trial in found.trials)
        curve = loss_curve(measure, most) if self._options["curve"] and most else ()
        return size_record(size, found, curve, self.rule)

    def _trial(self, size: int, rate: float) -> Trial:
        from iavfio.bench.ndr import Trial, plan_of
        from iavfio.bench.run import run

        result = run(plan_of(self._plan, size, rate), self.ports)
        if result.interrupted is not None:
            raise result.interrupted
        return Trial.of(result)

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
            max_loss=self.rule.max_loss,
            precision=self.rule.precision,
            sizes=self._found,
            interrupted=self.interrupted is not None,
            provenance=origin,
        )
