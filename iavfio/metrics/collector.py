# SPDX-License-Identifier: BSD-3-Clause
"""Running ports as metrics of prometheus_client (the extra iavfio[metrics])."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    StateSetMetricFamily,
)
from prometheus_client.registry import Collector

from iavfio.metrics.table import WHOSE, Metric, metrics
from iavfio.stats.layout import STATES
from iavfio.stats.listing import snapshots

if TYPE_CHECKING:
    from prometheus_client import Metric as Family

    from iavfio.stats import Snapshot


class PortCollector(Collector):
    """Reads the segments of all running ports at each scrape; a port that ended is not there."""

    def collect(self) -> Iterator[Family]:
        """The metric families, each with the samples of all ports."""
        found = snapshots()
        yield from _described(found)
        for metric in metrics():
            yield _counted(metric, found)


def _counted(metric: Metric, found: Iterable[Snapshot]) -> Family:
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels, unit=metric.unit)
    for snapshot in found:
        whose = (snapshot.port, snapshot.user)
        for reason, name in metric.counters.items():
            behind = (reason,) if reason else ()
            for queue, value in _values(metric, snapshot, name):
                family.add_metric((*whose, *queue, *behind), value)
    return family


def _values(
    metric: Metric, snapshot: Snapshot, name: str
) -> Iterator[tuple[tuple[str, ...], float]]:
    """Label of the queue, where there is one, and value."""
    if metric.block == "port":
        yield (), getattr(snapshot, name)
    elif metric.block == "vf":
        if snapshot.age is not None:  # before the PF's first answer its counters are not known
            yield (), snapshot.pf[name]
    else:
        for number, queue in enumerate(snapshot.rq if metric.block == "rq" else snapshot.sq):
            yield (str(number),), queue[name]


def _described(found: Iterable[Snapshot]) -> Iterator[Family]:
    info = InfoMetricFamily("iavfio_port", "What the port is", labels=WHOSE)
    state = StateSetMetricFamily("iavfio_port_state", "State of the port", labels=WHOSE)
    link = GaugeMetricFamily("iavfio_port_link_up", "Whether the link is up", labels=WHOSE)
    speed = GaugeMetricFamily(
        "iavfio_port_link_speed_bits_per_second",
        "Speed of the link; not there while it is unknown or the link is down",
        labels=WHOSE,
    )
    age = GaugeMetricFamily(
        "iavfio_port_sample_age_seconds",
        "Time since the PF answered with its counters",
        labels=WHOSE,
        unit="seconds",
    )
    for each in found:
        whose = (each.port, each.user)
        facts = {"device": each.device, "transport": each.transport, "mac": each.mac}
        info.add_metric(whose, facts)
        state.add_metric(whose, {name: name == each.state for name in STATES})
        link.add_metric(whose, float(each.link_up))
        if each.link_up and each.link_mbps:
            speed.add_metric(whose, each.link_mbps * 1e6)
        if each.age is not None:
            age.add_metric(whose, max(each.age, 0.0))
    yield from (info, state, link, speed, age)
