# SPDX-License-Identifier: BSD-3-Clause
"""What a fleet is to measure: its hosts with their ports and roles, the traffic, the goals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from iavfio.arguments import Choice, Flag, Text, counted, several, unknown
from iavfio.bench.ndr import Rule
from iavfio.bench.plan import SMALLEST, SMALLEST_IPV6
from iavfio.errors import ConfigError
from iavfio.generator.rate import Rate, parse_stream_rate
from iavfio.ranges import (
    BURST,
    CPU,
    DECIDING,
    EXCEED,
    FLOWS,
    FRAME,
    IMIX,
    MOST_SIZES,
    MTU,
    PRECISION,
    QUEUES,
    RATE,
    RING,
    SECONDS,
    SHARE,
)

ADDRESS = re.compile(r"[a-z]+://\S+:[0-9]{1,5}", re.ASCII)
ROLES = ("sender", "receiver", "both")
KINDS = ("local", "ssh", "kubernetes")
MOST_LANES = 256  # send queues of a fleet, whose packets a receiver tells apart
ROLE = Choice("role", ROLES)
KIND = Choice("kind of cluster", KINDS)


@dataclass(frozen=True)
class Host:
    """A host's part: which VF it drives, and whether that sends, receives or does both.

    `worker`: the dask worker on that host, by its name or its address; `resource`: any dask worker
    that has this resource. Without both it is the worker named as the host, or else one that no
    other host has. `to`: hosts that it sends to, each send queue to the next of them; by default
    all that receive. `mtu`: None: what the frames need.
    """

    name: str
    port: str
    role: str
    worker: str = ""
    resource: str = ""
    to: tuple[str, ...] = ()
    queues: int = 1
    ring: int = 512
    cpus: tuple[int, ...] = ()
    mtu: int | None = None

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that cannot be."""
        Text("the name of a host", 'name = "west"')("name", self.name)
        Text("what names a VF on that host", 'port = "0000:3b:02.0"')("port", self.port)
        ROLE("role", self.role)
        for name in ("worker", "resource"):
            if getattr(self, name):
                Text("a word of dask's", f'{name} = "vf"')(name, getattr(self, name))
        if self.worker and self.resource:
            raise ConfigError(
                f"host {self.name} has a worker and a resource",
                "both say where it is",
                "leave one of them out",
            )
        if self.to and not self.sends:
            raise ConfigError(
                f"host {self.name} sends nothing, and `to` says where", "", "leave `to` out"
            )
        QUEUES("queues", self.queues)
        RING("ring", self.ring)
        if self.mtu is not None:
            MTU("mtu", self.mtu)
        named = [
            Text("the name of a host", 'to = ["east"]')("to", each)
            for each in several("to", self.to, "names of hosts")
        ]
        cpus = [CPU("cpus", each) for each in several("cpus", self.cpus, "numbers of CPUs")]
        object.__setattr__(self, "to", tuple(named))
        object.__setattr__(self, "cpus", tuple(cpus))

    @property
    def sends(self) -> bool:
        """Whether its port sends."""
        return self.role != "receiver"

    @property
    def receives(self) -> bool:
        """Whether its port receives."""
        return self.role != "sender"


@dataclass(frozen=True)
class Cluster:
    """What starts the dask workers: `scheduler`, the address of one that runs, or a cluster.

    `kind`: local (processes of this host), ssh (`hosts`, of which the first has the scheduler), or
    kubernetes; `options` are keywords of dask's LocalCluster, SSHCluster or KubeCluster.
    """

    scheduler: str = ""
    kind: str = ""
    hosts: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ConfigError for what names no engine, or two."""
        if bool(self.scheduler) == bool(self.kind):
            raise ConfigError(
                "the fleet has two engines" if self.kind else "the fleet has no engine",
                "it is a scheduler that runs, or a cluster that is started for the measurement",
                'write [engine] scheduler = "tcp://192.0.2.1:8786", or cluster = "ssh"',
            )
        if self.scheduler:
            address = Text("the address of a scheduler", '"tcp://192.0.2.1:8786"')(
                "scheduler", self.scheduler
            )
            if not ADDRESS.fullmatch(address):
                raise ConfigError(
                    f"scheduler={address!r} is no address",
                    "it is a transport, a host and a port",
                    'write scheduler = "tcp://192.0.2.1:8786", as dask scheduler prints it',
                )
        else:
            KIND("cluster", self.kind)
        hosts = several("hosts", self.hosts, "names of hosts")
        for each in hosts:
            Text("the name of a host", 'hosts = ["192.0.2.1"]')("hosts", each)
        if bool(hosts) != (self.kind == "ssh"):
            raise ConfigError(
                "an SSH cluster has no hosts" if not hosts else "only an SSH cluster has hosts",
                "the first of them runs the scheduler, the others a worker each",
                'write hosts = ["192.0.2.1", "192.0.2.10", "192.0.2.11"]'
                if not hosts
                else "leave hosts out",
            )
        if not isinstance(self.options, Mapping) or (self.options and not self.kind):
            raise ConfigError(
                "these options are of no cluster",
                "they are keywords of the cluster that is started",
                "leave them out",
            )
        object.__setattr__(self, "hosts", tuple(hosts))


@dataclass(frozen=True)
class Goals:
    """When a rate counts as carried, in the words of `iavfio ndr`.

    `max_loss`: shares of packets that a trial may lose, a goal each; `trials` decide about a rate,
    of which the share `exceed_ratio` may fail; `precision`: how near the search comes; `max_rate`:
    the most packets a second to try, of all senders together, 0: what can be sent.
    """

    max_loss: tuple[float, ...] = (0.0,)
    precision: float = 0.005
    trials: int = 3
    exceed_ratio: float = 0.5
    max_rate: float = 0.0

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that cannot be."""
        given = self.max_loss
        listed = [given] if isinstance(given, int | float) else several("max_loss", given, "shares")
        shares = dict.fromkeys(SHARE("max_loss", each) for each in listed)
        if not shares:
            raise ConfigError("there is no goal", "max_loss is empty", "max_loss = 0")
        object.__setattr__(self, "max_loss", tuple(shares))
        PRECISION("precision", self.precision)
        DECIDING("trials", self.trials)
        EXCEED("exceed_ratio", self.exceed_ratio)
        RATE("max_rate", self.max_rate)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """A rule for each goal."""
        return tuple(
            Rule(loss, self.precision, self.trials, self.exceed_ratio) for loss in self.max_loss
        )


@dataclass(frozen=True)
class Lane:
    """A send queue of a fleet: its number among all, whose it is, and the host it sends to."""

    number: int
    sender: str
    queue: int
    to: str


@dataclass(frozen=True)
class FleetPlan:
    """One measurement over some hosts.

    `size`: frame sizes with FCS, in turn in a bench, a search each in a search for the no-drop
    rate; `rate`: of all senders together, as `iavfio gen` writes rates; `duration`: seconds of a
    run or a trial; `flows`: UDP flows of each send queue; `verify`: check sequence and payload of
    every packet. `grace`: seconds that a host may be silent beyond what it was asked to do;
    `rejoin`: that a host which was lost has to come back. Raises ConfigError for what cannot be.
    """

    cluster: Cluster
    hosts: tuple[Host, ...]
    size: tuple[int, ...] = (64,)
    rate: str | float = "max"
    duration: float = 3.0
    burst: int = 32
    flows: int = 64
    ipv6: bool = False
    verify: bool = False
    grace: float = 20.0
    rejoin: float = 10.0
    goals: Goals = Goals()

    def __post_init__(self) -> None:
        object.__setattr__(self, "hosts", tuple(self.hosts))
        object.__setattr__(self, "size", self._sizes())
        SECONDS("duration", self.duration)
        SECONDS("grace", self.grace)
        SECONDS("rejoin", self.rejoin)
        BURST("burst", self.burst)
        FLOWS("flows", self.flows)
        Flag()("ipv6", self.ipv6)
        Flag()("verify", self.verify)
        self.asked  # noqa: B018  raises
        self._check_hosts()

    def _sizes(self) -> tuple[int, ...]:
        given: Any = self.size
        if given == "imix":
            return IMIX
        if isinstance(given, int) and not isinstance(given, bool):
            given = (given,)
        sizes = tuple(FRAME("size", each) for each in several("size", given, "frame sizes"))
        smallest = SMALLEST_IPV6 if self.ipv6 else SMALLEST
        if not 1 <= len(sizes) <= MOST_SIZES:
            raise ConfigError(f"{len(sizes)} frame sizes", f"1 to {MOST_SIZES} are possible")
        if min(sizes) < smallest:
            raise ConfigError(
                f"frames of {min(sizes)} bytes cannot be sent",
                f"IPv6 headers and signature take {smallest}, with FCS",
                f"size = {smallest}",
            )
        return sizes

    def _check_hosts(self) -> None:
        names = [host.name for host in self.hosts]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"two hosts are named {name}", "results are told by name")
        for host in self.hosts:
            for other in host.to:
                if other not in names:
                    raise unknown("host", other, names)
                if other == host.name or not self.host(other).receives:
                    raise ConfigError(
                        f"host {host.name} cannot send to {other}",
                        "that is itself" if other == host.name else "that receives nothing",
                        f'give {other} another role, or leave it out of "to"',
                    )
        if not any(host.sends for host in self.hosts):
            raise ConfigError("no host sends", "", 'give one the role = "sender"')
        lanes = self.lanes
        if len(lanes) > MOST_LANES:
            raise ConfigError(
                f"{len(lanes)} send queues are too many", f"a fleet can have {MOST_LANES}"
            )
        reached = {lane.to for lane in lanes}
        for host in self.hosts:
            if host.receives and host.name not in reached:
                raise ConfigError(
                    f"nobody sends to host {host.name}",
                    f"{counted(len(lanes), 'send queue')} of all senders go to {_listed(reached)}",
                    "give a sender more queues, or name this host in its `to`",
                )

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """All send queues, and where each sends to: receivers take turns over the whole fleet.

        Raises ConfigError for a sender that has nobody to send to.
        """
        numbers, found = count(), []
        for host in self.hosts:
            if not host.sends:
                continue
            others = host.to or tuple(
                each.name for each in self.hosts if each.receives and each is not host
            )
            if not others:
                raise ConfigError(
                    f"host {host.name} has nobody to send to",
                    "no other host receives",
                    'give another one the role = "receiver"',
                )
            for queue in range(host.queues):
                number = next(numbers)
                turn = queue if host.to else number
                found.append(Lane(number, host.name, queue, others[turn % len(others)]))
        return tuple(found)

    def host(self, name: str) -> Host:
        """The host of a name that the plan has."""
        return next(host for host in self.hosts if host.name == name)

    @property
    def asked(self) -> Rate:
        """The rate as it was asked for. Raises ConfigError for what is none."""
        return parse_stream_rate(self.rate)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))
