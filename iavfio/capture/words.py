# SPDX-License-Identifier: BSD-3-Clause
"""The summaries of a capture and of a replay in words."""

from __future__ import annotations

from collections.abc import Iterator

from iavfio.arguments import counted
from iavfio.capture.losses import told
from iavfio.capture.records import CaptureRecord, ReplayRecord

ENDED = {
    "count": "the count is reached",
    "done": "everything is sent",
    "duration": "its time is over",
    "signal": "a signal",
    "port": "the port was closed",
    "reader": "nobody reads the pipe any more",
    "error": "an error",
}


def capture_summary(r: CaptureRecord) -> Iterator[str]:
    """The lines of a capture's summary."""
    into = "standard output" if r.files == ["-"] else ", ".join(_shortened(r.files))
    rate = r.received / r.seconds / 1e6 if r.seconds else 0.0
    moved = {None: "received", "rx": "received", "tx": "sent", "both": "received and sent"}
    yield (
        f"{counted(r.captured, 'frame')} captured of {r.received} {moved[r.mirrored]} in "
        f"{r.seconds:.2f} s ({rate:.3f} Mpps), {r.written_bytes} bytes to {into}; "
        f"ended by: {ENDED[r.ended_by]}"
    )
    came = r.received if r.mirrored else r.dropped + r.received
    share = r.dropped / came if r.dropped else 0.0
    lost = f"{r.dropped} ({share:.2%}): {told(r.drops)}" if r.dropped else "none"
    yield f"lost {'in the mirror' if r.mirrored else 'before they were received'}: {lost}"
    if r.waiting:
        rings = "the mirror's rings" if r.mirrored else "the receive rings"
        yield f"in {rings} at the end, not captured: {r.waiting}"
    if r.cut:
        yield f"longer than {r.snaplen} bytes, cut: {r.cut}"
    if r.tags_restored:
        yield f"with a VLAN tag that was put back: {r.tags_restored}"
    if r.resets:
        yield f"resets of the VF meanwhile: {r.resets}"


def _shortened(files: list[str]) -> list[str]:
    if len(files) <= 3:
        return files
    return [files[0], f"... {len(files) - 2} more ...", files[-1]]


LEFT_OUT = {
    "cut": "of which the file has only the beginning",
    "too_short": "too short for the device (17 bytes are needed)",
    "too_long": "too long for the MTU",
    "not_ethernet": "of interfaces that are no Ethernet",
}


def replay_summary(r: ReplayRecord) -> Iterator[str]:
    """The lines of a replay's summary."""
    seconds = r.seconds or 1e-9
    rate = (
        f"{r.sent / seconds / 1e6:.3f} Mpps, {(r.sent_bytes + 4 * r.sent) * 8 / seconds / 1e6:.1f}"
    )
    yield (
        f"{counted(r.sent, 'frame')} sent in {r.seconds:.3f} s ({rate} Mbit/s), "
        f"{counted(r.rounds, 'whole round')} of {r.frames}; ended by: {ENDED[r.ended_by]}"
    )
    yield f"on the wire by the PF's count: {r.on_wire}"
    missing = r.sent - r.on_wire
    if missing and r.resets:
        yield (
            f"the PF's count knows nothing of {missing}: at a reset it forgets what it counted "
            f"since it was asked last; the device has completed {r.completed}, "
            f"counted as lost: {told(r.lost)}"
        )
    elif missing:
        yield (
            f"not on the wire: {missing}; counted as lost: {told(r.lost)}; not completed: "
            f"{r.unsent}"
        )
    for reason, count in r.left_out.items():
        yield f"left out, {LEFT_OUT[reason]}: {count}"
    if r.not_rewritten:
        yield f"not rewritten, for their IPv6 extension headers: {r.not_rewritten}"
    if r.latest_us:
        yield f"the latest frame was sent {r.latest_us:.0f} us after it was due"
    if r.resets:
        yield f"resets of the VF meanwhile: {r.resets}"
