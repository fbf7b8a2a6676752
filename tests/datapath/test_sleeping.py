# SPDX-License-Identifier: BSD-3-Clause
"""Receivers that sleep: on vectors that queues share, and while the pool is dry.

No packet waits for the next one to wake its receiver (docs/spec/reliability.md F47).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence

import pytest

import iavfio
from iavfio.port.port import Port
from tests.port.rig import lawful, udp, until

DEADLINE = 20.0  # seconds; without a wake-up a receiver sleeps for ever


class Receivers:
    """A thread for each queue of a port; those of `polling` look all the time, the others sleep."""

    def __init__(self, port: Port, polling: Sequence[int] = ()) -> None:
        self.port = port
        self.received: list[bytes] = []
        self.queues: list[int] = []  # on which queue each of them arrived
        self._polling = polling
        self._stop = False
        self.threads = [
            threading.Thread(target=self._receive, args=(queue,)) for queue in range(len(port.rx))
        ]
        for thread in self.threads:
            thread.start()

    def _receive(self, queue: int) -> None:
        timeout = None if queue in self._polling else -1
        while not self._stop:
            try:
                burst = self.port.rx[queue].recv(max=32, timeout=timeout)
            except iavfio.IavfioError:
                assert self._stop
                return
            with burst:
                for i in range(len(burst)):
                    self.queues.append(queue)
                    self.received.append(bytes(burst.bytes(i)))
            if timeout is None:
                time.sleep(0.0002)

    def wait(self, count: int) -> None:
        """Until so many packets have arrived."""
        arrived = until(lambda: len(self.received) >= count, DEADLINE)
        assert arrived, f"{len(self.received)} of {count} packets arrived"

    def close(self) -> None:
        self._stop = True
        self.port.close()
        for thread in self.threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()


@pytest.mark.parametrize("polling", [(), (0,)], ids=["all sleep", "one polls"])
@pytest.mark.parametrize(
    ("personality", "options"),
    [("x710", {}), ("x722", {}), ("e810", {"vectors": 5, "num_queue_pairs": 8}), ("e810", {})],
)
def test_every_sleeper_of_a_vector_is_woken(
    personality: str, options: dict[str, int], polling: Sequence[int]
) -> None:
    """Packets come one by one, each to a queue of its own choice, and each is received."""
    choice = random.Random(5)
    with iavfio.softvf(vfs=2, personality=personality, options=options) as pf:
        port, peer = pf.open(0), pf.open(1)
        port.configure(queues=8)
        port.start(wait_link=5)
        peer.start(wait_link=5)
        receivers = Receivers(port, polling)
        sent: list[bytes] = []
        for number in range(150):
            many = choice.choice((1, 1, 3))
            frames = [
                udp(
                    port.mac, peer.mac, sport=choice.randrange(1024, 65536), payload=bytes([k]) * 18
                )
                for k in range(number, number + many)
            ]
            with peer.tx[0].build(frames) as burst:
                assert peer.tx[0].send(burst) == many
            sent += frames
            receivers.wait(len(sent))
            peer.tx[0].clean()
            if choice.random() < 0.3:
                time.sleep(choice.random() * 0.02)
        receivers.close()
        peer.close()
        assert sorted(receivers.received) == sorted(sent)
        assert len(set(receivers.queues)) == 8, "each queue had packets to wait for"
        assert lawful(pf)


@pytest.mark.parametrize("personality", ["e810", "x710", "x722"])
@pytest.mark.parametrize("spare", [0, 3, 7, 8, 30])
def test_a_sleeper_goes_on_when_its_dry_pool_gets_buffers(personality: str, spare: int) -> None:
    """The ring of an E810 may be empty for the card though the tail is ahead of its head."""
    with iavfio.softvf(vfs=2, personality=personality) as pf:
        pool = iavfio.Pool(buffers=512)
        port, peer = pf.open(0, pool=pool), pf.open(1)
        port.configure(ring=64)
        port.start(wait_link=5)
        peer.start(wait_link=5)
        frame = udp(port.mac, peer.mac)
        taken = []
        while pool.idle > spare:
            taken.append(port.tx[0].build([frame] * min(16, pool.idle - spare)))
        held: list[iavfio.Burst] = []
        arrived: list[int] = []

        def receive() -> None:
            while True:
                try:
                    burst = port.rx[0].recv(max=4, timeout=-1)
                except iavfio.IavfioError:
                    return
                held.append(burst)
                arrived.append(len(burst))

        def send(count: int) -> None:
            for _ in range(count):
                with peer.tx[0].build([frame]) as burst:
                    assert peer.tx[0].send(burst) == 1
                assert until(lambda: bool(peer.tx[0].clean()) or not peer.tx[0].in_flight)

        def came(count: int) -> bool:
            return until(lambda: sum(arrived) >= count, DEADLINE)

        receiver = threading.Thread(target=receive)
        receiver.start()
        send(130)  # more than ring and pool have buffers for
        assert until(lambda: port.stats.snapshot().rq[0]["alloc_page_fail"] > 0)
        time.sleep(0.05)  # what was delivered is received
        before = sum(arrived)
        assert before < 130
        posted = pool.held - sum(map(len, taken)) - before
        for burst in taken + held:
            burst.release()
        held.clear()
        # The sleeper fills the ring with what it finds, perhaps before all is given back.
        # An E810 takes new buffers by eight.
        assert until(lambda: pool.held >= posted + 8, DEADLINE), "the ring is not filled again"
        for number in range(1, 101):
            send(1)
            assert came(before + number), f"{number - 1} of 100 packets arrived"
        port.close()
        receiver.join(DEADLINE)
        assert not receiver.is_alive()
        for burst in held:
            burst.release()
        peer.close()
        assert pool.idle == pool.size
        assert lawful(pf)
