# SPDX-License-Identifier: BSD-3-Clause
"""Admin queues built by hand, over raw registers of a vfio-user socket."""

from __future__ import annotations

import mmap
import os
import select
import struct
import time
from collections.abc import Callable
from pathlib import Path

from tests.softvf.server.raw_client import RawClient

ARQBAH, ATQH, ATQLEN, ARQBAL, ARQT, ARQH = 0x6000, 0x6400, 0x6800, 0x6C00, 0x7000, 0x7400
ATQBAH, ATQBAL, ARQLEN, ATQT, RSTAT = 0x7800, 0x7C00, 0x8000, 0x8400, 0x8800
ICR01, ICR0_ENA1, DYN_CTL01 = 0x4800, 0x5000, 0x5C00
ENABLE, CRIT, OVFL = 1 << 31, 1 << 30, 1 << 29
BASE = 0x7_0000_0000  # IOVA; needs the high base register
ATQ, ARQ, SEND, POST = 0x0000, 0x1000, 0x10000, 0x40000  # offsets in the memory
N = 8
DD_CMP, ERR, SI, BUF, RD, LB = 3, 4, 0x2000, 0x1000, 0x400, 0x200


class Rings:
    """A driver's memory, its two rings of 8, and a client that programs them."""

    def __init__(self, path: Path) -> None:
        self.client = RawClient(path)
        fd = os.memfd_create("rings")
        os.ftruncate(fd, 0x80000)
        self.memory = mmap.mmap(fd, 0x80000)
        request = struct.pack("<IIQQQ", 32, 3, 0, BASE, 0x80000)
        assert self.client.ask(2, request, (fd,))[0] == 0
        os.close(fd)
        self.eventfd = os.eventfd(0, os.EFD_NONBLOCK)
        irqs = struct.pack("<IIIII", 20, 0x24, 2, 0, 1)
        assert self.client.ask(8, irqs, (self.eventfd,))[0] == 0
        self.client.write(7, 4, b"\6\0")
        self.next = 0

    def close(self) -> None:
        self.client.close()
        self.memory.close()
        os.close(self.eventfd)

    def post(self) -> None:
        """All ARQ descriptors, buffers of 4096 bytes."""
        for i in range(N):
            address = BASE + POST + 4096 * i
            self.memory[ARQ + 32 * i : ARQ + 32 * i + 32] = struct.pack(
                "<HHHHIIIIII", BUF | LB, 0, 4096, 0, 0, 0, 0, 0, address >> 32, address & 0xFFFFFFFF
            )

    def start_length_last(self) -> None:
        """Bases first, then the length: VPP's order (docs/spec/admin-queue.md 4)."""
        w = self.client.write32
        for register in (ATQLEN, ARQLEN, ATQT, ATQH):
            w(register, 0)
        w(ATQBAL, (BASE + ATQ) & 0xFFFFFFFF)
        w(ATQBAH, (BASE + ATQ) >> 32)
        w(ATQLEN, N | ENABLE)
        for register in (ARQT, ARQH):
            w(register, 0)
        w(ARQBAL, (BASE + ARQ) & 0xFFFFFFFF)
        w(ARQBAH, (BASE + ARQ) >> 32)
        w(ARQLEN, N | ENABLE)
        self.post()
        w(ARQT, N - 1)

    def start_length_first(self) -> None:
        """Length first, then the bases: Linux' and DPDK's order (docs/spec/admin-queue.md 4)."""
        w = self.client.write32
        for tail, head, length, low, high, base in (
            (ATQT, ATQH, ATQLEN, ATQBAL, ATQBAH, ATQ),
            (ARQT, ARQH, ARQLEN, ARQBAL, ARQBAH, ARQ),
        ):
            self.post()
            w(head, 0)
            w(tail, 0)
            w(length, N | ENABLE)
            w(low, (BASE + base) & 0xFFFFFFFF)
            w(high, (BASE + base) >> 32)
            if base == ARQ:
                w(ARQT, N - 1)
            assert self.client.read32(low) == (BASE + base) & 0xFFFFFFFF

    def descriptor(
        self,
        opcode: int = 0x0801,
        v_opcode: int = 1,
        payload: bytes = b"",
        flags: int | None = None,
        datalen: int | None = None,
        address: int | None = None,
        retval: int = 0,
        low: int = 0,
        param0: int = 0,
    ) -> int:
        """Writes the next ATQ descriptor; returns its index."""
        index, slot = self.next, SEND + 4096 * self.next
        self.memory[slot : slot + len(payload)] = payload
        length = len(payload) if datalen is None else datalen
        if flags is None:
            flags = SI | (BUF | RD if payload else 0) | (LB if length > 512 else 0)
        at = BASE + slot if address is None else address
        self.memory[ATQ + 32 * index : ATQ + 32 * index + 32] = struct.pack(
            "<HHHHIIIIII",
            flags, opcode, length, retval, v_opcode, low, param0, 0, at >> 32, at & 0xFFFFFFFF,
        )  # fmt: skip
        self.next = (index + 1) % N
        return index

    def send(self, **fields: int | bytes | None) -> tuple[int, int]:
        """Sends one descriptor; its flags and retval after the doorbell's reply."""
        index = self.descriptor(**fields)  # type: ignore[arg-type]
        self.client.write32(ATQT, self.next)
        return self.done(index)

    def done(self, index: int) -> tuple[int, int]:
        flags, _, _, retval = struct.unpack_from("<HHHH", self.memory, ATQ + 32 * index)
        return flags, retval

    def received(self, index: int) -> tuple[int, ...]:
        """An ARQ descriptor."""
        return struct.unpack_from("<HHHHIIIIII", self.memory, ARQ + 32 * index)

    def interrupted(self, seconds: float = 2.0) -> bool:
        if not select.select([self.eventfd], [], [], seconds)[0]:
            return False
        os.eventfd_read(self.eventfd)
        return True

    def wait_active(self) -> None:
        """Waits until the PF has finished the reset."""
        self._poll(lambda: self.client.read32(RSTAT) == 2, "VFACTIVE")

    def wait_message(self, head: int) -> None:
        """Waits until ARQH has moved to `head`."""
        self._poll(lambda: self.client.read32(ARQH) == head, f"ARQH {head}")

    def _poll(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 10
        while not done():
            assert time.monotonic() < deadline, f"{what} does not come"
            time.sleep(0.001)
