# SPDX-License-Identifier: BSD-3-Clause
"""What the port tests share: frames, and waiting for something with a deadline."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from iavfio.datapath.burst import Burst
from iavfio.datapath.pool import Pool
from iavfio.datapath.queues import RxQueue
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf

UNAVOIDABLE = (
    "virtchnl",
    "docs/spec/virtchnl.md",
    "docs/spec/admin-queue.md 4",
    "docs/spec/registers.md 7",
)
Options = Mapping[str, bool | int | float | str]


def udp(
    dst: bytes, src: bytes, sport: int = 1000, dport: int = 2000, payload: bytes = bytes(18)
) -> bytes:
    """Ethernet, IPv4, UDP without checksum; spelled out, so that no builder of ours is trusted."""
    length = 20 + 8 + len(payload)
    rest = bytes.fromhex("00000000401100000a0000010a000002")
    head = bytes.fromhex("4500") + length.to_bytes(2, "big") + rest
    words = sum(int.from_bytes(head[i : i + 2], "big") for i in range(0, 20, 2))
    words = (words & 0xFFFF) + (words >> 16)
    words = (words & 0xFFFF) + (words >> 16)
    head = head[:10] + (words ^ 0xFFFF).to_bytes(2, "big") + head[12:]
    ports = sport.to_bytes(2, "big") + dport.to_bytes(2, "big")
    l4 = ports + (8 + len(payload)).to_bytes(2, "big") + bytes(2) + payload
    return dst + src + bytes.fromhex("0800") + head + l4


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether `condition` came true within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def freeze(pf: SoftPf) -> None:
    """Stops all threads of a software PF, and returns when they stand still."""
    os.kill(pf.pid, signal.SIGSTOP)
    tasks = list(Path(f"/proc/{pf.pid}/task").iterdir())
    assert until(lambda: all(map(_stands, tasks)), 60)


def _stands(task: Path) -> bool:
    return (task / "stat").read_text().rpartition(") ")[2][0] == "T"


def collect(queues: Iterable[RxQueue], count: int, seconds: float = 10.0) -> list[bytes]:
    """Copies of `count` packets from any of the queues, or fewer when the time is over."""
    out: list[bytes] = []
    end = time.monotonic() + seconds
    queues = list(queues)
    while len(out) < count and time.monotonic() < end:
        for queue in queues:
            with queue.recv(timeout=0.01) as burst:
                out += [
                    b"".join(bytes(part) for part in burst.segments_of(i))
                    for i in range(len(burst))
                ]
    return out


def send_all(port: Port, frames: Sequence[bytes], queue: int = 0) -> None:
    """Sends all frames, waiting for room."""
    with port.tx[queue].build(list(frames)) as burst:
        sent = 0
        end = time.monotonic() + 10
        while sent < len(frames):
            sent += port.tx[queue].send(burst)
            assert time.monotonic() < end, "the send queue does not drain"


def drained(port: Port) -> bool:
    """Whether every packet that was sent is completed."""
    for queue in port.tx:
        queue.clean()
    return all(queue.in_flight == 0 for queue in port.tx)


def kept(burst: Burst) -> list[bytes]:
    """Copies of a burst's packets."""
    return [bytes(burst.bytes(i)) for i in range(len(burst))]


@contextlib.contextmanager
def storm_of_resets(pf: SoftPf, count: int, pause: float, longer: float) -> Iterator[None]:
    """Inside, VF 0 is reset unannounced, up to so often: after `pause` seconds and 0 to 6 times
    `longer`.
    """
    over = threading.Event()

    def storm() -> None:
        for number in range(count):
            if over.wait(pause + longer * (number % 7)):
                return
            pf.control("reset", vf=0, notify=False)

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def works(port: Port) -> None:
    """Packets come back, and all are completed."""
    frames = [udp(port.mac, port.mac, sport=1024 + i) for i in range(64)]
    send_all(port, frames)
    assert sorted(collect(port.rx, 64)) == sorted(frames)
    assert until(lambda: drained(port))


def healthy(pool: Pool) -> bool:
    """Whether nobody holds a buffer."""
    return pool.idle == pool.size


def lawful(pf: SoftPf) -> bool:
    """Whether no driver broke a rule of DMA, descriptors or interrupts.

    Messages to a PF that garbles its replies may go wrong, and a register may be written just
    before a reset is seen.
    """
    broken = [v for v in pf.violations() if not v.rule.startswith(UNAVOIDABLE)]
    assert not broken, "\n".join(map(str, broken))
    return True


def pressed_once(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[str]:
    """Ctrl-C at the next call of owner.name; returns a list that has the name from then on."""
    pressed: list[str] = []
    plain = getattr(owner, name)

    def pressing(*given: Any, **named: Any) -> Any:
        if not pressed:
            pressed.append(name)
            raise KeyboardInterrupt
        return plain(*given, **named)

    monkeypatch.setattr(owner, name, pressing)
    return pressed
