# SPDX-License-Identifier: BSD-3-Clause
"""The search for the highest rate that is carried, for one goal or several, on a way with noise.

It bisects with single trials (RFC 2544, 26.1). What it ends at is decided by several trials of full
length, as MLRsearch does it (draft-ietf-bmwg-mlrsearch): of a rate that passes once and fails once
more trials tell which it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil

from iavfio.bench.ndr import Measure, Rule, Trial

MOST_TRIALS = 60  # for one goal: more than any precision needs
UPWARDS = 1.25  # the next rate, while every one is carried
LEAST_RATE = 1.0  # packets a second below which nothing is looked for
MOST_NOTES = 5  # pairs of trials that are named
ENOUGH = "no more was asked for"


@dataclass(frozen=True)
class Found:
    """What a search found for one goal: `best` carried its rate, None when no trial did.

    `limit`: what kept the next higher rate from being carried. `conditional_pps`: the rate less the
    loss that the share of trials which may fail does not exceed: MLRsearch's conditional
    throughput, 0 where none was carried. `decided`: whether as many trials as the rule wants stand
    behind the rate.
    """

    rule: Rule
    best: Trial | None
    limit: str
    trials: tuple[Trial, ...]
    conditional_pps: float = 0.0
    decided: bool = True


def search(measure: Measure, rule: Rule, ceiling: float = 0.0) -> Found:
    """Finds the highest rate that is carried, by bisection between what is and what is not.

    `measure(rate)` makes a trial at so many packets a second, 0 = as fast as possible. `ceiling`:
    the most that is tried; 0: the first trial tells what can be sent, and the search goes up from
    there as long as more is carried.
    """
    return search_goals(measure, (rule,), ceiling)[0]


def search_goals(
    measure: Measure, rules: Sequence[Rule], ceiling: float = 0.0
) -> tuple[Found, ...]:
    """The same for several goals, in one search: what a trial says, it says to all of them."""
    trials: list[Trial] = []
    if not ceiling:
        trials.append(measure(ceiling))
    return tuple(_Goal(measure, rule, ceiling, trials).find() for rule in rules)


def contradictions(trials: Sequence[Trial], rule: Rule) -> tuple[str, ...]:
    """Names the trials that contradict each other under a rule, the first of them by number.

    A rate that passed and failed, or one that failed although a higher one passed: noise of the
    host, or a way that changes.
    """
    outcomes = [(number, trial, rule.why_failed(trial)) for number, trial in enumerate(trials, 1)]
    found: list[str] = []
    for one, other in combinations(outcomes, 2):
        passed, failed = (one, other) if not one[2] else (other, one)
        if passed[2] or not failed[2] or failed[1].rate > passed[1].rate:
            continue
        found.append(
            f"trial {passed[0]} carried {passed[1].rate:.0f} packets a second, and trial "
            f"{failed[0]} did not carry {failed[1].rate:.0f}: {failed[2]}"
        )
    more = len(found) - MOST_NOTES
    return (*found[:MOST_NOTES], *([f"{more} more pairs of trials contradict"] if more > 0 else []))


class _Goal:
    """The search for one goal. `trials` is of all goals, and grows."""

    def __init__(self, measure: Measure, rule: Rule, ceiling: float, trials: list[Trial]) -> None:
        self._measure, self._rule, self._ceiling = measure, rule, ceiling
        self._trials = trials
        self._loads: dict[float, list[Trial]] = {}
        for trial in trials:
            if trial.asked:
                self._loads.setdefault(trial.asked, []).append(trial)

    def find(self) -> Found:
        made = 0
        while made < MOST_TRIALS:
            rate = self._next()
            if rate is None:
                break
            trial = self._measure(rate)
            made += 1
            self._trials.append(trial)
            self._loads.setdefault(rate, []).append(trial)
        low, high = self._bounds()
        rule = self._rule
        if low is None:
            best, conditional = None, 0.0
        else:
            passed = [trial for trial in self._loads[low] if not rule.why_failed(trial)]
            best = min(passed, key=lambda trial: trial.pps)
            conditional = best.pps * (1 - self._quantile_loss(low))
        return Found(
            rule,
            best,
            self._limit(low, high),
            tuple(self._trials),
            conditional,
            low is not None and self._carried(low, rule.trials) is not None,
        )

    def _next(self) -> float | None:
        """The rate of the next trial; None when there is nothing left to be known."""
        rule = self._rule
        for rate, trials in self._loads.items():  # what was begun is decided first
            if len(trials) > 1 and self._carried(rate, rule.trials) is None:
                return rate
        low, high = self._bounds()
        if high is None:
            if self._ceiling:
                if self._ceiling not in self._loads:
                    return self._ceiling
            else:
                first = self._trials[0].pps
                return low * UPWARDS if low is not None else first if first >= LEAST_RATE else None
        elif high < LEAST_RATE:
            return None
        elif high - (low or 0.0) > rule.precision * high:
            return ((low or 0.0) + high) / 2
        for bound in (low, high):
            if bound is not None and self._carried(bound, rule.trials) is None:
                return bound
        return None

    def _bounds(self) -> tuple[float | None, float | None]:
        """The highest rate that is carried below the lowest that is not, and that one."""
        outcomes = {rate: self._look(rate) for rate in self._loads}
        high = min((rate for rate, carried in outcomes.items() if not carried), default=None)
        below = (
            rate for rate, carried in outcomes.items() if carried and (high is None or rate < high)
        )
        return max(below, default=None), high

    def _look(self, rate: float) -> bool:
        """Whether a rate is carried, by as many trials as there are."""
        trials = self._loads[rate]
        return bool(self._carried(rate, 1 if len(trials) == 1 else self._rule.trials))

    def _carried(self, rate: float, wanted: int) -> bool | None:
        """Whether a rate is carried by `wanted` trials or more; None when their rest decides."""
        trials = self._loads[rate]
        good = sum(not self._rule.why_failed(trial) for trial in trials)
        may_fail = max(len(trials), wanted) * self._rule.exceed
        if len(trials) - good > may_fail:
            return False
        return True if max(len(trials), wanted) - good <= may_fail else None

    def _quantile_loss(self, rate: float) -> float:
        """The loss that at most the share `exceed` of a rate's trials exceeds."""
        losses = sorted(trial.loss_share for trial in self._loads[rate])
        return losses[max(ceil(len(losses) * (1 - self._rule.exceed)) - 1, 0)]

    def _limit(self, low: float | None, high: float | None) -> str:
        if high is None:
            if low is None:
                return self._rule.why_failed(self._trials[0])
            if self._ceiling:
                return ENOUGH
            return f"the search ended after {len(self._trials)} trials, and all were carried"
        reasons = [self._rule.why_failed(trial) for trial in self._loads[high]]
        return next(reason for reason in reversed(reasons) if reason)
