# SPDX-License-Identifier: BSD-3-Clause
"""The exception path of a port: some of what it receives goes to the kernel, and comes back."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Sequence
from types import TracebackType

import numpy as np

from iavfio._driver import ffi, lib
from iavfio.capture.filter import TAG_TYPE, Filter
from iavfio.datapath.burst import Burst
from iavfio.datapath.packets import Packets
from iavfio.errors import ConfigError, StateError
from iavfio.port.port import Port
from iavfio.punt.counts import Counts, FromTap, ToTap
from iavfio.punt.follower import Follower
from iavfio.punt.run import Progress, Punted, run
from iavfio.punt.selections import usual
from iavfio.punt.tap import Interface, Tap
from iavfio.signatures import checked_class


@checked_class
class Punt:
    """A TAP beside a port: what a filter selects goes to the kernel, what the kernel sends leaves
    by the port. A context manager.

    `tap`: the name of a TAP to be made, or a Tap; it has the port's MAC address and MTU, follows
    its link, and is gone after `close`. `filter`: what is punted, None: ARP, ND, ICMP, ICMPv6, LACP
    and LLDP (`usual()`). `addresses`: of the TAP, as "192.0.2.1/24". `tx`: number of the send queue
    for what the kernel sends. The groups that the kernel joins are received by the port meanwhile;
    what the PF refuses of that stands in `notes`, and `on_note` is told, by another thread.

    A user's loop calls `step` with each burst, or `take` and `fetch`: one thread at a time. `run`
    is a loop of its own. Raises as Tap does, ConfigError for a queue that the port has not.
    """

    def __init__(
        self,
        port: Port,
        tap: str | Tap,
        filter: Filter | None = None,
        *,
        addresses: Sequence[str | Interface] = (),
        tx: int = 0,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> None:
        if not 0 <= tx < len(port.tx):
            raise ConfigError(
                f"tx={tx} is not possible",
                f"{port.name} has the send queues 0 to {len(port.tx) - 1}",
                "use tx=0",
            )
        self.port, self.filter, self.tx = port, filter or usual(), tx
        self.notes: list[str] = []
        self._on_note = on_note
        self._received = self._passed = 0
        self._delivered = ffi.new("struct tap_delivered *")
        self._fetched = ffi.new("struct tap_fetched *")
        self._over = threading.Event()
        self.tap = tap if isinstance(tap, Tap) else Tap(tap)
        try:
            self.tap.set_up(port.mac, port.settings.mtu, addresses)
            self._follower = Follower(port, self.tap, self._note)
        except BaseException:
            self.tap.close()
            raise

    @property
    def counts(self) -> Counts:
        """What became of the packets so far; any thread may ask."""
        from_tap = FromTap.of(self._fetched, self.tap.dropped)
        return Counts(self._received, self._passed, ToTap.of(self._delivered), from_tap)

    def _note(self, text: str) -> None:
        self.notes.append(text)
        self._on_note(text)

    # ---- moving packets

    def step(self, burst: Burst) -> Packets:
        """`take` and `fetch`: punts of a burst, returns the rest, sends what the kernel has."""
        rest = self.take(burst)
        self.fetch()
        return rest

    def take(self, burst: Burst) -> Packets:
        """Gives the kernel what the filter selects of a burst, and returns the other packets.

        What was punted has left the burst, also where the kernel did not take it: that is counted.
        The rest is a selection of the burst, or the burst itself where nothing was punted. Raises
        StateError for a burst of which packets were sent before, HostError when the TAP is gone.
        """
        if burst.left != len(burst):
            raise StateError(
                "packets of this burst were sent before",
                "only a whole burst is punted of",
                "call step or take first, and send what it returns",
            )
        mask = self.filter.mask(burst)
        rows = np.flatnonzero(mask)
        self._received += len(mask)
        self._passed += len(mask) - len(rows)
        if not len(rows):
            return burst
        columns = burst.live()
        code = lib.tap_deliver(
            self.tap.fd,
            burst.pool.raw,
            columns.raw,
            ffi.cast("int64_t *", ffi.from_buffer(rows)),
            len(rows),
            TAG_TYPE if "vlan" in columns.arrays else 0,
            self.port.settings.mtu,
            self._delivered,
        )
        burst[rows].release()
        if code:
            raise self.tap.gone()
        return burst[~mask]

    def fetch(self) -> int:
        """Sends what the kernel has for the wire; returns how many frames, 64 at most.

        While the port does not run they stay where they are. Raises HostError when the TAP is gone.
        """
        pair = self.port.tx[self.tx].pair
        if self.port.state != "running" or pair.raw is None:
            return 0
        longest = pair.settings.max_frame
        found = int(
            lib.tap_fetch(self.tap.fd, pair.raw, longest, lib.TAP_FRAMES_MAX, self._fetched)
        )
        if found == -errno.EBADFD:
            raise self.tap.gone()
        return max(found, 0)

    # ---- a loop of its own

    def run(
        self,
        duration: float | None = None,
        progress: Callable[[Progress], None] | None = None,
        every: float = 1.0,
    ) -> Punted:
        """Punts on all receive queues for `duration` seconds, or until `stop` or Ctrl-C.

        What is not selected is dropped and counted as `passed`. `progress` is called after each
        `every` seconds. KeyboardInterrupt ends it: the result says so in `interrupted`; an error
        that ended it is in `error`. A thread may run it: threading.Thread(target=punt.run).
        """
        return run(self, self._over, duration, progress, every)

    def stop(self) -> None:
        """Ends `run`, from any thread."""
        self._over.set()

    def close(self) -> None:
        """The port receives what it received before, and the kernel removes the TAP.

        Raises nothing; twice is harmless. `run` has to have ended.
        """
        self._follower.close()
        self.tap.close()

    def __enter__(self) -> Punt:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Punt of {self.port.name} to {self.tap.name}: {self.filter.expression}>"
