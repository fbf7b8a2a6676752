# SPDX-License-Identifier: BSD-3-Clause
"""The arithmetic of rates, and their records as text and JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from iavfio.live import Interval, PortRates, PortTotal, rates
from iavfio.live.rates import Totals, as_json
from iavfio.live.text import line, scaled, total_line
from iavfio.stats import GLOBAL, RX, TX, Snapshot

BLANK = Snapshot(
    port="p0",
    device="0000:3b:02.0",
    transport="cdev",
    last_state="running",
    alive=True,
    pid=1,
    process="process 1",
    user="root",
    age=0.1,
    link_up=True,
    link_mbps=10_000,
    mac="02:00:00:00:00:01",
    pf={each.name: 0 for each in GLOBAL},
    rq=tuple({each.name: 0 for each in RX} for _ in range(2)),
    sq=tuple({each.name: 0 for each in TX} for _ in range(2)),
)


def interval(
    rq: dict[int, dict[str, int]], sq: dict[int, dict[str, int]] | None = None, **extra: Any
) -> Interval:
    seconds = extra.pop("seconds", 2.0)
    events = extra.pop("events", ())
    counted = replace(
        BLANK,
        rq=tuple(each | rq.get(i, {}) for i, each in enumerate(BLANK.rq)),
        sq=tuple(each | (sq or {}).get(i, {}) for i, each in enumerate(BLANK.sq)),
        **extra,
    )
    return Interval(seconds, 1e9, counted, counted, events)


def test_line_rate_of_64_byte_frames_is_14_88_mpps() -> None:
    """10 Gbit/s carry 14 880 952 frames of 64 bytes with FCS, preamble and gap (IEEE 802.3)."""
    frames = 14_880_952
    told = rates(interval({0: {"packets": frames, "bytes": 60 * frames}}, seconds=1.0))
    assert told.rx.pps == frames
    assert told.rx.bps == 64 * 8 * frames
    assert told.rx.line_share == pytest.approx(1.0, abs=1e-6)
    assert told.tx.pps == 0 and told.tx.line_share == 0


@pytest.mark.parametrize(
    ("link", "mbps", "expected"), [(True, 0, None), (False, 10_000, None), (True, 1000, 1.0)]
)
def test_share_is_told_only_where_the_speed_is_known(
    link: bool, mbps: int, expected: float | None
) -> None:
    each = {"packets": 1000, "bytes": 226 * 1000}
    told = rates(interval({}, {1: each}, seconds=2e-3, link_up=link, link_mbps=mbps))
    assert told.tx.line_share == expected


def test_polls_imbalance_and_drops_by_reason() -> None:
    told = rates(
        interval(
            {
                0: {"packets": 300, "polls": 40, "empty_polls": 10, "drop_error": 2},
                1: {"packets": 100, "drop_error": 3, "drop_reset": 1},
            },
            {0: {"refused_full": 6}, 1: {"drop_reset": 4}},
            pf=BLANK.pf | {"rx_discards": 9, "rx_unicast": 5},
        )
    )
    assert told.queues[0].packets_per_poll == 10 and told.queues[0].empty_polls == 0.25
    assert told.queues[1].packets_per_poll is None and told.queues[1].empty_polls is None
    assert told.imbalance == 1.5
    assert told.drops == {
        "rx_discards": 9,
        "rq_drop_error": 5,
        "rq_drop_reset": 1,
        "sq_drop_reset": 4,
        "sq_refused_full": 6,
    }


def test_every_counter_of_lost_packets_is_a_reason() -> None:
    """A counter whose name says drop, refused or discard cannot be forgotten."""
    for each in (*GLOBAL, *RX, *TX):
        words = ("drop_", "refused_", "_discards", "_errors", "_unknown_protocol")
        assert each.lost == any(word in each.name for word in words), each.name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 pps"),
        (0.25, "0.25 pps"),
        (7, "7 pps"),
        (999.4, "999 pps"),
        (999.9, "1.00 kpps"),
        (1000, "1.00 kpps"),
        (12_345, "12.3 kpps"),
        (123_456, "123 kpps"),
        (999_900, "1.00 Mpps"),
        (14_880_952, "14.9 Mpps"),
        (2.5e9, "2.50 Gpps"),
        (1e13, "10.0 Tpps"),
    ],
)
def test_numbers_have_three_digits_and_a_prefix(value: float, text: str) -> None:
    assert scaled(value, "pps") == text


def test_a_line_of_text_has_rates_drops_and_events() -> None:
    told = rates(
        interval({0: {"packets": 2000, "bytes": 120_000, "drop_error": 2}}, events=("reset",))
    )
    assert line(told).split("  ")[1:] == [
        "p0",
        "running",
        "rx 1.00 kpps 512 kbit/s 0.0%",
        "tx 0 pps 0 bit/s 0.0%",
        "drops 2 (rq_drop_error 2)",
        "imbalance 2.00",
        "[reset]",
    ]


def test_json_lines_are_what_the_schema_says() -> None:
    told = rates(interval({0: {"packets": 2, "polls": 4}}, events=("link up",), link_mbps=0))
    text = as_json(told)
    assert "\n" not in text and json.loads(text)["schema"] == "iavfio.stats.rates/1"
    assert msgspec.json.decode(text, type=PortRates | PortTotal) == told
    described = msgspec.json.schema(PortRates)["$defs"]["PortRates"]["properties"]
    assert set(described) == set(json.loads(text))


def test_totals_add_up() -> None:
    totals = Totals()
    assert totals.total() is None
    for packets in (10, 30):
        each = interval({0: {"packets": packets, "bytes": packets * 60, "drop_error": 1}}, resets=1)
        totals.add(rates(each))
    total = totals.total()
    assert total is not None
    assert (total.rx.packets, total.rx.pps, total.seconds, total.resets) == (40, 10.0, 4.0, 2)
    assert total.drops == {"rq_drop_error": 2}
    assert total_line(total).startswith("p0: 4.0 s, running, rx 40 packets, 2400 bytes, 10 pps, ")
    assert json.loads(as_json(total))["schema"] == "iavfio.stats.total/1"
