# SPDX-License-Identifier: BSD-3-Clause
"""Two reports of `iavfio ndr --json` or `iavfio bench --json`, also of a fleet: what became better,
what worse.

What of a report is compared is read here, and nothing else: a report of a newer version, with more
fields, can be compared as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from iavfio.arguments import shown
from iavfio.bench.records import (
    BenchRecord,
    ComparisonRecord,
    DifferenceRecord,
    MetricRecord,
    NdrRecord,
    NothingRecord,
)
from iavfio.errors import ConfigError, IavfioError

METRICS = ("throughput", "loss", "latency", "burst")
LATENCY_ERROR = 1 / 64  # of a latency: how wide a bucket of the distribution is
ADVICE = (
    "write one with --json > FILE: iavfio ndr VF, iavfio bench VF, iavfio fleet ndr PLAN or iavfio "
    "fleet bench PLAN"
)
SETTINGS = (
    *("mode", "isa", "queues", "ring", "burst", "flows", "ip_version"),
    *("trial_seconds", "precision", "confirming_trials", "exceed_ratio"),
)
FLEET_SETTINGS = ("asked_pps", "verify")
ORIGIN = ("cpu", "cpus", "kernel", "iavfio", "commit")


class _Latency(msgspec.Struct):
    packets: int
    most_ns: int
    percentiles_ns: dict[str, int]


class _Trial(msgspec.Struct):
    pps: float
    latency: _Latency


class _Goal(msgspec.Struct):
    max_loss: float
    throughput: _Trial | None


class _Burst(msgspec.Struct):
    average: float
    least: int
    most: int


class _Size(msgspec.Struct):
    size: int
    throughput: _Trial | None
    goals: list[_Goal] = []
    back_to_back: _Burst | None = None


class _Ndr(msgspec.Struct, tag_field="schema", tag=str(NdrRecord.__struct_config__.tag)):
    max_loss: float
    precision: float
    sizes: list[_Size]
    provenance: dict[str, Any]


class _Runs(msgspec.Struct):
    mpps_median: float | None = None
    mpps_least: float | None = None
    mpps_most: float | None = None


class _Bench(msgspec.Struct, tag_field="schema", tag=str(BenchRecord.__struct_config__.tag)):
    mode: str
    mpps: float
    loss_share: float
    sizes: list[int]
    latency: _Latency | None
    provenance: dict[str, Any]
    runs: _Runs | None = None


class _Host(msgspec.Struct):
    provenance: dict[str, Any]


class _FleetBench(msgspec.Struct, tag_field="schema", tag="iavfio.fleet.bench/1"):
    """Of `iavfio.fleet.records`, a room above this one."""

    sizes: list[int]
    pps: float
    loss_share: float
    members: list[_Host]


class _FleetNdr(msgspec.Struct, tag_field="schema", tag="iavfio.fleet.ndr/1"):
    report: _Ndr


class _Nothing(msgspec.Struct, tag_field="schema", tag=str(NothingRecord.__struct_config__.tag)):
    pass


@dataclass(frozen=True)
class Value:
    """A figure of a report, and between which two the true one lies."""

    value: float
    least: float
    most: float

    @classmethod
    def within(cls, value: float, error: float) -> Value:
        """A figure that is right to a share of it."""
        return cls(value, value / (1 + error), value * (1 + error))


@dataclass(frozen=True)
class Metric:
    """What is compared: `size` in bytes, several as "64,1518"; `more`: whether more is better."""

    size: str
    kind: str
    name: str
    unit: str
    more: bool


@dataclass(frozen=True)
class Report:
    """What of a report is compared. A value of None: it was measured, and nothing was carried."""

    path: str
    kind: str
    values: dict[Metric, Value | None]
    settings: dict[str, Any]
    software: bool


def read_report(path: str | Path) -> Report:
    """Reads a report. Raises IavfioError when the file cannot be read, ConfigError for another."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise IavfioError(f"{path} cannot be read", error.strerror or str(error)) from error
    try:
        found = msgspec.json.decode(data, type=_Ndr | _Bench | _FleetBench | _FleetNdr | _Nothing)
        raw = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is no report of ndr or bench", str(error), ADVICE) from None
    if isinstance(found, _Nothing):
        raise ConfigError(
            f"{path} has no measurement", "the bench was ended before its first packet", ADVICE
        )
    if isinstance(found, _FleetBench):
        return _fleet_bench(path, found, raw)
    fleet = isinstance(found, _FleetNdr)
    if isinstance(found, _FleetNdr):
        found, raw = found.report, raw["report"]
    origin = found.provenance
    settings = {name: raw[name] for name in SETTINGS if name in raw}
    settings |= {name: origin[name] for name in ORIGIN if name in origin}
    devices = _devices(origin)
    if devices:
        settings["devices"] = ", ".join(devices)
    ndr = isinstance(found, _Ndr)
    values = dict(_ndr(found) if isinstance(found, _Ndr) else _bench(found))
    software = origin.get("software_device") is True
    kind = ("fleet " if fleet else "") + ("ndr" if ndr else "bench")
    return Report(str(path), kind, values, settings, software)


def _devices(origin: dict[str, Any]) -> list[str]:
    """What plays the devices."""
    devices = origin.get("devices")
    return sorted(map(str, devices.values())) if isinstance(devices, dict) else []


def _fleet_bench(path: str | Path, found: _FleetBench, raw: dict[str, Any]) -> Report:
    """A run over a fleet; it tells no spread, and its hosts have a provenance each."""
    sizes, hosts = _sizes(found.sizes), [each.provenance for each in found.members]
    settings = {name: raw[name] for name in FLEET_SETTINGS if name in raw}
    settings["hosts"] = len(hosts)
    for name in ORIGIN:
        told = [_said(host[name]) for host in hosts if name in host]
        settings |= {name: ", ".join(dict.fromkeys(told))} if told else {}
    settings["devices"] = ", ".join(sorted({each for host in hosts for each in _devices(host)}))
    values: dict[Metric, Value | None] = {
        Metric(sizes, "throughput", "rate", "packets/s", True): Value(*[found.pps] * 3),
        Metric(sizes, "loss", "loss", "of all", False): Value(*[found.loss_share] * 3),
    }
    software = any(host.get("software_device") is True for host in hosts)
    return Report(str(path), "fleet bench", values, settings, software)


def _ndr(report: _Ndr) -> Iterator[tuple[Metric, Value | None]]:
    for each in report.sizes:
        size = str(each.size)
        goals = each.goals or [_Goal(report.max_loss, each.throughput)]
        for goal in goals:
            name = f"throughput, {goal.max_loss:g} lost"
            best = goal.throughput
            value = None
            if best is not None:  # the next rate that was not carried is so much higher
                value = Value(best.pps, best.pps, best.pps * (1 + report.precision))
            yield Metric(size, "throughput", name, "packets/s", True), value
        if each.throughput is not None:
            yield from _latencies(size, each.throughput.latency)
        burst = each.back_to_back
        if burst is not None:
            yield (
                Metric(size, "burst", "longest burst", "frames", True),
                Value(burst.average, burst.least, burst.most),
            )


def _bench(report: _Bench) -> Iterator[tuple[Metric, Value | None]]:
    sizes = _sizes(report.sizes)
    pps, runs = report.mpps * 1e6, report.runs
    value = Value(pps, pps, pps)
    if runs is not None and runs.mpps_median is not None:
        least = runs.mpps_median if runs.mpps_least is None else runs.mpps_least
        most = runs.mpps_median if runs.mpps_most is None else runs.mpps_most
        value = Value(runs.mpps_median * 1e6, least * 1e6, most * 1e6)
    yield Metric(sizes, "throughput", f"rate, {report.mode}", "packets/s", True), value
    loss = report.loss_share
    yield Metric(sizes, "loss", "loss", "of all", False), Value(loss, loss, loss)
    if report.latency is not None:
        yield from _latencies(sizes, report.latency)


def _sizes(sizes: Sequence[int]) -> str:
    return ",".join(map(str, sizes if len(sizes) < 4 else ["mixed"]))


def _latencies(size: str, latency: _Latency) -> Iterator[tuple[Metric, Value | None]]:
    if not latency.packets:
        return
    for name, value in (*latency.percentiles_ns.items(), ("max", latency.most_ns)):
        label = "latency max" if name == "max" else f"latency p{name}"
        yield Metric(size, "latency", label, "ns", False), Value.within(value, LATENCY_ERROR)


def compare(
    old: Report, new: Report, worse: float = 5.0, metrics: Sequence[str] = METRICS
) -> ComparisonRecord:
    """Compares two reports; what is worse by more than `worse` percent is named so.

    `metrics`: which of METRICS count. Raises ConfigError for reports that have nothing in common.
    """
    if old.kind != new.kind:
        raise ConfigError(
            "the two reports cannot be compared",
            f"{old.path} is of iavfio {old.kind}, {new.path} of iavfio {new.kind}",
            "compare two of one command",
        )
    rows = [
        _row(metric, value, new.values[metric], worse)
        for metric, value in old.values.items()
        if metric in new.values and metric.kind in metrics
    ]
    if not rows:
        raise ConfigError(
            "the two reports have nothing in common that was asked for",
            f"{_has(old)}; {_has(new)}",
            "measure the same frame sizes, goals and modes in both",
        )
    return ComparisonRecord(
        kind=old.kind,
        old=old.path,
        new=new.path,
        worse_percent=worse,
        worse=any(row.verdict == "worse" for row in rows),
        metrics=rows,
        only_old=_only(old, new, metrics),
        only_new=_only(new, old, metrics),
        differences=[
            DifferenceRecord(name, _said(old.settings.get(name)), _said(new.settings.get(name)))
            for name in dict.fromkeys([*old.settings, *new.settings])
            if old.settings.get(name) != new.settings.get(name)
        ],
        software_device=[old.software, new.software],
    )


def _row(metric: Metric, old: Value | None, new: Value | None, worse: float) -> MetricRecord:
    ratio = least = most = None
    if old is not None and new is not None and old.value > 0:
        ratio = new.value / old.value
        least = new.least / old.most if old.most else None
        most = new.most / old.least if old.least else None
    return MetricRecord(
        size=metric.size,
        kind=metric.kind,
        name=metric.name,
        unit=metric.unit,
        more_is_better=metric.more,
        old=None if old is None else old.value,
        new=None if new is None else new.value,
        ratio=ratio,
        ratio_least=least,
        ratio_most=most,
        within_spread=ratio is not None and (least or 0.0) <= 1 and (most is None or most >= 1),
        verdict=_verdict(metric.more, old, new, ratio, worse / 100),
    )


def _verdict(
    more: bool, old: Value | None, new: Value | None, ratio: float | None, share: float
) -> str:
    if ratio is None:  # of something and nothing, or of 0
        before = -1.0 if old is None else old.value
        after = -1.0 if new is None else new.value
        if before == after:
            return "same"
        return "better" if (after > before) is more else "worse"
    if ratio < 1 - share:
        return "worse" if more else "better"
    if ratio > 1 + share:
        return "better" if more else "worse"
    return "same"


def _only(one: Report, other: Report, kinds: Sequence[str]) -> list[str]:
    """What one report has and the other has not."""
    return [
        f"{metric.size} bytes: {metric.name}"
        for metric in one.values
        if metric not in other.values and metric.kind in kinds
    ]


def _has(report: Report) -> str:
    sizes = dict.fromkeys(metric.size for metric in report.values)
    return f"{report.path} has frames of {', '.join(sizes) or 'no'} bytes"


def _said(value: object) -> str:
    if value is None:
        return "not told"
    return value if isinstance(value, str) else shown(value)
