# SPDX-License-Identifier: BSD-3-Clause
"""Which runs are sound: accounts made by hand, each with its right outcome."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from iavfio.bench.plan import Mode, Plan
from iavfio.bench.result import Result, Spread
from iavfio.datapath.thread import Counters
from iavfio.port.footprint import Footprint
from tests.snapshots import idle

ZERO = idle()


def result(
    mode: Mode = "loopback",
    *,
    posted: int = 1000,
    completed: int | None = None,
    received: int = 1000,
    pf_sent: int | None = None,
    drops: dict[str, int] | None = None,
    rx_drops: dict[str, int] | None = None,
    drained: bool = True,
    interrupted: bool = False,
    software: bool = True,
    max_loss: float | None = None,
    unsent: int = 0,
    waiting: tuple[int, int] = (0, 0),
    refused: int = 0,
    verify: dict[str, int] | None = None,
    error: int = 0,
    arrived: int | None = None,
) -> Result:
    """A run of one second in which these numbers were counted."""
    dst = None if arrived is None else bytes.fromhex("020000000077")
    plan = Plan(mode, max_loss=max_loss, verify=verify is not None, dst=dst)
    after = replace(
        ZERO,
        pf=ZERO.pf | {"tx_unicast": posted if pf_sent is None else pf_sent} | (drops or {}),
        rq=(ZERO.rq[0] | {"packets": received, "bytes": 60 * received} | (rx_drops or {}),),
        sq=(
            ZERO.sq[0]
            | {
                "posted": posted,
                "packets": posted if completed is None else completed,
                "bytes": 60 * posted,
            },
        ),
    )
    counters = Counters(
        sent=posted,
        sent_bytes=60 * posted,
        received=received,
        received_bytes=60 * received,
        refused=refused,
        loops=10,
        start_ns=10**9,
        stop_ns=2 * 10**9,
        error=error,
        **(verify or {}),
    )
    return Result(
        plan=plan,
        isa="scalar",
        window=counters,
        total=counters,
        drained=drained,
        interrupted=KeyboardInterrupt() if interrupted else None,
        unsent=unsent,
        waiting=waiting,
        before={"vf0": ZERO},
        after={"vf0": after},
        link_mbps={"vf0": 10000},
        capacity=1024,
        provenance={"software_device": software, "devices": {}},
        queues=1,
        ring=512,
        memory=Footprint(0, 0, 0, 0),
        arrived=arrived,
    )


SOUND: list[dict[str, Any]] = [
    {},
    {"mode": "rxdrop", "posted": 0},
    {"mode": "txonly", "received": 0},
    {"mode": "txonly", "received": 0, "arrived": 1000},
    {"mode": "txonly", "received": 0, "arrived": 2000},  # two VFs got each
    {"mode": "txonly", "received": 0, "arrived": 900, "software": False},
    {"mode": "txonly", "received": 0, "arrived": 900, "max_loss": 0.1},
    {"mode": "txonly", "received": 0, "drops": {"rx_discards": 900}, "arrived": 1000},
    {"mode": "forward"},
    {"mode": "forward", "posted": 990, "refused": 10},  # a batch that waited for room at the end
    {"posted": 1000, "completed": 990, "received": 990, "unsent": 10},
    {
        "received": 553,
        "drained": False,
        "interrupted": True,
    },  # cut short: on the way
    {"posted": 0, "received": 0, "interrupted": True},
    {"received": 900, "drops": {"rx_discards": 100}, "software": False},  # a card may be overrun
    {"received": 900, "drops": {"rx_discards": 100}, "max_loss": 0.1},
    {"verify": {"lost": 0}},
]
UNSOUND: list[tuple[dict[str, Any], str]] = [
    ({"mode": "forward", "pf_sent": 0, "drops": {"tx_discards": 1000}}, "none of 1000 packets"),
    ({"mode": "txonly", "pf_sent": 0, "drops": {"tx_discards": 1000}}, "spoof check"),
    ({"mode": "txonly", "pf_sent": 0}, "nobody counted them again"),
    ({"mode": "txonly", "arrived": 0}, "1000 of 1000 packets that were sent to 02:00"),
    ({"mode": "txonly", "arrived": 0, "software": False}, "got to nobody"),
    ({"mode": "txonly", "arrived": 999}, "1 of 1000 packets that were sent"),
    ({"received": 0}, "none of 1000"),
    ({"mode": "rxdrop", "posted": 0, "received": 0}, "nothing arrived"),
    ({"posted": 0, "received": 0}, "nothing was sent"),
    ({"received": 900}, "100 packets are missing, and no counter says why"),
    ({"received": 900, "software": False}, "100 packets are missing"),  # on a card as well
    ({"received": 900, "drops": {"rx_discards": 100}}, "10.000%"),
    ({"received": 900, "drops": {"rx_discards": 100}, "max_loss": 0.099}, "9.900%"),
    ({"received": 1032}, "32 packets more"),
    ({"mode": "rxdrop", "posted": 0, "rx_drops": {"drop_error": 5}}, "rx_drop_error 5"),
    ({"posted": 5000, "drained": False, "interrupted": True}, "2976 packets are missing"),
    ({"verify": {"reordered": 3}}, "reordered 3"),
    ({"verify": {"lost": 1}}, "lost 1"),
    ({"error": -19}, "did not end"),
]


@pytest.mark.parametrize("numbers", SOUND)
def test_sound_runs(numbers: dict[str, Any]) -> None:
    run = result(**numbers)
    assert run.reasons == ()
    assert run.sound and run.lost == 0


@pytest.mark.parametrize(("numbers", "words"), UNSOUND)
def test_unsound_runs_name_the_reason(numbers: dict[str, Any], words: str) -> None:
    run = result(**numbers)
    assert not run.sound
    assert any(words in reason for reason in run.reasons), run.reasons


def test_nothing_delivered_is_no_rate() -> None:
    run = result("forward", pf_sent=0, drops={"tx_discards": 1000})
    assert (run.mpps, run.gbps) == (0, 0)


def test_rates_of_the_window() -> None:
    run = result()  # 1000 frames of 64 bytes in one second, on a link of 10 Gbit/s
    assert run.mpps == pytest.approx(0.001)
    assert run.gbps == pytest.approx(64 * 8 * 1000 / 1e9)
    assert run.line_share == pytest.approx(84 * 8 * 1000 / 10e9)  # 20 bytes of preamble and gap
    (row,) = run.rows()
    assert (row.packets, row.mpps, row.line_share) == (1000, run.mpps, run.line_share)


def test_spread_of_runs() -> None:
    runs = [result(posted=n, received=n) for n in (3000, 1000, 2000)]
    assert Spread.of(runs) == Spread(3, 0.002, 0.001, 0.003)
