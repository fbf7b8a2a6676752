# SPDX-License-Identifier: BSD-3-Clause
"""A comparison of two reports as text, as wide as the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from iavfio.arguments import counted
from iavfio.bench.ndr_report import NARROW, NOT_A_CARD
from iavfio.bench.records import ComparisonRecord, MetricRecord

NAMES = {
    "cpu": "CPU",
    "cpus": "CPUs of the process",
    "kernel": "Linux",
    "iavfio": "iavfio",
    "isa": "code path",
    "ip_version": "IP version",
    "trial_seconds": "seconds a trial",
    "confirming_trials": "trials that decide",
    "exceed_ratio": "share of them that may fail",
}
ONE_IS_SOFTWARE = (
    "One of the two is of a software VF, the other is not: the difference is that of the devices."
)


def table(record: ComparisonRecord, width: int) -> Table:
    """Returns a row for each figure that both reports have."""
    shown = Table(title=f"{record.kind}: {record.old} and {record.new}")
    wide = width >= NARROW
    shown.add_column("size", overflow="fold")
    shown.add_column("what", overflow="fold")
    for heading in ("old", "new", "ratio", "its spread") if wide else ("ratio",):
        shown.add_column(heading, justify="right")
    shown.add_column("verdict", overflow="fold")
    for row in record.metrics:
        cells = [row.size, f"{row.name}, {row.unit}" if wide else row.name]
        ratio = "-" if row.ratio is None else f"{row.ratio:.3f}"
        cells += [_figure(row.old), _figure(row.new), ratio, _spread(row)] if wide else [ratio]
        shown.add_row(*cells, _verdict(row))
    return shown


def lines(record: ComparisonRecord) -> Iterator[str]:
    """The lines below the table: what was measured otherwise, and what is worse."""
    for difference in record.differences:
        name = NAMES.get(difference.what, difference.what)
        yield f"measured otherwise: {name}: {difference.old} and {difference.new}"
    for side, labels in (("old", record.only_old), ("new", record.only_new)):
        if labels:
            yield f"only in the {side} one: {'; '.join(labels)}"
    bad = [row for row in record.metrics if row.verdict == "worse"]
    if bad:
        yield (
            f"worse by more than {record.worse_percent:g} %: {counted(len(bad), 'figure')} "
            f"of {len(record.metrics)}"
        )
    else:
        yield f"nothing is worse by more than {record.worse_percent:g} %"
    if all(record.software_device):
        yield NOT_A_CARD
    elif any(record.software_device):
        yield ONE_IS_SOFTWARE


def _figure(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:,.0f}" if value >= 100 else f"{value:.4g}"


def _spread(row: MetricRecord) -> str:
    if row.ratio_least is None or row.ratio_most is None:
        return "-"
    return f"{row.ratio_least:.3f} to {row.ratio_most:.3f}"


def _verdict(row: MetricRecord) -> str:
    within = row.within_spread and row.verdict != "same"
    return f"{row.verdict}, within the spread" if within else row.verdict
