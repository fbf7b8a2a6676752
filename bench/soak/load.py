# SPDX-License-Identifier: BSD-3-Clause
"""Verified traffic of a C worker over both ports, both ways, and its account."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType

import iavfio
from bench.soak.account import Account
from iavfio.datapath.worker import Lane, VerifyTable, Worker
from iavfio.errors import IavfioError

SIZES = (60,) * 14 + (566, 1496)  # without FCS: most of them small, for many packets
FLOWS = 16
RATE = 500_000.0  # frames a second where some may be lost
STEP = 0.001  # seconds between two looks
SETTLE = 20.0  # seconds that the last frames may take
QUIET = 0.05  # seconds without a frame, after which none comes any more where some are lost


def until(condition: Callable[[], bool]) -> bool:
    """Waits for `condition`, at most SETTLE seconds; returns whether it came true."""
    end = time.monotonic() + SETTLE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(STEP)
    return True


class Load:
    """Traffic from its making until the end of the block; then everything must be accounted for.

    `lossless`: nothing happens to the ports, and no more is under way than a receive ring holds.
    Otherwise frames go at a rate, whatever becomes of those before.
    """

    def __init__(self, ports: Sequence[iavfio.Port], account: Account, *, lossless: bool) -> None:
        self.account, self.lossless, self.ports = account, lossless, ports
        self._before = [(len(port.resets), port.stats.snapshot()) for port in ports]
        a, b = ports
        self._table = VerifyTable(2, FLOWS)
        try:
            self._worker = Worker(
                "loopback",
                [Lane(a.rx[0], None, b.mac, a.mac), Lane(b.rx[0], None, a.mac, b.mac)],
                sizes=SIZES,
                signature=secrets.randbits(63) | 1,
                verify=self._table,
                flows=FLOWS,
                rate=0.0 if lossless else RATE,
                open_loop=not lossless,
            )
        except BaseException:
            self._table.close()
            raise

    def __enter__(self) -> Load:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._worker.close()
        self._table.close()

    def reached(self, more: int) -> bool:
        """Waits until `more` frames have come; returns whether they did in time."""
        goal = self._worker.counters.received + more
        return until(lambda: self._worker.counters.received >= goal)

    def settle(self, what: str) -> None:
        """Ends the traffic and closes its account."""
        self._worker.finish(SETTLE if self.lossless else QUIET, SETTLE)
        if self.lossless:
            until(self._all_there)
            self._worker.finish(0.0, SETTLE)
        until(lambda: self._worker.ended)
        self._worker.close()
        seen, account = self._worker.counters, self.account
        account.loaded += seen.sent
        account.loaded_received += seen.received
        account.loaded_lost += seen.sent - seen.received
        if seen.error:
            account.wrong.append(f"the worker ended: {os.strerror(-seen.error)}, at: {what}")
        for name in ("duplicated", "reordered", "corrupted"):
            if count := getattr(seen, name):
                account.wrong.append(f"{count} frames of the worker were {name}, at: {what}")
        if self.lossless and seen.sent != seen.received:
            account.wrong.append(
                f"the worker sent {seen.sent}, {seen.received} came, at: {what}; {self._fate()}"
            )

    def _fate(self) -> str:
        """What the ports know of frames that did not come."""
        told = []
        for port, (resets, before) in zip(self.ports, self._before, strict=True):
            with suppress(IavfioError):  # a port that has failed tells what it knew last
                port.refresh_stats()
            counted = port.stats.snapshot().since(before)
            lost = {name: value for name, value in counted.pf.items() if value}
            queues = {name: value for name, value in counted.sq[0].items() if value}
            queues |= {f"rx {name}": value for name, value in counted.rq[0].items() if value}
            causes = [reset.cause for reset in port.resets[resets:]]
            told.append(f"{port.name}: {lost}, {queues}, resets {causes}, {port.link}")
        return "; ".join(told)

    def _all_there(self) -> bool:
        seen = self._worker.counters
        return self._worker.ended or (seen.state >= 2 and seen.received >= seen.sent)
