# SPDX-License-Identifier: BSD-3-Clause
"""Storms of clients whose memory lies in as many DMA windows as they may have (D4, D6)."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

from tests.hostile.raw_driver import EOP, ICRC, RX_RING, RawDriver, data
from tests.softvf.server.raw_client import RawClient

Step = Callable[[], None]

NO_REPLY = 0x10
PAGE = 4096
WINDOWS = 30_000
FAR = 1 << 40  # where they begin
DUMMY = 0x10
ENTRIES = 4096
SMALL_BUFFER = 384  # 4 for a frame of 1500 bytes


def map_pages(client: RawClient, fd: int, count: int) -> None:
    """Windows of a page from FAR on, all in the first 64 pages of a file."""
    for page in range(count):
        window = struct.pack("<IIQQQ", 32, 3, page % 64 * PAGE, FAR + page * PAGE, PAGE)
        client.post(2, window, (fd,), NO_REPLY)
    client.read32(0x8800)  # behind all of them


def edge(number: int, before: int) -> int:
    """An address so many bytes before the end of a window that lies far from the one before."""
    return FAR + (1 + number * 7919 % (WINDOWS - 2)) * PAGE - before


def mapping(path: Path) -> tuple[Step, Step]:
    """Windows at the front of many, mapped and unmapped."""
    client = RawClient(path)
    client.sock.settimeout(60)
    fd = os.memfd_create("storm")
    os.ftruncate(fd, 64 * PAGE)
    map_pages(client, fd, 65_000)

    def step() -> None:
        for _ in range(16):
            client.post(2, struct.pack("<IIQQQ", 32, 3, 0, 0, PAGE), (fd,), NO_REPLY)
            client.post(3, struct.pack("<IIQQ", 24, 0, 0, PAGE), (), NO_REPLY)

    def end() -> None:
        client.close()
        os.close(fd)

    return step, end


def sending(path: Path) -> tuple[Step, Step]:
    """Packets of 4,000 buffers, each of two bytes in two windows, that end in nothing."""
    driver = RawDriver(path)
    driver.client.sock.settimeout(60)
    driver.open(16, entries=ENTRIES)
    map_pages(driver.client, driver.fd, WINDOWS)
    for queue in range(16):
        for slot in range(ENTRIES):
            cmd = ICRC | DUMMY | (EOP if slot % 4000 == 3999 else 0)
            driver.put(queue, slot, data(edge(queue * ENTRIES + slot, 1), 2, cmd))
    tails = [0]

    def step() -> None:
        tails[0] = 4000 - tails[0]
        for queue in range(16):
            driver.tx_tail(queue, tails[0])

    return step, driver.close


def receiving(path: Path) -> tuple[Step, Step]:
    """Each receive buffer lies in two windows, and is posted again whenever it is filled."""
    driver = RawDriver(path)
    driver.client.sock.settimeout(60)
    driver.open(1, entries=ENTRIES, buffer=SMALL_BUFFER)
    map_pages(driver.client, driver.fd, WINDOWS)
    ring = b"".join(struct.pack("<QQQQ", edge(n, 1), 0, 0, 0) for n in range(ENTRIES))
    tails = [0]

    def step() -> None:
        driver.area[RX_RING : RX_RING + len(ring)] = ring
        tails[0] = (tails[0] + 512) % ENTRIES
        driver.rx_tail(0, tails[0])

    step()
    return step, driver.close
