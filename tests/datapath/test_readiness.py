# SPDX-License-Identifier: BSD-3-Clause
"""Programs that wait for queues by select, epoll, asyncio and `port.rx.wait`.

No packet waits for the next one to wake its receiver, whichever of them share a vector
(docs/spec/reliability.md F47).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import select
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import iavfio
from iavfio.port.port import Port
from tests.port.rig import lawful, udp, until

DEADLINE = 20.0  # seconds; without a wake-up a receiver waits for ever
CARDS: list[tuple[str, dict[str, int]]] = [
    ("x710", {}),
    ("e810", {"vectors": 5, "num_queue_pairs": 8}),
    ("e810", {}),
]


@contextlib.contextmanager
def two(queues: int = 1, **options: Any) -> Iterator[tuple[Port, Port]]:
    """A port with so many queues, and its peer; in the end the software PF has no complaint."""
    with iavfio.softvf(vfs=2, uplink="none", **options) as pf, pf.open(0) as port, pf.open(1) as to:
        port.configure(queues=queues)
        port.start(wait_link=5)
        to.start(wait_link=5)
        yield port, to
        port.close()
        to.close()
        assert lawful(pf)


def readable(queue: Any, seconds: float = 0.0) -> bool:
    return bool(select.select([queue], [], [], seconds)[0])


def by_epoll(port: Port, arrived: Callable[[int], object]) -> None:
    """Receives by one epoll instance over all queues, until the port is closed."""
    with select.epoll() as epoll:
        for queue in port.rx:
            epoll.register(queue, select.EPOLLIN)
        queue_of = {queue.fileno(): queue for queue in port.rx}
        while True:
            for descriptor, _ in epoll.poll():
                with queue_of[descriptor].recv(4) as burst:
                    arrived(len(burst))


def by_wait(port: Port, arrived: Callable[[int], object]) -> None:
    """Receives by `port.rx.wait`."""
    while True:
        for queue in port.rx.wait(-1):
            with queue.recv(4) as burst:
                arrived(len(burst))


def by_any(port: Port, arrived: Callable[[int], object]) -> None:
    """Receives by `port.rx.any`."""
    while True:
        queue = port.rx.any(-1)
        if queue is not None:
            with queue.recv(4) as burst:
                arrived(len(burst))


def by_tasks(port: Port, arrived: Callable[[int], object]) -> None:
    """Receives by a task for each queue."""

    async def receive(queue: Any) -> None:
        async for burst in queue:
            with burst:
                arrived(len(burst))

    async def all_queues() -> None:
        await asyncio.gather(*map(receive, port.rx))

    asyncio.run(all_queues())


def mixed(port: Port, arrived: Callable[[int], object]) -> None:
    """Receives from watched queues by sleeping calls, which take events that are not theirs."""
    for queue in port.rx:
        queue.fileno()
    while True:
        ready = select.select(port.rx, [], [])[0]
        for queue in ready:
            with queue.recv(2, timeout=0.001) as burst:
                arrived(len(burst))
        for queue in port.rx.wait(0.0001):
            with queue.recv(1) as burst:
                arrived(len(burst))


def at_least(counts: list[int], total: int) -> Callable[[], bool]:
    return lambda: sum(counts) >= total


@pytest.mark.parametrize("way", [by_epoll, by_wait, by_any, by_tasks, mixed])
@pytest.mark.parametrize(("personality", "options"), CARDS)
def test_every_packet_wakes_its_receiver(
    way: Callable[..., None], personality: str, options: dict[str, int]
) -> None:
    choice = random.Random(7)
    counts: list[int] = []

    def receive(port: Port) -> None:
        with contextlib.suppress(iavfio.StateError):
            way(port, counts.append)

    with two(8, personality=personality, options=options) as (port, peer):
        thread = threading.Thread(target=receive, args=(port,))
        thread.start()
        sent = 0
        for _ in range(40):
            frames = [
                udp(port.mac, peer.mac, sport=choice.randrange(1024, 65536))
                for _ in range(choice.choice((1, 1, 9)))
            ]
            assert peer.tx[0].send(frames) == len(frames)
            sent += len(frames)
            assert until(at_least(counts, sent), DEADLINE), f"{sum(counts)} of {sent} arrived"
            peer.tx[0].clean()
        port.close()
        thread.join(DEADLINE)
        assert not thread.is_alive(), "closing wakes it"


@pytest.mark.parametrize("personality", ["e810", "x710"])
def test_a_descriptor_is_readable_until_the_queue_was_empty(personality: str) -> None:
    with two(personality=personality) as (port, peer):
        queue = port.rx[0]
        assert not readable(queue)
        peer.tx[0].send([udp(port.mac, peer.mac)] * 5)
        assert readable(queue, DEADLINE)
        assert until(lambda: queue.waiting == 5, DEADLINE)
        assert len(queue.recv(3)) == 3
        assert readable(queue)
        assert len(queue.recv()) == 2
        assert until(lambda: not len(queue.recv()) and not readable(queue), DEADLINE)


def test_a_sleeping_call_leaves_the_rest_to_the_descriptor() -> None:
    with two() as (port, peer):
        queue = port.rx[0]
        queue.fileno()
        timer = threading.Timer(0.02, peer.tx[0].send, [[udp(port.mac, peer.mac)] * 8])
        timer.start()
        assert len(queue.recv(1, timeout=DEADLINE)) == 1
        timer.join()
        left = 7
        while left:
            assert readable(queue, DEADLINE)
            left -= len(queue.recv(1))


def test_a_descriptor_outlives_reset_and_restart() -> None:
    with two() as (port, peer):
        queue = port.rx[0]
        descriptor = queue.fileno()
        frame = [udp(port.mac, peer.mac)]

        def arrives() -> bool:
            def looks() -> bool:
                return readable(queue, 0.01) and len(queue.recv()) == 1

            return peer.tx[0].send(frame) == 1 and until(looks, DEADLINE)

        assert arrives()
        port.reset()
        assert arrives()
        port.stop()
        assert readable(queue), "who waits is told"
        port.start(wait_link=5)
        assert arrives()
        assert queue.fileno() == descriptor


def test_wait_names_the_queues_that_have_packets() -> None:
    with two(4) as (port, peer):
        assert port.rx.wait() == [] and port.rx.any() is None
        assert port.rx.wait(0.001) == [] and port.rx.any(0.001) is None
        flows = [udp(port.mac, peer.mac, sport=1024 + k) for k in range(64)]
        assert peer.tx[0].send(flows) == 64
        assert until(lambda: len(port.rx.wait()) == 4, DEADLINE), "all have packets"
        turns = [queue.index for queue in (port.rx.any(-1) for _ in range(5)) if queue is not None]
        assert turns == [0, 1, 2, 3, 0]
        assert len(port.rx[2].recv(64)) and port.rx[2].waiting == 0
        assert [queue.index for queue in port.rx.wait(1)] == [0, 1, 3]
        assert port.rx == tuple(port.rx) and len(port.rx) == 4


def test_a_stopped_port_cannot_be_waited_for() -> None:
    with iavfio.open("softvf") as port:
        for call in (port.rx.wait, port.rx.any, port.rx[0].fileno):
            with pytest.raises(iavfio.StateError, match="is not running"):
                call()


def test_a_queue_in_use_is_not_waited_for() -> None:
    with two(2) as (port, _):
        lane = iavfio.Lane(port.rx[1])
        with (
            iavfio.Worker("rxdrop", [lane]),
            pytest.raises(iavfio.StateError, match="is in use"),
        ):
            port.rx.wait(1)
        assert port.rx.wait(0) == [], "the other queue was left"
        assert len(port.rx[0].recv()) == 0


def test_a_cancelled_task_leaves_the_queue_free() -> None:
    async def run(port: Port, peer: Port) -> None:
        queue = port.rx[0]
        got: list[int] = []

        async def receive() -> None:
            async for burst in queue.bursts(max=2):
                with burst:
                    got.append(len(burst))

        for _ in range(3):
            task = asyncio.create_task(receive())
            before = len(got)
            peer.tx[0].send([udp(port.mac, peer.mac)] * 3)
            while len(got) == before:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while queue.waiting:
                queue.recv().release()  # nobody is inside
        assert max(got) <= 2

    with two() as (port, peer):
        asyncio.run(run(port, peer))


def test_a_second_task_is_refused() -> None:
    async def run(port: Port) -> None:
        first = asyncio.create_task(anext(aiter(port.rx[0])))
        await asyncio.sleep(0.01)
        with pytest.raises(iavfio.StateError, match="is in use"):
            await anext(aiter(port.rx[0]))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

    with iavfio.open("softvf") as port:
        port.start(wait_link=5)
        asyncio.run(run(port))


def test_other_tasks_have_their_turn_under_load() -> None:
    async def run(port: Port) -> None:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        seen = 0
        async for burst in port.rx[0].bursts(max=1):
            burst.release()
            seen += 1
            if seen == 50:
                break
        task.cancel()
        assert turns >= 49

    with iavfio.open("softvf") as port:
        port.start(wait_link=5)
        port.tx[0].send([port.mac + port.mac + bytes.fromhex("88b5") + bytes(46)] * 50)
        assert until(lambda: port.rx[0].waiting == 50, DEADLINE)
        asyncio.run(run(port))


def test_tasks_come_through_a_reset() -> None:
    async def run(port: Port, peer: Port) -> int:
        task = asyncio.create_task(anext(aiter(port.rx[0])))
        await asyncio.sleep(0.01)
        await asyncio.get_running_loop().run_in_executor(None, port.reset)
        peer.tx[0].send([udp(port.mac, peer.mac)])
        with await asyncio.wait_for(task, DEADLINE) as burst:
            return len(burst)

    with two() as (port, peer):
        assert asyncio.run(run(port, peer)) == 1
