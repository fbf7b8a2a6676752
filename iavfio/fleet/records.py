# SPDX-License-Identifier: BSD-3-Clause
"""What `iavfio fleet bench` and `fleet ndr` print with --json, as types.

A field that is added keeps the version; one that goes or changes its meaning gets a new one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from iavfio.bench.ndr_report import size_record
from iavfio.bench.provenance import commit
from iavfio.bench.records import NdrRecord
from iavfio.fleet.clocks import Offset
from iavfio.fleet.fleet import Fleet
from iavfio.fleet.ndr import FleetSearch
from iavfio.fleet.orders import HostCounts
from iavfio.fleet.result import FleetResult

Count = Annotated[int, Meta(ge=0)]


class ClockRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A host's clock, compared as NTP does it."""

    offset_s: Annotated[float, Meta(description="it is ahead of the clock here by so much")]
    error_s: Annotated[float, Meta(ge=0, description="and that may be wrong by so much")]


class MemberRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A host as the plan has it, and its port as it was opened."""

    name: str
    role: str
    port: Annotated[str, Meta(description="what names its VF there")]
    mac: str
    link_mbps: Count
    queues: Count
    ring: Count
    to: Annotated[list[str], Meta(description="hosts that its send queues send to, in order")]
    clock: ClockRecord | None
    provenance: dict[str, Any]


class CountsRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a host counted in a run."""

    name: str
    sent: Count
    received: Count
    pps: Annotated[float, Meta(description="sent in its window")]
    start_s: Annotated[
        float | None, Meta(description="after the first sender, by the clocks; null: sent nothing")
    ]
    lost: Annotated[
        dict[str, int], Meta(description="what it lost of the run, by the counter that says so")
    ]
    foreign: Annotated[Count, Meta(description="received, and of nobody in the fleet")]
    duplicated: Count
    reordered: Count
    corrupted: Count
    resets: Count


class FleetBenchRecord(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="iavfio.fleet.bench/1",
):
    """One run over a fleet: sent = received - duplicated + named losses + unnamed."""

    software_device: Annotated[bool, Meta(description="true: says nothing of a card")]
    members: list[MemberRecord]
    sizes: Annotated[list[int], Meta(description="bytes with FCS")]
    asked_pps: Annotated[float, Meta(description="of all senders together; 0: all that they can")]
    duration_s: float
    pps: Annotated[float, Meta(description="of all senders together")]
    gbps: Annotated[float, Meta(description="of frames with FCS")]
    line_share: Annotated[float | None, Meta(description="of the senders' links")]
    sent: Count
    received: Count
    duplicated: Annotated[Count, Meta(description="of the received; 0 without verify")]
    lost: Annotated[int, Meta(description="sent and not received")]
    lost_named: Annotated[Count, Meta(description="of these: told by a counter of some host")]
    lost_unnamed: Annotated[int, Meta(description="of these: lost between the hosts")]
    loss_share: float
    max_loss: float
    verify: bool
    hosts: list[CountsRecord]
    failed: Annotated[dict[str, str], Meta(description="hosts without counts, and why")]
    sound: bool
    reasons: Annotated[list[str], Meta(description="why it is not sound")]
    notes: list[str]
    interrupted: bool


class FailureRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A trial that failed because a host did."""

    size: Count
    asked_pps: Annotated[float, Meta(description="0: as fast as possible")]
    host: str
    why: str
    back: Annotated[bool, Meta(description="whether the host came back, and the search went on")]


class FleetNdrRecord(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="iavfio.fleet.ndr/1",
):
    """No-drop rates of a fleet's way."""

    members: list[MemberRecord]
    report: Annotated[
        NdrRecord, Meta(description="as of iavfio ndr; latency is not measured between hosts")
    ]
    failures: list[FailureRecord]
    ended_early: Annotated[str, Meta(description='why not all sizes were searched; "": they were')]


def member_records(fleet: Fleet) -> list[MemberRecord]:
    """The hosts of a fleet, in the plan's order."""
    lanes = fleet.plan.lanes
    return [
        MemberRecord(
            name=host.name,
            role=host.role,
            port=host.port,
            mac=facts.mac.hex(":"),
            link_mbps=facts.link_mbps,
            queues=host.queues,
            ring=host.ring,
            to=[lane.to for lane in lanes if lane.sender == host.name],
            clock=_clock(fleet.clocks.get(host.name)),
            provenance=facts.provenance,
        )
        for host in fleet.plan.hosts
        if (facts := fleet.facts.get(host.name)) is not None
    ]


def bench_record(fleet: Fleet, done: FleetResult) -> FleetBenchRecord:
    """A run's record."""
    starts = done.starts
    members = member_records(fleet)
    share = done.line_share
    return FleetBenchRecord(
        software_device=_software(members),
        members=members,
        sizes=list(done.sizes),
        asked_pps=round(done.rate, 3),
        duration_s=round(done.window_s, 6),
        pps=round(done.pps, 3),
        gbps=round(done.gbps, 6),
        line_share=None if share is None else round(share, 6),
        sent=done.sent,
        received=done.received,
        duplicated=done.duplicated,
        lost=done.loss,
        lost_named=done.named,
        lost_unnamed=done.unnamed,
        loss_share=done.loss_share,
        max_loss=done.max_loss,
        verify=fleet.plan.verify,
        hosts=[_counts(name, counts, starts) for name, counts in done.hosts.items()],
        failed=dict(done.failed),
        sound=done.sound,
        reasons=list(done.reasons),
        notes=list(done.remarks),
        interrupted=done.interrupted is not None,
    )


def ndr_record(search: FleetSearch) -> FleetNdrRecord:
    """What a search has found so far."""
    fleet, plan = search.fleet, search.fleet.plan
    members = member_records(fleet)
    rule = plan.goals.rules[0]
    isas = "/".join(sorted({facts.isa for facts in fleet.facts.values()}))
    return FleetNdrRecord(
        members=members,
        report=NdrRecord(
            software_device=_software(members),
            ports=[f"{each.name}: {each.port} ({each.role})" for each in members],
            queues=sum(host.queues for host in plan.hosts if host.sends),
            ring=max(host.ring for host in plan.hosts),
            burst=plan.burst,
            flows=plan.flows,
            isa=isas,
            trial_seconds=plan.duration,
            max_loss=rule.max_loss,
            precision=rule.precision,
            sizes=[size_record(size, found) for size, found in search.found.items()],
            interrupted=search.interrupted is not None,
            provenance=_provenance(members),
            ip_version=6 if plan.ipv6 else 4,
            confirming_trials=rule.trials,
            exceed_ratio=rule.exceed,
        ),
        failures=[
            FailureRecord(each.size, round(each.asked, 3), each.host, each.why, each.back)
            for each in search.failures
        ],
        ended_early=_ended(search),
    )


def _ended(search: FleetSearch) -> str:
    if search.interrupted is not None:
        return "a signal ended it"
    return "" if search.lost is None else str(search.lost.what)


def _clock(offset: Offset | None) -> ClockRecord | None:
    if offset is None:
        return None
    return ClockRecord(round(offset.ns / 1e9, 9), round(offset.error_ns / 1e9, 9))


def _counts(name: str, counts: HostCounts, starts: dict[str, int]) -> CountsRecord:
    at = starts.get(name)
    return CountsRecord(
        name=name,
        sent=counts.sent,
        received=counts.received,
        pps=round(counts.window_sent / counts.window_s, 3) if counts.window_s else 0.0,
        start_s=None if at is None else round(at / 1e9, 6),
        lost=counts.lost,
        foreign=counts.foreign,
        duplicated=counts.duplicated,
        reordered=counts.reordered,
        corrupted=counts.corrupted,
        resets=counts.resets,
    )


def _software(members: Iterable[MemberRecord]) -> bool:
    return any(bool(each.provenance.get("software_device")) for each in members)


def _provenance(members: Iterable[MemberRecord]) -> dict[str, Any]:
    """One provenance of all hosts: each of their words once, and every device."""
    found: dict[str, list[str]] = {"cpu": [], "kernel": [], "iavfio": []}
    devices: dict[str, str] = {}
    for each in members:
        for name, words in found.items():
            word = str(each.provenance.get(name, ""))
            if word and word not in words:
                words.append(word)
        there = each.provenance.get("devices", {})
        devices |= {f"{each.name}: {port}": text for port, text in there.items()}
    told: dict[str, Any] = {name: ", ".join(words) for name, words in found.items()}
    return told | {"commit": commit(), "devices": devices, "software_device": _software(members)}
