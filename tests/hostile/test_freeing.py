# SPDX-License-Identifier: BSD-3-Clause
"""What takes long to be freed is freed by nobody who serves, and counts until then (D3, D6).

Who closes or unmaps is asked, not how long it takes: `make bench-neighbour` measures that.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import MethodType, SimpleNamespace
from typing import Any

import pytest

from iavfio.softvf import burial
from iavfio.softvf._device import lib
from iavfio.softvf.containment import Account
from iavfio.softvf.loop import Loop
from iavfio.softvf.server import closing
from iavfio.softvf.server.closing import MOST, Closer, is_memory
from iavfio.softvf.server.messages import MAX_FDS
from tests.hostile.served_pf import ServedPf, served_pf
from tests.hostile.test_memory import PAGE, SHARE, dma_map, hangs_up, mapped, memfd, unmap_all
from tests.softvf.function.mailbox_rings import RSTAT
from tests.softvf.server.raw_client import RawClient

IOVA = 0x10_0000_0000
MUCH = 257 * PAGE
INFO = struct.pack("<IIII", 16, 0, 0, 0)
NO_REPLY = 0x10


def written(size: int = MUCH) -> int:
    fd = memfd(size)
    os.posix_fallocate(fd, 0, size)
    return fd


@dataclass
class Freed:
    """Which threads closed (inodes) and unmapped (bytes) what; the gates hold threads up there."""

    closed: list[tuple[str, int]] = field(default_factory=list)
    unmapped: list[tuple[str, int]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    closes: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)

    def close(self, fd: int) -> None:
        name = threading.current_thread().name
        if name == "softvf-close":
            self.closes.wait(60)
        self.closed.append((name, os.fstat(fd).st_ino))
        os.close(fd)

    def unmap(self, grave: Any) -> None:
        self.unmapped.append((threading.current_thread().name, grave.bytes))
        self.reached.set()
        self.gate.wait(60)
        lib.plane_unmap(grave)

    def closers(self, inode: int) -> list[str]:
        return [name for name, closed in self.closed if closed == inode]


@pytest.fixture
def freed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Freed]:
    made = Freed()
    made.gate.set()
    made.closes.set()
    monkeypatch.setattr(burial, "lib", SimpleNamespace(plane_unmap=made.unmap))
    monkeypatch.setattr(closing, "os", SimpleNamespace(close=made.close, fstat=os.fstat))
    yield made
    made.gate.set()
    made.closes.set()


@dataclass
class NoThreads:
    """No thread of the software VF's can be had, until there are some; which were asked for."""

    asked: set[str] = field(default_factory=set)
    some: bool = False


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> NoThreads:
    made, start = NoThreads(), threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("softvf-") and not made.some:
            made.asked.add(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    return made


def settle(served: ServedPf, vf: int = 0) -> None:
    """Until nothing of the VF is left to be unmapped or closed."""
    for _ in range(2000):
        if not served.vfs[vf].burial.busy and not waiting(served, vf):
            return
        threading.Event().wait(0.005)
    raise AssertionError("it is never freed")


def waiting(served: ServedPf, vf: int) -> int:
    discard = served.vfs[vf].msix.discard
    assert isinstance(discard, MethodType) and isinstance(discard.__self__, Closer)
    return discard.__self__.waiting


def has_no_reply(client: RawClient) -> None:
    """Nothing has come for it yet; it waits for no longer than 20 seconds from now on."""
    client.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.sock.recv(1)
    client.sock.settimeout(20)


def give(client: RawClient, command: int, payload: bytes, fds: tuple[int, ...]) -> None:
    """Written memory of which this process keeps nothing."""
    client.post(command, payload, fds, NO_REPLY)
    for fd in fds:
        os.close(fd)
    client.read32(RSTAT)


def unmap_one(client: RawClient) -> None:
    assert client.ask(3, struct.pack("<IIQQ", 24, 0, IOVA, MUCH))[0] == 0


def unmap_everything(client: RawClient) -> None:
    assert unmap_all(client) == 0


def ends(client: RawClient) -> None:
    client.close()


def replaced(client: RawClient) -> None:
    """The same place again, with other memory: refused, and mapped for nothing."""
    give(client, 2, struct.pack("<IIQQQ", 32, 3, 0, IOVA, MUCH), (written(),))
    unmap_everything(client)


# docs/spec/reliability.md D6
@pytest.mark.parametrize("way", [unmap_one, unmap_everything, replaced, ends])
def test_who_unmaps(way: Callable[[RawClient], None], freed: Freed, tmp_path: Path) -> None:
    with served_pf(tmp_path) as served:
        client = RawClient(served.paths[0])
        give(client, 2, struct.pack("<IIQQQ", 32, 3, 0, IOVA, MUCH), (written(),))
        assert mapped() == MUCH
        way(client)
        if way is ends:
            assert RawClient(served.paths[1]).read32(RSTAT) in (0, 2)
            settle(served)
        assert mapped() == 0
        assert set(freed.unmapped) == {("softvf-unmap", MUCH)}
        client.close()


MAP = struct.pack("<IIQQQ", 32, 3, 0, IOVA, MUCH)
ODD = struct.pack("<IIQQQ", 32, 3, 0, IOVA + 1, MUCH)
IRQS = struct.pack("<IIIII", 20, 4 | 32, 2, 0, 1)
GIVEN: list[tuple[int, bytes, int]] = [
    (2, MAP, 1), (2, ODD, 1), (2, MAP, 2), (4, INFO, 1), (8, IRQS, 1), (99, b"", 1), (4, INFO, 24)
]  # fmt: skip


def maps(served: ServedPf) -> RawClient:
    """A client of the first VF, whose window has the last descriptor of much memory."""
    client = RawClient(served.paths[0])
    give(client, 2, MAP, (written(),))
    return client


# docs/spec/reliability.md D6
@pytest.mark.parametrize(("command", "payload", "count"), GIVEN)
@pytest.mark.parametrize("size", [PAGE, MUCH])
def test_who_closes_memory(
    command: int, payload: bytes, count: int, size: int, freed: Freed, tmp_path: Path
) -> None:
    """Of a message that keeps it or not, or that is refused, or has more than can be taken.

    Also of a page: each close looks at all record locks of its file, of which there may be many.
    """
    surplus = max(0, count - MAX_FDS)  # of which nobody asks what they are
    with served_pf(tmp_path) as served:
        client = RawClient(served.paths[0])
        fds = tuple(written(size) for _ in range(count))
        inodes = [os.fstat(fd).st_ino for fd in fds]
        give(client, command, payload, fds)
        settle(served)
        who = [["softvf-free"]] * (count - surplus) + [["softvf-close"]] * surplus
        assert [freed.closers(inode) for inode in inodes] == who
        client.close()


def assign(client: RawClient, vectors: int) -> None:
    for vector in range(vectors):
        fd = os.eventfd(0)
        request = struct.pack("<IIIII", 20, 4 | 32, 2, vector, 1)
        assert client.ask(8, request, (fd,))[0] == 0
        os.close(fd)


# docs/spec/reliability.md D6
@pytest.mark.parametrize("way", ["again", "dropped", "end", "refused"])
def test_who_closes_eventfds(way: str, freed: Freed, tmp_path: Path) -> None:
    """One that epolls wait for takes as long as they are many, or as who asks one of them likes."""
    with served_pf(tmp_path) as served:
        vectors = served.vfs[0].msix.count(2)
        client = RawClient(served.paths[0])
        assign(client, vectors)
        if way == "again":
            assign(client, vectors)
        elif way == "dropped":
            assert client.ask(8, struct.pack("<IIIII", 20, 1 | 32, 2, 0, 0))[0] == 0
        elif way == "end":
            freed.closes.clear()
            client.close()
            RawClient(served.paths[0]).close()  # taken though all of them wait to be closed
            freed.closes.set()
        else:
            give(client, 8, IRQS, tuple(os.eventfd(0) for _ in range(3)))
        assert RawClient(served.paths[1]).read32(RSTAT) in (0, 2)
        settle(served)
        names = [name for name, _ in freed.closed]
        assert names == ["softvf-close"] * (3 if way == "refused" else vectors)
        client.close()


# docs/spec/reliability.md D6
@pytest.mark.parametrize("whom", ["a client", "a second one"])
def test_who_hangs_up(whom: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All are woken that wait at the other end."""
    who: list[str] = []
    shutdown = socket.socket.shutdown

    def note(sock: socket.socket, how: int) -> None:
        who.append(threading.current_thread().name)
        shutdown(sock, how)

    monkeypatch.setattr(socket.socket, "shutdown", note)
    with served_pf(tmp_path) as served:
        client = RawClient(served.paths[0])
        if whom == "a client":
            assert served.control("disconnect", vf=0) != {}
            assert hangs_up(client)
        else:
            with pytest.raises((OSError, AssertionError)):
                RawClient(served.paths[0])
        assert who == ["softvf-free"] * len(who)
        assert who
        client.close()


# docs/spec/reliability.md D6
def test_only_the_client_waits_for_its_memory(freed: Freed, tmp_path: Path) -> None:
    with served_pf(tmp_path) as served:
        hostile, victim = maps(served), RawClient(served.paths[1])
        freed.gate.clear()
        number = hostile.post(3, struct.pack("<IIQQ", 24, 2, 0, 0))
        assert freed.reached.wait(20)
        fd = memfd()
        for _ in range(10):
            assert victim.read32(RSTAT) in (0, 2)
            assert dma_map(victim, fd, 0) == 0
        os.close(fd)
        has_no_reply(hostile)
        freed.gate.set()
        assert hostile.take(number, 3)[0] == 0
        assert mapped() == PAGE  # the victim's
        hostile.close()
        victim.close()


# docs/spec/reliability.md D3, D6
@pytest.mark.parametrize("way", ["hangs up", "hangs up while it waits"])
def test_memory_counts_until_it_is_free(way: str, freed: Freed, tmp_path: Path) -> None:
    """Who comes next has the VF's share when there is nothing of it left in use."""
    with served_pf(tmp_path) as served:
        first, victim = RawClient(served.paths[0]), RawClient(served.paths[1])
        for window in range(SHARE):
            fd = memfd()
            assert dma_map(first, fd, IOVA + window * PAGE) == 0
            os.close(fd)
        freed.gate.clear()
        if way == "hangs up while it waits":
            first.post(3, struct.pack("<IIQQ", 24, 2, 0, 0))
            assert freed.reached.wait(20)
        first.close()
        assert freed.reached.wait(20)
        second = RawClient(served.paths[0])
        assert second.read32(RSTAT) in (0, 2)  # all else is served
        fd = memfd()
        number = second.post(2, struct.pack("<IIQQQ", 32, 3, 0, IOVA, PAGE), (fd,))
        assert victim.read32(RSTAT) in (0, 2)
        assert dma_map(victim, fd, IOVA) == 0
        has_no_reply(second)
        freed.gate.set()
        assert second.take(number, 2)[0] == 0
        assert len(freed.unmapped) == SHARE
        assert [vf["faults"] for vf in served.control("info")["vfs"]] == [0, 0]
        for client in (second, victim):
            client.close()
        os.close(fd)


def test_a_client_that_waits_is_not_looked_at(
    freed: Freed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What it sends meanwhile would wake the loop again and again."""
    watched: dict[int, Account | None] = {}
    watch, forget = Loop.watch, Loop.forget

    def watching(
        loop: Loop, fd: int, events: int, call: Callable[[int], None], who: Account | None = None
    ) -> None:
        watched[fd] = who
        watch(loop, fd, events, call, who)

    def forgetting(loop: Loop, fd: int) -> None:
        watched.pop(fd, None)
        forget(loop, fd)

    monkeypatch.setattr(Loop, "watch", watching)
    monkeypatch.setattr(Loop, "forget", forgetting)
    with served_pf(tmp_path) as served:
        hostile, victim = maps(served), RawClient(served.paths[1])
        freed.gate.clear()
        number = hostile.post(3, struct.pack("<IIQQ", 24, 2, 0, 0))
        assert freed.reached.wait(20)
        assert victim.read32(RSTAT) in (0, 2)
        accounts = [vf.account for vf in served.vfs]
        assert [each in watched.values() for each in accounts] == [False, True]
        freed.gate.set()
        hostile.take(number, 3)
        hostile.read32(RSTAT)
        assert [each in watched.values() for each in accounts] == [True, True]
        for client in (hostile, victim):
            client.close()


def test_a_reset_waits_for_no_memory(freed: Freed, tmp_path: Path) -> None:
    with served_pf(tmp_path) as served:
        client = maps(served)
        freed.gate.clear()
        client.close()
        assert freed.reached.wait(20)
        again = RawClient(served.paths[0])
        assert again.ask(13)[0] == 0
        assert served.control("reset", vf=0)["ok"]
        assert again.read32(RSTAT) in (0, 1, 2)
        freed.gate.set()
        settle(served)
        assert mapped() == 0
        again.close()


def test_the_end_waits_for_no_memory(freed: Freed, tmp_path: Path) -> None:
    """What was being freed then is freed all the same."""
    with served_pf(tmp_path) as served:
        client = maps(served)
        freed.gate.clear()
    assert hangs_up(client)
    assert mapped() == MUCH
    thread = next(each for each in threading.enumerate() if each.name == "softvf-unmap")
    freed.gate.set()
    thread.join(20)
    assert not thread.is_alive()
    assert mapped() == 0


# docs/spec/reliability.md F68
def test_without_a_thread_memory_is_freed_all_the_same(
    no_threads: NoThreads, freed: Freed, tmp_path: Path
) -> None:
    with served_pf(tmp_path) as served:
        client = RawClient(served.paths[0])
        before = len(list(Path("/proc/self/fd").iterdir()))
        give(client, 2, MAP, (written(),))
        assert unmap_all(client) == 0
        assert mapped() == 0
        give(client, 2, ODD, (written(),))
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert no_threads.asked == {"softvf-unmap", "softvf-free"}
        assert served.control("info")["vfs"][0]["faults"] == 0
        client.close()


# docs/spec/reliability.md F68
def test_what_may_wait_is_kept_until_there_is_a_thread(no_threads: NoThreads) -> None:
    closer = Closer()
    pipes = [os.pipe() for _ in range(MOST)]
    for number, (read, write) in enumerate(pipes, 1):
        closer.close(write)
        os.set_blocking(read, False)
        with pytest.raises(BlockingIOError):
            os.read(read, 1)
        assert closer.full == (number == MOST)
    no_threads.some = True
    assert no_threads.asked == {"softvf-close"}
    assert not closer.full or closer.waiting  # this look finds a thread
    for read, _ in pipes:
        assert select.select([read], [], [], 20)[0]
        assert os.read(read, 1) == b""
        os.close(read)
    closer.end()


def test_what_is_memory() -> None:
    memory, event = written(3 * PAGE), os.eventfd(0)
    assert is_memory(memory) and not is_memory(event)
    os.close(event)
    os.close(memory)
    assert not is_memory(memory) and not is_memory(event)
