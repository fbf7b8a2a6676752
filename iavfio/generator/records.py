# SPDX-License-Identifier: BSD-3-Clause
"""What `iavfio gen --json` prints, as types.

`iavfio schema` prints them. A field that is added keeps the version; one that goes or changes its
meaning gets a new one.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from iavfio.generator.generator import Generator
from iavfio.generator.result import Generated
from iavfio.generator.shortfall import Shortfall

Count = Annotated[int, Meta(ge=0)]


class StreamRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stream of a run."""

    name: str
    rate: Annotated[str, Meta(description="how fast it was to go, in words")]
    frames: Annotated[Count, Meta(description="frames that were built for it")]
    sent: Annotated[Count, Meta(description="packets given to the device")]
    sent_bytes: Annotated[Count, Meta(description="their length without FCS")]
    pps: Annotated[float, Meta(ge=0, description="packets a second over the whole run")]
    received: Annotated[
        Count | None, Meta(description="packets that arrived, each once; null: nobody received")
    ]
    lost: Annotated[int | None, Meta(description="packets that did not arrive")]
    duplicated: Annotated[Count | None, Meta(description="packets that arrived again")]
    reordered: Annotated[
        Count | None, Meta(description="of the received: those that came behind a later one")
    ]
    asked_pps: Annotated[
        float, Meta(ge=0, description="packets a second that were asked for; 0: what can be sent")
    ] = 0.0


class AnsweredRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests that a port answered, of --answer."""

    port: str
    arp: Count
    nd: Annotated[Count, Meta(description="neighbour solicitations")]
    echo: Annotated[Count, Meta(description="echo requests, of IPv4 and IPv6")]
    unsent: Annotated[Count, Meta(description="not answered: the send ring had no room")]


class ShortfallRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was missed of the rates that were asked for."""

    share: Annotated[float, Meta(description="of the asked rate that was reached")]
    late_s: Annotated[float, Meta(description="seconds behind at the end")]
    missed: Annotated[bool, Meta(description="whether the run is not sound by it")]
    why: str


class GenRecord(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="iavfio.gen.summary/1",
):
    """A run of the generator that has ended."""

    port: str
    device: Annotated[str, Meta(description="the VF as it was named")]
    expect: Annotated[str | None, Meta(description="the port that received")]
    streams: list[StreamRecord]
    seconds: float
    sent: Annotated[Count, Meta(description="packets of all streams given to the device")]
    sent_bytes: Annotated[Count, Meta(description="their length without FCS")]
    on_wire: Annotated[
        Count,
        Meta(description="frames that the PF counts as sent; after a reset it may know of fewer"),
    ]
    lost: Annotated[
        dict[str, int], Meta(description="frames that were not sent, by the counter that says so")
    ]
    missed: Annotated[
        dict[str, int], Meta(description="frames that the receiving port lost, by counter")
    ]
    unsent: Annotated[Count, Meta(description="given to the device and not completed")]
    others: Annotated[
        Count, Meta(description="packets that the receiver got and that are not of this run")
    ]
    resets: Annotated[Count, Meta(description="resets of the sending VF meanwhile")]
    sound: Annotated[
        bool, Meta(description="all that was sent is on the wire and, if expected, arrived once")
    ]
    reasons: Annotated[list[str], Meta(description="why it is not, in words")]
    ended_by: Annotated[str, Meta(description='"count", "done", "duration", "signal" or "error"')]
    error: Annotated[str | None, Meta(description="what ended it early, in words")]
    shortfall: Annotated[
        ShortfallRecord | None, Meta(description="null: the asked rates were kept, or none was")
    ] = None
    pf_age_s: Annotated[
        float | None, Meta(description="age of the PF's counters in seconds; null: it never told")
    ] = 0.0
    answered: Annotated[list[AnsweredRecord], Meta(description="since the ports were opened")] = []


def record_of(done: Generated, generator: Generator, device: str) -> GenRecord:
    """A run's record; `device` is the VF as it was named."""
    expect = generator.expect
    return GenRecord(
        port=generator.port.name,
        device=device,
        expect=None if expect is None else expect.name,
        streams=[
            StreamRecord(
                name=counts.name,
                rate=str(stream.recipe.rate),
                frames=len(crafted),
                sent=counts.sent,
                sent_bytes=counts.bytes,
                pps=round(counts.sent / done.seconds, 3) if done.seconds else 0.0,
                received=counts.received,
                lost=counts.lost,
                duplicated=counts.duplicated,
                reordered=counts.reordered,
                asked_pps=round(pps, 3),
            )
            for counts, stream, crafted, pps in zip(
                done.streams, generator.streams, generator.crafted, generator.pps, strict=True
            )
        ],
        seconds=round(done.seconds, 6),
        sent=done.sent,
        sent_bytes=done.bytes,
        on_wire=done.on_wire,
        lost=done.lost,
        missed=done.missed,
        unsent=done.unsent,
        others=done.others,
        resets=done.resets,
        sound=done.sound,
        reasons=done.reasons,
        ended_by=done.ended_by,
        error=None if done.error is None else str(done.error),
        shortfall=_shortfall(done.shortfall),
        answered=[
            AnsweredRecord(name, each.arp, each.nd, each.echo, each.unsent)
            for name, each in done.answered.items()
        ],
        pf_age_s=None if done.pf_age is None else round(done.pf_age, 3),
    )


def _shortfall(missed: Shortfall | None) -> ShortfallRecord | None:
    if missed is None:
        return None
    return ShortfallRecord(
        share=round(missed.share, 6),
        late_s=round(missed.late, 6),
        missed=missed.missed,
        why=missed.why,
    )
