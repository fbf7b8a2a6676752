# SPDX-License-Identifier: BSD-3-Clause
"""What a fleet needs of an engine: stations on hosts, calls that come back or a host that is lost.

Nothing here knows which engine it is; `iavfio.fleet.dask_engine` has dask's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from iavfio.errors import IavfioError
from iavfio.fleet.plan import Host


class HostLost(IavfioError):
    """A host does not answer any more; `host` is its name in the plan."""

    def __init__(self, host: str, cause: str, remedy: str = "") -> None:
        self.host = host
        super().__init__(f"host {host} is lost", cause, remedy)


class Pending(Protocol):
    """A call that is under way."""

    def ready(self, seconds: float) -> bool:
        """Whether it has returned, after waiting so long at most. Raises HostLost."""

    def result(self) -> Any:
        """What it returned, when it is ready."""


class Remote(Protocol):
    """A Station on a host."""

    def call(self, method: str, *arguments: Any) -> Pending:
        """Begins a call of a method of the Station."""

    def now(self) -> Pending:
        """Begins to ask for the host's CLOCK_REALTIME in nanoseconds; does nothing else."""

    def release(self) -> None:
        """Forgets the Station, whether its host lives or not."""


class Engine(Protocol):
    """Reaches hosts. It is closed with `close`, which ends what it has started."""

    def place(self, hosts: Sequence[Host]) -> Mapping[str, Remote]:
        """A new Station for each host, by its name.

        Raises HostLost for the first host that has no place.
        """

    def close(self) -> None:
        """Ends it; twice is harmless."""


def result(host: str, call: Pending, seconds: float) -> Any:
    """What a call of a host returns. Raises HostLost when it has not after so many seconds."""
    if not call.ready(seconds):
        raise silent(host, seconds)
    return call.result()


def silent(host: str, seconds: float) -> HostLost:
    """The error for a host that has not answered for so long."""
    return HostLost(
        host, f"it has not answered for {seconds:.0f} s", "look at that host, and at its worker"
    )
