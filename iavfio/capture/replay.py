# SPDX-License-Identifier: BSD-3-Clause
"""A replay: the frames of a file, sent by C when they are due, and counted where they went."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from iavfio._driver import ffi, lib
from iavfio.capture.outages import wait_out
from iavfio.capture.packet_file import Frames
from iavfio.capture.rewrite import Rule, rewrite
from iavfio.capture.schedule import Timing, due_times
from iavfio.datapath.thread import running
from iavfio.errors import ConfigError, DeviceError, IavfioError, StateError
from iavfio.port.draining import drain
from iavfio.port.port import Port
from iavfio.stats import Snapshot

TURN_NS = 50_000_000  # between looks at the clock and at signals
SHORTEST: int = lib.TX_MIN_FRAME
PF_SECONDS = 0.5  # that the PF has for its last counters
COMPLETION = 1.0  # seconds in which a device completes what is posted; less after a signal
SENT = ("tx_unicast", "tx_multicast", "tx_broadcast")
LOST = ("tx_discards", "tx_errors")

Progress = Callable[[float, "SentCounts"], None]


@dataclass(frozen=True)
class SentCounts:
    """What was sent so far: frames given to the device, their bytes without FCS, whole rounds.

    `late_ns`: the most that a frame was sent after it was due.
    """

    sent: int = 0
    bytes: int = 0
    rounds: int = 0
    late_ns: int = 0


@dataclass(frozen=True)
class Replayed:
    """A replay that has ended.

    `completed`: frames that the device has sent, as its rings say; `on_wire`: frames that the PF
    counts as sent, a lower bound after a reset, which makes the PF forget; `lost`: frames that the
    device refused or failed to send, or that a reset took, by counter; `unsent`: given to the
    device and not completed.
    """

    seconds: float
    counts: SentCounts
    completed: int
    on_wire: int
    lost: dict[str, int]
    unsent: int
    resets: int
    ended_by: str
    error: IavfioError | None
    interrupted: KeyboardInterrupt | None

    @property
    def whole(self) -> bool:
        """Whether every frame that was sent is on the wire, as far as the PF's counts reach."""
        if self.resets:
            return not self.lost and not self.unsent
        return self.on_wire == self.counts.sent


class Replay:
    """Sends frames of a file on one queue of a running port; the queue is its own meanwhile.

    `rules` change the frames in place. What the port cannot send is left out and counted in
    `left_out`, by reason: "too_short" (below 17 bytes), "too_long" (for the MTU), "cut" (the file
    has only the beginning), "not_ethernet". Raises ConfigError when nothing is left to send.
    """

    def __init__(
        self,
        port: Port,
        frames: Frames,
        *,
        queue: int = 0,
        timing: Timing | None = None,
        rounds: int = 1,
        rules: Sequence[Rule] = (),
    ) -> None:
        self._port = port
        self._pair = port.tx[queue].pair
        longest = port.tx[queue].max_frame
        cut = frames.lengths < frames.wire
        short = ~cut & (frames.lengths < SHORTEST)
        long = ~cut & (frames.lengths > longest)
        reasons = {"cut": cut, "too_short": short, "too_long": long}
        self.left_out = {name: int(np.count_nonzero(which)) for name, which in reasons.items()}
        self.left_out["not_ethernet"] = frames.others
        self.left_out = {name: count for name, count in self.left_out.items() if count}
        self.frames = frames.chosen(~(cut | short | long))
        if not len(self.frames):
            raise ConfigError(
                "there is no frame to send",
                f"left out: {self.left_out}" if self.left_out else "the file is empty",
                "the longest frame follows from --mtu" if "too_long" in self.left_out else "",
            )
        self.not_rewritten = rewrite(self.frames, rules, port.mac)
        self._due, self._round_ns = due_times(self.frames, timing or Timing(speed=1.0))
        self._rounds = rounds
        self._raw = self._new()
        self._before = self._sample()

    def _new(self) -> Any:
        frames = self.frames
        config: Any = ffi.new("struct replay_config *")
        config.pair = running(self._pair)
        config.data = ffi.cast("uint8_t *", ffi.from_buffer(frames.data))
        config.offsets = ffi.cast("uint64_t *", ffi.from_buffer(frames.offsets))
        config.lengths = ffi.cast("uint32_t *", ffi.from_buffer(frames.lengths))
        config.due = ffi.NULL
        if self._due is not None:
            config.due = ffi.cast("uint64_t *", ffi.from_buffer(self._due))
        config.frames, config.rounds = len(frames), self._rounds
        config.round_ns = self._round_ns
        raw = lib.replay_new(config)
        if raw == ffi.NULL:
            raise MemoryError
        return ffi.gc(raw, lib.replay_free)

    @property
    def counts(self) -> SentCounts:
        """What was sent so far."""
        raw = lib.replay_counts(self._raw)
        return SentCounts(raw.sent, raw.bytes, raw.rounds, raw.late_ns)

    def run(self, duration: float | None = None, progress: Progress | None = None) -> Replayed:
        """Sends until all is sent, for `duration` seconds at most, or until Ctrl-C.

        `progress(seconds, counts)` is called about once a second. Raises nothing that has to do
        with the device or a signal: the result says so in `error` and `interrupted`.
        """
        began = shown = time.monotonic()
        end = None if duration is None else time.monotonic_ns() + int(duration * 1e9)
        ended_by, error = "", None
        interrupted: KeyboardInterrupt | None = None
        try:
            while not ended_by:
                ended_by = self._turn(end)
                now = time.monotonic()
                if progress is not None and now - shown >= 1.0:
                    shown = now
                    progress(now - began, self.counts)
        except KeyboardInterrupt as signal:
            interrupted, ended_by = signal, "signal"
            self._port.device.limit(PF_SECONDS)  # its server may be silent
        except IavfioError as trouble:
            error, ended_by = trouble, "error"
        seconds = time.monotonic() - began
        unsent = drain(self._port, COMPLETION / 10 if interrupted else COMPLETION)
        after = self._sample()
        moved = after.since(self._before)
        return Replayed(
            seconds=seconds,
            counts=self.counts,
            completed=sum(sq["packets"] for sq in moved.sq),
            on_wire=sum(moved.pf[name] for name in SENT),
            lost=_lost(moved),
            unsent=unsent,
            resets=moved.resets,
            ended_by=ended_by,
            error=error,
            interrupted=interrupted,
        )

    def _turn(self, end: int | None) -> str:
        """Sends for a while; says what ended the replay, "" while it goes on."""
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

    def _sample(self) -> Snapshot:
        try:
            self._port.refresh_stats(PF_SECONDS)
        except (DeviceError, StateError):
            pass  # the summary says what the PF said last
        return self._port.stats.snapshot()


def _lost(moved: Snapshot) -> dict[str, int]:
    found = {name: moved.pf[name] for name in LOST}
    found["sq_drop_reset"] = sum(sq["drop_reset"] for sq in moved.sq)
    return {name: count for name, count in found.items() if count > 0}
