# SPDX-License-Identifier: BSD-3-Clause
"""No-drop rates as a table for a terminal, CSV, and a page that needs nothing but a browser."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterator, Sequence

from rich.table import Table

from iavfio.bench.ndr import Found, Rule, Trial
from iavfio.bench.records import LatencyRecord, NdrRecord, SizeRecord, TrialRecord
from iavfio.datapath.latency import PERCENTILES

NARROW = 72
NOT_A_CARD = "A software VF was measured: these numbers say nothing of a card."
COLUMNS = (
    "size",
    "pps",
    "gbps",
    "line_share",
    "sent",
    "lost",
    "least_ns",
    *(f"p{p:g}_ns" for p in PERCENTILES),
    "most_ns",
    "limit",
)


def size_record(size: int, found: Found, curve: Sequence[Trial], rule: Rule) -> SizeRecord:
    """Returns what was found with frames of one size."""
    return SizeRecord(
        size=size,
        throughput=None if found.best is None else trial_record(found.best, rule),
        limit=found.limit,
        trials=[trial_record(trial, rule) for trial in found.trials],
        curve=[trial_record(trial, rule) for trial in curve],
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


def table(record: NdrRecord, width: int) -> Table:
    """Returns a row for each frame size."""
    shown = Table(title=f"no-drop rate, at most {record.max_loss:g} lost, {record.isa} path")
    wide = width >= NARROW
    latencies = ("p50 us", "p99 us", "max us") if wide else ("p99 us",)
    for heading in ("size", "pps", *(("Gbit/s", "of line") if wide else ()), *latencies):
        shown.add_column(heading, justify="right")
    for each in record.sizes:
        best = each.throughput
        if best is None:
            shown.add_row(str(each.size), "none")
            continue
        cells = [str(each.size), f"{best.pps:.0f}"]
        if wide:
            share = "-" if best.line_share is None else f"{best.line_share:.1%}"
            cells += [f"{best.gbps:.3f}", share, _us(best, "50")]
        cells.append(_us(best, "99"))
        if wide:
            cells.append(f"{best.latency.most_ns / 1000:.1f}")
        shown.add_row(*cells)
    return shown


def lines(record: NdrRecord) -> Iterator[str]:
    """The lines below the table: what limited each size, its loss curve, and where this is from."""
    for each in record.sizes:
        yield f"{each.size} bytes: {len(each.trials)} trials; limit: {each.limit}"
        for trial in each.curve:
            yield (
                f"  {trial.pps:.0f} packets a second: lost {trial.lost} of {trial.sent} "
                f"({trial.loss_share:.4%})"
            )
    origin = record.provenance
    yield f"on {origin['cpu']}, Linux {origin['kernel']}, {origin['commit']}"
    if record.software_device:
        yield NOT_A_CARD


def as_csv(record: NdrRecord) -> str:
    """Returns a row for each size under COLUMNS; empty cells where no rate was carried."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in record.sizes:
        best = each.throughput
        if best is None:
            writer.writerow([each.size, *[""] * (len(COLUMNS) - 2), each.limit])
            continue
        latency = best.latency
        writer.writerow(
            [
                each.size,
                best.pps,
                best.gbps,
                "" if best.line_share is None else best.line_share,
                best.sent,
                best.lost,
                latency.least_ns,
                *latency.percentiles_ns.values(),
                latency.most_ns,
                each.limit,
            ]
        )
    return out.getvalue()


def as_html(record: NdrRecord) -> str:
    """Returns a whole page, with its plots as SVG: it loads nothing."""
    body = [f"<h1>No-drop rate of {html.escape(' and '.join(record.ports))}</h1>"]
    if record.software_device:
        body.append(f"<p class=mark>{NOT_A_CARD}</p>")
    body += [_throughput_plot(record), _results(record)]
    for each in record.sizes:
        body.append(f"<h2>{each.size} bytes</h2><p>Limit: {html.escape(each.limit)}.</p>")
        if each.throughput is not None:
            body.append(_latency_plot(each.throughput.latency))
        body.append(_trials("Trials of the search", each.trials))
        if each.curve:
            body.append(_trials("Loss by rate", each.curve))
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
WIDTH, BAR, LEFT = 720, 26, 90


def _throughput_plot(record: NdrRecord) -> str:
    rates = [each.throughput.pps if each.throughput else 0.0 for each in record.sizes]
    bars = [
        (f"{each.size} bytes", rate, f"{rate:,.0f} pps")
        for each, rate in zip(record.sizes, rates, strict=True)
    ]
    return _bars("rate by frame size", "#2a6f97", bars)


def _latency_plot(latency: LatencyRecord) -> str:
    points = [("least", latency.least_ns)]
    points += [(f"p{name}", value) for name, value in latency.percentiles_ns.items()]
    points.append(("longest", latency.most_ns))
    bars = [(name, value, f"{value / 1000:,.1f} us") for name, value in points]
    return _bars("latency", "#bc6c25", bars)


def _bars(label: str, colour: str, bars: Sequence[tuple[str, float, str]]) -> str:
    """A plot of bars, each with its name, length and text, on a scale that begins at 0."""
    most = max((length for _, length, _ in bars), default=0.0) or 1.0
    height = BAR * len(bars) + 10
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">']
    for row, (name, value, text) in enumerate(bars):
        y, length = BAR * row + 5, (WIDTH - LEFT - 130) * value / most
        parts.append(
            f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{name}</text>'
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 8}" fill="{colour}"/>'
            f'<text x="{LEFT + length + 6:.1f}" y="{y + 14}">{text}</text>'
        )
    return "".join([*parts, "</svg>"])


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
                _us(best, "50"),
                _us(best, "99"),
                f"{best.latency.most_ns / 1000:.1f}",
            )
        )
    return _html_table(head, rows)


def _trials(title: str, trials: Sequence[TrialRecord]) -> str:
    rows = [
        (
            f"{trial.asked_pps:,.0f}" if trial.asked_pps else "as fast as possible",
            f"{trial.pps:,.0f}",
            f"{trial.sent:,}",
            f"{trial.lost:,}",
            f"{trial.loss_share:.4%}",
            trial.failed or "carried",
        )
        for trial in trials
    ]
    head = ("asked packets/s", "sent packets/s", "sent", "lost", "loss", "outcome")
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
        ("seconds a trial", f"{record.trial_seconds:g}"),
        ("largest loss, precision", f"{record.max_loss:g}, {record.precision:g}"),
    ]
    return "<h2>Where this is from</h2>" + _html_table(("what", "value"), rows)


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def _us(trial: TrialRecord, percentile: str) -> str:
    return f"{trial.latency.percentiles_ns[percentile] / 1000:.1f}"
