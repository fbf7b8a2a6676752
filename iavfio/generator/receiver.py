# SPDX-License-Identifier: BSD-3-Clause
"""A port at which a run's frames arrive: a thread that counts them by their signatures."""

from __future__ import annotations

import threading
import time
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from iavfio.datapath.burst import Burst
from iavfio.datapath.packets import LENGTH_SHIFT
from iavfio.errors import IavfioError
from iavfio.generator import signature
from iavfio.generator.answers import Answers
from iavfio.generator.arrivals import Arrivals
from iavfio.port.port import Port
from iavfio.ranges import BURST

POLL = 0.02  # seconds that it sleeps for a packet at most, over all queues
QUIET = 5.0  # seconds without a packet after which none is expected any more


class Receiver:
    """Receives on all queues of a running port until it is closed; a context manager.

    `streams`: the arrivals of each stream of the run; `others`: packets without a signature of the
    run; `error`: what ended the receiving early. `answers`: answers the requests among the others,
    which are then none of these.
    """

    def __init__(self, port: Port, run: int, streams: int, answers: Answers | None = None) -> None:
        self.port, self._answers = port, answers
        self.streams = [Arrivals() for _ in range(streams)]
        self.others = 0
        self.error: IavfioError | None = None
        self._run = run
        self._over = threading.Event()
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="gen-receiver", daemon=True)

    @property
    def received(self) -> int:
        """Packets of the run so far, each counted once."""
        return sum(stream.received for stream in self.streams)

    def wait(self, packets: int, quiet: float = QUIET) -> None:
        """Waits until so many have come, or until none has come for `quiet` seconds."""
        self._last = max(self._last, time.monotonic())
        while self.received < packets and self._thread.is_alive():
            if time.monotonic() - self._last > quiet and not self._waiting():
                return
            time.sleep(POLL / 2)

    def _waiting(self) -> int:
        try:
            return sum(queue.waiting for queue in self.port.rx)
        except IavfioError:
            return 0

    def close(self) -> None:
        """Ends the thread."""
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        queues = list(self.port.rx)
        try:
            while not self._over.is_set():
                for queue in queues:
                    with queue.recv(BURST.high, POLL / len(queues)) as burst:
                        if len(burst):
                            self._take(burst)
        except IavfioError as error:
            self.error = error

    def _take(self, burst: Burst) -> None:
        signed = signature.read(tails(burst, signature.BYTES), self._run)
        known = signed.streams < len(self.streams)
        for stream in np.unique(signed.streams[known]).tolist():
            self.streams[stream].add(signed.numbers[signed.streams == stream])
        self.others += len(burst) - int(np.count_nonzero(known))
        if self._answers is not None:
            self.others -= self._answers.take(burst, ~signed.mine)
        self._last = time.monotonic()

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def tails(burst: Burst, width: int) -> NDArray[np.uint8]:
    """The last `width` bytes of every packet, a copy; zeros for shorter packets."""
    lengths = burst.lengths.astype(np.int64)
    firsts = (burst.handles >> LENGTH_SHIFT).astype(np.int64)  # bytes in the first buffer
    out = np.zeros((len(burst), width), dtype=np.uint8)
    heads = burst.headers(int(firsts.max()))
    single = np.flatnonzero((lengths >= width) & (lengths == firsts))
    out[single] = heads[single[:, None], (lengths[single] - width)[:, None] + np.arange(width)]
    for i in np.flatnonzero(lengths != firsts).tolist():
        whole = b"".join(burst.segments_of(i))
        out[i] = np.frombuffer(whole[-width:], np.uint8)
    return out
