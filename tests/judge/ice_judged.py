# SPDX-License-Identifier: BSD-3-Clause
"""The comparison of ice with the software PF, step by step, and what came of it."""

from __future__ import annotations

from collections import Counter

from iavfio.linuxpf.process import Reply
from tests.judge.ice_differences import Exchange, explain, too_much
from tests.judge.ice_pair import Ice, Step, comparable, soft, text
from tests.judge.ice_programmed import unlike
from tests.judge.ice_scenarios import Scenario


class Judged:
    """What came of telling both the same."""

    def __init__(self) -> None:
        self.unexplained: list[str] = []
        self.equal = 0  # steps
        self.rows: Counter[str] = Counter()

    def play(
        self, ice: Ice, steps: Scenario, trusted: bool, double_vlan: bool, ddp: str = "os"
    ) -> None:
        """Tells both a scenario, up to the first difference: what follows one says nothing."""
        ice.begin(trusted)
        before: list[tuple[Step, list[Reply]]] = []
        with soft(ice.kernel, trusted, double_vlan, ddp) as model:
            for number, step in enumerate(steps):
                real, ours = comparable(ice.kernel, ice.do(step)), model.do(step)
                effects = unlike(ice.programmed(), model.programmed())
                if real != ours or effects:
                    exchange = Exchange(ice.kernel, before, step, real, ours, effects)
                    self._differ(exchange, f"{number}, {step}")
                    return
                before.append((step, real))
                self.equal += 1

    def _differ(self, exchange: Exchange, where: str) -> None:
        if row := explain(exchange):
            self.rows[row.name] += 1
            if more := too_much(exchange):
                self.unexplained.append(f"step {where}: {more}")
            return
        self.unexplained.append(
            f"step {where}: ice {text(exchange.ice)}; software PF {text(exchange.soft)}; "
            f"effects {exchange.effects}"
        )
