# SPDX-License-Identifier: BSD-3-Clause
"""A replay: the frames of a file, sent by C when they are due, and counted where they went."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from iavfio.capture.packet_file import Frames
from iavfio.capture.rewrite import Rule, rewrite
from iavfio.capture.schedule import Timing, due_times
from iavfio.capture.sending import (
    COMPLETION,
    HURRIED,
    PF_SECONDS,
    SHORTEST,
    Sending,
    SentCounts,
    lost,
    own_on_wire,
    sample,
)
from iavfio.errors import ConfigError, IavfioError
from iavfio.port.bounds import Finishing
from iavfio.port.draining import drain
from iavfio.port.limits import room_for
from iavfio.port.port import Port
from iavfio.ranges import ROUNDS
from iavfio.signatures import checked_call

Progress = Callable[[float, SentCounts], None]


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

    @checked_call
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
        ROUNDS("rounds", rounds)
        self._port = port
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
            remedy = ""
            if "too_long" in self.left_out:
                remedy = room_for(int(frames.lengths[long].max()), port.name, port.control.limits)
            raise ConfigError(
                "there is no frame to send",
                f"left out: {self.left_out}" if self.left_out else "the file is empty",
                remedy,
            )
        self.not_rewritten = rewrite(self.frames, rules, port.mac)
        due, round_ns = due_times(self.frames, timing or Timing(speed=1.0))
        self._sending = Sending(
            port,
            queue,
            self.frames.data,
            self.frames.offsets,
            self.frames.lengths,
            due,
            rounds=rounds,
            round_ns=round_ns,
        )
        self._before = sample(port)

    @property
    def counts(self) -> SentCounts:
        """What was sent so far."""
        return self._sending.counts

    @checked_call
    def run(self, duration: float | None = None, progress: Progress | None = None) -> Replayed:
        """Sends until all is sent, for `duration` seconds at most, or until Ctrl-C.

        `progress(seconds, counts)` is called about once a second. Raises nothing that has to do
        with the device or a signal: the result says so in `error` and `interrupted`.
        """
        began = shown = time.monotonic()
        end = None if duration is None else time.monotonic_ns() + int(duration * 1e9)
        ended_by, error = "", None
        finishing = Finishing(self._port.device, seconds=PF_SECONDS)
        try:
            while not ended_by:
                ended_by = self._sending.turn(end)
                now = time.monotonic()
                if progress is not None and now - shown >= 1.0:
                    shown = now
                    progress(now - began, self.counts)
        except KeyboardInterrupt as signal:
            finishing.hasten(signal)
            ended_by = "signal"
        except IavfioError as trouble:
            error, ended_by = trouble, "error"
        seconds = time.monotonic() - began
        unsent = finishing.take(
            lambda: drain(self._port, HURRIED if finishing.signal else COMPLETION)
        )
        after = finishing.take(lambda: sample(self._port))
        moved = after.since(self._before)
        return Replayed(
            seconds=seconds,
            counts=self.counts,
            completed=sum(sq["packets"] for sq in moved.sq),
            on_wire=own_on_wire(moved, self.counts.sent),
            lost=lost(moved),
            unsent=unsent,
            resets=moved.resets,
            ended_by=ended_by,
            error=error,
            interrupted=finishing.signal,
        )
