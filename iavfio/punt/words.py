# SPDX-License-Identifier: BSD-3-Clause
"""The records of a punt in words."""

from __future__ import annotations

from collections.abc import Iterator

from iavfio.arguments import counted
from iavfio.capture.losses import told
from iavfio.punt.records import FromTapRecord, PuntInterval, PuntRecord, ToTapRecord

ENDED = {
    "duration": "its time is over",
    "stop": "stop()",
    "signal": "a signal",
    "error": "an error",
}


def summary(r: PuntRecord) -> Iterator[str]:
    """The lines of a summary."""
    yield (
        f"{counted(r.received, 'packet')} received in {r.seconds:.2f} s: {r.to_tap.packets} punted "
        f"to {r.tap}, {r.not_selected} not selected and dropped; ended by: {ENDED[r.ended_by]}"
    )
    yield f"to {r.tap}: {_to_tap(r.to_tap)}, {r.to_tap.bytes} bytes"
    yield f"from {r.tap}: {_from_tap(r.from_tap)}, {r.from_tap.bytes} bytes"
    yield f"lost before they were received: {told(r.drops)}"
    if r.waiting:
        yield f"in the receive rings at the end, not punted: {r.waiting}"
    if r.to_tap.tags_restored:
        yield f"with a VLAN tag that was put back: {r.to_tap.tags_restored}"
    if r.resets:
        yield f"resets of the VF meanwhile: {r.resets}"
    yield from r.notes


def line(r: PuntInterval) -> str:
    """One line for one interval."""
    link = "" if r.link_up else ", link down"
    state = "" if r.state == "running" else f", {r.state}"
    return (
        f"{r.seconds:.1f} s: {r.received} received, {r.not_selected} not selected; to {r.tap}: "
        f"{_to_tap(r.to_tap)}; from {r.tap}: {_from_tap(r.from_tap)}{link}{state}"
    )


def _to_tap(r: ToTapRecord) -> str:
    drops = f" ({told(r.drops)})" if r.drops else ""
    return f"{r.delivered} of {r.packets} delivered{drops}"


def _from_tap(r: FromTapRecord) -> str:
    drops = dict(r.drops) | ({"unread": r.unread} if r.unread else {})
    why = f" ({told(drops)})" if drops else ""
    return f"{r.sent} of {r.frames} sent{why}"
