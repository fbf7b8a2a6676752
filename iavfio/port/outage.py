# SPDX-License-Identifier: BSD-3-Clause
"""How long a reset lasts for traffic: until the first packet has moved again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.port.events import Reset

if TYPE_CHECKING:
    from iavfio.port.status import PortStatus
    from iavfio.port.watchdog import Watchdog
    from iavfio.stats import PortStats


class Outage:
    """Waits for the first packet after a reset and completes its record. Under the port's lock."""

    def __init__(self, status: PortStatus) -> None:
        self._status = status
        self._awaited: tuple[Reset, float] | None = None  # a reset, and when it was seen

    def begin(self) -> None:
        """A reset is seen: what was awaited before does not count any more."""
        self._awaited = None

    def quiet(self, watchdog: Watchdog, stats: PortStats, queues: int) -> None:
        """No queue runs: what the first `queues` count from now on is traffic after the reset.

        The watchdog sees these alone; what further ones counted in their time is left out.
        """
        counts = stats.snapshot().of_queues(queues)
        watchdog.await_traffic(sum(queue["packets"] for queue in (*counts.rq, *counts.sq)))

    def running(self, record: Reset, began: float) -> None:
        """The port is back from the reset that was seen at `began`."""
        self._awaited = (record, began)

    def traffic_seen(self, watchdog: Watchdog) -> None:
        """The watchdog has seen the first packet."""
        seen = watchdog.traffic_since
        if self._awaited is None or not seen:
            return
        (record, began), self._awaited = self._awaited, None
        record.first_packet = after = seen - began
        self._status.emit("traffic", f"the first packet came after {after * 1e3:.1f} ms")
