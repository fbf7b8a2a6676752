# SPDX-License-Identifier: BSD-3-Clause
"""C threads that run queue pairs without Python (design decision 11)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any

from iavfio._driver import ffi, lib
from iavfio.datapath.queues import RxQueue, TxQueue
from iavfio.errors import ConfigError, IavfioError, StateError

MODES: dict[str, int] = {
    "rxdrop": lib.WORKER_RXDROP,
    "txonly": lib.WORKER_TXONLY,
    "loopback": lib.WORKER_LOOPBACK,
    "forward": lib.WORKER_FORWARD,
    "sink": lib.WORKER_SINK,
}
FORWARD_MACS: dict[str, int] = {  # what "forward" does with the MAC addresses of a frame
    "keep": lib.FORWARD_KEEP,
    "swap": lib.FORWARD_SWAP,
    "own": lib.FORWARD_OWN,
}
MOST_PAIRS: int = lib.WORKER_MAX_PAIRS
MOST_SIZES: int = lib.WORKER_SIZES


@dataclass(frozen=True)
class Counters:
    """A worker's counts (csrc/driver/cdef.h, struct worker_counters)."""

    loops: int = 0
    empty_loops: int = 0
    sent: int = 0
    sent_bytes: int = 0
    received: int = 0
    received_bytes: int = 0
    foreign: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0
    refused: int = 0
    alloc_fail: int = 0
    tsc_busy: int = 0
    tsc_total: int = 0
    start_ns: int = 0
    stop_ns: int = 0
    state: int = 0
    error: int = 0

    def __add__(self, other: Counters) -> Counters:
        """Sums, but for the times: the earliest start, the latest stop, the least state."""
        values = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        starts = [n for n in (self.start_ns, other.start_ns) if n]
        values["start_ns"] = min(starts, default=0)
        values["stop_ns"] = max(self.stop_ns, other.stop_ns)
        values["state"] = min(self.state, other.state)
        values["error"] = self.error or other.error
        return Counters(**values)


@dataclass(frozen=True)
class Lane:
    """One queue pair of a worker: `rx` with its own send side, or with that of `tx`.

    `dst` and `src` are the addresses of the frames that it generates, or sends on with macs="own".
    """

    rx: RxQueue
    tx: TxQueue | None = None
    dst: bytes = bytes(6)
    src: bytes = bytes(6)


class VerifyTable:
    """Sequence state of a run's flows, shared by its workers."""

    def __init__(self, senders: int, flows: int) -> None:
        self.raw: Any = lib.verify_new(senders, flows)
        if self.raw == ffi.NULL:
            raise IavfioError("no memory for sequence numbers", f"{senders} senders, {flows} flows")

    def close(self) -> None:
        """After the last worker has ended."""
        if self.raw != ffi.NULL:
            lib.verify_free(self.raw)
            self.raw = ffi.NULL


class Worker:
    """A C thread over one or more queue pairs; a context manager. The pairs are its own until it
    ends.

    A reset, or stop and start of a port, only interrupts it: it goes on when the queues run again.
    `ended` is true, with a negative errno in `counters.error`, when a queue is gone for good: the
    port was closed or configured anew (ESHUTDOWN), or the device is lost (ENODEV).

    `burst` packets a call; `sizes` frame lengths without FCS in turn; `rate` packets a second
    over all its pairs, 0 = as fast as possible; `cpu` to run on. Raises ConfigError, StateError.
    """

    def __init__(
        self,
        mode: str,
        lanes: Sequence[Lane],
        *,
        burst: int = 32,
        macs: str = "swap",
        sizes: Sequence[int] = (60,),
        signature: int = 0,
        verify: VerifyTable | None = None,
        sender_base: int = 0,
        flows: int = 1,
        limit: int = 0,
        window: float = 0.0,
        rate: float = 0.0,
        cpu: int | None = None,
    ) -> None:
        if mode not in MODES:
            raise ConfigError(f"there is no mode {mode!r}", "", f"choose of: {', '.join(MODES)}")
        if not 1 <= len(lanes) <= MOST_PAIRS:
            raise ConfigError(f"a worker of {len(lanes)} queue pairs", f"1 to {MOST_PAIRS}", "")
        if not 1 <= burst <= 256:
            raise ConfigError(f"bursts of {burst} packets", "1 to 256 are possible", "use 32")
        if not 1 <= len(sizes) <= MOST_SIZES:
            raise ConfigError(f"{len(sizes)} frame sizes", f"1 to {MOST_SIZES} are possible", "")
        if cpu is not None and cpu not in os.sched_getaffinity(0):
            raise ConfigError(
                f"CPU {cpu} cannot be used",
                "this process may run on "
                + ", ".join(str(c) for c in sorted(os.sched_getaffinity(0))),
                "choose of those with --cpus",
            )
        config: Any = ffi.new("struct worker_config *")
        config.mode, config.pairs, config.burst = MODES[mode], len(lanes), burst
        for i, lane in enumerate(lanes):
            config.pair[i] = _running(lane.rx)
            config.out[i] = ffi.NULL if lane.tx is None else _running(lane.tx)
            config.dst[i], config.src[i] = lane.dst, lane.src
        config.macs, config.verify = FORWARD_MACS[macs], int(verify is not None)
        config.table = ffi.NULL if verify is None else verify.raw
        config.sender_base, config.flows = sender_base, flows
        config.signature, config.limit, config.rate = signature, limit, rate
        config.window_ns = int(window * 1e9)
        config.sizes = len(sizes)
        for i, size in enumerate(sizes):
            config.size[i] = size
        config.cpu = -1 if cpu is None else cpu
        error = ffi.new("int *")
        self._raw: Any = lib.worker_start(config, error)
        self._keep = (lanes, verify)
        self._last = Counters()
        self._window: Counters | None = None
        if self._raw == ffi.NULL:
            self._raw = None
            raise StateError(
                "the worker cannot start",
                os.strerror(-error[0]),
                "is another worker or thread using these queues?",
            )

    @property
    def counters(self) -> Counters:
        """What it counted so far; after close the last counts."""
        if self._raw is not None:
            raw = lib.worker_counters(self._raw)
            self._last = _counters(raw)
        return self._last

    @property
    def ended(self) -> bool:
        """Whether its thread is done: limit reached, finished, or failed."""
        return self._raw is None or self.counters.state == 3

    @property
    def window(self) -> Counters | None:
        """The counters at the end of the measured window; None while it is open.

        The window closes after `window` seconds, when `limit` packets were sent, or at `finish`.
        The worker stops generating then, so that draining is outside of what was measured.
        """
        if self._raw is not None:
            raw = lib.worker_window(self._raw)
            self._window = None if raw == ffi.NULL else _counters(raw)
        return self._window

    def finish(self, quiet: float = 0.1, limit: float = 1.0) -> None:
        """Closes the window, stops generating and lets the worker drain. Returns at once.

        The worker receives on until nothing came for `quiet` seconds, at most for `limit` seconds.
        """
        if self._raw is not None:
            lib.worker_finish(self._raw, int(quiet * 1000), int(limit * 1000))

    def wait(self, timeout: float) -> bool:
        """Whether it ended within `timeout` seconds."""
        end = time.monotonic() + timeout
        while not self.ended:
            if time.monotonic() > end:
                return False
            time.sleep(0.002)
        return True

    def close(self) -> None:
        """Ends it now and gives the queues back."""
        if self._raw is None:
            return
        raw, self._raw = self._raw, None
        lib.worker_stop(raw)
        self._last = _counters(lib.worker_counters(raw))
        self._window = _counters(lib.worker_window(raw))
        lib.worker_free(raw)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def _running(queue: RxQueue | TxQueue) -> Any:
    """The C queue pair of a queue. Raises StateError when its port is not started."""
    if queue.pair.raw is None:
        raise StateError(
            f"{queue} is not running", "its port is stopped", "call port.start() first"
        )
    return queue.pair.raw


def _counters(raw: Any) -> Counters:
    """A copy of a `struct worker_counters`."""
    return Counters(**{f.name: int(getattr(raw, f.name)) for f in fields(Counters)})
