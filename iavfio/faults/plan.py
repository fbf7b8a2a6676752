# SPDX-License-Identifier: BSD-3-Clause
"""Which faults are wanted, and the fate of each packet drawn from that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iavfio.arguments import Amount, Names, Range, several
from iavfio.errors import ConfigError
from iavfio.ranges import SHARE

SIDES = ("rx", "tx")
SECONDS = Amount(0, 3600, "seconds")
DISTANCE = Range(1, 1024, "packets")
LIMIT = Range(1, 1 << 20, "packets")
SEED = Range(0, (1 << 63) - 1, "")
DRAWS = 7  # random numbers a packet: always as many, so that one fault does not shift another's


@dataclass(frozen=True)
class Plan:
    """The faults of a port: shares of all packets from 0 to 1, and times in seconds."""

    loss: float
    duplicate: float
    reorder: float
    corrupt: float
    delay: tuple[float, float]
    distance: int
    hold: float
    limit: int
    seed: int
    sides: frozenset[str]

    @staticmethod
    def checked(**given: Any) -> Plan:
        """Raises ConfigError for what is no share, no time, or no number of packets."""
        shares = {name: SHARE(name, given[name]) for name in ("loss", "duplicate", "reorder")}
        return Plan(
            **shares,
            corrupt=SHARE("corrupt", given["corrupt"]),
            delay=_interval(given["delay"]),
            distance=DISTANCE("distance", given["distance"]),
            hold=SECONDS("hold", given["hold"]),
            limit=LIMIT("limit", given["limit"]),
            seed=SEED("seed", given["seed"]),
            sides=Names("side", SIDES)("sides", given["sides"]),
        )

    @property
    def holds(self) -> bool:
        """Whether packets may be kept for a while."""
        return self.reorder > 0 or self.delay[1] > 0


def _interval(delay: Any) -> tuple[float, float]:
    if not isinstance(delay, tuple | list):
        seconds = SECONDS("delay", delay)
        return seconds, seconds
    ends = [SECONDS("delay", end) for end in several("delay", delay, "seconds")]
    if len(ends) != 2 or ends[0] > ends[1]:
        raise ConfigError(
            f"delay={delay} is not possible",
            "a delay is one number of seconds, or the shortest and the longest",
            "as in delay=(0.001, 0.005)",
        )
    return ends[0], ends[1]


@dataclass(frozen=True)
class Fates:
    """One row a packet."""

    lost: NDArray[np.bool_]
    duplicated: NDArray[np.bool_]
    corrupted: NDArray[np.bool_]
    where: NDArray[np.float64]  # of the inverted bit, as a share of the packet
    distance: NDArray[np.int64]  # how many later packets overtake this one
    delay: NDArray[np.float64]  # seconds

    def of(self, rows: NDArray[np.bool_]) -> Fates:
        """Returns the fates of the packets that `rows` marks."""
        return Fates(**{name: column[rows] for name, column in vars(self).items()})


class Dice:
    """The fates of one queue's packets: the same seed and packets give the same fates.

    How the packets are spread over bursts does not matter.
    """

    def __init__(self, plan: Plan, side: str, queue: int) -> None:
        self._plan = plan
        self._random = np.random.default_rng([plan.seed, SIDES.index(side), queue])

    def throw(self, packets: int) -> Fates:
        """Fates of the next packets of the queue."""
        plan = self._plan
        draws = self._random.random((packets, DRAWS)).T
        low, high = plan.delay
        back = draws[2] < plan.reorder
        return Fates(
            lost=draws[0] < plan.loss,
            duplicated=draws[1] < plan.duplicate,
            corrupted=draws[3] < plan.corrupt,
            where=draws[4],
            distance=np.where(back, 1 + (draws[5] * plan.distance).astype(np.int64), 0),
            delay=low + draws[6] * (high - low),
        )
