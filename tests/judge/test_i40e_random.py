# SPDX-License-Identifier: BSD-3-Clause
"""Random valid, nearly valid and invalid messages, said to i40e and to the software PF.

Deeds of the host's administrator and function-level resets stand in between. The sequences are the
same in each run; $IAVFIO_JUDGE_EXAMPLES makes more of them.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iavfio.linuxpf.process import JudgeProcess
from tests.judge import i40e_scenarios as i40e_steps
from tests.judge.examples import so_many, wanted
from tests.judge.i40e_differences import explain, too_much
from tests.judge.i40e_pair import JudgeSide, Step, duel
from tests.judge.i40e_random_steps import STEPS

EXAMPLES = wanted(150)
Judged = tuple[str, JudgeProcess]


@pytest.mark.timeout(900)
def test_random_messages(i40e: Judged) -> None:
    kernel, process = i40e
    judge = JudgeSide(process)
    counts = {"equal": 0, "by a row": 0}

    @so_many(EXAMPLES)
    @given(trusted=st.booleans(), asked=st.booleans(), said=STEPS)
    def run(trusted: bool, asked: bool, said: list[Step]) -> None:
        first = [i40e_steps.resources()] if asked else []
        exchanges = duel(judge, kernel, trusted, [*first, *said])
        last = exchanges[-1]
        counts["equal"] += sum(exchange.equal for exchange in exchanges)
        if not last.equal:
            assert explain(last), str(last)
            assert not too_much(last), f"{last}: {too_much(last)}"
            counts["by a row"] += 1

    run()
    print(f"\ni40e of {kernel}: random steps {counts}, {process.said} messages said")
    assert counts["equal"] > EXAMPLES
