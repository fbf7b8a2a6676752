# SPDX-License-Identifier: BSD-3-Clause
"""The software X710 against the real i40e driver: the same steps, the same answers and effects.

Replies with status and payload, their order, and what the PF holds afterwards (filters, queues that
run, RSS registers, promiscuity) are compared after each step. A difference stands in the table of
i40e_differences.py with its reason, or is a bug.
"""

from __future__ import annotations

from collections import Counter

import pytest

from iavfio.linuxpf.process import JudgeProcess
from tests.judge.i40e_differences import DIFFERENCES, explain, too_much
from tests.judge.i40e_pair import Exchange, JudgeSide, duel
from tests.judge.i40e_scenarios import SCENARIOS

Judged = tuple[str, JudgeProcess]


@pytest.mark.timeout(600)
def test_scenarios(i40e: Judged) -> None:
    """Every scenario by a trusted and an untrusted VF; a row that explains nothing is stale.

    What a step does to other VFs is tested in test_i40e_several.py.
    """
    kernel, process = i40e
    judge = JudgeSide(process)
    unexplained: list[str] = []
    used: Counter[str] = Counter()
    equal = 0
    for trusted in (False, True):
        for name, steps in SCENARIOS.items():
            exchanges: list[Exchange] = duel(judge, kernel, trusted, steps)
            equal += sum(exchange.equal for exchange in exchanges)
            last = exchanges[-1]
            if last.equal:
                continue
            row = explain(last)
            if row is None:
                unexplained.append(f"{name}: {last}")
                continue
            used[row.name] += 1
            if more := too_much(last):
                unexplained.append(f"{name}: {more}")
    print(f"\ni40e of {kernel}: {process.said} messages said, {equal} steps equal, rows: {used}")
    assert not unexplained, "\n".join(unexplained)
    stale = [
        row.name
        for row in DIFFERENCES
        if kernel in row.kernels and not used[row.name] and not row.of_others
    ]
    assert not stale, f"rows that explain nothing: {stale}"
