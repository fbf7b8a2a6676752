# SPDX-License-Identifier: BSD-3-Clause
"""Latencies as distributions, and what a worker measures where the way takes a known time."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import iavfio
from iavfio._driver import lib
from iavfio.bench.plan import Plan
from iavfio.bench.run import run
from iavfio.datapath.latency import BUCKETS, Latency, LatencyTable, bounds, summary
from iavfio.datapath.worker import Lane, Worker
from iavfio.errors import ConfigError


def latency(*times: int, missed: int = 0) -> Latency:
    buckets = np.zeros(BUCKETS, np.uint64)
    for ns in times:
        buckets[lib.histogram_index(ns)] += np.uint64(1)
    return Latency(
        len(times), sum(times), min(times, default=0), max(times, default=0), missed, buckets
    )


@given(st.integers(0, (1 << 42) - 1))
def test_a_time_lies_in_its_bucket_which_is_narrow(ns: int) -> None:
    low, high = bounds(lib.histogram_index(ns))
    assert low <= ns <= high
    assert high - low <= ns / 64


@given(st.lists(st.integers(0, 1 << 40), min_size=1), st.floats(0, 100))
def test_a_percentile_is_the_least_time_that_so_many_stay_below(
    times: list[int], percent: float
) -> None:
    found = latency(*times)
    value = found.percentile(percent)
    exact = sorted(times)[max(int(np.ceil(percent / 100 * len(times))) - 1, 0)]
    assert exact <= value + max(1, exact // 64) and value <= exact + exact // 64 + 1
    assert value <= max(times)


@given(st.lists(st.integers(0, 1 << 40)), st.lists(st.integers(0, 1 << 40)))
def test_distributions_of_workers_add_up(some: list[int], others: list[int]) -> None:
    both, apart = latency(*some, *others), latency(*some, missed=1) + latency(*others, missed=2)
    assert (both.buckets == apart.buckets).all()
    assert (apart.count, apart.total_ns, apart.missed) == (both.count, both.total_ns, 3)
    assert (apart.least_ns, apart.most_ns) == (both.least_ns, both.most_ns)


def test_of_no_packet() -> None:
    none = Latency.none()
    assert (none.mean_ns, none.percentile(99)) == (0.0, 0)
    assert len(list(none.hgrm())) == 5
    assert summary(none) == "min 0.0, p50 0.0, p90 0.0, p99 0.0, p99.9 0.0, p99.99 0.0, max 0.0 us"


@pytest.mark.parametrize("percent", [-1, 101, float("nan"), "99"])
def test_what_is_no_percentage_is_refused(percent: float) -> None:
    with pytest.raises(ConfigError):
        latency(1).percentile(percent)


@given(st.lists(st.integers(1, 1 << 40), min_size=1, max_size=200))
def test_hgrm_lines_rise_to_all_packets(times: list[int]) -> None:
    lines = list(latency(*times).hgrm())
    assert re.fullmatch(r" +Value +Percentile +TotalCount +1/\(1-Percentile\)", lines[0])
    rows = [line.split() for line in lines[2:-3]]
    values = [float(row[0]) for row in rows]
    shares = [float(row[1]) for row in rows]
    counts = [int(row[2]) for row in rows]
    assert values == sorted(values) and shares == sorted(shares) and counts == sorted(counts)
    assert (shares[-1], counts[-1], rows[-1][3]) == (1.0, len(times), "inf")
    assert values[-1] == pytest.approx(max(times) / 1000, abs=0.001)
    assert all(
        count >= share * len(times) - 1e-6 for share, count in zip(shares, counts, strict=True)
    )
    assert f"Total count    = {len(times):12d}" in lines[-2]


def test_what_waits_for_a_rate_takes_as_long_as_the_rate_says() -> None:
    """A frame waits for those before it in the ring: that long at least, however busy the host.

    By Little's law the mean time is that of the frames under way, which the ring bounds, at the
    rate that the host gives.
    """
    mbps, size, packets = 10, 64, 3000
    with iavfio.softvf(uplink="loopback") as pf, pf.open(0) as port:
        pf.control("rate", vf=0, mbps=mbps)
        port.configure(ring=256)
        port.start(wait_link=60)
        found = run(Plan(count=packets, sizes=(size,), flows=1, latency=True), [port])
    assert (found.sound, found.received, found.lost) == (True, packets, 0)
    latency = found.latency
    assert latency is not None
    assert (latency.count, latency.missed) == (packets, 0)
    frame_ns = 8 * size / mbps * 1000
    assert latency.mean_ns >= 100 * frame_ns
    assert latency.percentile(50) >= 100 * frame_ns


@pytest.mark.parametrize("delay_us", [250, 20_000])
def test_a_known_delay_is_measured_within_the_resolution(delay_us: int) -> None:
    """No packet is faster, to the 1.6 % that a time is right to; the fastest shows the delay.

    How late the others are the machine decides.
    """
    with iavfio.softvf(uplink="loopback") as pf, pf.open(0) as port:
        port.start(wait_link=60)
        plan = Plan(count=400, rate=4000, sizes=(64,), flows=1, latency=True)
        plain = run(plan, [port]).latency
        assert plain is not None
        pf.control("delay", vf=0, us=delay_us)
        delay_ns = delay_us * 1000
        for _ in range(10):  # until the machine lets one packet be on time
            found = run(plan, [port])
            delayed = found.latency
            assert delayed is not None
            assert (found.sound, delayed.count, delayed.missed) == (True, 400, 0)
            assert delay_ns * 63 / 64 <= delayed.least_ns <= delayed.percentile(50)
            assert delayed.percentile(50) <= delayed.most_ns
            if delayed.least_ns <= delay_ns + plain.least_ns + 5_000_000:
                break
        else:
            raise AssertionError("none of 4000 packets took what the delay and the way take")


@pytest.mark.parametrize("mode", ["rxdrop", "txonly", "forward", "sink"])
def test_only_loopback_measures(mode: str) -> None:
    with iavfio.softvf() as pf, pf.open(0) as port:
        port.start()
        table = LatencyTable(1, 1)
        with pytest.raises(ConfigError, match="latency cannot be measured"):
            Worker(mode, [Lane(port.rx[0])], latency=table)
        table.close()
