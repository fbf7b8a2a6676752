# SPDX-License-Identifier: BSD-3-Clause
"""Whatever of a client is said in the log: it can do it as often as it likes, and fills nothing.

A row for each place from which the software PF and its server speak of a client: messages, sockets,
registers, interrupts, the mailbox, virtchnl, resets. The log's clock stands still, so that all that
a storm brings about is of one second.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from iavfio.softvf.contract import ViolationKind
from iavfio.softvf.log import PER_SECOND
from iavfio.softvf.server import sockets
from tests.hostile.handlers import access
from tests.hostile.raw_driver import RawDriver
from tests.hostile.served_pf import ServedPf, served_pf
from tests.softvf.function.mailbox_rings import ATQLEN, ATQT, DYN_CTL01, ENABLE, N
from tests.softvf.server.raw_client import RawClient

TIMES = PER_SECOND + 20
USER, FILES = "docs/spec/reliability.md D5", "docs/spec/vfio-user.md 3"
CLIENTS, REGISTERS = "docs/spec/vfio-user.md 1", "docs/spec/registers.md"
QUEUE, VIRTCHNL = "docs/spec/admin-queue.md", "docs/spec/virtchnl.md"
Step = Callable[[RawDriver, int], object]


@dataclass(frozen=True)
class Storm:
    """What a client does again and again, and the rule and kind of what is said each time."""

    step: Step
    rule: str
    kind: ViolationKind = "violation"


def say(opcode: int, payload: bytes = b"") -> Step:
    """A virtchnl message; its answer is taken, so that the next can come."""

    def step(driver: RawDriver, _: int) -> None:
        driver.send(v_opcode=opcode, payload=payload)
        while driver.answer()[0] != opcode:
            pass

    return step


def add_and_delete(driver: RawDriver, number: int) -> None:
    """An address that no VF may have, another each time."""
    mac = bytes((1, 0, 0, 0, 0, number))
    payload = struct.pack("<HH", driver.vsi, 1) + mac + bytes((2, 0)) + bytes(8)
    say(10 + number % 2, payload)(driver, number)


def second_client(driver: RawDriver, _: int) -> None:
    with contextlib.closing(RawClient(driver.path, version=False)) as client:
        assert client.hung_up()


def broken_message(driver: RawDriver, _: int) -> None:
    """A message that is shorter than its header, of a client that comes once more."""
    driver.client.sock.sendall(struct.pack("<HHIII", 1, 1, 3, 0, 0))
    assert driver.client.hung_up()
    driver.client.close()
    driver.client = RawClient(driver.path)


def reset(driver: RawDriver, _: int) -> None:
    driver.send(v_opcode=2)
    while driver.client.read32(ATQLEN) & ENABLE:
        pass  # it has not begun: VFGEN_RSTAT still tells of the one before
    driver.wait_active()
    driver.start_length_last()
    driver.next = driver.heard = 0


def ring_disabled_queue(driver: RawDriver, _: int) -> None:
    driver.client.write32(ATQLEN, 0)
    driver.client.write32(ATQT, 3)


def unexpected_file(driver: RawDriver, _: int) -> None:
    driver.client.ask(4, struct.pack("<IIII", 16, 0, 0, 0), (driver.fd,))


STORMS: dict[str, Storm] = {
    "unknown command": Storm(lambda d, _: d.client.ask(99), FILES),
    "access beyond a region": Storm(lambda d, _: d.client.ask(10, access(0, 1 << 40, b"x")), FILES),
    "unexpected file": Storm(unexpected_file, FILES),
    "second client": Storm(second_client, CLIENTS, "note"),
    "broken message": Storm(broken_message, CLIENTS, "note"),
    "narrow write": Storm(lambda d, n: d.client.ask(10, access(0, 4 * n, b"xy")), f"{REGISTERS} 7"),
    "unknown register": Storm(
        lambda d, n: d.client.ask(9, struct.pack("<QII", 0x9000 + 4 * n, 0, 4)),
        f"{REGISTERS} 2",
        "note",
    ),
    "reserved bits": Storm(lambda d, _: d.client.write32(DYN_CTL01, 1 << 17), f"{REGISTERS} 5.1"),
    "MSI-X table": Storm(lambda d, n: d.client.ask(10, access(3, 1, b"x")), f"{REGISTERS} 5.4"),
    "length of the queue": Storm(
        lambda d, n: d.client.write32(ATQLEN, N | ENABLE | 1 << 20), f"{REGISTERS} 3"
    ),
    "doorbell of a disabled queue": Storm(ring_disabled_queue, f"{QUEUE} 4", "note"),
    "descriptor": Storm(lambda d, _: d.send(v_opcode=1, retval=7), f"{QUEUE} 1"),
    "unknown opcode": Storm(say(333), f"{VIRTCHNL} 2"),
    "refused message": Storm(say(15, struct.pack("<HHII", 999, 0, 0, 0)), f"{VIRTCHNL} 9"),
    "addresses": Storm(add_and_delete, f"{VIRTCHNL} 9"),
    "reset": Storm(reset, f"{VIRTCHNL} 8", "note"),
}


def bounded(served: ServedPf, storm: Storm, times: int) -> None:
    """All of it is counted, so much is kept, and the neighbour's entry is still there."""
    key = 0, storm.kind, storm.rule
    end = time.monotonic() + 100
    while served.log.counts[key] < times and time.monotonic() < end:
        time.sleep(0.001)
    counts, entries = served.log.counts.copy(), list(served.log.entries())
    assert counts[key] >= times, counts
    kept = [(entry["vf"], entry["kind"], entry["rule"]) for entry in entries]
    assert kept.count(key) == PER_SECOND, counts
    for each, count in counts.items():
        assert kept.count(each) == min(count, PER_SECOND), each
    assert [entry["text"] for entry in entries if entry["vf"] == 1] == ["the neighbour's"]


# docs/spec/reliability.md P4, D6
@pytest.mark.parametrize("name", STORMS)
def test_a_client_does_not_fill_the_log(name: str, tmp_path: Path) -> None:
    storm = STORMS[name]
    with served_pf(tmp_path, clock=lambda: 0.0) as served:
        served.log.add(1, "violation", "a rule", "the neighbour's")
        driver = RawDriver(served.paths[0])
        try:
            driver.wait_active()
            driver.start_length_last()
            say(1, struct.pack("<II", 1, 1))(driver, 0)
            for number in range(TIMES):
                storm.step(driver, number)
            bounded(served, storm, TIMES)
        finally:
            driver.close()


# docs/spec/reliability.md P4, D5
def test_strangers_do_not_fill_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served_pf(tmp_path, clock=lambda: 0.0) as served:
        served.log.add(1, "violation", "a rule", "the neighbour's")
        monkeypatch.setattr(sockets, "peer_allowed", lambda _: False)
        for _ in range(TIMES):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(os.fspath(served.paths[0]))
                assert not stranger.recv(1)
        bounded(served, Storm(second_client, USER), TIMES)
