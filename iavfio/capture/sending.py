# SPDX-License-Identifier: BSD-3-Clause
"""Frames that lie in memory, sent by C when they are due; and what the PF says became of them."""

from __future__ import annotations

import errno
import time
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iavfio._driver import ffi, lib
from iavfio.capture.outages import wait_out
from iavfio.datapath.pair import QueuePair
from iavfio.datapath.thread import running
from iavfio.errors import DeviceError, StateError
from iavfio.port.port import Port
from iavfio.stats import Snapshot

TURN_NS = 50_000_000  # between looks at the clock and at signals
SHORTEST: int = lib.TX_MIN_FRAME
PF_SECONDS = 0.5  # that the PF has for its last counters
COMPLETION = 1.0  # seconds in which a device completes what is posted
HURRIED = 0.02  # ... after a signal
SENT = ("tx_unicast", "tx_multicast", "tx_broadcast")
LOST = ("tx_discards", "tx_errors")


@dataclass(frozen=True)
class SentCounts:
    """What was sent so far: frames given to the device, their bytes without FCS, whole rounds.

    `late_ns`: the most that a frame was sent after it was due. `full`: tries that found the send
    ring full.
    """

    sent: int = 0
    bytes: int = 0
    rounds: int = 0
    late_ns: int = 0
    full: int = 0


class Sending:
    """A list of frames on its way out of one send queue of a running port.

    Frame i is `data[offsets[i] : offsets[i] + lengths[i]]`, due `due[i]` ns after the beginning of
    a round (None: as fast as possible). `rounds`: how often all are sent, 0 = without an end;
    `round_ns`: from the beginning of one round to that of the next. The arrays are read while
    frames are sent.
    """

    def __init__(
        self,
        port: Port,
        queue: int,
        data: NDArray[np.uint8],
        offsets: NDArray[np.uint64],
        lengths: NDArray[np.uint32],
        due: NDArray[np.uint64] | None = None,
        *,
        rounds: int = 1,
        round_ns: int = 0,
    ) -> None:
        self._port = port
        self._pair = port.tx[queue].pair
        self._arrays = (data, offsets, lengths, due)  # C keeps only pointers
        config: Any = ffi.new("struct replay_config *")
        config.pair = running(self._pair)
        config.data = ffi.cast("uint8_t *", ffi.from_buffer(data))
        config.offsets = ffi.cast("uint64_t *", ffi.from_buffer(offsets))
        config.lengths = ffi.cast("uint32_t *", ffi.from_buffer(lengths))
        config.due = ffi.NULL
        if due is not None:
            config.due = ffi.cast("uint64_t *", ffi.from_buffer(due))
        config.frames, config.rounds = len(offsets), rounds
        config.round_ns = round_ns
        raw = lib.replay_new(config)
        if raw == ffi.NULL:
            raise MemoryError
        self._raw = raw
        # Buffers go back by way of the pair, so it lives at least as long.
        weakref.finalize(self, _free, raw, self._pair)

    @property
    def counts(self) -> SentCounts:
        """What was sent so far."""
        raw = lib.replay_counts(self._raw)
        return SentCounts(raw.sent, raw.bytes, raw.rounds, raw.late_ns, raw.full)

    def turn(self, end: int | None) -> str:
        """Sends for 50 ms at most, and not after `end` (monotonic ns; None: no end).

        Says what ended it: "done", "duration", or "" while it goes on. Waits out a reset. Raises
        what `wait_out` raises.
        """
        until = time.monotonic_ns() + TURN_NS
        code = int(lib.replay_run(self._raw, until if end is None else min(until, end)))
        if code == 1:
            return "done"
        if code < 0 and code != -errno.EINTR:
            wait_out(self._port, code)
            if self._pair.raw is not None:
                lib.replay_rebind(self._raw, self._pair.raw)
        if end is not None and time.monotonic_ns() >= end:
            return "duration"
        return ""


def _free(raw: Any, pair: QueuePair) -> None:
    if pair.raw is not None:
        lib.replay_rebind(raw, pair.raw)
        lib.replay_release(raw)
    lib.replay_free(raw)


def sample(port: Port) -> Snapshot:
    """The port's counters with what the PF says now, or said last where it does not answer."""
    try:
        port.refresh_stats(PF_SECONDS)
    except (DeviceError, StateError):
        pass  # the summary says what the PF said last
    return port.stats.snapshot()


def on_wire(moved: Snapshot) -> int:
    """Frames that the PF counts as sent in an interval."""
    return sum(moved.pf[name] for name in SENT)


def own_on_wire(moved: Snapshot, sent: int) -> int:
    """How many of `sent` frames the PF counts as sent in an interval.

    `iavfio why`, asked meanwhile, sends probes by the same queues. What the queues took beyond
    `sent` explains as many frames of the PF's count and no more.
    """
    told = on_wire(moved)
    beside = sum(sq["posted"] for sq in moved.sq) - sent
    return sent if sent < told <= sent + beside else told


def lost(moved: Snapshot) -> dict[str, int]:
    """Frames given to the device in an interval and not sent, by the counter that says so."""
    found = {name: moved.pf[name] for name in LOST}
    found["sq_drop_reset"] = sum(sq["drop_reset"] for sq in moved.sq)
    return {name: count for name, count in found.items() if count > 0}
