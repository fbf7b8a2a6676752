# SPDX-License-Identifier: BSD-3-Clause
"""No-drop rates as records, as a table for a terminal, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from rich.table import Table

from iavfio.bench.back_to_back import BackToBack
from iavfio.bench.ndr import Rule, Trial
from iavfio.bench.records import (
    BackToBackRecord,
    GoalRecord,
    LatencyRecord,
    NdrRecord,
    SizeRecord,
    TrialRecord,
)
from iavfio.bench.search import Found, contradictions
from iavfio.datapath.latency import PERCENTILES

NARROW = 72
NOT_A_CARD = "A software VF was measured: these numbers say nothing of a card."
COLUMNS = (
    "size",
    "max_loss",
    "pps",
    "conditional_pps",
    "decided",
    "gbps",
    "line_share",
    "sent",
    "lost",
    "least_ns",
    *(f"p{p:g}_ns" for p in PERCENTILES),
    "most_ns",
    "burst_average",
    "burst_least",
    "burst_most",
    "burst_deviation",
    "limit",
)


def size_record(
    size: int,
    found: Sequence[Found],
    curve: Sequence[Trial] = (),
    bursts: BackToBack | None = None,
) -> SizeRecord:
    """Returns what was found with frames of one size, for each goal.

    The last goal's trials are those of all goals.
    """
    first, trials = found[0], found[-1].trials
    return SizeRecord(
        size=size,
        throughput=None if first.best is None else trial_record(first.best, first.rule),
        limit=first.limit,
        trials=[trial_record(trial, first.rule) for trial in trials],
        curve=[trial_record(trial, first.rule) for trial in curve],
        goals=[_goal_record(each) for each in found],
        notes=list(contradictions([*trials, *curve], first.rule)),
        back_to_back=None if bursts is None else _burst_record(bursts),
    )


def trial_record(trial: Trial, rule: Rule) -> TrialRecord:
    """Returns a trial as it is printed."""
    return TrialRecord(
        asked_pps=round(trial.asked, 3),
        seconds=round(trial.seconds, 6),
        pps=round(trial.pps, 3),
        gbps=round(trial.gbps, 6),
        line_share=None if trial.line_share is None else round(trial.line_share, 6),
        sent=trial.sent,
        lost=trial.loss,
        loss_share=trial.loss_share,
        failed=rule.why_failed(trial),
        latency=LatencyRecord(**trial.latency.as_dict()),
    )


def _goal_record(found: Found) -> GoalRecord:
    return GoalRecord(
        max_loss=found.rule.max_loss,
        throughput=None if found.best is None else trial_record(found.best, found.rule),
        conditional_pps=round(found.conditional_pps, 3),
        decided=found.decided,
        limit=found.limit,
    )


def _burst_record(bursts: BackToBack) -> BackToBackRecord:
    share, buffer_s = bursts.line_share, bursts.buffer_s
    return BackToBackRecord(
        average=round(bursts.average, 3),
        least=min(bursts.frames),
        most=max(bursts.frames),
        deviation=round(bursts.deviation, 3),
        frames=list(bursts.frames),
        tried=bursts.tried,
        trials=sum(each.trials for each in bursts.searches),
        pps=round(bursts.pps, 3),
        line_share=None if share is None else round(share, 6),
        buffer_s=None if buffer_s is None else round(buffer_s, 9),
        notes=list(bursts.notes),
    )


def table(record: NdrRecord, width: int) -> Table:
    """Returns a row for each frame size."""
    version = "" if record.ip_version == 4 else ", IPv6"
    shown = Table(
        title=f"no-drop rate, at most {record.max_loss:g} lost, {record.isa} path{version}"
    )
    wide = width >= NARROW
    more = _more_goals(record) if wide else ()
    bursts = any(each.back_to_back for each in record.sizes)
    latencies = ("p50 us", "p99 us", "max us") if wide else ("p99 us",)
    headings = ["size", "pps", *(("Gbit/s", "of line") if wide else ()), *latencies]
    headings += [f"pps, {loss:g} lost" for loss in more]
    for heading in (*headings, *(("burst",) if bursts else ())):
        shown.add_column(heading, justify="right")
    for each in record.sizes:
        cells = [str(each.size)]
        best = each.throughput
        if best is None:
            cells += ["none", *[""] * (len(headings) - 2 - len(more))]
        else:
            cells.append(f"{best.pps:.0f}")
            if wide:
                share = "-" if best.line_share is None else f"{best.line_share:.1%}"
                cells += [f"{best.gbps:.3f}", share, us(best, "50")]
            cells.append(us(best, "99"))
            if wide:
                cells.append(most_us(best))
        for goal in each.goals[1:] if more else ():
            cells.append("none" if goal.throughput is None else f"{goal.throughput.pps:.0f}")
        if bursts:
            burst = each.back_to_back
            cells.append("" if burst is None else f"{burst.average:.0f}")
        shown.add_row(*cells)
    return shown


def _more_goals(record: NdrRecord) -> tuple[float, ...]:
    """The goal loss ratios after the first."""
    return tuple(goal.max_loss for goal in record.sizes[0].goals[1:]) if record.sizes else ()


def lines(record: NdrRecord) -> Iterator[str]:
    """The lines below the table: what limited each size, its loss curve, and where this is from."""
    for each in record.sizes:
        yield f"{each.size} bytes: {len(each.trials)} trials; limit: {each.limit}"
        for goal in each.goals:
            yield from _goal_lines(goal, record, alone=len(each.goals) == 1)
        for note in each.notes:
            yield f"  contradictory: {note}"
        for trial in each.curve:
            yield (
                f"  {trial.pps:.0f} packets a second: lost {trial.lost} of {trial.sent} "
                f"({trial.loss_share:.4%})"
            )
        if each.back_to_back is not None:
            yield from _burst_lines(each.back_to_back)
    origin = record.provenance
    yield f"on {origin['cpu']}, Linux {origin['kernel']}, {origin['commit']}"
    if record.software_device:
        yield NOT_A_CARD


def _goal_lines(goal: GoalRecord, record: NdrRecord, alone: bool) -> Iterator[str]:
    """What is to be said of a goal beyond the row of the table."""
    best = goal.throughput
    if not alone:
        rate = "no rate" if best is None else f"{best.pps:.0f} packets a second"
        yield (
            f"  at most {goal.max_loss:g} lost: {rate}, conditional throughput "
            f"{goal.conditional_pps:.0f}; limit: {goal.limit}"
        )
    if best is not None and not goal.decided:
        yield (
            f"  at most {goal.max_loss:g} lost: fewer than {record.confirming_trials} trials stand "
            "behind the rate"
        )


def _burst_lines(burst: BackToBackRecord) -> Iterator[str]:
    yield (
        f"  back to back: {burst.average:.1f} frames on average of {len(burst.frames)} searches "
        f"({burst.least} to {burst.most}, deviation {burst.deviation:.1f}), at {burst.pps:.0f} "
        "packets a second"
    )
    if burst.buffer_s is not None:
        yield f"  buffer of the way, corrected: {burst.buffer_s * 1e6:.1f} us"
    for note in burst.notes:
        yield f"  back to back: {note}"


def as_csv(record: NdrRecord) -> str:
    """Returns a row for each size and goal; empty cells where no rate was carried."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for each in record.sizes:
        for goal in each.goals:
            writer.writerow(
                {"size": each.size} | _goal_cells(goal) | _burst_cells(each.back_to_back)
            )
    return out.getvalue()


def _goal_cells(goal: GoalRecord) -> dict[str, object]:
    cells: dict[str, object] = {"max_loss": goal.max_loss, "limit": goal.limit}
    best = goal.throughput
    if best is None:
        return cells
    return cells | {
        "pps": best.pps,
        "conditional_pps": goal.conditional_pps,
        "decided": int(goal.decided),
        "gbps": best.gbps,
        "line_share": "" if best.line_share is None else best.line_share,
        "sent": best.sent,
        "lost": best.lost,
        **_latency_cells(best.latency),
    }


def _latency_cells(latency: LatencyRecord) -> dict[str, object]:
    if not latency.packets:
        return {}
    return {
        "least_ns": latency.least_ns,
        **{f"p{name}_ns": value for name, value in latency.percentiles_ns.items()},
        "most_ns": latency.most_ns,
    }


def _burst_cells(burst: BackToBackRecord | None) -> dict[str, object]:
    if burst is None:
        return {}
    return {
        "burst_average": burst.average,
        "burst_least": burst.least,
        "burst_most": burst.most,
        "burst_deviation": burst.deviation,
    }


def us(trial: TrialRecord, percentile: str) -> str:
    """A percentile of a trial's latency in microseconds; "-" where none was measured."""
    if not trial.latency.packets:
        return "-"
    return f"{trial.latency.percentiles_ns[percentile] / 1000:.1f}"


def most_us(trial: TrialRecord) -> str:
    """The longest latency of a trial in microseconds; "-" where none was measured."""
    return f"{trial.latency.most_ns / 1000:.1f}" if trial.latency.packets else "-"
