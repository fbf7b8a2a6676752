# SPDX-License-Identifier: BSD-3-Clause
"""The search for the highest rate that a fleet's way carries, with hosts that may fail in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from iavfio.bench.ndr import RESET, Trial
from iavfio.bench.search import Found, search_goals
from iavfio.errors import IavfioError
from iavfio.fleet.fleet import Fleet
from iavfio.signatures import checked_class

AGAIN = 3  # times that a trial is made anew in which a host failed or a VF was reset

Tell = Callable[[int, float, Trial | None, str], None]


@dataclass(frozen=True)
class Failure:
    """A trial that failed by a host: what was tried, the host, why, and whether it came back."""

    size: int
    asked: float
    host: str
    why: str
    back: bool


class FleetLost(IavfioError):
    """Hosts are lost and did not come back: the search cannot go on."""


@checked_class
class FleetSearch:
    """Searches for the highest rate of a fleet's plan, for each of its sizes.

    `found`: what each size has, by size; `failures`: trials that failed by a host. `trials`:
    those of a search that was not finished. `lost`: what ended the searches early.
    `tell(size, rate, trial, failed)` is called before a trial (None) and after it.
    """

    def __init__(self, fleet: Fleet, tell: Tell | None = None) -> None:
        self.fleet = fleet
        self.found: dict[int, tuple[Found, ...]] = {}
        self.failures: list[Failure] = []
        self.interrupted: KeyboardInterrupt | None = None
        self.lost: FleetLost | None = None
        self._tell = tell or (lambda size, rate, trial, failed: None)

    def run(self) -> None:
        """Makes all searches; what ends them early is in `interrupted` and `lost`."""
        goals = self.fleet.plan.goals
        try:
            for size in dict.fromkeys(self.fleet.plan.size):
                measure = partial(self._measure, size)
                self.found[size] = search_goals(measure, goals.rules, goals.max_rate)
        except KeyboardInterrupt as signal:
            self.interrupted = signal
        except FleetLost as lost:
            self.lost = lost
        except IavfioError as error:  # of the engine itself: no host can be reached any more
            self.lost = FleetLost(f"the search ended: {error.what}", error.cause, error.remedy)

    def _measure(self, size: int, rate: float) -> Trial:
        """A trial, made again where a host failed in it and came back, or a VF was reset."""
        for _ in range(1 + AGAIN):
            self._tell(size, rate, None, "")
            done = self.fleet.run(sizes=(size,), rate=rate)
            if done.interrupted is not None:
                raise done.interrupted
            trial = done.trial
            rule = self.fleet.plan.goals.rules[0]
            self._tell(size, rate, trial, rule.why_failed(trial))
            if done.failed:
                back = self.fleet.rejoin()
                lost = self.fleet.lost
                self.failures += [
                    Failure(size, rate, name, lost.get(name, why), name not in lost)
                    for name, why in done.failed.items()
                ]
                if not back:
                    raise FleetLost(
                        f"the search ended: {', '.join(lost)} did not come back",
                        "; ".join(lost.values()),
                        "start the worker there again; `rejoin` of [traffic] are the seconds that "
                        "it is waited for",
                    )
            elif RESET not in trial.wrong:
                break
        if done.failed:
            raise FleetLost(
                f"the search ended: hosts failed in {1 + AGAIN} trials of one rate",
                "; ".join(done.failed.values()),
                "look at these hosts, and at the logs of their workers",
            )
        return trial
