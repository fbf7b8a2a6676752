# SPDX-License-Identifier: BSD-3-Clause
"""The summary of a generator's run in words."""

from __future__ import annotations

from collections.abc import Iterator

from iavfio.arguments import counted
from iavfio.capture.losses import told
from iavfio.capture.words import ENDED
from iavfio.datapath.pair import FCS
from iavfio.generator.records import GenRecord, ShortfallRecord, StreamRecord
from iavfio.generator.result import FRESH
from iavfio.generator.shortfall import Shortfall


def gen_summary(r: GenRecord) -> Iterator[str]:
    """The lines of a run's summary."""
    seconds = r.seconds or 1e-9
    mbits = (r.sent_bytes + FCS * r.sent) * 8 / seconds / 1e6
    mpps = r.sent / seconds / 1e6
    yield (
        f"{counted(r.sent, 'packet')} sent in {r.seconds:.3f} s "
        f"({mpps:.3f} Mpps, {mbits:.1f} Mbit/s); ended by: {ENDED[r.ended_by]}"
    )
    for stream in r.streams:
        yield _stream(stream)
    if r.shortfall is not None and not r.shortfall.missed:
        yield f"rate: {_missed(r.shortfall)}"
    age = "" if r.pf_age_s is not None and r.pf_age_s <= FRESH else f", {_old(r.pf_age_s)}"
    beyond = "" if r.expect else "; delivery was not looked at"
    yield f"on the wire by the PF's count: {r.on_wire}{age}{beyond}"
    if r.lost or r.unsent:
        yield f"counted as not sent: {told(r.lost)}; not completed: {r.unsent}"
    if r.missed:
        yield f"lost by {r.expect} on the way in: {told(r.missed)}"
    if r.others:
        yield f"received that is not of this run: {r.others}"
    for each in r.answered:
        yield (
            f"answered by {each.port}: {each.arp} ARP requests, {each.nd} neighbour solicitations, "
            f"{each.echo} echo requests" + (f"; no room for {each.unsent}" if each.unsent else "")
        )
    if r.resets:
        yield f"resets of the VF meanwhile: {r.resets}"
    for reason in r.reasons:
        yield f"not sound: {reason}"


def _old(age: float | None) -> str:
    return "which the PF never told" if age is None else f"as it told {age:.1f} s ago"


def _missed(s: ShortfallRecord) -> str:
    return str(Shortfall(s.share, s.late_s, s.why))


def _stream(s: StreamRecord) -> str:
    text = f"  {s.name}: {s.sent} sent, {s.sent_bytes} bytes, {s.pps:.0f} pps"
    if s.received is None:
        return text
    return (
        f"{text}; {s.received} received, {s.lost} lost, {s.duplicated} duplicated, "
        f"{s.reordered} reordered"
    )
