# SPDX-License-Identifier: BSD-3-Clause
"""What `iavfio doctor --json` prints, as types: `iavfio schema doctor` is made from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from iavfio.doctor.examination import Report
from iavfio.doctor.fixing import Change
from iavfio.doctor.schemas import REPORT, UNDONE


class FindingRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One finding."""

    name: str
    severity: Literal["error", "warning", "note"]
    device: Annotated[str, Meta(description='PCI address; "": the host')]
    what: str
    cause: str
    remedy: Annotated[str, Meta(description="the command that mends it")]
    fixable: Annotated[bool, Meta(description="whether --fix mends it")]


class ChangedFileRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file that --fix or --undo wrote to."""

    path: str
    before: str
    after: str
    outcome: str


class ReportRecord(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="schema", tag=REPORT
):
    """What was found; with --fix what is left after it."""

    target: Annotated[str, Meta(description='what was named; "": all')]
    hindered: Annotated[bool, Meta(description="whether there is an error or a warning")]
    devices: list[str]
    findings: list[FindingRecord]
    changed: list[ChangedFileRecord]
    unread: Annotated[dict[str, str], Meta(description="what could not be read, and why")]
    facts: Annotated[dict[str, Any], Meta(description="kernel, limits; by address: drivers, PF")]


class UndoneRecord(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="schema", tag=UNDONE
):
    """What --undo did."""

    changed: list[ChangedFileRecord]


def changed_records(changes: Sequence[Change]) -> list[ChangedFileRecord]:
    """Changes as JSON."""
    return [ChangedFileRecord(c.path, c.before, c.after, c.outcome) for c in changes]


def report_record(
    target: str, report: Report, changes: Sequence[Change], facts: dict[str, Any]
) -> ReportRecord:
    """A report as JSON."""
    findings = [
        FindingRecord(
            each.name,
            each.severity,
            each.device,
            each.seen.what,
            each.seen.cause,
            each.seen.remedy,
            each.fixable,
        )
        for each in report.findings
    ]
    return ReportRecord(
        target,
        report.hindered,
        list(report.devices),
        findings,
        changed_records(changes),
        report.unread,
        facts,
    )
