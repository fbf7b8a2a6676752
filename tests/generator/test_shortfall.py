# SPDX-License-Identifier: BSD-3-Clause
"""A rate that was not reached: by how much, why, and when it makes a run unsound."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from iavfio.generator.records import GenRecord
from iavfio.generator.result import Generated, StreamCounts
from iavfio.generator.schedule import Pace
from iavfio.generator.shortfall import Effort, Shortfall, shortfall
from iavfio.generator.words import gen_summary

FREE = Effort(seconds=10.0, cpu=10.0, full=0, resets=0, packets=6000)


@pytest.mark.parametrize(
    ("paces", "sent", "seconds", "complete", "share"),
    [
        ([Pace(1000)], [6000], 10, False, 0.6),
        ([Pace(1000)], [10_000], 10, False, None),
        ([Pace(1000)], [9950], 10, False, None),  # told from one percent on
        ([Pace(1000)], [9800], 10, False, 0.98),
        ([Pace(1000)], [90], 0.095, False, None),  # and from 10 ms on
        ([Pace(1000, burst=100)], [6000], 10, False, 0.6),
        ([Pace(1000, count=3001)], [3001], 10, True, 0.3),
        ([Pace(1000, count=3001)], [3001], 3.001, True, None),
        ([Pace(1000, count=500), Pace(100)], [500, 600], 10, False, 0.6),  # the first is through
        ([Pace(1000, count=500)], [500], 10, False, None),
        ([Pace(0)], [600], 10, False, None),  # nothing was asked for
        ([Pace(1000)], [0], 10, False, 0.0),
        ([Pace(1000)], [0], 0, False, None),
    ],
)
def test_how_much_is_missing(
    paces: list[Pace], sent: list[int], seconds: float, complete: bool, share: float | None
) -> None:
    found = shortfall(paces, sent, replace(FREE, seconds=seconds), complete)
    assert (None if found is None else found.share) == pytest.approx(share)
    if found is not None:
        assert found.late == pytest.approx(seconds * (1 - found.share))


@pytest.mark.parametrize(
    ("effort", "why"),
    [
        (FREE, "one CPU makes no more"),
        (replace(FREE, cpu=4.0), "the sender had 40% of a CPU"),
        (replace(FREE, full=100), "one CPU makes no more"),
        (replace(FREE, full=5000), "the send ring stood full in 5000 tries"),
        (replace(FREE, full=5000, cpu=4.0), "the send ring stood full"),
        (replace(FREE, full=5000, resets=1), "the VF was reset"),
    ],
)
def test_the_reason_is_named(effort: Effort, why: str) -> None:
    found = shortfall([Pace(1000)], [6000], effort, False)
    assert found is not None and why in found.why
    assert str(found).startswith("60.0% of the asked rate was reached (4.00 s behind): ")


RUN = Generated(
    streams=[StreamCounts("a", 100, 6000)],
    seconds=2.0,
    on_wire=100,
    lost={},
    missed={},
    unsent=0,
    others=0,
    resets=0,
    ended_by="duration",
    error=None,
    interrupted=None,
)


@pytest.mark.parametrize(
    ("share", "late", "sound"),
    [(0.6, 4.0, False), (0.6, 0.9, True), (0.96, 40.0, True), (0.94, 1.0, False)],
)
def test_a_moment_s_delay_leaves_a_run_sound(share: float, late: float, sound: bool) -> None:
    run = replace(RUN, shortfall=Shortfall(share, late, "a reason"))
    assert run.sound is sound
    assert any("a reason" in text for text in run.reasons) is not sound


@pytest.mark.parametrize(
    ("age", "stale"),
    [(0.0, ""), (0.9, ""), (7.3, "its counters are 7.3 s old"), (None, "never told")],
)
def test_counters_that_are_old_are_told_with_their_age(age: float | None, stale: str) -> None:
    run = replace(RUN, pf_age=age, on_wire=40)
    assert (stale in run.stale) and bool(run.stale) is bool(stale)
    (reason,) = run.reasons
    if stale:
        assert stale in reason and "40 of 100 are known to be on the wire" in reason
    else:
        assert reason == "the streams sent 100 and the PF counts 40 on the wire"


def test_the_summary_tells_both() -> None:
    record = msgspec.convert(
        {
            "schema": "iavfio.gen.summary/1",
            "port": "p",
            "device": "d",
            "expect": None,
            "streams": [],
            "seconds": 2.0,
            "sent": 9,
            "sent_bytes": 540,
            "on_wire": 5,
            "lost": {},
            "missed": {},
            "unsent": 0,
            "others": 0,
            "resets": 0,
            "sound": True,
            "reasons": [],
            "ended_by": "duration",
            "error": None,
            "shortfall": {"share": 0.5, "late_s": 0.5, "missed": False, "why": "a reason"},
            "pf_age_s": 3.21,
        },
        type=GenRecord,
    )
    said = list(gen_summary(record))
    assert "rate: 50.0% of the asked rate was reached (0.50 s behind): a reason" in said
    assert (
        "on the wire by the PF's count: 5, as it told 3.2 s ago; delivery was not looked at" in said
    )
