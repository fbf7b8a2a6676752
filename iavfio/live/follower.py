# SPDX-License-Identifier: BSD-3-Clause
"""One port over time, through resets and over the lives of the processes that run it.

Only the segment is read, so that the port is not disturbed and any user may do it who may read the
file. A segment's memory stays readable after its port has withdrawn it: what was counted up to the
end is known exactly, and so is what a successor of the same name has counted since its start.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import zip_longest

from iavfio.errors import IavfioError
from iavfio.stats import SegmentReader, Snapshot
from iavfio.stats.listing import find
from iavfio.stats.patience import Patience

RESET, RESTARTED, GONE = "reset", "restarted", "gone"
LINK_UP, LINK_DOWN, LINK_FLAPPED = "link up", "link down", "link flapped"


@dataclass(frozen=True)
class Interval:
    """What a port did between two looks at it.

    `now` is the later look, `counted` holds the differences, never negative; `seconds` lie between
    the two, `wall` is the time of the later one in seconds since 1970. `events` says in words what
    happened meanwhile besides traffic.
    """

    seconds: float
    wall: float
    now: Snapshot
    counted: Snapshot
    events: tuple[str, ...] = ()

    @property
    def gone(self) -> bool:
        """Whether no process runs the port at its end."""
        return not self.now.alive


class Follower:
    """Follows the port that `port` names, as `iavfio stats` names it.

    `since`: a moment by time.monotonic() after which it is known to have begun: the first interval
    then holds all that its queues have counted. Raises IavfioError when there is no such port,
    when it may not be read, or when its process has ended already; ConfigError for what cannot be
    a name.
    """

    def __init__(self, port: str, since: float | None = None) -> None:
        self._port = port
        self._reader = find(port)
        if not self._reader.alive:
            raise IavfioError(
                f"{port!r} is not running",
                f"{self._reader.process} that ran it has ended",
                f"see its last counts: iavfio stats {port}",
            )
        self._at = time.monotonic()
        self._before = self._reader.snapshot()
        if since is not None:
            self._at = since
            self._before = replace(self._before.since(self._before), pf=self._before.pf)

    @property
    def gone(self) -> bool:
        """Whether no process ran the port when it was looked at last."""
        return not self._before.alive

    def step(self, patience: Patience | None = None) -> Interval:
        """What happened since the last call, or since the making of this object.

        Between two calls a port may have ended, or begun anew in another process: what both have
        counted is added up. A life that began and ended between them is not seen. Raises
        IavfioError when another user, whose file it is, has cut it short. `patience`: as of
        SegmentReader.snapshot.
        """
        at = time.monotonic()
        now = self._reader.snapshot(patience)
        if not now.alive and self._before.alive:
            now = self._reader.snapshot(patience)  # it may have counted on until it ended
        counted = _difference(now, self._before)
        events = list(_events(now, self._before, counted))
        if not now.alive:
            new = self._successor(patience)
            if new is not None:
                counted = _sum(_first_counts(new), counted)
                now = new
                events = [RESTARTED, *([RESET] if new.resets else [])]
        seconds, self._at, self._before = at - self._at, at, now
        return Interval(seconds, time.time(), now, counted, tuple(events))

    def _successor(self, patience: Patience | None) -> Snapshot | None:
        """The first look at another process's port of the same name and user, if one runs."""
        try:
            reader: SegmentReader = find(f"{self._reader.user}/{self._port.rpartition('/')[2]}")
            snapshot = reader.snapshot(patience)
        except IavfioError:
            return None
        if not snapshot.alive:
            return None
        self._reader = reader
        return snapshot


def _difference(now: Snapshot, before: Snapshot) -> Snapshot:
    """The PF's first answer is left out: what it had counted before, nobody knows the time of."""
    counted = now.since(before)
    return replace(counted, pf=dict.fromkeys(now.pf, 0)) if before.age is None else counted


def _first_counts(new: Snapshot) -> Snapshot:
    """Returns a new port's snapshot with the PF's counts at 0: some may be of earlier users."""
    return replace(new, pf=dict.fromkeys(new.pf, 0))


def _sum(one: Snapshot, other: Snapshot) -> Snapshot:
    """Adds up what both have counted, all else as in `one`; the numbers of queues may differ."""
    none: dict[str, int] = {}

    def added(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
        return {name: a.get(name, 0) + b.get(name, 0) for name in a | b}

    def queues(
        a: tuple[dict[str, int], ...], b: tuple[dict[str, int], ...]
    ) -> tuple[dict[str, int], ...]:
        return tuple(added(x, y) for x, y in zip_longest(a, b, fillvalue=none))

    return replace(
        one,
        pf=added(one.pf, other.pf),
        rq=queues(one.rq, other.rq),
        sq=queues(one.sq, other.sq),
        resets=one.resets + other.resets,
        link_changes=one.link_changes + other.link_changes,
    )


def _events(now: Snapshot, before: Snapshot, counted: Snapshot) -> list[str]:
    found = []
    if counted.resets:
        found.append(RESET if counted.resets == 1 else f"{counted.resets} {RESET}s")
    if before.alive and not now.alive:
        found.append(GONE)
    elif now.link_up != before.link_up:
        found.append(LINK_UP if now.link_up else LINK_DOWN)
    elif counted.link_changes:
        found.append(LINK_FLAPPED)
    return found
