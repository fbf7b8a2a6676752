# SPDX-License-Identifier: BSD-3-Clause
"""A run's account in words: what lay in the rings is no difference between PF and queues."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iavfio.bench.account import account
from tests.bench.test_result import result


@pytest.mark.parametrize(
    ("waiting", "pf_received", "words"),
    [
        ((0, 0), 1000, None),
        ((30, 0), 970, "30 lay in the receive rings when the run began, and 0 when it ended"),
        ((0, 40), 1040, "0 lay in the receive rings when the run began, and 40 when it ended"),
        ((30, 40), 1010, "30 lay in the receive rings when the run began, and 40 when it ended"),
        ((30, 0), 972, "; 2 more than that"),
        ((0, 40), 1037, "; 3 fewer than that"),
    ],
)
def test_what_lay_in_the_rings_is_explained_and_the_rest_is_told(
    waiting: tuple[int, int], pf_received: int, words: str | None
) -> None:
    run = result(waiting=waiting)
    after = run.after["vf0"]
    run = replace(run, after={"vf0": replace(after, pf=after.pf | {"rx_unicast": pf_received})})
    told = [line for line in account(run) if line.startswith("the PF's count")]
    if words is None:
        assert told == []
        return
    (line,) = told
    assert f"is {pf_received}, that of the queues 1000" in line
    assert words in line
    assert ("than that" in line) == ("than that" in words)
