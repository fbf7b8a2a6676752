# SPDX-License-Identifier: BSD-3-Clause
"""Rates of a port, as a record that is printed, drawn, or written as a line of JSON.

The records are the schema: `iavfio schema stats` is made from them. A change of meaning, or a field
that goes, gets another number behind the slash; a field that is added does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from iavfio.live.follower import Interval
from iavfio.signatures import checked_call
from iavfio.stats import GLOBAL, RX, TX, Snapshot

FCS = 4  # bytes that end a frame; bytes of a queue are counted without them
WIRE_OVERHEAD = 20  # bytes of preamble, start delimiter and gap around each frame (IEEE 802.3)

Count = Annotated[int, Meta(ge=0)]


class Direction(msgspec.Struct, frozen=True):
    """One direction of a port, or of a queue."""

    packets: Annotated[Count, Meta(description="frames in this time")]
    bytes: Annotated[Count, Meta(description="their length without FCS")]
    pps: Annotated[float, Meta(description="packets a second")]
    bps: Annotated[float, Meta(description="bits a second of frames with FCS")]
    line_share: Annotated[
        float | None,
        Meta(description="share of the link's speed, with preamble and gap; null: speed unknown"),
    ]


class QueueRates(msgspec.Struct, frozen=True):
    """One queue pair."""

    queue: Annotated[Count, Meta(description="its number")]
    rx: Direction
    tx: Direction
    packets_per_poll: Annotated[
        float | None,
        Meta(description="received packets for each receive call that found some; null: none did"),
    ]
    empty_polls: Annotated[
        float | None,
        Meta(description="share of receive calls that found nothing; null: there was no call"),
    ]


class PortRates(msgspec.Struct, frozen=True, tag_field="schema", tag="iavfio.stats.rates/1"):
    """What one port did in one interval: a line of `iavfio stats --interval --json`."""

    port: str
    user: str
    device: str
    time: Annotated[float, Meta(description="end of the interval, in seconds since 1970")]
    seconds: Annotated[float, Meta(description="length of the interval")]
    state: Annotated[str, Meta(description='the port\'s state; "dead": no process runs it')]
    events: Annotated[
        list[str], Meta(description='what happened: "reset", "gone", "restarted", "link down", ...')
    ]
    link_up: bool
    link_mbps: Annotated[Count, Meta(description="speed of the link in Mb/s; 0: unknown")]
    link_changes: Annotated[Count, Meta(description="times that the link went up or down")]
    resets: Annotated[Count, Meta(description="resets of the VF in the interval")]
    rx: Direction
    tx: Direction
    drops: Annotated[
        dict[str, int],
        Meta(
            description="lost packets by reason: the counter's name, rq_ and sq_ for the sum of "
            "all queues; reasons that did not occur are left out"
        ),
    ]
    imbalance: Annotated[
        float | None,
        Meta(
            description="packets of the busiest receive queue over the mean of all, 1: even; "
            "null: one queue, or no packets"
        ),
    ]
    queues: list[QueueRates]


class PortTotal(msgspec.Struct, frozen=True, tag_field="schema", tag="iavfio.stats.total/1"):
    """What one port did all the time: the last line of `iavfio stats --interval --json`."""

    port: str
    user: str
    seconds: Annotated[float, Meta(description="how long the port was watched")]
    state: Annotated[str, Meta(description="the port's state at the end")]
    resets: Count
    link_changes: Count
    rx: Direction
    tx: Direction
    drops: dict[str, int]


@checked_call
def rates(interval: Interval) -> PortRates:
    """The record of an interval."""
    now, counted = interval.now, interval.counted
    mbps = now.link_mbps if now.link_up else 0

    def direction(packets: int, size: int) -> Direction:
        return _direction(packets, size, interval.seconds, mbps)

    queues = []
    for number, (rq, sq) in enumerate(zip(counted.rq, counted.sq, strict=True)):
        found = rq["polls"] - rq["empty_polls"]
        queues.append(
            QueueRates(
                number,
                direction(rq["packets"], rq["bytes"]),
                direction(sq["packets"], sq["bytes"]),
                rq["packets"] / found if found > 0 else None,
                rq["empty_polls"] / rq["polls"] if rq["polls"] else None,
            )
        )
    received = [rq["packets"] for rq in counted.rq]
    return PortRates(
        port=now.port,
        user=now.user,
        device=now.device,
        time=interval.wall,
        seconds=interval.seconds,
        state=now.state,
        events=list(interval.events),
        link_up=now.link_up and now.alive,
        link_mbps=now.link_mbps,
        link_changes=counted.link_changes,
        resets=counted.resets,
        rx=direction(sum(received), sum(rq["bytes"] for rq in counted.rq)),
        tx=direction(
            sum(sq["packets"] for sq in counted.sq), sum(sq["bytes"] for sq in counted.sq)
        ),
        drops=drops(counted),
        imbalance=_imbalance(received),
        queues=queues,
    )


def drops(counted: Snapshot) -> dict[str, int]:
    """Lost packets by reason, of the VF and then of all its queues; only those that there are."""
    return {name: count for name, count in _drops(counted) if count}


def _drops(counted: Snapshot) -> Iterator[tuple[str, int]]:
    for each in GLOBAL:
        if each.lost:
            yield each.name, counted.pf[each.name]
    for prefix, table, queues in (("rq_", RX, counted.rq), ("sq_", TX, counted.sq)):
        for each in table:
            if each.lost:
                yield prefix + each.name, sum(queue[each.name] for queue in queues)


def _direction(packets: int, size: int, seconds: float, mbps: int) -> Direction:
    if not seconds:
        return Direction(packets, size, 0.0, 0.0, None)
    line = (size + packets * (FCS + WIRE_OVERHEAD)) * 8 / seconds
    share = line / (mbps * 1e6) if mbps else None
    return Direction(packets, size, packets / seconds, (size + packets * FCS) * 8 / seconds, share)


def _imbalance(received: list[int]) -> float | None:
    if len(received) < 2 or not sum(received):
        return None
    return max(received) * len(received) / sum(received)


class Totals:
    """Adds up the intervals of one port."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._sums: dict[str, int] = dict.fromkeys(
            ("resets", "changes", "rx", "rx_bytes", "tx", "tx_bytes"), 0
        )
        self._drops: dict[str, int] = {}
        self._last: PortRates | None = None

    def add(self, each: PortRates) -> None:
        """Adds one more interval to the sums."""
        self._seconds += each.seconds
        self._last = each
        more = (each.resets, each.link_changes, each.rx.packets, each.rx.bytes)
        for name, value in zip(self._sums, (*more, each.tx.packets, each.tx.bytes), strict=True):
            self._sums[name] += value
        for reason, count in each.drops.items():
            self._drops[reason] = self._drops.get(reason, 0) + count

    def total(self) -> PortTotal | None:
        """All of it; None when there was no interval. Shares are of the last known link speed."""
        if self._last is None:
            return None
        sums, mbps = self._sums, self._last.link_mbps
        return PortTotal(
            port=self._last.port,
            user=self._last.user,
            seconds=self._seconds,
            state=self._last.state,
            resets=sums["resets"],
            link_changes=sums["changes"],
            rx=_direction(sums["rx"], sums["rx_bytes"], self._seconds, mbps),
            tx=_direction(sums["tx"], sums["tx_bytes"], self._seconds, mbps),
            drops=dict(self._drops),
        )


def as_json(record: PortRates | PortTotal) -> str:
    """One line of JSON, floats with six digits behind the point."""
    rounded: Any = msgspec.to_builtins(record)
    return msgspec.json.encode(_rounded(rounded)).decode()


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return value
