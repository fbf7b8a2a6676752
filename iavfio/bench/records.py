# SPDX-License-Identifier: BSD-3-Clause
"""What `iavfio ndr --json` prints, as types; `iavfio schema ndr` prints their schema.

A field that is added keeps the version; one that goes or changes its meaning gets a new one.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]


class LatencyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long packets were under way, in nanoseconds, each right to 1.6 %."""

    packets: Count
    missed: Annotated[Count, Meta(description="packets that were not measured")]
    least_ns: Count
    mean_ns: float
    most_ns: Count
    percentiles_ns: dict[str, int]


class TrialRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run at one rate."""

    asked_pps: Annotated[float, Meta(description="0: as fast as possible")]
    seconds: float
    pps: float
    gbps: Annotated[float, Meta(description="of frames with FCS")]
    line_share: Annotated[float | None, Meta(description="with preamble and gap")]
    sent: Count
    lost: Count
    loss_share: float
    failed: Annotated[str, Meta(description='why it did not carry its rate; "": it did')]
    latency: LatencyRecord


class SizeRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was found with frames of one size."""

    size: Annotated[int, Meta(description="bytes with FCS")]
    throughput: Annotated[
        TrialRecord | None, Meta(description="the highest rate that was carried; null: none")
    ]
    limit: Annotated[str, Meta(description="what kept the next higher rate from being carried")]
    trials: list[TrialRecord]
    curve: Annotated[list[TrialRecord], Meta(description="of --curve, from the highest rate down")]


class NdrRecord(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="iavfio.ndr.report/1",
):
    """No-drop rates of one way."""

    software_device: Annotated[bool, Meta(description="true: says nothing of a card")]
    ports: list[str]
    queues: Count
    ring: Count
    burst: Count
    flows: Count
    isa: str
    trial_seconds: float
    max_loss: float
    precision: float
    sizes: list[SizeRecord]
    interrupted: bool
    provenance: dict[str, Any]
