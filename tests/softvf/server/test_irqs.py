# SPDX-License-Identifier: BSD-3-Clause
"""GET_IRQ_INFO, SET_IRQS and the MSI-X table in BAR3.

The rules are those of docs/spec/vfio-user.md 4 and docs/spec/registers.md 5.4.
"""

from __future__ import annotations

import errno
import os
import select
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.port.rig import until
from tests.softvf.server.raw_client import RawClient
from tests.softvf.server.served_vf import ServedVf

NONE, BOOL, EVENTFD = 1, 2, 4
MASK, UNMASK, TRIGGER = 8, 16, 32
MSIX, ERR, REQ = 2, 3, 4
SWINT = 0x0100001D  # INTENA, SWINT_TRIG, ITR_INDX 3, SW_ITR_INDX_ENA


def set_irqs(
    client: RawClient,
    flags: int,
    start: int,
    count: int,
    data: bytes = b"",
    fds: tuple[int, ...] = (),
    index: int = MSIX,
) -> int:
    request = struct.pack("<IIIII", 20 + len(data), flags, index, start, count) + data
    error, payload = client.ask(8, request, fds)
    assert payload == b""
    return error


@pytest.fixture
def eventfds() -> Iterator[list[int]]:
    """17 of them, non-blocking."""
    fds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(17)]
    yield fds
    for fd in fds:
        os.close(fd)


def fired(fd: int, seconds: float = 2.0) -> bool:
    """Whether an interrupt comes; takes it."""
    if not select.select([fd], [], [], seconds)[0]:
        return False
    os.eventfd_read(fd)
    return True


def assign(client: RawClient, eventfds: list[int]) -> None:
    assert set_irqs(client, EVENTFD | TRIGGER, 0, 16, fds=tuple(eventfds[:16])) == 0
    assert set_irqs(client, EVENTFD | TRIGGER, 16, 1, fds=(eventfds[16],)) == 0


def test_irq_info(client: RawClient) -> None:
    counts = []
    for index in range(5):
        error, payload = client.ask(7, struct.pack("<IIII", 16, 0, index, 0))
        assert (error, payload[:12]) == (0, struct.pack("<III", 16, 1, index))
        counts.append(payload[12])
    assert counts == [0, 0, 17, 1, 1]
    assert client.ask(7, struct.pack("<IIII", 16, 0, 5, 0))[0] == errno.EINVAL


def test_vectors_fire_without_a_write_to_the_table(client: RawClient, eventfds: list[int]) -> None:
    assign(client, eventfds)
    client.write32(0x3800 + 4 * 2, SWINT)
    assert fired(eventfds[3])
    client.write32(0x5C00, SWINT)
    assert fired(eventfds[0])
    assert not fired(eventfds[2], 0)


def test_clients_fire_vectors_themselves(client: RawClient, eventfds: list[int]) -> None:
    assign(client, eventfds)
    assert set_irqs(client, NONE | TRIGGER, 2, 2) == 0
    assert [fired(fd, 0) for fd in eventfds[:5]] == [False, False, True, True, False]
    assert set_irqs(client, BOOL | TRIGGER, 0, 3, b"\1\0\1") == 0
    assert [fired(fd, 0) for fd in eventfds[:5]] == [True, False, True, False, False]


def test_masked_vectors_stay_pending(client: RawClient, eventfds: list[int]) -> None:
    assign(client, eventfds)
    assert set_irqs(client, BOOL | MASK, 0, 3, b"\0\1\0") == 0
    client.write32(0x3800, SWINT)
    assert client.read(3, 0x2000, 8) == struct.pack("<Q", 1 << 1)
    assert not fired(eventfds[1], 0)
    assert set_irqs(client, NONE | UNMASK, 1, 1) == 0
    assert fired(eventfds[1])
    assert client.read(3, 0x2000, 8) == bytes(8)


def test_deassigned_vectors_stay_pending(client: RawClient, eventfds: list[int]) -> None:
    assign(client, eventfds)
    assert set_irqs(client, EVENTFD | TRIGGER, 1, 1) == 0
    client.write32(0x3800, SWINT)
    assert not fired(eventfds[1], 0.01)
    assert set_irqs(client, EVENTFD | TRIGGER, 1, 1, fds=(eventfds[1],)) == 0
    assert fired(eventfds[1])


def test_disable_drops_all(client: RawClient, eventfds: list[int]) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    assign(client, eventfds)
    assert len(list(Path("/proc/self/fd").iterdir())) > before
    assert set_irqs(client, NONE | TRIGGER, 0, 0) == 0
    deadline = time.monotonic() + 20
    while len(list(Path("/proc/self/fd").iterdir())) != before:  # they are closed aside
        assert time.monotonic() < deadline
        time.sleep(0.005)
    client.write32(0x3800, SWINT)
    assert not fired(eventfds[1], 0.01)


def test_wiring_survives_a_reset(client: RawClient, eventfds: list[int]) -> None:
    assign(client, eventfds)
    assert client.ask(13)[0] == 0
    client.write32(0x3800, SWINT)
    assert fired(eventfds[1])


def test_disconnect_closes_eventfds(served: ServedVf, eventfds: list[int]) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    client = RawClient(served.path)
    assign(client, eventfds)
    client.close()
    RawClient(served.path).close()
    RawClient(served.path).close()
    assert served.pf.calls[:2] == [("client_gone", 0), ("flr", 0)]
    assert until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before + 1, 60)


@pytest.mark.parametrize(
    ("flags", "index", "start", "count", "data", "fds"),
    [
        (EVENTFD | TRIGGER, 5, 0, 1, b"", 1),
        (EVENTFD | TRIGGER, MSIX, 17, 1, b"", 1),
        (EVENTFD | TRIGGER, MSIX, 16, 2, b"", 2),
        (EVENTFD | TRIGGER, MSIX, 1, 0xFFFFFFFF, b"", 1),
        (EVENTFD | TRIGGER, MSIX, 0, 2, b"", 1),
        (EVENTFD | TRIGGER, MSIX, 0, 0, b"", 0),
        (EVENTFD | MASK, MSIX, 0, 1, b"", 1),
        (NONE | TRIGGER, MSIX, 0, 1, b"", 1),
        (NONE | TRIGGER, MSIX, 1, 0, b"", 0),
        (NONE | TRIGGER, 0, 0, 0, b"", 0),
        (NONE | MASK, MSIX, 0, 0, b"", 0),
        (NONE | BOOL | TRIGGER, MSIX, 0, 1, b"\1", 0),
        (NONE | MASK | TRIGGER, MSIX, 0, 1, b"", 0),
        (NONE, MSIX, 0, 1, b"", 0),
        (TRIGGER, MSIX, 0, 1, b"", 0),
        (NONE | TRIGGER | 64, MSIX, 0, 1, b"", 0),
        (BOOL | TRIGGER, MSIX, 0, 2, b"\1", 0),
        (BOOL | TRIGGER, MSIX, 0, 1, b"\1\1", 0),
        (NONE | MASK, REQ, 0, 1, b"", 0),
        (EVENTFD | TRIGGER, ERR, 0, 2, b"", 2),
    ],
)
def test_malformed_requests_change_nothing(
    client: RawClient,
    eventfds: list[int],
    flags: int,
    index: int,
    start: int,
    count: int,
    data: bytes,
    fds: int,
) -> None:
    given = tuple(eventfds[:fds])
    assert set_irqs(client, flags, start, count, data, given, index) == errno.EINVAL
    assert set_irqs(client, NONE | TRIGGER, 0, 1) == 0
    assert not fired(eventfds[0], 0)


def test_fds_must_be_eventfds(client: RawClient) -> None:
    read, write = os.pipe()
    assert set_irqs(client, EVENTFD | TRIGGER, 0, 1, fds=(write,)) == errno.EINVAL
    os.close(read)
    os.close(write)


def test_request_event(served: ServedVf, client: RawClient, eventfds: list[int]) -> None:
    assert set_irqs(client, EVENTFD | TRIGGER, 0, 1, fds=(eventfds[0],), index=REQ) == 0
    assert served.vf.msix.fire(REQ)
    assert fired(eventfds[0], 0)


# ---- the table


def test_table_is_masked_at_power_on_and_after_a_reset(client: RawClient) -> None:
    assert client.read(3, 0, 32) == (bytes(12) + b"\1\0\0\0") * 2
    client.write(3, 0, struct.pack("<Q", 0xFEE01003))
    client.write(3, 8, struct.pack("<II", 0x41, 0xFFFFFFFE))
    assert client.read(3, 0, 16) == struct.pack("<QII", 0xFEE01000, 0x41, 0)
    assert client.ask(13)[0] == 0
    assert client.read(3, 0, 16) == bytes(12) + b"\1\0\0\0"


def test_mask_bits_count_once_the_table_is_used(client: RawClient, eventfds: list[int]) -> None:
    assign(client, eventfds)
    client.write(3, 16 + 12, struct.pack("<I", 1))
    client.write32(0x3800, SWINT)
    assert client.read(3, 0x2000, 4) == b"\2\0\0\0"
    assert not fired(eventfds[1], 0)
    client.write(3, 16 + 12, struct.pack("<I", 0))
    assert fired(eventfds[1])


# ---- Message Control: what docs/spec/vfio.md 5 says of the kernel


def control(client: RawClient) -> int:
    return int.from_bytes(client.read(7, 0x72, 2), "little")


def test_enable_follows_set_irqs(client: RawClient, eventfds: list[int]) -> None:
    assert control(client) == 0x10
    assert set_irqs(client, EVENTFD | TRIGGER, 3, 2) == 0  # vectors that signal nobody
    assert control(client) == 0x8010
    assign(client, eventfds)
    assert control(client) == 0x8010
    assert set_irqs(client, EVENTFD | TRIGGER, 0, 16) == 0
    assert control(client) == 0x8010, "each vector was taken away, the index was not disabled"
    assert set_irqs(client, NONE | TRIGGER, 0, 0) == 0
    assert control(client) == 0x10
    assert set_irqs(client, EVENTFD | TRIGGER, 0, 1, fds=(eventfds[0],), index=ERR) == 0
    assert control(client) == 0x10, "ERR is no vector of MSI-X"


@pytest.mark.parametrize("written", [b"\x10\xc0", b"\x10\x80", b"\x10\x40", b"\0\0", b"\xff\xff"])
def test_a_client_cannot_write_enable_or_function_mask(
    client: RawClient, eventfds: list[int], written: bytes
) -> None:
    client.write(7, 0x72, written)
    assert control(client) == 0x10
    assign(client, eventfds)
    client.write(7, 0x72, written)
    client.write(7, 0x73, written[1:])
    assert control(client) == 0x8010
    client.write32(0x3800, SWINT)
    assert fired(eventfds[1])


def test_no_vector_fires_while_msix_is_off(
    served: ServedVf, client: RawClient, eventfds: list[int]
) -> None:
    """Behind the client's back: new eventfds do not bring it back, a new index does."""
    assign(client, eventfds)
    served.vf.lose_msix()
    assert control(client) == 0x10
    client.write32(0x3800, SWINT)
    assert not fired(eventfds[1], 0.01)
    assign(client, eventfds)
    assert control(client) == 0x10
    client.write32(0x3800, SWINT)
    assert not fired(eventfds[1], 0.01)
    assert set_irqs(client, NONE | TRIGGER, 0, 0) == 0
    assign(client, eventfds)
    assert control(client) == 0x8010
    client.write32(0x3800, SWINT)
    assert fired(eventfds[1])


def test_vfio_restores_enable_after_a_reset_that_it_makes(
    client: RawClient, eventfds: list[int]
) -> None:
    assign(client, eventfds)
    for reset in (lambda: client.ask(13), lambda: client.write(7, 0xA8, b"\x00\x80")):
        reset()
        assert control(client) == 0x8010
        client.write32(0x3800, SWINT)
        assert fired(eventfds[1])
    assert set_irqs(client, NONE | TRIGGER, 0, 0) == 0
    assert client.ask(13)[0] == 0
    assert control(client) == 0x10


def test_odd_writes_of_bar3_are_violations(served: ServedVf, client: RawClient) -> None:
    client.write(3, 12, b"\0")
    client.write(3, 14, bytes(4))
    assert client.read(3, 12, 4) == b"\1\0\0\0"
    assert served.rules() == ["docs/spec/registers.md 5.4"] * 2
    client.write(3, 0x2000, b"\xff" * 8)
    client.write(3, 0x3FF8, b"\xff" * 8)
    assert client.read(3, 0x2000, 8) == client.read(3, 0x3FF8, 8) == bytes(8)
