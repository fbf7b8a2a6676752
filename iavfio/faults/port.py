# SPDX-License-Identifier: BSD-3-Clause
"""A port behind a bad wire."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from iavfio.errors import StateError
from iavfio.faults.counts import Counts
from iavfio.faults.plan import Plan
from iavfio.faults.queues import Clock, FaultyRxQueue, FaultyTxQueue
from iavfio.port.port import Port
from iavfio.signatures import checked_call


@checked_call
def wrap(
    port: Port,
    *,
    loss: float = 0.0,
    duplicate: float = 0.0,
    reorder: float = 0.0,
    corrupt: float = 0.0,
    delay: float | tuple[float, float] = 0.0,
    seed: int = 0,
    sides: str | tuple[str, ...] = ("rx", "tx"),
    distance: int = 3,
    hold: float = 0.1,
    limit: int = 4096,
    clock: Clock = time.monotonic,
) -> FaultyPort:
    """The port with a bad wire in front of it; a context manager, at whose end the wire is good.

    `loss`, `duplicate`, `reorder`, `corrupt`: shares of all packets, 0 to 1. A duplicate goes right
    ahead of its original; a reordered packet waits until 1 to `distance` later ones have overtaken
    it, `hold` seconds at most; a corrupted one has one bit inverted behind all checks of the
    device. `delay`: seconds for every packet, or the shortest and the longest of them. At most
    `limit` packets wait in a queue; more go early. `sides`: "rx", "tx" or both, each with fates of
    its own. The same `seed` and packets of a queue meet the same fates, however they are spread
    over bursts; where packets wait for a moment their order depends on `clock`, in seconds. Raises
    ConfigError for what is no share, time or number.
    """
    plan = Plan.checked(
        loss=loss,
        duplicate=duplicate,
        reorder=reorder,
        corrupt=corrupt,
        delay=delay,
        distance=distance,
        hold=hold,
        limit=limit,
        seed=seed,
        sides=sides,
    )
    return FaultyPort(port, plan, clock)


@dataclass(frozen=True)
class _Queues:
    """The port's queues, those in front of them, and what became of packets of earlier ones."""

    port: tuple[Any, Any]
    rx: tuple[FaultyRxQueue, ...]
    tx: tuple[FaultyTxQueue, ...]
    earlier: dict[str, Counts]

    def counts(self, side: str) -> Counts:
        queues: tuple[FaultyRxQueue | FaultyTxQueue, ...] = self.rx if side == "rx" else self.tx
        return sum((queue.counts for queue in queues), self.earlier[side])

    def end(self) -> None:
        """Gives back what they hold."""
        for queue in (*self.rx, *self.tx):
            queue.end()


class FaultyPort:
    """A port whose `rx` and `tx` stand behind a bad wire; all else is the port's own.

    Made by `iavfio.faults.wrap`. What is held for sending goes with the next call of `send` or
    `clean` of its queue, of any `recv`, or of `pump`. Workers run on the port's own queues, where
    there are no faults.
    """

    def __init__(self, port: Port, plan: Plan, clock: Clock) -> None:
        self._port, self._plan = port, plan
        self.clock = clock
        self._ended = False
        self._lock = threading.Lock()  # of who replaces the queues
        self._queues = _Queues(((), ()), (), (), {"rx": Counts(), "tx": Counts()})
        self._follow()

    @property
    def port(self) -> Port:
        """The port itself, on which the wire is good."""
        return self._port

    @property
    def rx(self) -> tuple[FaultyRxQueue, ...]:
        """The receive queues; `configure` makes new ones."""
        return self._follow().rx

    @property
    def tx(self) -> tuple[FaultyTxQueue, ...]:
        """The send queues; `configure` makes new ones."""
        return self._follow().tx

    def _follow(self) -> _Queues:
        """Returns the present queues; the first call after `configure` makes them for all."""
        if self._queues.port != (self._port.rx, self._port.tx):
            with self._lock:
                before, now = self._queues, (self._port.rx, self._port.tx)
                if before.port != now:
                    before.end()
                    self._queues = _Queues(
                        now,
                        tuple(FaultyRxQueue(self, queue, self._plan) for queue in now[0]),
                        tuple(FaultyTxQueue(self, queue, self._plan) for queue in now[1]),
                        {side: before.counts(side) for side in before.earlier},
                    )
        return self._queues

    # ---- what became of the packets

    @property
    def rx_counts(self) -> Counts:
        """Returns the counts of faults of all receive queues together."""
        return self._queues.counts("rx")

    @property
    def tx_counts(self) -> Counts:
        """Returns the counts of faults of all send queues together."""
        return self._queues.counts("tx")

    @property
    def counts(self) -> Counts:
        """Returns the counts of faults of both directions together."""
        return self.rx_counts + self.tx_counts

    # ---- time

    @property
    def next(self) -> float | None:
        """The moment, by `clock`, at which a held packet is due to be sent; None without one."""
        queues = self._queues.tx
        return min((at for queue in queues if (at := queue.next) is not None), default=None)

    def pump(self) -> None:
        """Sends what is due, where the queues can send."""
        for queue in self._queues.tx:
            with contextlib.suppress(StateError):
                queue.pump()

    def drain(self) -> int:
        """Ends all delays: what is held for sending goes, what was received comes with `recv`.

        Returns the packets that a full ring has no room for yet. Raises as `send` does.
        """
        self.check()
        queues = self._follow()
        for queue in (*queues.rx, *queues.tx):
            queue.drain()
        return sum(queue.counts.held for queue in queues.tx)

    # ---- end

    def check(self) -> None:
        """Raises StateError when the faults have ended."""
        if self._ended:
            raise StateError(
                f"the faults of {self._port.name} have ended",
                "their queues were used after `with iavfio.faults.wrap(...)`",
                "use the queues of the port itself",
            )

    def end(self) -> None:
        """The wire is good again: gives held packets back; the port stays as it is."""
        self._ended = True
        self._queues.end()

    def close(self) -> None:
        """Ends the faults and closes the port."""
        self.end()
        self._port.close()

    def __enter__(self) -> FaultyPort:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.end()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def __repr__(self) -> str:
        return f"<FaultyPort over {self._port!r}: {self.counts}>"
