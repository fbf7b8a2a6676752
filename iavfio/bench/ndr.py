# SPDX-License-Identifier: BSD-3-Clause
"""Trials at a rate, when one carries its rate, and the loss by rate (RFC 2544, 26.1 to 26.3).

Nothing here knows of ports: who asks for trials brings what makes them. `iavfio.bench.search` looks
for the highest rate, `iavfio.bench.back_to_back` for the longest burst.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from iavfio.bench.plan import Plan
from iavfio.bench.result import Result
from iavfio.datapath.latency import Latency

RESET = "a VF was reset in the trial"
STEPS = tuple(share / 10 for share in range(10, 0, -1))  # of the loss curve (RFC 2544, 26.3)


@dataclass(frozen=True)
class Trial:
    """A run at one rate. `asked` in packets a second, 0 = as fast as possible.

    `pps`, `gbps` (frames with FCS) and `line_share` (with preamble and gap) are what was sent in
    the window; `loss` is what was sent and neither arrived nor is on its way. `wrong`: why the run
    is no measurement at all, in words.
    """

    asked: float
    seconds: float
    sent: int
    loss: int
    pps: float
    gbps: float
    line_share: float | None
    latency: Latency
    wrong: str = ""

    @classmethod
    def of(cls, result: Result) -> Trial:
        """Returns the trial that a run of mode loopback was."""
        wrong = [] if result.loss > 0 else list(result.reasons)
        if any(delta.resets for delta in result.delta.values()):
            wrong.append(RESET)
        sent = result.window.sent
        gbps, line = result.rates(sent, result.window.sent_bytes)
        return cls(
            asked=result.plan.rate,
            seconds=result.duration,
            sent=result.sent,
            loss=max(result.loss, 0),
            pps=sent / result.duration if result.duration else 0.0,
            gbps=gbps,
            line_share=line,
            latency=result.latency or Latency.none(),
            wrong="; ".join(wrong),
        )

    @property
    def rate(self) -> float:
        """Packets a second that were asked for, or where nothing was, that were sent."""
        return self.asked or self.pps

    @property
    def loss_share(self) -> float:
        """Lost packets of those that were sent."""
        return self.loss / self.sent if self.sent else 0.0


@dataclass(frozen=True)
class Rule:
    """When a trial passes: `max_loss` is a share of the sent packets, MLRsearch's goal loss ratio.

    `precision`: how near the search comes, and by how much less than asked a trial may have sent.
    `trials` of full length decide about a rate; it is carried where no more than the share
    `exceed` of them fail (draft-ietf-bmwg-mlrsearch: goal duration sum and goal exceed ratio).
    """

    max_loss: float = 0.0
    precision: float = 0.005
    trials: int = 1
    exceed: float = 0.5

    def why_failed(self, trial: Trial) -> str:
        """Returns why the trial did not carry its rate, in words; "" when it did."""
        if trial.wrong:
            return trial.wrong
        if not trial.sent:
            return "nothing was sent"
        if trial.loss_share > self.max_loss:
            return f"{trial.loss} of {trial.sent} packets were lost ({trial.loss_share:.4%})"
        wanted = trial.asked * trial.seconds * (1 - self.precision) - 1  # a packet may be under way
        if trial.pps * trial.seconds < wanted:
            return f"only {trial.pps:.0f} of {trial.asked:.0f} packets a second could be sent"
        return ""


Measure = Callable[[float], Trial]


def loss_curve(measure: Measure, most: float) -> tuple[Trial, ...]:
    """Makes trials from `most` packets a second down in steps of a tenth of it.

    It ends after two in a row that lost nothing (RFC 2544, 26.3).
    """
    trials: list[Trial] = []
    for share in STEPS:
        trials.append(measure(share * most))
        if len(trials) > 1 and not trials[-1].loss and not trials[-2].loss:
            break
    return tuple(trials)


def plan_of(plan: Plan, size: int, rate: float) -> Plan:
    """Returns the plan of a trial with frames of one size."""
    return replace(plan, sizes=(size,), rate=rate, latency=True, max_loss=1.0)
