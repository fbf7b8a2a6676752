# SPDX-License-Identifier: BSD-3-Clause
"""The search for a no-drop rate, on ways whose limit is known; reports as readers take them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import iavfio
from iavfio.bench.back_to_back import back_to_back
from iavfio.bench.ndr import Rule, Trial, loss_curve, plan_of
from iavfio.bench.ndr_page import as_html
from iavfio.bench.ndr_report import COLUMNS, NOT_A_CARD, as_csv, lines, size_record, table
from iavfio.bench.plan import Plan
from iavfio.bench.records import NdrRecord
from iavfio.bench.run import run
from iavfio.bench.search import (
    ENOUGH,
    LEAST_RATE,
    MOST_TRIALS,
    contradictions,
    search,
    search_goals,
)
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


def test_one_failure_in_three_leaves_the_rate_and_its_conditional_throughput() -> None:
    losses = iter([0, 5, 0])
    rule = Rule(trials=3)
    found = search(lambda rate: trial(rate, rate, rate - next(losses)), rule, ceiling=1000)
    assert found.best is not None and (found.best.asked, found.best.loss) == (1000, 0)
    assert (found.conditional_pps, found.decided, found.limit) == (1000, True, ENOUGH)
    assert contradictions(found.trials, rule) == (
        (
            "trial 1 carried 1000 packets a second, and trial 2 did not carry 1000: 50 of 10000 "
            "packets were lost (0.5000%)"
        ),
        (
            "trial 3 carried 1000 packets a second, and trial 2 did not carry 1000: 50 of 10000 "
            "packets were lost (0.5000%)"
        ),
    )


def test_two_failures_in_three_take_the_rate_away() -> None:
    """The search goes on below, and what it finds has as many trials behind it."""
    outcomes = {1000.0: [0, 5, 5]}

    def measure(rate: float) -> Trial:
        waiting = outcomes.get(rate, [])
        return trial(rate, rate, rate - (waiting.pop(0) if waiting else 0))

    found = search(measure, Rule(trials=3, precision=0.01), ceiling=1000)
    assert found.best is not None and 985 < found.best.asked < 1000
    assert "packets were lost" in found.limit and found.decided
    rates = [each.asked for each in found.trials]
    assert rates.count(1000) == 3 and rates.count(found.best.asked) == 2


@pytest.mark.parametrize(
    ("outcomes", "exceed", "carried"),
    [
        ([0, 0, 0], 0.0, True),
        ([0, 1], 0.0, False),
        ([1, 0, 0], 0.5, True),
        ([1, 0, 1], 0.5, False),
        ([0, 1, 1, 0], 0.5, True),
    ],
)
def test_the_share_that_may_fail_decides(outcomes: list[int], exceed: float, carried: bool) -> None:
    """A rate is decided by no more trials than it takes (draft-ietf-bmwg-mlrsearch)."""
    waiting = list(outcomes)
    rule = Rule(trials=4 if len(outcomes) == 4 else 3, exceed=exceed)

    def measure(rate: float) -> Trial:
        lost = waiting.pop(0) if rate == 1000 and waiting else 0
        return trial(rate, rate, rate - lost)

    found = search(measure, rule, ceiling=1000)
    assert found.best is not None and (found.best.asked == 1000) is carried


def test_a_lower_rate_that_fails_after_a_higher_one_passed_is_a_contradiction() -> None:
    trials = [trial(900, 900, 1e9), trial(800, 800, 700), trial(1000, 1000, 700)]
    assert contradictions(trials, Rule()) == (
        (
            "trial 1 carried 900 packets a second, and trial 2 did not carry 800: 1000 of 8000 "
            "packets were lost (12.5000%)"
        ),
    )
    assert contradictions(trials, Rule(max_loss=0.2)) == ()
    assert len(contradictions(trials[:2] * 9, Rule())) == 6


@given(RATES, st.floats(0.01, 0.3))
def test_one_search_finds_the_no_drop_and_the_partial_drop_rate(carries: float, may: float) -> None:
    rules = (Rule(), Rule(max_loss=may))
    ndr, pdr = search_goals(way(1e9, carries, 1e9), rules)
    alone = search(way(1e9, carries, 1e9), rules[1])
    assert ndr.best is not None and pdr.best is not None
    assert ndr.best.pps == pytest.approx(carries, rel=0.015)
    assert pdr.best.pps == pytest.approx(carries / (1 - may), rel=0.015)
    assert len(pdr.trials) < len(ndr.trials) + len(alone.trials)
    assert pdr.trials[: len(ndr.trials)] == ndr.trials


@given(st.integers(0, 5000), st.floats(0, 0.9), st.integers(1, 4))
def test_the_longest_burst_tells_the_buffer(held: int, drains: float, repeat: int) -> None:
    """RFC 9004: what is sent on while the burst comes in needs no buffer."""
    sends = 1e6

    def measure(frames: int) -> Trial:
        kept = held + int(frames * drains)
        return replace(trial(0, sends, 0), sent=frames, loss=max(frames - kept, 0))

    found = back_to_back(measure, 1 << 20, 0.0001, repeat, drains * sends)
    truth = held / (1 - drains)
    assert len(found.searches) == repeat and found.deviation == 0
    assert found.average == pytest.approx(truth, rel=0.001, abs=1 / (1 - drains) + 1)
    assert found.buffer_s is not None
    assert found.buffer_s == pytest.approx(held / sends, rel=0.002, abs=3e-6)
    assert found.notes == (
        (
            "bursts were sent at 50.0% of line rate, as fast as this host can; RFC 9004 wants the "
            "least gap between frames"
        ),
    )


def test_a_way_that_takes_every_burst_has_no_buffer_to_be_seen() -> None:
    whole = replace(trial(0, 1e6, 1e9), line_share=1.0)
    found = back_to_back(lambda frames: replace(whole, sent=frames), 5000, 0.01, 3, 1e6)
    assert (found.average, found.buffer_s, found.frames) == (5000, None, (5000,) * 3)
    assert [each.trials for each in found.searches] == [1, 1, 1]
    assert found.notes == (
        (
            "in 3 of 3 searches the longest burst that was tried (5000 frames) lost nothing: "
            "there is no limit to be seen"
        ),
    )


@pytest.mark.parametrize("wrong", [{"wrong": "a device failed"}, {"sent": 0}])
def test_a_burst_that_is_no_measurement_does_not_pass(wrong: dict[str, Any]) -> None:
    bad = replace(trial(0, 1e6, 1e9), **wrong)
    assert back_to_back(lambda frames: bad, 100, 0.01, 2, 0).frames == (0, 0)


def record(software: bool = True, port: str = "vf0") -> NdrRecord:
    rules = (Rule(), Rule(max_loss=0.1))
    found = search_goals(way(1e6, 750_000, 1e6), rules)
    curve = loss_curve(way(1e6, 750_000, 1e6), 1e6)
    nothing = search_goals(lambda rate: trial(rate, rate or 10, 0), rules)
    bursts = back_to_back(
        lambda frames: replace(trial(0, 1e6, 0), sent=frames, loss=max(frames - 700, 0)),
        100_000,
        0.0001,
        2,
        750_000,
    )
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
        sizes=[size_record(64, found, curve, bursts), size_record(1518, nothing)],
        interrupted=False,
        provenance={"cpu": "a", "kernel": "b", "commit": "c", "devices": {port: "E810 VF"}},
    )


def test_csv_has_a_row_for_each_size_and_goal() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(record()))))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["size"], row["max_loss"]) for row in rows] == [
        ("64", "0.0"), ("64", "0.1"), ("1518", "0.0"), ("1518", "0.1")
    ]  # fmt: skip
    assert float(rows[0]["pps"]) == pytest.approx(750_000, rel=0.01)
    assert float(rows[1]["pps"]) == pytest.approx(750_000 / 0.9, rel=0.02)
    assert (rows[0]["lost"], rows[0]["p50_ns"], rows[0]["most_ns"]) == ("0", "100", "100")
    assert (rows[0]["burst_average"], rows[0]["burst_deviation"]) == ("700.0", "0.0")
    assert rows[2]["pps"] == rows[2]["burst_average"] == "" and "lost" in rows[2]["limit"]


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
    assert "conditional throughput" in words and "buffer of the way, corrected" in words
    assert text.count("<svg") == 3


def test_the_record_is_what_its_schema_says() -> None:
    told = msgspec.json.encode(record())
    assert msgspec.json.decode(told, type=NdrRecord) == record()
    assert b'"schema":"iavfio.ndr.report/1"' in told


@pytest.mark.parametrize(("width", "columns"), [(40, 4), (100, 9)])
def test_the_table_fits_the_terminal(width: int, columns: int) -> None:
    out = Console(width=width, record=True, file=io.StringIO())
    shown = table(record(), width)
    out.print(shown)
    assert len(shown.columns) == columns
    assert "none" in out.export_text()
    said = list(lines(record()))
    assert said[-1] == NOT_A_CARD
    assert any("lost 0 of" in line for line in said)
    assert any("at most 0.1 lost: 83" in line for line in said)
    assert any("back to back: 700.0 frames on average of 2 searches" in line for line in said)
    assert any("buffer of the way, corrected: 175.0 us" in line for line in said)


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
