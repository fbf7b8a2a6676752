# SPDX-License-Identifier: BSD-3-Clause
"""What Python adds to a burst: recv + send + release, over the C calls that they make.

The rings lie in plain memory and this program plays the device outside the timed region, so nothing
but the calls is measured. Both ways run in interleaved rounds; best and median are printed. The C
calls are those made through cffi, so its own cost is on both sides.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iavfio._driver import ffi, lib
from iavfio.bench.provenance import provenance
from iavfio.datapath.columns import Columns
from iavfio.datapath.pair import PairSettings, QueuePair
from iavfio.datapath.pool import Pool
from iavfio.datapath.queues import RxQueue, TxQueue

RING, FRAME = 512, 60


class _Port:
    """The least that queues ask of a port."""

    name = "bench"

    def pause(self, timeout: float) -> bool:
        """Returns False: no reset is handled here."""
        return False

    def why_stopped(self) -> str:
        """Returns no reason: this port never stops."""
        return ""

    def how_to_start(self) -> str:
        """Returns no advice: this port runs."""
        return ""


class Bench:
    """One queue pair on plain memory, and the device that writes its descriptors back."""

    def __init__(self, burst: int) -> None:
        self.burst = burst
        self.pool = Pool(4096, huge="never")
        self.rx = np.zeros((RING, 4), dtype="<u8")
        self.tx = np.zeros((RING, 2), dtype="<u8")
        self._tails = ffi.new("uint32_t[2]")
        self._counters = (ffi.new("struct rq_counters *"), ffi.new("struct sq_counters *"))
        config: Any = ffi.new("struct pair_config *")
        config.pool, config.pool_iova = self.pool.raw, 1 << 32
        config.rx_ring = ffi.cast("void *", ffi.from_buffer(self.rx))
        config.tx_ring = ffi.cast("void *", ffi.from_buffer(self.tx))
        config.rx_tail = ffi.cast("volatile uint32_t *", self._tails)
        config.tx_tail = ffi.cast("volatile uint32_t *", self._tails + 1)
        config.rq, config.sq = self._counters
        config.rx_entries = config.tx_entries = RING
        config.buffer_size, config.max_frame = lib.POOL_ROOM, 1522
        config.event_fd = -1
        error = ffi.new("int *")
        self.raw = lib.pair_new(config, error)
        assert self.raw != ffi.NULL, error[0]
        assert lib.pair_arm(self.raw) == 0
        assert lib.pair_start(self.raw) == 0
        self.pair = QueuePair("bench", 0, self.pool, PairSettings(RING, RING, 1522))
        self.pair.raw = self.raw
        port = _Port()
        self.rxq, self.txq = RxQueue(port, self.pair), TxQueue(port, self.pair)
        self._head = 0
        self._sent = 0

    def device(self) -> None:
        """Receives a burst into the ring and completes what was sent."""
        done = lib.RXL_DD | lib.RXL_EOP | FRAME << lib.RXL_LEN_SHIFT
        at: NDArray[np.intp] = (self._head + np.arange(self.burst)) % RING
        self.rx[at, 1] = done
        self._head = int(at[-1] + 1) % RING
        tail = self._tails[1]
        while self._sent != tail:
            if self.tx[self._sent, 1] >> lib.TXD_CMD_SHIFT & lib.TXD_CMD_RS:
                self.tx[self._sent, 1] = lib.TX_DTYPE_DONE
            self._sent = (self._sent + 1) % RING

    def python(self) -> None:
        """Moves one burst as a program does."""
        burst = self.rxq.recv(self.burst)
        assert self.txq.send(burst) == self.burst
        burst.release()

    def calls(self, columns: Columns, refused: Any) -> None:
        """The C calls alone."""
        count = lib.pair_recv(self.raw, columns.raw, self.burst)
        lib.pair_send(self.raw, columns.p_handles, ffi.NULL, ffi.NULL, count, refused)

    def run(self, rounds: int) -> dict[str, Any]:
        """Nanoseconds of both ways."""
        columns, refused = Columns(256, 0, False), ffi.new("uint32_t *")
        clock = time.perf_counter_ns
        ours: list[int] = []
        bare: list[int] = []
        nothing: list[int] = []
        for _ in range(rounds):
            self.device()
            start = clock()
            self.python()
            ours.append(clock() - start)
            self.device()
            start = clock()
            self.calls(columns, refused)
            bare.append(clock() - start)
            start = clock()
            nothing.append(clock() - start)
        return {
            "burst": self.burst,
            "python_ns_best": min(ours),
            "python_ns_median": statistics.median(ours),
            "calls_ns_best": min(bare),
            "calls_ns_median": statistics.median(bare),
            "clock_ns_best": min(nothing),
            "added_us_best": (min(ours) - min(bare)) / 1e3,
            "added_us_median": (statistics.median(ours) - statistics.median(bare)) / 1e3,
        }


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [Bench(burst).run(options.rounds) for burst in (1, 32, 256)]
    if options.json:
        print(json.dumps({"rows": rows, "provenance": provenance({"rings": "plain memory"})}))
        return
    print("burst  recv+send+release  C calls alone  added by Python (us: best, median)")
    for row in rows:
        print(
            f"{row['burst']:5}  {row['python_ns_best']:13} ns  {row['calls_ns_best']:10} ns  "
            f"{row['added_us_best']:18.2f} {row['added_us_median']:7.2f}"
        )


if __name__ == "__main__":
    main()
