# SPDX-License-Identifier: BSD-3-Clause
"""An engine without hosts: what stations would answer is made up here, and hosts fail on demand."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from iavfio.errors import IavfioError
from iavfio.fleet.engine import HostLost
from iavfio.fleet.orders import HostCounts, Moved, OpenOrder, PortFacts, TrialOrder, Trouble
from iavfio.fleet.plan import Cluster, FleetPlan, Host

SECONDS = 10.0


class Done:
    """A call that has returned."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def ready(self, seconds: float) -> bool:
        if isinstance(self._value, BaseException):
            raise self._value
        return True

    def result(self) -> Any:
        return self._value


class Silent:
    """A call that never returns."""

    def ready(self, seconds: float) -> bool:
        time.sleep(min(seconds, 0.001))
        return False

    def result(self) -> Any:
        raise AssertionError


@dataclass
class Way:
    """What lies between the hosts: it carries `carries` packets a second of all senders together.

    `script`: for each "HOST METHOD" what its next calls do: an error to raise, Trouble to return,
    "silent", or None for nothing special.
    """

    carries: float = 1e9
    sends: float = 1e6
    named: Mapping[str, int] = field(default_factory=dict)
    script: dict[str, list[Any]] = field(default_factory=dict)
    skew_ns: Mapping[str, int] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    calls: list[tuple[str, str]] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)


class FakeEngine:
    """Places every host that is not gone."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.closed = False

    def place(self, hosts: Sequence[Host]) -> Mapping[str, FakeRemote]:
        for host in hosts:
            if host.name in self.way.gone:
                raise HostLost(host.name, "there is no such worker")
        return {host.name: FakeRemote(self.way, host) for host in hosts}

    def close(self) -> None:
        self.closed = True


class FakeRemote:
    """A station that counts as `way` says."""

    def __init__(self, way: Way, host: Host) -> None:
        self.way, self.host = way, host
        self.order: TrialOrder | None = None

    def call(self, method: str, *arguments: Any) -> Done | Silent:
        name = self.host.name
        self.way.calls.append((name, method))
        waiting = self.way.script.get(f"{name} {method}", [])
        planned = waiting.pop(0) if waiting else None
        if planned == "silent":
            return Silent()
        if planned is not None:
            return Done(planned() if callable(planned) else planned)
        answer: Callable[..., Any] = getattr(self, f"_{method}")
        return Done(answer(*arguments))

    def now(self) -> Done:
        return Done(time.time_ns() + self.way.skew_ns.get(self.host.name, 0))

    def release(self) -> None:
        pass

    def _open(self, order: OpenOrder) -> PortFacts:
        number = sum(order.host.encode()) % 256
        mac = bytes([2, 0, 0, 0, 0, number])
        about: dict[str, object] = {
            "cpu": "a",
            "kernel": "b",
            "devices": {"vf0": "E810 VF"},
            "software_device": False,
        }
        return PortFacts("vf0", mac, True, 1000, "avx2", about)

    def _begin(self, order: TrialOrder) -> None:
        self.order = order
        self.way.sent[self.host.name] = 0

    def _send(self, order: TrialOrder) -> Moved:
        rate = min(order.rate or self.way.sends, self.way.sends)
        sent = order.most or int(rate * SECONDS)
        self.order, self.way.sent[self.host.name] = order, sent
        return Moved(sent, 0)

    def _received(self) -> int:
        if self.order is None or not self.order.receives:
            return 0
        return min(sum(self.way.sent.values()), int(self.way.carries * SECONDS))

    def _moved(self) -> Moved:
        return Moved(self.way.sent[self.host.name], self._received())

    def _end(self) -> HostCounts | Trouble:
        sent = self.way.sent[self.host.name]
        return HostCounts(
            sent=sent,
            window_sent=sent,
            window_bytes=60 * sent,
            window_s=SECONDS if sent else 0.0,
            started_ns=self.order.start_ns if self.order is not None and sent else 0,
            received=self._received(),
            lost=dict(self.way.named) if self._received() else {},
        )

    def _stop(self) -> None:
        pass

    def _close(self) -> None:
        pass


def plan(*hosts: Host, **given: Any) -> FleetPlan:
    """A plan of two senders and a receiver, or of these hosts; nothing is waited for long."""
    usual: dict[str, Any] = {"grace": 0.05, "rejoin": 0.01, "rate": 1000.0, "duration": SECONDS}
    return FleetPlan(
        cluster=Cluster(scheduler="tcp://192.0.2.1:8786"),
        hosts=hosts
        or (
            Host("west", "0000:3b:02.0", "sender"),
            Host("north", "0000:3b:02.0", "sender"),
            Host("east", "0000:3b:02.0", "receiver"),
        ),
        **(usual | given),
    )


def lost(host: str, why: str = "its worker ended") -> IavfioError:
    """The error of a host that is gone."""
    return HostLost(host, why)
