# SPDX-License-Identifier: BSD-3-Clause
"""What `iavfio ndr`, `bench` and `report diff` print with --json, as types.

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


class GoalRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The highest rate that one goal loss ratio allows."""

    max_loss: Annotated[float, Meta(description="share of packets that a trial may lose")]
    throughput: Annotated[
        TrialRecord | None, Meta(description="the highest rate that was carried; null: none")
    ]
    conditional_pps: Annotated[
        float, Meta(description="MLRsearch's conditional throughput; 0: no rate was carried")
    ]
    decided: Annotated[
        bool, Meta(description="whether as many trials stand behind it as were asked for")
    ]
    limit: Annotated[str, Meta(description="what kept the next higher rate from being carried")]


class BackToBackRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The longest bursts without loss: RFC 2544, 26.4 as RFC 9004 updates it."""

    average: Annotated[float, Meta(description="frames of the longest burst, of all searches")]
    least: Count
    most: Count
    deviation: Annotated[float, Meta(description="standard deviation in frames")]
    frames: Annotated[list[int], Meta(description="the longest burst of each search; 0: none")]
    tried: Annotated[Count, Meta(description="frames of the longest burst that was tried")]
    trials: Annotated[Count, Meta(description="bursts that were sent in all")]
    pps: Annotated[float, Meta(description="how fast the longest bursts were sent")]
    line_share: Annotated[float | None, Meta(description="with preamble and gap")]
    buffer_s: Annotated[
        float | None,
        Meta(description="seconds that the way can hold back, corrected; null: not to be seen"),
    ]
    notes: Annotated[list[str], Meta(description="what keeps it from being the benchmark")]


class SizeRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was found with frames of one size."""

    size: Annotated[int, Meta(description="bytes with FCS")]
    throughput: Annotated[
        TrialRecord | None, Meta(description="the highest rate that was carried; null: none")
    ]
    limit: Annotated[str, Meta(description="what kept the next higher rate from being carried")]
    trials: list[TrialRecord]
    curve: Annotated[list[TrialRecord], Meta(description="of --curve, from the highest rate down")]
    goals: Annotated[
        list[GoalRecord], Meta(description="for each goal loss ratio; the first is throughput's")
    ] = []
    notes: Annotated[
        list[str], Meta(description="trials that contradict each other, by their numbers")
    ] = []
    back_to_back: Annotated[
        BackToBackRecord | None, Meta(description="of --back-to-back; null: not asked for")
    ] = None


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
    ip_version: Annotated[int, Meta(description="of the frames, 4 or 6")] = 4
    confirming_trials: Annotated[
        int, Meta(ge=1, description="trials of full length that decide about a rate")
    ] = 1
    exceed_ratio: Annotated[
        float, Meta(description="share of them that may fail where the rate is carried")
    ] = 0.5


class RowRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A queue's part of a run."""

    port: str
    queue: Count
    packets: Count
    bytes: Annotated[Count, Meta(description="without FCS")]
    drops: int
    mpps: float
    gbps: float
    line_share: float | None


class WaitingRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Packets that waited in receive rings."""

    before: int
    after: int


class VerifyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What --verify found."""

    on: bool
    lost: Count
    duplicated: Count
    reordered: Count
    corrupted: Count


class MemoryRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes that the ports hold."""

    buffers: Count
    pool: Count
    rings: Count
    stats: Count


class RunsRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All runs of --repeat; the figures of the spread are there when one was finished."""

    mpps: list[float]
    sound: list[bool]
    mpps_median: float | None = None
    mpps_least: float | None = None
    mpps_most: float | None = None


class NothingRecord(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="iavfio.bench.nothing/1",
):
    """A run that was ended before its first packet."""

    interrupted: bool
    runs: RunsRecord


class BenchRecord(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="iavfio.bench.result/1",
):
    """The last run of a bench, and with --repeat the rates of all."""

    mode: str
    isa: str
    duration_s: float
    mpps: float
    gbps: Annotated[float, Meta(description="of frames with FCS")]
    line_share: Annotated[float | None, Meta(description="with preamble and gap")]
    sent: Count
    received: Count
    offered: Count
    delivered: Count
    lost: int
    loss_share: float
    max_loss: float
    in_flight: int
    not_completed: int
    given_back: int
    pf_sent: int
    pf_received: int
    waiting: WaitingRecord
    foreign: Annotated[int, Meta(description="packets that nobody here had sent")]
    drops: Annotated[dict[str, int], Meta(description="by the counter that tells of them")]
    cycles_per_packet: float
    empty_poll_share: float
    sizes: Annotated[list[int], Meta(description="bytes with FCS")]
    queues: Count
    ring: Count
    memory: MemoryRecord
    burst: Count
    verify: VerifyRecord
    latency: Annotated[LatencyRecord | None, Meta(description="of --latency")]
    sound: bool
    reasons: Annotated[list[str], Meta(description="why it is not sound")]
    interrupted: bool
    notes: list[str]
    rows: list[RowRecord]
    ports: Annotated[dict[str, dict[str, int]], Meta(description="counters of each port")]
    provenance: dict[str, Any]
    runs: RunsRecord | None = None
    delivered_is: Annotated[
        str, Meta(description="what is known of a packet that counts as delivered")
    ] = ""
    arrived: Annotated[
        int | None,
        Meta(description="of txonly with --dst: what VFs or the wire took; null: nobody looked"),
    ] = None


class MetricRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure in two reports. A ratio is the new one's to the old one's."""

    size: Annotated[str, Meta(description='bytes with FCS; several as "64,1518"')]
    kind: Annotated[str, Meta(description='"throughput", "loss", "latency" or "burst"')]
    name: str
    unit: str
    more_is_better: bool
    old: Annotated[float | None, Meta(description="null: no rate was carried")]
    new: float | None
    ratio: Annotated[float | None, Meta(description="null: one of both is 0 or missing")]
    ratio_least: Annotated[
        float | None, Meta(description="by the spread of runs, or how exactly each is known")
    ]
    ratio_most: float | None
    within_spread: Annotated[bool, Meta(description="whether 1 lies between these two")]
    verdict: Annotated[str, Meta(description='"same", "better" or "worse"')]


class DifferenceRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the two were not measured alike in."""

    what: str
    old: str
    new: str


class ComparisonRecord(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="iavfio.report.diff/1",
):
    """Two reports compared: `iavfio report diff OLD NEW --json`."""

    kind: Annotated[str, Meta(description='"ndr" or "bench"; "fleet ndr" or "fleet bench"')]
    old: Annotated[str, Meta(description="the file")]
    new: str
    worse_percent: Annotated[float, Meta(description="of --worse")]
    worse: Annotated[bool, Meta(description="whether any figure is worse by more than that")]
    metrics: list[MetricRecord]
    only_old: Annotated[list[str], Meta(description="what only the old report has")]
    only_new: list[str]
    differences: list[DifferenceRecord]
    software_device: Annotated[
        list[bool], Meta(description="of the old and the new: true says nothing of a card")
    ]
