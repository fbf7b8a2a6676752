# SPDX-License-Identifier: BSD-3-Clause
"""The search for a no-drop rate, on ways whose limit is known; reports as readers take them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import iavfio
from iavfio.bench.ndr import LEAST_RATE, MOST_TRIALS, Rule, Trial, loss_curve, plan_of, search
from iavfio.bench.ndr_report import COLUMNS, NOT_A_CARD, as_csv, as_html, lines, size_record, table
from iavfio.bench.plan import Plan
from iavfio.bench.records import NdrRecord
from iavfio.bench.run import run
from iavfio.datapath.latency import BUCKETS, Latency

SECONDS = 10.0
RATES = st.floats(100, 1e8)


def trial(asked: float, sent_pps: float, arrives_pps: float, wrong: str = "") -> Trial:
    sent = int(sent_pps * SECONDS)
    lost = max(sent - int(arrives_pps * SECONDS), 0)
    buckets = np.zeros(BUCKETS, np.uint64)
    buckets[100] = 1
    latency = Latency(1, 100, 100, 100, 0, buckets)
    return Trial(asked, SECONDS, sent, lost, sent_pps, sent_pps * 512 / 1e9, 0.5, latency, wrong)


def way(sender: float, carries: float, takes: float) -> Callable[[float], Trial]:
    """A sender of so many packets a second on a way that takes no more than `takes` of them.

    What is above `carries` is lost.
    """

    def measure(rate: float) -> Trial:
        return trial(rate, min(rate or sender, sender, takes), carries)

    return measure


@given(RATES, RATES, RATES)
def test_the_limit_is_found_whatever_makes_it(sender: float, carries: float, takes: float) -> None:
    rule = Rule()
    found = search(way(sender, carries, takes), rule)
    truth = min(sender, carries, takes)
    assert found.best is not None
    assert found.best.loss == 0
    assert truth * (1 - 3 * rule.precision) <= found.best.pps <= truth * (1 + rule.precision)
    if carries < min(sender, takes) * (1 - 2 * rule.precision):
        assert "packets were lost" in found.limit
    elif carries > min(sender, takes) * (1 + 2 * rule.precision):
        assert "could be sent" in found.limit
    assert len(found.trials) <= MOST_TRIALS


@given(RATES, st.floats(0.001, 0.3))
def test_a_share_may_be_lost(carries: float, share: float) -> None:
    rule = Rule(max_loss=share)
    found = search(way(1e9, carries, 1e9), rule)
    assert found.best is not None and found.best.loss_share <= share
    truth = carries / (1 - share)
    assert truth * (1 - 3 * rule.precision) <= found.best.pps <= truth * (1 + rule.precision)


@pytest.mark.parametrize(("sent", "passes"), [(99, True), (98, False)])
def test_one_packet_of_slack_for_trials_of_few(sent: int, passes: bool) -> None:
    """Half a percent of 100 packets is no packet, and the last may be under way."""
    one = Trial(10.0, 10.0, sent, 0, sent / 10, 0.0, None, Latency.none())
    assert (Rule().why_failed(one) == "") is passes


def test_a_first_trial_that_was_held_up_does_not_bound_the_search() -> None:
    honest = way(10_000, 1e9, 1e9)
    found = search(lambda rate: honest(rate) if rate else trial(0, 1000, 1e9), Rule())
    assert found.best is not None and found.best.pps == pytest.approx(10_000, rel=0.01)


@pytest.mark.parametrize("ceiling", [500.0, 5000.0])
def test_no_more_is_tried_than_asked_for(ceiling: float) -> None:
    found = search(way(1e6, 1000, 1e6), Rule(), ceiling)
    assert found.best is not None
    assert found.best.pps == pytest.approx(min(ceiling, 1000), rel=0.006)
    assert max(each.asked for each in found.trials) == ceiling
    assert ("no more was asked for" in found.limit) == (ceiling == 500)


@pytest.mark.parametrize(
    ("measure", "why"),
    [
        (lambda rate: trial(rate, rate or 1000, 0), "packets were lost"),
        (lambda rate: trial(rate, 0, 0), "nothing was sent"),
        (lambda rate: trial(rate, rate or 1000, 1e9, "7 packets more than sent"), "7 packets more"),
    ],
)
def test_a_way_that_carries_nothing_has_no_rate_and_the_search_ends(
    measure: Callable[[float], Trial], why: str
) -> None:
    found = search(measure, Rule())
    assert found.best is None
    assert why in found.limit
    assert len(found.trials) <= MOST_TRIALS
    assert all(each.asked >= LEAST_RATE / 2 for each in found.trials[1:])


def test_the_loss_curve_ends_after_two_trials_without_loss() -> None:
    curve = loss_curve(way(1e6, 750, 1e6), 1000)
    assert [each.asked for each in curve] == [1000, 900, 800, 700, 600]
    assert [each.loss for each in curve] == [2500, 1500, 500, 0, 0]
    assert len(loss_curve(way(1e6, 1, 1e6), 1000)) == 10


def record(software: bool = True, port: str = "vf0") -> NdrRecord:
    rule = Rule()
    found = search(way(1e6, 750_000, 1e6), rule)
    curve = loss_curve(way(1e6, 750_000, 1e6), 1e6)
    nothing = search(lambda rate: trial(rate, rate or 10, 0), rule)
    return NdrRecord(
        software_device=software,
        ports=[port],
        queues=2,
        ring=512,
        burst=32,
        flows=64,
        isa="avx2",
        trial_seconds=SECONDS,
        max_loss=0.0,
        precision=0.005,
        sizes=[size_record(64, found, curve, rule), size_record(1518, nothing, (), rule)],
        interrupted=False,
        provenance={"cpu": "a", "kernel": "b", "commit": "c", "devices": {port: "E810 VF"}},
    )


def test_csv_has_a_row_for_each_size() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(record()))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["size"] for row in rows] == ["64", "1518"]
    assert float(rows[0]["pps"]) == pytest.approx(750_000, rel=0.01)
    assert (rows[0]["lost"], rows[0]["p50_ns"], rows[0]["most_ns"]) == ("0", "100", "100")
    assert rows[1]["pps"] == "" and "lost" in rows[1]["limit"]


class Page(HTMLParser):
    """Elements that are open, everything that is text, and what is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "rect"):
            self.open.append(tag)
        self.loads += [name for name, _ in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.parametrize("software", [True, False])
def test_the_page_is_whole_loads_nothing_and_says_what_was_measured(software: bool) -> None:
    page = Page()
    text = as_html(record(software, port="<b>&vf0"))
    page.feed(text.replace("/>", ">"))
    assert (page.open, page.loads) == ([], [])
    words = " ".join(page.words)
    assert "<b>&vf0" in words and "<b>" not in text
    assert (NOT_A_CARD in words) is software
    assert "1518 bytes" in words and "carried" in words and "none" in words
    assert text.count("<svg") == 2


def test_the_record_is_what_its_schema_says() -> None:
    told = msgspec.json.encode(record())
    assert msgspec.json.decode(told, type=NdrRecord) == record()
    assert b'"schema":"iavfio.ndr.report/1"' in told


@pytest.mark.parametrize(("width", "columns"), [(40, 3), (100, 7)])
def test_the_table_fits_the_terminal(width: int, columns: int) -> None:
    out = Console(width=width, record=True, file=io.StringIO())
    shown = table(record(), width)
    out.print(shown)
    assert len(shown.columns) == columns
    assert "none" in out.export_text()
    said = list(lines(record()))
    assert said[-1] == NOT_A_CARD
    assert any("lost 0 of" in line for line in said)


def test_on_a_vf_with_a_rate_nothing_is_lost_and_no_more_is_found() -> None:
    """How near it comes is the machine's to say: a trial that is held up finds less."""
    mbps, size, ring = 20, 1518, 64
    plan = Plan(duration=0.2, sizes=(size,), latency=True)
    with iavfio.softvf(uplink="loopback") as pf, pf.open(0) as port:
        pf.control("rate", vf=0, mbps=mbps)
        port.configure(ring=ring)
        port.start(wait_link=60)

        def measure(rate: float) -> Trial:
            return Trial.of(run(plan_of(plan, size, rate), [port]))

        found = search(measure, Rule(precision=0.2))
    assert found.trials and all(each.loss == 0 and not each.wrong for each in found.trials)
    bits = 8 * size
    for each in found.trials:  # what left the ring, by the rate and its burst; and what it held
        allowed = (each.seconds + 0.002) * mbps * 1e6 / bits + 1 + ring
        assert each.pps * each.seconds <= allowed
