# SPDX-License-Identifier: BSD-3-Clause
"""The no-drop rate: the most that a way carries without loss, by trials (RFC 2544, 26.1 to 26.3).

`search` and `loss_curve` know nothing of ports: they ask for trials at rates, and say what follows
from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from iavfio.bench.plan import Plan
from iavfio.bench.result import Result
from iavfio.datapath.latency import Latency

MOST_TRIALS = 60  # of a search: more than any precision needs
RESET = "a VF was reset in the trial"
UPWARDS = 1.25  # the next rate, while every one is carried
LEAST_RATE = 1.0  # packets a second below which nothing is looked for
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
    def loss_share(self) -> float:
        """Lost packets of those that were sent."""
        return self.loss / self.sent if self.sent else 0.0


@dataclass(frozen=True)
class Rule:
    """When a trial passes: `max_loss` is a share of the sent packets.

    `precision`: how near the search comes, and by how much less than asked a trial may have sent.
    """

    max_loss: float = 0.0
    precision: float = 0.005

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


@dataclass(frozen=True)
class Found:
    """What a search found: `best` carried its rate, None when no trial did.

    `limit`: what kept the next higher rate from being carried.
    """

    best: Trial | None
    limit: str
    trials: tuple[Trial, ...]


Measure = Callable[[float], Trial]


def search(measure: Measure, rule: Rule, ceiling: float = 0.0) -> Found:
    """Finds the highest rate that is carried, by bisection between what is and what is not.

    `measure(rate)` makes a trial at so many packets a second, 0 = as fast as possible. `ceiling`:
    the most that is tried; 0: the first trial tells what can be sent, and the search goes up from
    there as long as more is carried.
    """
    trials = [measure(ceiling)]
    limit = rule.why_failed(trials[0])
    if ceiling and not limit:
        return Found(trials[0], "no more was asked for", tuple(trials))
    best: Trial | None = None
    low, high = 0.0, ceiling or trials[0].pps
    bounded = bool(ceiling)  # whether `high` is known not to be carried
    rate = high / 2 if bounded else high
    while high >= LEAST_RATE and len(trials) < MOST_TRIALS:
        trial = measure(rate)
        trials.append(trial)
        failed = rule.why_failed(trial)
        if failed:
            high, limit, bounded = rate, failed, True
        else:
            best, low = trial, rate
        if bounded and high - low <= rule.precision * high:
            break
        rate = (low + high) / 2 if bounded else rate * UPWARDS
        high = max(high, rate)
    return Found(best, limit, tuple(trials))


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
