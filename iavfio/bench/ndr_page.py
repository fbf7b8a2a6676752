# SPDX-License-Identifier: BSD-3-Clause
"""No-drop rates as a page that needs nothing but a browser."""

from __future__ import annotations

import html
from collections.abc import Sequence

from iavfio.bench.ndr_report import NOT_A_CARD, most_us, us
from iavfio.bench.records import (
    BackToBackRecord,
    GoalRecord,
    LatencyRecord,
    NdrRecord,
    TrialRecord,
)
from iavfio.notebook import Bars


def as_html(record: NdrRecord) -> str:
    """Returns a whole page, with its plots as SVG: it loads nothing."""
    body = [f"<h1>No-drop rate of {html.escape(' and '.join(record.ports))}</h1>"]
    if record.software_device:
        body.append(f"<p class=mark>{NOT_A_CARD}</p>")
    body += [_throughput_plot(record), _results(record)]
    for each in record.sizes:
        body.append(f"<h2>{each.size} bytes</h2><p>Limit: {html.escape(each.limit)}.</p>")
        body += [f"<p class=mark>Contradictory: {html.escape(note)}.</p>" for note in each.notes]
        body.append(_goals(each.goals))
        if each.throughput is not None and each.throughput.latency.packets:
            body.append(_latency_plot(each.throughput.latency))
        if each.back_to_back is not None:
            body.append(_bursts(each.back_to_back))
        body.append(_trials("Trials of the search", each.trials))
        if each.curve:
            body.append(_trials("Loss by rate", each.curve, 1 + len(each.trials)))
    body.append(_origin(record))
    return _PAGE.replace("BODY", "\n".join(body))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>iavfio: no-drop rate</title>
<meta name="viewport" content="width=device-width">
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:right}
th{border-bottom:1px solid #888}td:last-child,th:last-child{text-align:left}
.mark{background:#fff3cd;border-left:4px solid #e0a800;padding:.5em 1em}
svg{max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#444}
</style></head><body>
BODY
</body></html>
"""


def _throughput_plot(record: NdrRecord) -> str:
    rates = [each.throughput.pps if each.throughput else 0.0 for each in record.sizes]
    bars = [
        (f"{each.size} bytes", rate, f"{rate:,.0f} pps")
        for each, rate in zip(record.sizes, rates, strict=True)
    ]
    return Bars("rate by frame size", bars).svg


def _latency_plot(latency: LatencyRecord) -> str:
    points = [("least", latency.least_ns)]
    points += [(f"p{name}", value) for name, value in latency.percentiles_ns.items()]
    points.append(("longest", latency.most_ns))
    bars = [(name, value, f"{value / 1000:,.1f} us") for name, value in points]
    return Bars("latency", bars, "#bc6c25").svg


def _results(record: NdrRecord) -> str:
    head = ("size", "packets/s", "Gbit/s", "of line", "sent", "lost", "p50 us", "p99 us", "max us")
    rows = []
    for each in record.sizes:
        best = each.throughput
        if best is None:
            rows.append((str(each.size), "none", *[""] * 7))
            continue
        share = "" if best.line_share is None else f"{best.line_share:.2%}"
        rows.append(
            (
                str(each.size),
                f"{best.pps:,.0f}",
                f"{best.gbps:.3f}",
                share,
                f"{best.sent:,}",
                f"{best.lost:,}",
                us(best, "50"),
                us(best, "99"),
                most_us(best),
            )
        )
    return _html_table(head, rows)


def _goals(goals: Sequence[GoalRecord]) -> str:
    rows = [
        (
            f"{goal.max_loss:g}",
            "none" if goal.throughput is None else f"{goal.throughput.pps:,.0f}",
            f"{goal.conditional_pps:,.0f}",
            "yes" if goal.decided else "no",
            goal.limit,
        )
        for goal in goals
    ]
    head = ("may be lost", "packets/s", "conditional throughput", "decided", "limit")
    return "<h3>By goal loss ratio</h3>" + _html_table(head, rows)


def _bursts(burst: BackToBackRecord) -> str:
    bars = [
        ("least", burst.least, f"{burst.least:,} frames"),
        ("average", burst.average, f"{burst.average:,.1f} frames"),
        ("most", burst.most, f"{burst.most:,} frames"),
    ]
    share = "" if burst.line_share is None else f", {burst.line_share:.1%} of line rate"
    held = "not to be seen" if burst.buffer_s is None else f"{burst.buffer_s * 1e6:,.1f} us"
    said = (
        f"{len(burst.frames)} searches, {burst.trials} bursts of up to {burst.tried:,} frames at "
        f"{burst.pps:,.0f} packets/s{share}; standard deviation {burst.deviation:,.1f} frames; "
        f"buffer of the way, corrected: {held}."
    )
    notes = "".join(f"<p class=mark>{html.escape(note)}.</p>" for note in burst.notes)
    plot = Bars("longest burst without loss", bars, "#606c38").svg
    return f"<h3>Back to back</h3>{plot}<p>{html.escape(said)}</p>{notes}"


def _trials(title: str, trials: Sequence[TrialRecord], first: int = 1) -> str:
    rows = [
        (
            str(number),
            f"{trial.asked_pps:,.0f}" if trial.asked_pps else "as fast as possible",
            f"{trial.pps:,.0f}",
            f"{trial.sent:,}",
            f"{trial.lost:,}",
            f"{trial.loss_share:.4%}",
            trial.failed or "carried",
        )
        for number, trial in enumerate(trials, first)
    ]
    head = ("trial", "asked packets/s", "sent packets/s", "sent", "lost", "loss", "outcome")
    return f"<h3>{title}</h3>" + _html_table(head, rows)


def _origin(record: NdrRecord) -> str:
    rows = [(name, str(value)) for name, value in record.provenance.items() if name != "devices"]
    devices = record.provenance["devices"]
    assert isinstance(devices, dict)
    rows += [(name, str(text)) for name, text in devices.items()]
    rows += [
        (
            "queues, ring, burst, flows",
            f"{record.queues}, {record.ring}, {record.burst}, {record.flows}",
        ),
        ("frames", f"UDP in IPv{record.ip_version}"),
        ("seconds a trial", f"{record.trial_seconds:g}"),
        ("largest loss, precision", f"{record.max_loss:g}, {record.precision:g}"),
        (
            "trials that decide, share that may fail",
            f"{record.confirming_trials}, {record.exceed_ratio:g}",
        ),
    ]
    return "<h2>Where this is from</h2>" + _html_table(("what", "value"), rows)


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"
