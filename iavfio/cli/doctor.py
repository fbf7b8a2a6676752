# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio doctor`: what of this host keeps VFs from working, or from working fast."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from iavfio.cli import candidates
from iavfio.cli.group import Command
from iavfio.cli.options import Number
from iavfio.cli.outcome import DONE, TROUBLE
from iavfio.cli.printing import note, paragraph, tell, tell_record, wrapped
from iavfio.cli.runtime_dir import runtime_dir_option
from iavfio.ranges import GBIT

if TYPE_CHECKING:
    from iavfio.doctor import Change, Finding, Host, Report

STATUS = (
    "Example: iavfio doctor 0000:3b:01.0. Exit status: 0 nothing was found, or notes only; 1 an "
    "error or a warning is left, or a change failed; 2 wrong use, also a device or port that does "
    "not exist; 130 Ctrl-C; 143 SIGTERM."
)


@click.command("doctor", cls=Command, needs=("iavfio.doctor",), status=STATUS)
@click.argument(
    "target",
    metavar="[BDF|PORT]",
    required=False,
    shell_complete=candidates.port_or_function,
)
@click.option("--fix", "fixing", is_flag=True, help="Mend what can be put back; asks for each.")
@click.option("-y", "--yes", is_flag=True, help="With --fix: do not ask.")
@click.option("--undo", "undoing", is_flag=True, help="Put back what --fix changed in this boot.")
@click.option("-n", "--dry-run", is_flag=True, help="With --fix, --undo: show, change nothing.")
@click.option(
    "--rate",
    type=Number(GBIT, "GBIT"),
    help="Rate that the PCIe slot must carry, in Gbit/s; by default the speed of the PF's link.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object; see 'iavfio schema doctor'."
)
@runtime_dir_option
def command(
    target: str | None,
    fixing: bool,
    yes: bool,
    undoing: bool,
    dry_run: bool,
    rate: float | None,
    as_json: bool,
) -> int:
    """Name what of this host keeps VFs from working or from working fast, each with its command.

    Without an argument all VFs that vfio-pci has are looked at; with a PCI address or interface
    that one, with the name of a running port also the CPUs of its workers. Nothing is opened or
    disturbed. No root is needed: what could not be read is said. For a port whose packets vanish,
    iavfio why PORT looks at the traffic.
    """
    _check(fixing, yes, undoing, dry_run, as_json, target)
    if undoing:
        return _undo(dry_run, as_json)
    host, bdfs = _named(target, rate)
    from iavfio.doctor import examine

    report = examine(host, bdfs)
    changes: list[Change] = []
    if fixing:
        if not as_json:
            _tell_findings(report)
        changes = _fix(host, report, yes, dry_run, as_json)
        if changes and not dry_run:
            report = examine(_named(target, rate)[0], bdfs)
    if as_json:
        _tell_json(target, report, changes, host)
    elif not fixing:
        _tell_findings(report)
        _tell_rest(target, report, host)
    elif changes and not dry_run:
        left = sum(finding.hinders for finding in report.findings)
        tell(f"errors and warnings left: {left}; to put all back: iavfio doctor --undo")
    return TROUBLE if report.hindered else DONE


def _check(
    fixing: bool, yes: bool, undoing: bool, dry: bool, as_json: bool, target: str | None
) -> None:
    if fixing and undoing:
        raise click.UsageError("--fix and --undo are opposites: give one of them")
    if undoing and target is not None:
        raise click.UsageError("--undo takes no BDF or PORT: it puts back all that --fix changed")
    if yes and not fixing:
        raise click.UsageError("--yes needs --fix")
    if dry and not fixing and not undoing:
        raise click.UsageError("--dry-run needs --fix or --undo: without them nothing is changed")
    if fixing and not yes and not dry and (as_json or not sys.stdin.isatty()):
        raise click.UsageError(
            "--fix asks before each change, and nobody can answer here: add --yes or --dry-run"
        )


def _named(target: str | None, rate: float | None) -> tuple[Host, list[str] | None]:
    """The host as it is looked at for a target, and the functions; None: all."""
    from iavfio.doctor import Host
    from iavfio.doctor.target import find

    return find(Host(wanted_gbit=rate), target)


def _tell_findings(report: Report) -> None:
    for finding in report.findings:
        tell(paragraph(str(finding)))
    if not report.findings:
        tell(paragraph("nothing was found that keeps VFs from working, or from working fast"))


def _tell_rest(target: str | None, report: Report, host: Host) -> None:
    from iavfio.doctor.facts import host_facts, versions

    facts = host_facts(report.devices, host.tree)
    for bdf in report.devices:
        pf = versions(facts.get(bdf, {}))
        tell(paragraph(f"looked at: {bdf}{f', its PF: {pf}' if pf else ''}"))
    if not report.devices:
        tell("looked at: the host only")
    for what, why in report.unread.items():
        note(wrapped(f"not read: {what}: {why}"))
    if any("denied" in why.lower() for why in report.unread.values()):
        note("  to see all: sudo iavfio doctor")
    if any(finding.fixable for finding in report.findings):
        note(wrapped("to mend for this boot what can be put back: sudo iavfio doctor --fix"))
    if target and not report.hindered:
        note(f"for packets that vanish: iavfio why {target}")


def _tell_json(target: str | None, report: Report, changes: Sequence[Change], host: Host) -> None:
    from iavfio.doctor.facts import host_facts
    from iavfio.doctor.records import report_record

    record = report_record(target or "", report, changes, host_facts(report.devices, host.tree))
    tell_record(record)


def _fix(host: Host, report: Report, yes: bool, dry: bool, as_json: bool) -> list[Change]:
    from iavfio.doctor import fix
    from iavfio.host import LinuxKernel

    wanted = [each for each in report.findings if each.fixable]
    chosen = wanted if yes or dry else [each for each in wanted if _agreed(each)]
    if not chosen:
        if not as_json:
            tell("there is nothing to change" if not wanted else "nothing was changed")
        return []
    changes = fix(host.tree, LinuxKernel(), chosen, _shown(dry and not as_json), dry=dry)
    for change in () if as_json or dry else changes:
        tell(paragraph(str(change)))
    return changes


def _agreed(finding: Finding) -> bool:
    files = "\n".join(f"  {write}" for write in finding.seen.writes[:4])
    more = len(finding.seen.writes) - 4
    rest = f"\n  and {more} more" if more > 0 else ""
    return click.confirm(f"{finding.name}:\n{files}{rest}\nchange it?", err=True)


def _undo(dry: bool, as_json: bool) -> int:
    from iavfio.doctor import undo
    from iavfio.host import LinuxKernel, Tree

    changes = undo(Tree(), LinuxKernel(), _shown(dry and not as_json), dry=dry)
    if as_json:
        from iavfio.doctor.records import UndoneRecord, changed_records

        record = UndoneRecord(changed_records(changes))
        tell_record(record)
        return DONE
    for change in () if dry else changes:
        tell(paragraph(str(change)))
    if not changes:
        tell("nothing is recorded as changed by iavfio doctor")
    return DONE


def _shown(loud: bool) -> Callable[[str], None]:
    return (lambda line: tell(f"  {line}")) if loud else (lambda line: None)
