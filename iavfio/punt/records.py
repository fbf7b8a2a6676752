# SPDX-License-Identifier: BSD-3-Clause
"""What `iavfio punt --json` prints, as types.

`iavfio schema` prints them. A field that is added keeps the version; one that goes or changes its
meaning gets a new one.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from iavfio.punt.counts import Counts
from iavfio.punt.punt import Punt
from iavfio.punt.run import Punted

Count = Annotated[int, Meta(ge=0)]


class ToTapRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Packets for the TAP: packets = delivered + all drops."""

    packets: Annotated[Count, Meta(description="packets that were selected")]
    delivered: Annotated[Count, Meta(description="of these: the kernel took them")]
    bytes: Annotated[Count, Meta(description="their length without FCS, tags included")]
    tags_restored: Annotated[
        Count, Meta(description="of these: with a VLAN tag that the device had taken out")
    ]
    drops: Annotated[
        dict[str, int],
        Meta(
            description="by reason: tap_full (the kernel had no room), tap_down (the interface is "
            "down), too_long (for the MTU), refused; those that occurred"
        ),
    ]


class FromTapRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Frames that the kernel sent on the TAP: frames = sent + all drops."""

    frames: Annotated[Count, Meta(description="frames that were taken from the TAP")]
    sent: Annotated[Count, Meta(description="of these: given to the device")]
    bytes: Annotated[Count, Meta(description="their length without FCS")]
    drops: Annotated[
        dict[str, int],
        Meta(
            description="by reason: no_buffer (the pool was empty), ring_full, port_down (a reset, "
            "or the port was stopped), too_long (for the MTU), refused (shorter than 17 bytes); "
            "those that occurred"
        ),
    ]
    unread: Annotated[
        Count, Meta(description="frames that the kernel dropped, because nobody read in time")
    ]


class PuntRecord(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="iavfio.punt.summary/1",
):
    """A punt that has ended: received = to_tap.packets + not_selected."""

    port: str
    device: Annotated[str, Meta(description="the VF as it was named")]
    tap: Annotated[str, Meta(description="name of the TAP, which is gone now")]
    filter: Annotated[str, Meta(description="what was punted, in words or tcpdump's language")]
    seconds: float
    received: Annotated[Count, Meta(description="packets taken out of the receive queues")]
    not_selected: Annotated[Count, Meta(description="of these: not punted, and dropped")]
    to_tap: ToTapRecord
    from_tap: FromTapRecord
    dropped: Annotated[
        Count, Meta(description="packets that came to the VF and were lost before the filter")
    ]
    drops: Annotated[dict[str, int], Meta(description="the same by counter")]
    waiting: Annotated[
        Count, Meta(description="packets in the receive rings at the end, not punted")
    ]
    resets: Annotated[Count, Meta(description="resets of the VF meanwhile")]
    events: Annotated[
        list[str], Meta(description="what happened to the port: link, reset, recovered, ...")
    ]
    notes: Annotated[list[str], Meta(description="what was not as it should be")]
    ended_by: Annotated[str, Meta(description='"duration", "signal" or "error"')]
    error: Annotated[str | None, Meta(description="what ended it early, in words")]


class PuntInterval(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="iavfio.punt.interval/1",
):
    """What happened since the line before: a line of `iavfio punt --interval --json`."""

    port: str
    tap: str
    time: Annotated[float, Meta(description="end of the interval, in seconds since 1970")]
    seconds: Annotated[float, Meta(description="length of the interval")]
    state: Annotated[str, Meta(description="the port's state")]
    link_up: bool
    received: Count
    not_selected: Count
    to_tap: ToTapRecord
    from_tap: FromTapRecord


def summary_of(
    done: Punted, punt: Punt, counts: Counts, device: str, events: list[str]
) -> PuntRecord:
    """The record of a run; `counts` are those after the TAP was closed."""
    return PuntRecord(
        port=punt.port.name,
        device=device,
        tap=punt.tap.name,
        filter=punt.filter.expression,
        seconds=round(done.seconds, 6),
        received=counts.received,
        not_selected=counts.passed,
        to_tap=_to_tap(counts, Counts()),
        from_tap=_from_tap(counts, Counts()),
        dropped=sum(done.drops.values()),
        drops=done.drops,
        waiting=done.waiting,
        resets=done.resets,
        events=events,
        notes=[*punt.port.notes, *punt.notes],
        ended_by=done.ended_by,
        error=None if done.error is None else str(done.error),
    )


def interval_of(
    punt: Punt, seconds: float, wall: float, before: Counts, now: Counts
) -> PuntInterval:
    """The record of what happened between two looks."""
    return PuntInterval(
        port=punt.port.name,
        tap=punt.tap.name,
        time=round(wall, 6),
        seconds=round(seconds, 6),
        state=punt.port.state,
        link_up=punt.port.link.up,
        received=now.received - before.received,
        not_selected=now.passed - before.passed,
        to_tap=_to_tap(now, before),
        from_tap=_from_tap(now, before),
    )


def _to_tap(now: Counts, before: Counts) -> ToTapRecord:
    new, old = now.to_tap, before.to_tap
    return ToTapRecord(
        packets=new.packets - old.packets,
        delivered=new.delivered - old.delivered,
        bytes=new.bytes - old.bytes,
        tags_restored=new.tagged - old.tagged,
        drops=_more(new.drops, old.drops),
    )


def _from_tap(now: Counts, before: Counts) -> FromTapRecord:
    new, old = now.from_tap, before.from_tap
    return FromTapRecord(
        frames=new.frames - old.frames,
        sent=new.sent - old.sent,
        bytes=new.bytes - old.bytes,
        drops=_more(new.drops, old.drops),
        unread=new.unread - old.unread,
    )


def _more(new: dict[str, int], old: dict[str, int]) -> dict[str, int]:
    found = {reason: count - old.get(reason, 0) for reason, count in new.items()}
    return {reason: count for reason, count in found.items() if count}
