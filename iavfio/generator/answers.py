# SPDX-License-Identifier: BSD-3-Clause
"""A port that answers for addresses, so that a router finds them, and asks for the router's."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from iavfio.arguments import counted
from iavfio.datapath.burst import Burst
from iavfio.errors import ConfigError, IavfioError, Remedy
from iavfio.generator.field import Field
from iavfio.generator.neighbours import (
    ARP,
    ICMP,
    ICMP6,
    IPV4,
    IPV6,
    TAGS,
    Address,
    group_mac,
    mac_in,
    reply_to,
    request_for,
    solicited_node,
    tag_bytes,
)
from iavfio.generator.stream import Stream
from iavfio.port.port import Port
from iavfio.ranges import BURST

MOST_GROUPS = 8  # of solicited nodes that a port joins one by one; beyond, it takes every group
SENDING = 0.01  # seconds for which room in the send ring is waited for
ASK_EVERY = 0.5  # seconds between two requests for one address
STEP = 0.002
LOOKED_AT = 40  # bytes: where a header with two tags before it says what follows

Ends: TypeAlias = Sequence[tuple[int, Field]]
"""IP versions and addresses of it."""


@dataclass
class Answered:
    """Requests that were answered, by kind; `unsent`: those for which the send ring had no room."""

    arp: int = 0
    nd: int = 0
    echo: int = 0
    unsent: int = 0

    @property
    def sent(self) -> int:
        """Frames that were sent."""
        return self.arp + self.nd + self.echo

    def add(self, kind: str) -> None:
        """Counts one of a kind."""
        setattr(self, kind, getattr(self, kind) + 1)


class Answers:
    """Answers ARP requests, neighbour solicitations and echo requests for addresses.

    It receives on queues of a running port only in `poll`, and sends on its queue 0. Raises
    ConfigError when the port does not receive the groups in which IPv6 addresses are asked for.
    """

    def __init__(self, port: Port, ends: Ends) -> None:
        self.port, self.counts = port, Answered()
        self._ends = list(ends)
        settings = port.settings
        joined = settings.promiscuous or settings.all_multicast
        wanted = groups(self._ends)
        if not joined and (wanted is None or not set(wanted) <= set(settings.extra_macs)):
            raise ConfigError(
                f"{port.name} does not receive neighbour solicitations",
                "they are sent to groups, and it has joined none",
                Remedy(f"{port.name}.configure(all_multicast=True)", "use --answer"),
            )

    def knows(self, address: Address) -> bool:
        """Whether it answers for an address."""
        value = int(address)
        return any(version == address.version and value in field for version, field in self._ends)

    def poll(self) -> int:
        """Answers what waits on the port's receive queues; returns how many frames there were."""
        found = 0
        for queue in self.port.rx:
            with queue.recv(BURST.high) as burst:
                found += len(burst)
                self.take(burst)
        return found

    def take(self, burst: Burst, which: NDArray[np.bool_] | None = None) -> int:
        """Answers the requests in a burst, which stays the caller's; returns how many there were.

        `which`: packets that are looked at, None: all.
        """
        found = 0
        for index in requests(burst):
            if which is not None and not which[index]:
                continue
            reply = reply_to(b"".join(burst.segments_of(index)), self.port.mac, self.knows)
            if reply is None:
                continue
            found += 1
            self.counts.add(reply.kind if self._send(reply.frame) else "unsent")
        return found

    def _send(self, frame: bytes) -> bool:
        end = time.monotonic() + SENDING
        while not self.port.tx[0].send([frame]):
            if time.monotonic() > end:
                return False
            self.port.tx[0].clean()
        return True


def requests(burst: Burst) -> list[int]:
    """Which packets of a burst may be ARP or ICMP, by their headers."""
    if not len(burst):
        return []
    heads = burst.headers(LOOKED_AT)
    rows = np.arange(len(heads))
    at = np.full(len(heads), 12)
    kinds = heads[rows, at].astype(np.int64) << 8 | heads[rows, at + 1]
    for _ in range(2):
        at = np.where(np.isin(kinds, TAGS), at + 4, at)
        kinds = heads[rows, at].astype(np.int64) << 8 | heads[rows, at + 1]
    four = (kinds == IPV4) & (heads[rows, at + 11] == ICMP)
    six = (kinds == IPV6) & (heads[rows, at + 8] == ICMP6)
    found: list[int] = np.flatnonzero((kinds == ARP) | four | six).tolist()
    return found


def groups(ends: Ends) -> tuple[bytes, ...] | None:
    """MAC addresses of the groups in which IPv6 addresses are asked for; None: too many to join."""
    found: dict[bytes, None] = {}
    for version, field in ends:
        if version != 6:
            continue
        if field.count > MOST_GROUPS:
            return None
        for i in range(field.count):
            found[group_mac(solicited_node(IPv6Address(field[i])))] = None
    return tuple(found) if len(found) <= MOST_GROUPS else None


def ends_of(streams: Sequence[Stream], side: str) -> list[tuple[int, Field]]:
    """The addresses of streams on a side, "src_ip" or "dst_ip", of a tunnel the outer ones;
    templates have none.
    """
    links = [stream.recipe.link for stream in streams if stream.signed]
    return [(version, src if side == "src_ip" else dst) for version, src, dst in links if version]


def next_hops(
    port: Port,
    streams: Sequence[Stream],
    gateways: Sequence[Address],
    seconds: float,
    answers: Sequence[Answers],
) -> list[bytes | None]:
    """The MAC address of each stream's gateway; None for a stream that has one, or needs none.

    Asked for once for each VLAN, from the first source address. Raises ConfigError for a gateway
    that no stream uses or that is one of two, and what `resolve` raises.
    """
    found: dict[tuple[Address, bytes], bytes] = {}
    hops: list[bytes | None] = []
    used = set()
    for stream in streams:
        recipe = stream.recipe
        version, sources, _ = recipe.link
        ways = [each for each in gateways if each.version == version]
        if len(ways) > 1:
            raise ConfigError(
                f"two gateways are named: {ways[0]} and {ways[1]}",
                "there is one for each IP version",
                "run the streams one after the other, or give each its dst_mac",
            )
        if not ways or recipe.dst_mac is not None or not stream.signed:
            hops.append(None)
            continue
        tags = tag_bytes([(kind, stream.pcp << 13 | ids[0]) for kind, ids in recipe.tags])
        key = (ways[0], tags)
        used.add(ways[0])
        if key not in found:
            source = ip_address(sources[0].to_bytes(ways[0].max_prefixlen // 8, "big"))
            found[key] = resolve(port, ways[0], source, tags, seconds, answers)
        hops.append(found[key])
    for each in gateways:
        if each not in used:
            raise ConfigError(
                f"the gateway {each} is of no use",
                f"no stream of IPv{each.version} leaves its dst_mac out",
                "leave --gateway out, or dst_mac",
            )
    return hops


def gateway(text: object) -> Address:
    """The address of a gateway. Raises ConfigError for what is none."""
    try:
        found = ip_address(text if isinstance(text, str) else str(text))
    except ValueError:
        found = ip_address("0.0.0.0")
    if found.is_unspecified or found.is_multicast:
        raise ConfigError(
            f"gateway {text!r} is not possible",
            "it is the IPv4 or IPv6 address of the next router",
            "as in --gateway 198.18.0.254",
        )
    return found


def resolve(
    port: Port,
    target: Address,
    source: Address,
    tags: bytes = b"",
    seconds: float = 3.0,
    answers: Iterable[Answers] = (),
) -> bytes:
    """The MAC address of `target` on the link of a running port, asked for on its queue 0.

    `source`: whose address asks; `tags`: those of the request. Requests that come meanwhile are
    answered by `answers`. Raises IavfioError when nobody has answered in so many seconds.
    """
    request = request_for(target, source, port.mac, tags)
    end, next_one, asked = time.monotonic() + seconds, 0.0, 0
    others = list(answers)
    while time.monotonic() < end:
        if time.monotonic() >= next_one:
            asked += port.tx[0].send([request])
            next_one = time.monotonic() + ASK_EVERY
        found = _heard(port, target, next((each for each in others if each.port is port), None))
        if found is not None:
            return found
        for each in others:
            if each.port is not port:
                each.poll()
        time.sleep(STEP)
    what = "ARP request" if target.version == 4 else "neighbour solicitation"
    raise IavfioError(
        f"the gateway {target} does not answer on {port.name}",
        f"{counted(asked, what)} from {source} had no reply in {seconds:g} s: it is down, on "
        "another network or VLAN, or takes no one of that address for a neighbour",
        "give the stream a src_ip of the gateway's network, or its dst_mac; iavfio capture shows "
        "what comes in",
    )


def _heard(port: Port, target: Address, answers: Answers | None) -> bytes | None:
    found = None
    for queue in port.rx:
        with queue.recv(BURST.high) as burst:
            for index in requests(burst):
                found = mac_in(b"".join(burst.segments_of(index)), target) or found
            if answers is not None:
                answers.take(burst)
    return found
