# SPDX-License-Identifier: BSD-3-Clause
"""The sum of a watch: what all its intervals had together."""

from __future__ import annotations

from dataclasses import replace

from iavfio.live import Interval, rates
from iavfio.live.rates import Totals
from tests.snapshots import idle


def test_totals_of_a_watch_add_up_reason_by_reason() -> None:
    blank = idle()
    totals = Totals()
    for discards, errors in ((3, 1), (4, 0), (0, 2)):
        counted = replace(
            blank,
            pf=blank.pf | {"rx_discards": discards},
            rq=(blank.rq[0] | {"drop_error": errors, "packets": 10},),
        )
        totals.add(rates(Interval(1.0, 0.0, counted, counted)))
    told = totals.total()
    assert told is not None
    assert told.drops == {"rx_discards": 7, "rq_drop_error": 3}
    assert (told.rx.packets, told.seconds) == (30, 3.0)
