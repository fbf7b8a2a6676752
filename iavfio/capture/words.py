# SPDX-License-Identifier: BSD-3-Clause
"""The summaries of a capture and of a replay in words."""

from __future__ import annotations

from collections.abc import Iterator

from iavfio.arguments import counted
from iavfio.capture.losses import told
from iavfio.capture.records import CaptureRecord

ENDED = {
    "count": "the count is reached",
    "duration": "its time is over",
    "signal": "a signal",
    "reader": "nobody reads the pipe any more",
    "error": "an error",
}


def capture_summary(r: CaptureRecord) -> Iterator[str]:
    """The lines of a capture's summary."""
    into = "standard output" if r.files == ["-"] else ", ".join(_shortened(r.files))
    rate = r.received / r.seconds / 1e6 if r.seconds else 0.0
    yield (
        f"{counted(r.captured, 'frame')} captured of {r.received} received in {r.seconds:.2f} s "
        f"({rate:.3f} Mpps), {r.written_bytes} bytes to {into}; ended by: {ENDED[r.ended_by]}"
    )
    share = r.dropped / (r.dropped + r.received) if r.dropped else 0.0
    lost = f"{r.dropped} ({share:.2%}): {told(r.drops)}" if r.dropped else "none"
    yield f"lost before they were received: {lost}"
    if r.waiting:
        yield f"in the receive rings at the end, not captured: {r.waiting}"
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
