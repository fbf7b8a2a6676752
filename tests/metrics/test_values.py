# SPDX-License-Identifier: BSD-3-Clause
"""Values of metrics at their edges: many queues, and a link that is down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client.core import CollectorRegistry

from iavfio.metrics.collector import PortCollector
from iavfio.metrics.dpdk import Telemetry
from iavfio.stats import PortSegment
from tests.live.segments import running
from tests.snapshots import idle


@pytest.fixture
def segment() -> Iterator[PortSegment]:
    segment = running("widths")
    yield segment
    segment.close()


def test_arrays_of_dpdk_have_16_places() -> None:
    """As many as its tools show, whether a port has fewer queues or more."""
    blank = idle()
    for queues in (1, 16, 20):
        port = replace(
            blank,
            rq=tuple(blank.rq[0] | {"packets": n + 1} for n in range(queues)),
            sq=tuple(blank.sq[0] for _ in range(queues)),
        )
        telemetry = Telemetry(lambda port=port: [port])  # type: ignore[misc]
        told = json.loads(telemetry.answer(b"/ethdev/stats,0"))["/ethdev/stats"]
        shown = [n + 1 for n in range(min(queues, 16))]
        assert told["q_ipackets"] == shown + [0] * (16 - len(shown))
        assert told["ipackets"] == queues * (queues + 1) // 2


def test_a_link_that_is_down_has_no_speed_metric(segment: PortSegment) -> None:
    registry = CollectorRegistry()
    registry.register(PortCollector())
    for up, speed in ((True, 25e9), (False, None)):
        segment.set_link(up, 25_000, bytes(6))
        found = [
            sample.value
            for family in registry.collect()
            for sample in family.samples
            if sample.name == "iavfio_port_link_speed_bits_per_second"
            and sample.labels["port"] == "widths"
        ]
        assert found == ([] if speed is None else [speed])
