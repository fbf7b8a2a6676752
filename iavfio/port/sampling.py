# SPDX-License-Identifier: BSD-3-Clause
"""What a port's queues receive and send, by samples of their first frames after a moment.

Queues are sampled from each bring-up on until their samples are full, and again when somebody wants
to know (iavfio/port/conditions.py, iavfio/port/why.py). From then on it costs nothing, and there
are none while another process has a mirror of the port.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from iavfio._driver import lib
from iavfio.datapath.layers import FrameHeaders
from iavfio.datapath.pair import QueuePair
from iavfio.datapath.sample import Frames, Sample, joined
from iavfio.errors import IavfioError
from iavfio.logs import logger, on_one_line
from iavfio.port.kinds import Kind, kinds_of
from iavfio.port.probe import NOBODY

if TYPE_CHECKING:
    from iavfio.port.control import PortControl

MOST_KEPT = 16384  # frames of each direction that are looked at
KEPT_FOR = 30.0  # seconds, where newer ones are enough
ENOUGH = 256  # received frames from which it shows what kinds they are
LEAST_OF_A_KIND = 64  # and of one kind, how it spreads
STEP = 0.005  # seconds

log = logger("port")


@dataclass(frozen=True)
class Sent:
    """Frames that a port has sent, but for those to nobody.

    `foreign`: from an address that the port does not have; `tagged`: with a VLAN tag. `whole`:
    none were left out.
    """

    frames: int
    foreign: int
    tagged: int
    whole: bool


@dataclass(frozen=True)
class Received:
    """How many frames were looked at, and their kinds, the most frequent first."""

    frames: int
    kinds: tuple[Kind, ...]


def spread_facts(control: PortControl, received: Received) -> dict[str, Any]:
    """What is known of how packets spread, as fields of the facts (iavfio/port/facts.py)."""
    rss, session = control.settings.rss, control.session
    return {
        "kinds": received.kinds,
        "sampled": received.frames,
        "rss_left_out": rss.left_out,
        "rss_table_queues": rss.table_queues,
        "rss_rules": session.has(lib.VC_CAP_ADV_RSS_PF),
        "rss_tunnels": session.held.tunnels,
    }


@dataclass
class _Kept:
    """Frames of some queues in the order in which they were taken, the newest only."""

    parts: list[tuple[float, dict[int, Frames]]] = field(default_factory=list)

    def add(self, part: dict[int, Frames]) -> None:
        now = time.monotonic()
        if any(len(frames) for frames in part.values()):
            self.parts.append((now, part))
        while len(self.parts) > 1:
            rest = sum(map(_count, self.parts[1:]))
            old = now - self.parts[0][0] > KEPT_FOR and rest >= ENOUGH
            if not old and rest + _count(self.parts[0]) <= MOST_KEPT:
                return
            del self.parts[0]

    def by_queue(self) -> dict[int, Frames]:
        queues = sorted({queue for _, part in self.parts for queue in part})
        return {
            queue: joined([part[queue] for _, part in self.parts if queue in part])
            for queue in queues
        }


def _count(part: tuple[float, dict[int, Frames]]) -> int:
    return sum(len(frames) for frames in part[1].values())


class Sampling:
    """A port's samples. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pairs: list[QueuePair] = []
        self._samples: dict[int, tuple[Sample | None, Sample]] = {}  # of what comes, of what goes
        self._received, self._sent = _Kept(), _Kept()
        self._taken = 0  # received frames

    def begin(self, pairs: Iterable[QueuePair]) -> None:
        """These queues are the port's from now on; what was received before is forgotten."""
        with self._lock:
            self._take()
            self._pairs = list(pairs)
            self._received = _Kept()
            self._attach()

    def end(self) -> None:
        """Nothing is sampled any more, until `begin`. Twice is harmless."""
        with self._lock:
            self._take()
            self._pairs = []

    def close(self) -> None:
        """Nothing is sampled any more, and nothing is kept. Twice is harmless."""
        with self._lock:
            self._detach()
            self._pairs, self._received, self._sent = [], _Kept(), _Kept()

    @property
    def total(self) -> int:
        """Received frames that were sampled so far."""
        with self._lock:
            waiting = sum(rx.written for rx, _ in self._samples.values() if rx is not None)
            return self._taken + waiting

    def look(self, again: bool = False) -> None:
        """Keeps what was sampled, and samples on where there was room; `again`: in any case."""
        with self._lock:
            short = not self._samples or self._full()
            self._take()
            if again or not short:
                self._attach()

    def watch(self, seconds: float) -> None:
        """As `look`; where a sample is full or there is none, traffic is given so many seconds."""
        with self._lock:
            short = not self._samples or self._full()
        self.look(again=True)
        end = time.monotonic() + seconds
        while short and time.monotonic() < end:
            time.sleep(STEP)
            with self._lock:
                if self._full():
                    break
        if short:
            self.look()

    def received(self) -> Received:
        """What was received, as far as `look` has taken it."""
        with self._lock:
            parts = self._received.by_queue()
        return Received(sum(map(len, parts.values())), kinds_of(parts, LEAST_OF_A_KIND))

    def sent(self, own: Sequence[bytes], posted: int) -> Sent:
        """What was sent by a port that has these addresses and posted so many packets in all."""
        with self._lock:
            frames = joined(list(self._sent.by_queue().values()))
        if not len(frames):
            return Sent(0, 0, 0, posted == 0)
        layers = FrameHeaders(frames.flat, frames.start, frames.length)
        mine = np.ma.filled(layers.eth_dst, 0) != int.from_bytes(NOBODY)
        addresses = [int.from_bytes(mac) for mac in own]
        foreign = ~np.isin(np.ma.filled(layers.eth_src, 0), addresses) & mine
        tagged = (layers.tag_count > 0) & mine
        whole = len(frames) == posted
        return Sent(int(mine.sum()), int(foreign.sum()), int(tagged.sum()), whole)

    def disown(self) -> None:
        """Leaves the samples to the parent, in a forked child."""
        self._lock = threading.Lock()
        self._samples, self._pairs = {}, []

    # ---- under the lock

    def _full(self) -> bool:
        both = self._samples.values()
        return any(tx.full or (rx is not None and rx.full) for rx, tx in both)

    def _attach(self) -> None:
        several = len(self._pairs) > 1  # one queue has nothing to spread
        for pair in self._pairs:
            rx = None
            try:
                rx = Sample() if several else None
                tx = Sample()
            except IavfioError as error:
                _close(rx)
                log.warning("%s is not sampled: %s", pair.name, on_one_line(str(error)))
                return
            if pair.sample(None if rx is None else rx.raw, tx.raw):
                self._samples[pair.index] = rx, tx
            else:
                _close(rx, tx)

    def _detach(self) -> None:
        for pair in self._pairs:
            pair.unsample()
        samples, self._samples = self._samples, {}
        for rx, tx in samples.values():
            _close(rx, tx)

    def _take(self) -> None:
        for pair in self._pairs:
            pair.unsample()
        both = self._samples.items()
        received = {queue: rx.frames() for queue, (rx, _) in both if rx is not None}
        self._taken += sum(map(len, received.values()))
        self._received.add(received)
        self._sent.add({queue: tx.frames() for queue, (_, tx) in both})
        self._detach()


def _close(*samples: Sample | None) -> None:
    for sample in samples:
        if sample is not None:
            sample.close()
