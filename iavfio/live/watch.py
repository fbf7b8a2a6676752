# SPDX-License-Identifier: BSD-3-Clause
"""Several ports at once, named ones or all that there are, and what they did all the time."""

from __future__ import annotations

import time
from collections.abc import Sequence

from iavfio.errors import IavfioError
from iavfio.live.follower import Follower
from iavfio.live.rates import PortRates, PortTotal, Totals, rates
from iavfio.signatures import checked_call
from iavfio.stats import ports
from iavfio.stats.patience import Patience

MOST_TOTALS = 1024  # beyond them the totals of ports that ended first are forgotten


class Watch:
    """Follows `names`; without names every port that this user may read, also those that come.

    Named ports are followed for ever: one that is gone may come back. Of all ports, one that is
    gone is told once and then left out; one that comes, perhaps again, is told from the step after
    it was found, with all that it has counted. Raises what `Follower` raises for a name.
    """

    @checked_call
    def __init__(self, names: Sequence[str] = ()) -> None:
        self._all = not names
        self._totals: dict[str, Totals] = {}
        self._followers = {name: Follower(name) for name in names}
        self._looked: float | None = None  # when all ports were looked for the last time
        self._discover()

    def step(self) -> list[PortRates]:
        """Returns what each port did since the last call."""
        found = []
        patience = Patience()  # for all of them: no user's port delays the others
        for name, follower in list(self._followers.items()):
            try:
                each = rates(follower.step(patience))
            except IavfioError:  # another user has cut the file short that is his
                if not self._all:
                    raise
                del self._followers[name]
                continue
            self._totals.setdefault(name, Totals()).add(each)
            found.append(each)
            if self._all and follower.gone:
                del self._followers[name]
        self._discover()
        self._forget()
        return found

    @property
    def gone(self) -> list[str]:
        """Named ports that no process ran at the last look."""
        return [name for name, follower in self._followers.items() if follower.gone]

    def totals(self) -> list[PortTotal]:
        """Returns what each port did all the time that it was watched."""
        return [total for each in self._totals.values() if (total := each.total()) is not None]

    def _discover(self) -> None:
        if not self._all:
            return
        before, self._looked = self._looked, time.monotonic()
        for port in ports():
            name = f"{port.user}/{port.name}"
            if port.alive and name not in self._followers:
                try:
                    self._followers[name] = Follower(name, before)
                except IavfioError:
                    continue  # it has ended this moment

    def _forget(self) -> None:
        """Ports come and go for as long as a host runs, and any user can make some."""
        ended = [name for name in self._totals if name not in self._followers]
        for name in ended[: max(len(self._totals) - MOST_TOTALS, 0)]:
            del self._totals[name]
