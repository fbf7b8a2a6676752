# SPDX-License-Identifier: BSD-3-Clause
"""What a reset must leave as it was: settings, interrupts, counters, and buffers that are ours.

Each is looked at by itself, so that a check that fails names what the reset broke.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from iavfio.port.port import Port
from iavfio.port.probe import within
from iavfio.port.rss import Rss
from iavfio.qualify.checks import timing
from iavfio.qualify.frames import PORT, frame, number_of, toeplitz
from iavfio.qualify.outcome import require
from iavfio.qualify.vfs import Received, Vfs, exchange
from iavfio.virtchnl.messages.stats import GET_STATS, VsiStats

FLOWS = 64
CLASSES = 16  # most queues that a PF's own table spreads over
EXTRA = bytes.fromhex("02000000fe02")
ANSWER = 3.0  # seconds in which the PF answers
QUIET = 0.2  # seconds in which no buffer may change
MARK = 0xA5
ROWS = 4096  # buffers that are looked at together


@dataclass(frozen=True)
class Wanted:
    """Settings that are none of the PF's own after a reset.

    `key` is b"" where the PF grants no RSS; `size`: entries of the PF's table.
    """

    queues: int
    key: bytes
    size: int

    @classmethod
    def of(cls, vfs: Vfs) -> Wanted:
        """Returns as many queues as both VFs can have, 2 at most, and a random RSS key."""
        found = vfs.receiver.session.resources
        most = min(2, *(port.session.resources.queue_pairs for port in vfs.ports))
        return cls(most, _random_key(found.key_size), found.lut_size)

    def start(self, vfs: Vfs) -> tuple[Port, Port]:
        """Starts the VFs with these settings."""
        if not self.key:
            return vfs.start(extra_macs=(EXTRA,))
        rss = Rss.make(key=self.key, lut=self.table)
        return vfs.start(queues=self.queues, metadata=("rss",), rss=rss, extra_macs=(EXTRA,))

    @property
    def table(self) -> tuple[int, ...]:
        """The queues in falling order, which is no PF's own table."""
        return tuple(reversed(range(self.queues)))

    def queue_of(self, hashed: int) -> int:
        """Returns the queue at which a flow with this hash must arrive."""
        return self.table[hashed % self.size % self.queues]

    def sport_for(self, queue: int) -> int:
        """A UDP port whose flow arrives there."""
        if not self.key:
            return PORT
        ports = range(PORT, PORT + 4096)
        return next(port for port in ports if self.queue_of(toeplitz(self.key, port)) == queue)


def _random_key(size: int) -> bytes:
    """Returns a key that spreads the flows over all of the first CLASSES queues.

    The hash is linear, so one key in five sends 64 flows to half of the queues or fewer: where a
    PF's own table is in force then, no flow may come to a queue that runs, and nothing would tell
    the table from a loss of all frames. b"" for a PF without RSS.
    """
    while size:
        key = secrets.token_bytes(size)
        if len({toeplitz(key, PORT + i) % CLASSES for i in range(FLOWS)}) == CLASSES:
            return key
    return b""


def in_force(vfs: Vfs, wanted: Wanted, when: str) -> None:
    """Frames arrive where key and table send them, interrupts fire, and an extra address is ours.

    A device whose interrupts do not fire may keep the last frames of a burst to itself, since the
    interrupt writes them back (docs/spec/descriptors.md 11): where some arrived and others did not,
    interrupts are looked at first.
    """
    source, sink = vfs.sender, vfs.receiver
    frames = [frame(sink.mac, source.mac, i, sport=PORT + i) for i in range(FLOWS)]
    got = exchange(source.tx[0], sink.rx, frames, hashes=bool(wanted.key))
    if wanted.key:
        _rss_in_force(wanted, got, when)
    whole = sorted(data for _, data, _ in got) == sorted(frames)
    lost = f"{when}: {len(got)} of {FLOWS} frames arrived, or they were changed"
    require(whole or got, lost)
    _interrupts_work(vfs, wanted, when)
    require(whole, lost)
    extra = vfs.arrives(frame(EXTRA, source.mac, FLOWS))
    require(extra, f"{when}: an extra address is not in force")


def _rss_in_force(wanted: Wanted, got: Sequence[Received], when: str) -> None:
    for queue, data, told in got:
        flow = number_of(data)
        assert flow is not None
        hashed = toeplitz(wanted.key, PORT + flow)
        require(
            told == hashed,
            f"{when}: the RSS key is not in force, flow {flow} has {told:08x} and not {hashed:08x}",
        )
        right = wanted.queue_of(hashed)
        require(
            queue == right,
            f"{when}: the RSS table is not in force, flow {flow} came to {queue}, not {right}",
        )


def _interrupts_work(vfs: Vfs, wanted: Wanted, when: str) -> None:
    """A sleeping receiver of each queue is woken."""
    source, sink = vfs.sender, vfs.receiver
    for queue in range(len(sink.rx)):
        data = frame(sink.mac, source.mac, queue, sport=wanted.sport_for(queue))
        seconds = timing.wake(source, sink.rx[queue], data)
        require(
            seconds < timing.LATE,
            f"{when}: MSI-X does not work, the sleeper of queue {queue} was not woken within "
            f"{timing.LATE:g} s",
        )


def pf_counts(port: Port) -> VsiStats:
    """The PF's counters as it tells them, before the driver makes them totals."""
    with port.control.status.exclusively(ANSWER), port.session.within(ANSWER):
        return port.session.client.ask(GET_STATS())


def totals(port: Port) -> dict[str, int]:
    """Every counter of a port, after the PF was asked."""
    port.refresh_stats()
    return port.stats.snapshot().counters(own=True)


def no_step_back(before: dict[str, int], after: dict[str, int], when: str) -> None:
    """No counter is less than it was."""
    for name, value in before.items():
        now = after.get(name, value)
        require(now >= value, f"{when}: the counter {name} ran backwards, from {value} to {now}")


def pf_counts_on(before: VsiStats, after: VsiStats, when: str) -> None:
    """No counter of the PF is less than a moment ago."""
    no_step_back(before._asdict(), after._asdict(), f"{when}, in the PF")


def no_late_dma(vfs: Vfs, when: str) -> None:
    """Stops the ports; then no buffer is the device's, and none may change."""
    vfs.stop()
    view = vfs.pool.view
    view[:] = MARK
    within(QUIET, lambda: False)
    for at in range(0, len(view), ROWS):
        changed = (view[at : at + ROWS] != MARK).any(axis=1)
        require(
            not changed.any(),
            f"{when}: the device wrote into {changed.sum()} buffers, although its queues had been "
            f"disabled (DMA after the reset); the first is buffer {at + int(changed.argmax())}",
        )
