# SPDX-License-Identifier: BSD-3-Clause
"""What one client can do to keep the software VF busy, each as fast as it can (D4, D6, D7).

python -m tests.hostile.storms NAME SOCKET      (until its standard input ends)
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from tests.hostile.raw_driver import BUFFERS, EOP, ICRC, IOVA, RawDriver, data
from tests.hostile.thrown_away import connection, eventfds, memory
from tests.hostile.waiters import wait_for_it
from tests.hostile.window_storms import NO_REPLY, Step, mapping, receiving, sending
from tests.softvf.function.mailbox_rings import DYN_CTL01
from tests.softvf.server.raw_client import RawClient

ATQBAL, ATQT = 0x7C00, 0x8400
WRITES = 43_000  # that fit into one message
TSO_PAYLOAD, MSS, TSO_SLOTS = 250_000, 64, 17


def message(command: int, payload: bytes = b"") -> bytes:
    return struct.pack("<HHIII", 1, command, 16 + len(payload), NO_REPLY, 0) + payload


def writes(register: int, value: int) -> bytes:
    entry = struct.pack("<QIIQ", register, 0, 4, value)
    return message(15, struct.pack("<Q", WRITES) + entry * WRITES)


def posting(blob: bytes) -> Callable[[Path], tuple[Step, Step]]:
    """Sends the same bytes again and again."""

    def start(path: Path) -> tuple[Step, Step]:
        client = RawClient(path)
        client.sock.settimeout(60)
        return lambda: client.sock.sendall(blob), client.close

    return start


def reconnecting(path: Path) -> tuple[Step, Step]:
    def step() -> None:
        with contextlib.suppress(OSError):
            RawClient(path).close()

    return step, lambda: None


def messages(path: Path) -> tuple[Step, Step]:
    """Sends as many virtchnl messages as the mailbox holds."""
    driver = RawDriver(path)
    driver.open()

    def step() -> None:
        for _ in range(7):
            driver.descriptor(v_opcode=15, payload=struct.pack("<HHII", driver.vsi, 0, 0, 0))
        driver.client.write32(ATQT, driver.next)

    return step, driver.close


def segmenting(queues: int) -> Callable[[Path], tuple[Step, Step]]:
    """TSO packets to everybody, of the smallest segments that may be: 3,900 frames each."""

    def start(path: Path) -> tuple[Step, Step]:
        driver = RawDriver(path)
        driver.open(queues, entries=32 * TSO_SLOTS)
        head = b"\xff" * 6 + driver.mac + b"\x08\x00" + bytes([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6])
        head += bytes([0, 0, 10, 0, 0, 1, 10, 0, 0, 2])
        head += struct.pack(">HHIIBBHHH", 1, 2, 0, 0, 0x50, 0x10, 1024, 0, 0)
        driver.area[BUFFERS : BUFFERS + len(head)] = head
        context = struct.pack("<QQ", 0, 1 | 1 << 4 | (TSO_PAYLOAD - 54) << 30 | MSS << 50)
        lengths = 7 << 16 | 5 << 23 | 5 << 30
        for queue in range(queues):
            for packet in range(32):
                slot = packet * TSO_SLOTS
                driver.put(queue, slot, context)
                left = TSO_PAYLOAD
                while left:
                    slot, size = slot + 1, min(left, 16_000)
                    cmd = ICRC | 0x60 | 0x100 | (EOP if size == left else 0)
                    at = IOVA + BUFFERS + TSO_PAYLOAD - left
                    driver.put(queue, slot, data(at, size, cmd, lengths))
                    left -= size
        tails = [31 * TSO_SLOTS]

        def step() -> None:
            for queue in range(queues):
                driver.tx_tail(queue, tails[0])
            tails[0] = (tails[0] - TSO_SLOTS) % driver.entries

        return step, driver.close

    return start


def parking(path: Path) -> tuple[Step, Step]:
    """Packets without an end on all queues, and their doorbells."""
    driver = RawDriver(path)
    driver.open(16, entries=4096)
    for queue in range(16):
        for slot in range(4096):
            driver.put(queue, slot, data(IOVA + BUFFERS, 63, ICRC))
    tails = [10]

    def step() -> None:
        tails[0] = 10 + (tails[0] * 1001) % 4000
        for queue in range(16):
            driver.tx_tail(queue, tails[0])

    return step, driver.close


def interrupts(path: Path) -> tuple[Step, Step]:
    """Software interrupts by an eventfd that 50,000 entries of epolls wait for."""
    driver = RawDriver(path)
    driver.open()
    event = os.eventfd(0, os.EFD_NONBLOCK)
    assert driver.client.ask(8, struct.pack("<IIIII", 20, 4 | 32, 2, 0, 1), (event,))[0] == 0
    driver.client.write(7, 0x72, b"\0\x80")  # MSI-X is enabled
    waiters = wait_for_it(event, 200, 250)
    entry = struct.pack("<QIIQ", DYN_CTL01, 0, 4, 1 | 1 << 2 | 3 << 3)  # INTENA, SWINT_TRIG
    burst = message(15, struct.pack("<Q", 100) + entry * 100)

    def step() -> None:  # a read would call the waiters as well, but cost this process alone
        driver.client.sock.sendall(burst)

    def end() -> None:
        driver.close()
        waiters.close()
        os.close(event)

    return step, end


def journals(path: Path) -> tuple[Step, Step]:
    """A journal of the longest messages, and an administrator who asks for it again and again."""
    driver = RawDriver(path)
    driver.open()
    for _ in range(4096 // 7):
        for _ in range(7):
            driver.descriptor(v_opcode=9999, payload=bytes(4096))
        driver.client.write32(ATQT, driver.next)
    line = socket.socket(socket.AF_UNIX)
    line.connect(str(path.with_name("control.sock")))

    def step() -> None:
        line.sendall(b'{"command": "journal", "vf": 0}\n{"command": "log"}\n')
        answers = 0
        while answers < 2:
            answers += line.recv(1 << 18).count(b"\n")

    def end() -> None:
        driver.close()
        line.close()

    return step, end


STORMS: Mapping[str, Callable[[Path], tuple[Step, Step]]] = MappingProxyType(
    {
        "register writes in one message": posting(writes(DYN_CTL01, 5 << 5)),
        "register writes that break a rule": posting(writes(ATQBAL, 0x1234567)),
        "FLR": posting(message(13) * 2000),
        "config writes": posting(
            message(10, struct.pack("<QII", 0, 7, 4096) + bytes(range(256)) * 16) * 200
        ),
        "config reads": posting(message(9, struct.pack("<QII", 0, 7, 4096)) * 2000),
        "connections": reconnecting,
        "virtchnl messages": messages,
        "DMA windows": mapping,
        "frames over many DMA windows": sending,
        "frames into many DMA windows": receiving,
        "interrupts that many wait for": interrupts,
        "memory thrown away": memory,
        "eventfds thrown away": eventfds,
        "connections that many wait for": connection,
        "journals": journals,
        "TSO broadcasts of one queue": segmenting(1),
        "TSO broadcasts of 16 queues": segmenting(16),
        "packets without an end": parking,
    }
)


@contextlib.contextmanager
def storm(name: str, path: Path) -> Iterator[threading.Event]:
    """The storm rages until the end of the block; the event is set when the server has ended it.

    What else ends it is raised at the end: nothing was shown then.
    """
    step, end = STORMS[name](path)
    stop, over = threading.Event(), threading.Event()
    wrong: list[Exception] = []

    def rage() -> None:
        while not stop.is_set():
            try:
                step()
            except OSError:
                break
            except Exception as error:
                wrong.append(error)
                break
            stop.wait(0.0002)
        over.set()

    thread = threading.Thread(target=rage, daemon=True)
    thread.start()
    try:
        yield over
    finally:
        stop.set()
        thread.join(60)
        end()
    if wrong:
        raise RuntimeError(f"the storm {name!r} did not last") from wrong[0]


@contextlib.contextmanager
def storm_elsewhere(name: str, path: Path) -> Iterator[None]:
    """The same in a process of its own: who measures meanwhile shares no interpreter with it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.hostile.storms", name, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    try:
        if not process.stdout.readline():
            raise RuntimeError(f"the storm {name!r} did not begin")
        yield
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(60)
    if process.returncode:
        raise RuntimeError(f"the storm {name!r} did not last")


if __name__ == "__main__":
    with storm(sys.argv[1], Path(sys.argv[2])):
        print("it rages", flush=True)
        sys.stdin.read()
