# SPDX-License-Identifier: BSD-3-Clause
"""What `iavfio capture --json` and `iavfio replay --json` print, as types.

`iavfio schema` prints them. A field that is added keeps the version; one that goes or changes its
meaning gets a new one.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]


class CaptureRecord(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="iavfio.capture.summary/1",
):
    """A capture that has ended."""

    port: str
    device: Annotated[str, Meta(description="the VF as it was named")]
    mirrored: Annotated[
        str | None,
        Meta(
            description='"rx", "tx" or "both" of a port that runs in another process; null: the '
            "command opened the VF"
        ),
    ]
    files: Annotated[list[str], Meta(description='what was written; "-" is standard output')]
    filter: Annotated[str, Meta(description="tcpdump's language; empty: every frame")]
    snaplen: Annotated[Count, Meta(description="bytes of a frame that are kept")]
    seconds: float
    received: Annotated[
        Count,
        Meta(description="frames taken out of the receive queues; mirrored: that the queues moved"),
    ]
    received_bytes: Annotated[Count, Meta(description="their length without FCS, tags included")]
    captured: Annotated[Count, Meta(description="frames that the filter let through")]
    cut: Annotated[Count, Meta(description="of these: longer than snaplen")]
    tags_restored: Annotated[
        Count, Meta(description="of these: with a VLAN tag that the device had taken out")
    ]
    written_bytes: Annotated[Count, Meta(description="bytes of all files")]
    dropped: Annotated[
        Count,
        Meta(
            description="frames that came to the VF and were lost before the filter; mirrored: let "
            "through by the filter, and there was no room in the rings"
        ),
    ]
    drops: Annotated[dict[str, int], Meta(description="the same by counter")]
    waiting: Annotated[
        Count,
        Meta(description="frames in the receive rings, or the mirror's, at the end, not captured"),
    ]
    resets: Annotated[Count, Meta(description="resets of the VF meanwhile")]
    ended_by: Annotated[
        str,
        Meta(
            description='"count", "duration", "signal", "reader" (it has gone), "port" (it was '
            'closed) or "error"'
        ),
    ]
    error: Annotated[str | None, Meta(description="what ended it early, in words")]


class ReplayRecord(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="iavfio.replay.summary/1",
):
    """A replay that has ended."""

    port: str
    device: Annotated[str, Meta(description="the VF as it was named")]
    file: str
    timing: Annotated[str, Meta(description="how fast frames were to be sent, in words")]
    frames: Annotated[Count, Meta(description="frames of the file that are sent in a round")]
    left_out: Annotated[
        dict[str, int],
        Meta(description="frames that cannot be sent: cut, too_short, too_long, not_ethernet"),
    ]
    not_rewritten: Annotated[
        Count, Meta(description="IPv6 frames with extension headers that a rule left as they are")
    ]
    rounds: Annotated[Count, Meta(description="how often all frames were sent")]
    seconds: float
    sent: Annotated[Count, Meta(description="frames given to the device")]
    sent_bytes: Annotated[Count, Meta(description="their length without FCS")]
    completed: Annotated[Count, Meta(description="frames that the device has sent, by its rings")]
    on_wire: Annotated[
        Count,
        Meta(description="frames that the PF counts as sent; after a reset it may know of fewer"),
    ]
    lost: Annotated[
        dict[str, int], Meta(description="frames that were not sent, by the counter that says so")
    ]
    unsent: Annotated[Count, Meta(description="given to the device and not completed")]
    latest_us: Annotated[
        float, Meta(ge=0, description="the most that a frame was sent after it was due, in us")
    ]
    resets: Annotated[Count, Meta(description="resets of the VF meanwhile")]
    ended_by: Annotated[str, Meta(description='"done", "duration", "signal" or "error"')]
    error: Annotated[str | None, Meta(description="what ended it early, in words")]
