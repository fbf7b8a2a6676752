# SPDX-License-Identifier: BSD-3-Clause
"""Workers that generate, check, forward or drop traffic in C (docs/design.md 11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iavfio._driver import ffi, lib
from iavfio.arguments import Choice, Flag, Instance, several, wrong_type
from iavfio.datapath.latency import LatencyTable
from iavfio.datapath.pair import QueuePair
from iavfio.datapath.queues import RxQueue, TxQueue
from iavfio.datapath.thread import MOST_PAIRS, WorkerThread, check_burst_and_cpu, running
from iavfio.errors import ConfigError, IavfioError
from iavfio.ranges import BARE_FRAME, FLOWS, LIMIT, PACKETS, RATE, SENDERS, SIGNATURE, WINDOW

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
MOST_SIZES: int = lib.WORKER_SIZES


@dataclass(frozen=True)
class Lane:
    """One queue pair of a worker: `rx` with its own send side, or with that of `tx`.

    `tx` matters to mode forward only: the other modes use one pair both ways. `dst` and `src` are
    the addresses of the frames that the lane generates, or sends on with macs="own".
    """

    rx: RxQueue
    tx: TxQueue | None = None
    dst: bytes = bytes(6)
    src: bytes = bytes(6)

    @property
    def pairs(self) -> tuple[QueuePair, QueuePair]:
        """The pair that receives, and the one that sends."""
        return self.rx.pair, self.rx.pair if self.tx is None else self.tx.pair


class VerifyTable:
    """Sequence state of a run's flows, shared by its workers."""

    def __init__(self, senders: int, flows: int) -> None:
        """Raises IavfioError when memory is short."""
        self.raw: Any = lib.verify_new(senders, flows)
        if self.raw == ffi.NULL:
            raise IavfioError("no memory for sequence numbers", f"{senders} senders, {flows} flows")

    def close(self) -> None:
        """Frees it, after the last worker has ended."""
        raw, self.raw = self.raw, ffi.NULL
        if raw != ffi.NULL:
            lib.verify_free(raw)


class Quota:
    """How many packets the workers of a run move in all, shared by them: exactly `packets`.

    Counted is what a worker generates, or receives where it does not generate.
    """

    def __init__(self, packets: int) -> None:
        """Raises ConfigError for what is no number of packets."""
        self.raw: Any = ffi.new("struct worker_quota *")
        self.raw.limit = PACKETS("packets", packets)


class Worker(WorkerThread):
    """A C thread that moves the traffic of some lanes; their queues are its own until it ends.

    `mode`: rxdrop (receive and release), sink (the same, but checks each packet's signature),
    txonly (generate and send), loopback (both on the same pair), forward (from `rx` to `tx`).
    `macs`: what forward does with the addresses: keep, swap, or own (the lane's `src`, and `dst`
    unless that is zero). `burst`: packets a call; `sizes`: frame lengths without FCS, in turn;
    `signature`: carried and looked for by every packet of a run; `verify`: a table for sequence
    numbers; `latency`: a table for times, in mode loopback; `sender_base`: number of the first lane
    among all of a run; `flows`: UDP source ports to use; `ipv6`: generate IPv6 frames, of 78 bytes
    or more; `open_loop`: in mode loopback, send on while more is under way than a receive ring
    holds, which may then lose it; `limit`: packets to send, or to receive where none are generated,
    0 = until stopped, or a Quota that several workers share; `window`: seconds to measure, 0 =
    until `finish`; `rate`: packets a second over all lanes, 0 = as fast as possible; `cpu` to run
    on.
    Raises ConfigError for what cannot work, StateError when a queue is stopped or in use.
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
        latency: LatencyTable | None = None,
        sender_base: int = 0,
        flows: int = 1,
        ipv6: bool = False,
        open_loop: bool = False,
        limit: int | Quota = 0,
        window: float = 0.0,
        rate: float = 0.0,
        cpu: int | None = None,
    ) -> None:
        Choice("mode", tuple(MODES))("mode", mode)
        Choice("way with MAC addresses", tuple(FORWARD_MACS))("macs", macs)
        lanes = _lanes(lanes)
        sizes = [BARE_FRAME("sizes", size) for size in several("sizes", sizes, "frame sizes")]
        if not 1 <= len(sizes) <= MOST_SIZES:
            raise ConfigError(f"{len(sizes)} frame sizes", f"1 to {MOST_SIZES} are possible")
        check_burst_and_cpu(burst, cpu)
        FLOWS("flows", flows)
        SIGNATURE("signature", signature)
        Flag()("ipv6", ipv6)
        Flag()("open_loop", open_loop)
        for name, table, kind in (
            ("verify", verify, VerifyTable),
            ("latency", latency, LatencyTable),
        ):
            if table is not None:
                Instance(kind, f"{kind.__name__}(senders=1, flows=1)")(name, table)
        SENDERS("sender_base", sender_base)
        if not isinstance(limit, Quota):
            LIMIT("limit", limit)
        RATE("rate", rate)
        WINDOW("window", window)
        config: Any = ffi.new("struct worker_config *")
        config.mode, config.pairs, config.burst = MODES[mode], len(lanes), burst
        for i, lane in enumerate(lanes):
            config.pair[i], config.out[i] = map(running, lane.pairs)
            config.dst[i], config.src[i] = lane.dst, lane.src
        config.macs, config.verify = FORWARD_MACS[macs], int(verify is not None)
        config.table = ffi.NULL if verify is None else verify.raw
        if latency is not None:
            if mode != "loopback":
                raise ConfigError(
                    f"latency cannot be measured in mode {mode}",
                    "only who gets his own frames knows when they left",
                    "use mode loopback",
                )
            config.stamps, config.latency = latency.raw, latency.histogram()
        config.sender_base, config.flows = sender_base, flows
        config.ipv6, config.open_loop = int(ipv6), int(open_loop)
        config.signature, config.rate = signature, rate
        if isinstance(limit, Quota):
            config.quota = limit.raw
        else:
            config.limit = limit
        config.window_ns = int(window * 1e9)
        config.sizes = len(sizes)
        for i, size in enumerate(sizes):
            config.size[i] = size
        config.cpu = -1 if cpu is None else cpu
        super().__init__(
            config, [pair for lane in lanes for pair in lane.pairs], (verify, latency, limit)
        )


def _lanes(lanes: Sequence[Lane]) -> list[Lane]:
    found = several("lanes", lanes, "Lane objects")
    if not 1 <= len(found) <= MOST_PAIRS:
        raise ConfigError(f"a worker of {len(found)} lanes", f"1 to {MOST_PAIRS} are possible")
    for lane in found:
        if not isinstance(lane, Lane):
            raise wrong_type("a lane", lane, "a Lane", "as in Lane(port.rx[0])")
    return found
