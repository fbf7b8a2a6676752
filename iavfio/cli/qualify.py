# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio qualify`: whether iavfio can be trusted on a card, and how the card is unlike others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from iavfio.cli import signals
from iavfio.cli.devices import Vf
from iavfio.cli.group import Command, Group
from iavfio.cli.options import Number, OutputFile, device_arguments, device_options
from iavfio.cli.outcome import DONE, TROUBLE
from iavfio.cli.printing import note, tell, tell_record, wrapped
from iavfio.cli.private_pf import check_used, personality_option, with_private_vfs
from iavfio.cli.progress import Progress
from iavfio.cli.report_file import ReportFile
from iavfio.cli.runtime_dir import runtime_dir_option
from iavfio.cli.targets import check_distinct
from iavfio.errors import ConfigError
from iavfio.ranges import SOAK

if TYPE_CHECKING:
    from iavfio.qualify.bundle import Bundle
    from iavfio.qualify.outcome import Check, Outcome
    from iavfio.qualify.records import Record
    from iavfio.qualify.vfs import Vfs

STATUS = (
    "Exit status: 0 no check failed; 1 a check failed, or a device or the host did; 2 wrong use; "
    "130 Ctrl-C; 143 SIGTERM, both with a bundle of what was done."
)


JSON = click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")


class TargetsOrCommand(Group):
    """`run` is meant where the first word is no subcommand: iavfio qualify 0000:3b:01.0."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = 0  # of the first word behind --log-level, which may stand before any word
        while at < len(args) and args[at].split("=")[0] == "--log-level":
            at += 1 if "=" in args[at] else 2
        if at < len(args) and args[at] not in (*self.commands, "-h", "--help"):
            args = [*args[:at], "run", *args[at:]]
        return super().parse_args(ctx, args)


@click.group("qualify", cls=TargetsOrCommand, example="iavfio qualify 0000:3b:01.0 0000:3b:01.1")
def command() -> None:
    """Try a card in every way that iavfio uses it, and write down what it does.

    \b
    iavfio qualify [run] VF [VF]
    iavfio qualify show BUNDLE
    iavfio qualify diff BUNDLE BUNDLE
    """


def _names(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> list[str]:
    from iavfio.arguments import nearest
    from iavfio.qualify.checks import NAMES

    chosen = [name.strip() for value in values for name in value.split(",")]
    for name in chosen:
        if name not in NAMES:
            close = nearest(name, NAMES)
            hint = f"did you mean {close}?" if close else f"checks are {', '.join(NAMES)}"
            what = f"there is no check {name!r}" if name else "a check's name is empty"
            raise click.BadParameter(f"{what}; {hint}", context, option)
    return chosen


@command.command(
    "run",
    cls=Command,
    needs=("iavfio.opening", "iavfio.qualify.checks", "iavfio.qualify.results"),
    example="iavfio qualify run 0000:3b:01.0 0000:3b:01.1 -o card.tar",
    status=STATUS,
)
@click.argument("targets", nargs=-1, metavar="VF [VF]", type=Vf())
@click.option(
    "--soak",
    type=Number(SOAK, "SECONDS"),
    default=1800.0,
    show_default=True,
    help="Seconds of verified traffic at the end; 0 = none.",
)
@click.option(
    "--only", multiple=True, callback=_names, metavar="CHECK[,...]", help="Run these checks alone."
)
@click.option(
    "--skip", multiple=True, callback=_names, metavar="CHECK[,...]", help="Leave these checks out."
)
@click.option(
    "-o",
    "--output",
    type=OutputFile(),
    metavar="FILE",
    help="The bundle; by default qualify-DEVICE-TIME.tar in this folder.",
)
@personality_option
@device_options
@JSON
@runtime_dir_option
def run(targets: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Run the checks on one VF, or better on two of one PF, which reach each other by its switch.

    The VFs are reset and carry test traffic: nobody else may use them meanwhile. Example: iavfio
    qualify 0000:3b:01.0 0000:3b:01.1
    """
    from iavfio.bench.provenance import commit
    from iavfio.qualify.bundle import make
    from iavfio.qualify.outcome import FAILED
    from iavfio.qualify.vfs import Vfs

    if not 1 <= len(targets) <= 2:
        raise click.UsageError(
            f"{len(targets)} VFs were named and qualify takes one or two, as in: "
            "iavfio qualify softvf softvf --soak 5"
        )
    check_distinct(targets)
    check_used(targets)
    checks = _chosen(options["only"], options["skip"])
    path = options["output"] or _path(targets[0])
    into = _into(path)
    commit()  # no program is started for the bundle after a signal
    interrupted: KeyboardInterrupt | None = None
    written = True
    outcomes: list[Outcome] = []
    records: list[Record] = []
    bundle: Bundle | None = None
    began = time.monotonic()
    try:
        with ExitStack() as stack:
            wire = "loopback" if targets.count("softvf") == 1 else "none"
            opened = with_private_vfs(stack, targets, options["personality"], wire)
            vfs = Vfs(opened, device_arguments(options, *opened))
            stack.callback(vfs.close)
            vfs.soak = options["soak"]
            records = vfs.records
            _run(vfs, checks, outcomes)
    except KeyboardInterrupt as signal:
        interrupted = signal
    finally:  # whatever ends the run, the bundle of what was done is written
        if records:
            bundle = make(targets, outcomes, records, time.monotonic() - began)
            try:
                written = _write(bundle, path, into, interrupted is not None)
            except KeyboardInterrupt as signal:  # while the reader of a pipe took nothing
                written, interrupted = False, signal
    if bundle is not None:
        _print(bundle, path, as_json, f"; the bundle is {path}" if written else "")
    if interrupted is not None:
        return signals.status(interrupted)
    failed = any(outcome.status == FAILED for outcome in outcomes)
    return TROUBLE if failed or not written else DONE


def _run(vfs: Vfs, checks: Sequence[Check], outcomes: list[Outcome]) -> None:
    """Appends how each check ended, also where a signal ends the run."""
    from iavfio.qualify.outcome import NOT_RUN, Outcome
    from iavfio.qualify.report import line
    from iavfio.qualify.run import qualify

    why = "the run ended early"
    with Progress() as progress:
        vfs.tell = progress.tell
        try:
            for outcome in qualify(vfs, checks, lambda c: progress.begin(c.name, c.shows)):
                outcomes.append(outcome)
                progress.end(line(outcome))
        except KeyboardInterrupt:
            why = "a signal ended the run"
            raise
        finally:
            outcomes += [Outcome(check.name, NOT_RUN, why) for check in checks[len(outcomes) :]]


def _print(bundle: Bundle, path: Path, as_json: bool, made: str = "") -> None:
    from iavfio.qualify.report import table
    from iavfio.qualify.results import results_of

    if as_json:
        tell_record(results_of(bundle, str(path)))
    else:
        tell("\n".join(table(bundle)) + made)


def _chosen(only: list[str], skip: list[str]) -> list[Check]:
    from iavfio.qualify.checks import CHECKS

    chosen = [
        check for check in CHECKS if (not only or check.name in only) and check.name not in skip
    ]
    if not chosen:
        raise click.UsageError("no check is left: --skip names all that --only names")
    return chosen


def _into(path: Path) -> ReportFile | None:
    """The pipe or device that the bundle goes into; a file is replaced by a whole one instead, and
    one that cannot be raises ConfigError.
    """
    from iavfio.qualify.bundle import check_writable

    if path.exists() and not path.is_file():
        return ReportFile(path, "--output")
    check_writable(path)
    return None


def _write(bundle: Bundle, path: Path, into: ReportFile | None, hurried: bool) -> bool:
    """Whether the bundle is written; otherwise the reason is told."""
    if into is not None:
        return into.write(bundle.packed, hurried)
    try:
        bundle.write(path)
    except ConfigError as error:
        note(wrapped(f"iavfio: {error.command_text}"))
        return False
    return True


def _path(target: str) -> Path:
    name = "".join(c if c.isalnum() else "-" for c in target.removeprefix("vfio-user:"))[-40:]
    return Path(f"qualify-{name.strip('-')}-{time.strftime('%Y%m%d-%H%M%S')}.tar")


FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@command.command(
    "show", cls=Command, needs=("iavfio.qualify.report",), example="iavfio qualify show card.tar"
)
@click.argument("bundle", type=FILE)
@JSON
def show(bundle: Path, as_json: bool) -> None:
    """Print the results that a bundle holds."""
    from iavfio.qualify.bundle import Bundle

    _print(Bundle.read(bundle), bundle, as_json)


@command.command(
    "diff",
    cls=Command,
    needs=("iavfio.qualify.comparison",),
    example="iavfio qualify diff before.tar after.tar",
    status="Exit status: 0 no difference; 1 they differ; 2 wrong use, or a file that is no bundle.",
)
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@JSON
def diff(first: Path, second: Path, as_json: bool) -> int:
    """Print what differs between two bundles, FIRST called A and SECOND called B.

    Such as a software VF's and a card's: iavfio qualify diff soft.tar card.tar
    """
    from iavfio.qualify.bundle import Bundle
    from iavfio.qualify.comparison import comparison
    from iavfio.qualify.results import comparison_of

    a, b = Bundle.read(first), Bundle.read(second)
    paths = (str(first), str(second))
    record = comparison_of(a, b, paths)
    if as_json:
        tell_record(record)
    else:
        for text in comparison(a, b, paths):
            tell(text)
    return TROUBLE if record.differences else DONE
