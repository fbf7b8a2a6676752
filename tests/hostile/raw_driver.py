# SPDX-License-Identifier: BSD-3-Clause
"""A VF's driver made of bytes, with queues: hostile clients and their victims are made from it."""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path

from tests.softvf.function.mailbox_rings import ARQ, ARQT, BASE, BUF, LB, POST, N, Rings

IOVA = 0x10_0000_0000
TX_RING, RX_RING, BUFFERS, SIZE = 0x000000, 0x200000, 0x500000, 0x1000000
RING_ROOM = 0x20000  # bytes of one queue's ring
VERSION, RESOURCES, QUEUES, IRQ_MAP, ENABLE, ADD_MAC = 1, 3, 6, 7, 8, 10
CAPABILITIES = 0x00FBFFF7
EOP, RS, ICRC = 0x01, 0x02, 0x04
DONE = 15
NAP = 0.0001  # seconds between two looks at a descriptor


def data(address: int, size: int, cmd: int, headers: int = 0) -> bytes:
    """A Tx data descriptor (docs/spec/descriptors.md 1)."""
    return struct.pack("<QQ", address, cmd << 4 | size << 34 | headers)


def udp_frame(destination: bytes, source: bytes, number: int, size: int = 60) -> bytes:
    """An IPv4/UDP frame that carries its number."""
    head = struct.pack(">HHIBBHII", 0x4500, size - 14, 0, 64, 17, 0, 0x0A000001, 0x0A000002)
    ports = struct.pack(">HHHH", 1000, 9, size - 34, 0)
    body = destination + source + b"\x08\x00" + head + ports + struct.pack("<I", number)
    return body.ljust(size, b"\0")


class RawDriver(Rings):
    """Negotiates, configures queues, and rings doorbells as it likes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path
        self.fd = os.memfd_create("raw-driver")
        os.ftruncate(self.fd, SIZE)
        self.area = mmap.mmap(self.fd, SIZE)
        window = struct.pack("<IIQQQ", 32, 3, 0, IOVA, SIZE)
        assert self.client.ask(2, window, (self.fd,))[0] == 0
        error, _ = self.client.ask(5, struct.pack("<IIIIQQ", 4096, 0, 0, 0, 0, 0))
        assert error == 0
        self.bar = mmap.mmap(self.client.fds[0], 0x4000)
        self.words = memoryview(self.bar).cast("I")  # a store of a word, where bytes would tear
        self.heard = 0
        self.mac, self.vsi, self.entries = b"", 0, 0
        self.tails = [0] * 16

    def close(self) -> None:
        self.words.release()
        self.bar.close()
        self.area.close()
        os.close(self.fd)
        super().close()

    # ---- virtchnl

    def say(self, opcode: int, payload: bytes = b"") -> bytes:
        """Sends a message and returns the payload of its answer, which must be a success."""
        self.send(v_opcode=opcode, payload=payload)
        while True:
            got, status, answer = self.answer()
            if got == opcode:
                assert status == 0, f"virtchnl {opcode}: status {status}"
                return answer

    def answer(self) -> tuple[int, int, bytes]:
        """Waits for the PF's next message: opcode, status and payload. Its buffer is given back."""
        end = time.monotonic() + 20
        while True:
            flags, _, length, _, opcode, status, *_ = self.received(self.heard)
            if flags & 1:
                break
            assert time.monotonic() < end, "no message of the PF"
            time.sleep(0.0005)
        at = POST + 4096 * self.heard
        answer = bytes(self.memory[at : at + length])
        self._give_back(self.heard)
        self.heard = (self.heard + 1) % N
        return opcode, status, answer

    def _give_back(self, slot: int) -> None:
        address = BASE + POST + 4096 * slot
        self.memory[ARQ + 32 * slot : ARQ + 32 * slot + 32] = struct.pack(
            "<HHHHIIIIII", BUF | LB, 0, 4096, 0, 0, 0, 0, 0, address >> 32, address & 0xFFFFFFFF
        )
        self.client.write32(ARQT, slot)

    def open(self, queues: int = 1, entries: int = 512, buffer: int = 2048) -> None:
        """Leads from VFACTIVE to queues that run; the receive rings are posted."""
        self.wait_active()
        self.start_length_last()
        self.heard, self.entries = 0, entries
        self.say(VERSION, struct.pack("<II", 1, 1))
        answer = self.say(RESOURCES, struct.pack("<I", CAPABILITIES))
        (self.vsi,) = struct.unpack_from("<H", answer, 20)
        self.mac = answer[30:36]
        if self.mac == bytes(6):
            self.mac = b"\x02\xbb" + os.urandom(4)
            entry = self.mac + b"\1\0"
            self.say(ADD_MAC, struct.pack("<HH", self.vsi, 1) + entry + bytes(8))
        pairs = struct.pack("<HHI", self.vsi, queues, 0)
        for q in range(queues):
            pairs += struct.pack("<HHHHQQ", self.vsi, q, entries, 0, self.tx_ring(q), 0)
            pairs += struct.pack(
                "<HHIHHIIBBBBQiI",
                self.vsi, q, entries, 0, 0, buffer, 9728, 0, 1, 0, 0, self.rx_ring(q), 0, 0,
            )  # fmt: skip
        self.say(QUEUES, pairs + bytes(64))
        vectors = struct.pack("<H", queues)
        for q in range(queues):
            vectors += struct.pack("<HHHHHH", self.vsi, 1 + q, 1 << q, 1 << q, 0, 0)
        self.say(IRQ_MAP, vectors + bytes(12))
        for q in range(queues):
            self.post_rx(q)
        self.say(ENABLE, struct.pack("<HHII", self.vsi, 0, (1 << queues) - 1, (1 << queues) - 1))
        self.tails = [0] * 16
        for q in range(queues):
            self.client.write32(0x3800 + 4 * q, 1 << 30 | 3 << 3)  # WB_ON_ITR: written back at once

    # ---- queues

    def tx_ring(self, queue: int) -> int:
        return IOVA + TX_RING + queue * RING_ROOM

    def rx_ring(self, queue: int) -> int:
        return IOVA + RX_RING + queue * RING_ROOM

    def post_rx(self, queue: int) -> None:
        at = RX_RING + queue * RING_ROOM
        for slot in range(self.entries):
            where = IOVA + BUFFERS + SIZE // 4 + 2048 * (slot % 512)
            self.area[at + 32 * slot : at + 32 * slot + 32] = struct.pack("<QQQQ", where, 0, 0, 0)
        self.rx_tail(queue, self.entries - 8)

    def put(self, queue: int, slot: int, descriptor: bytes) -> None:
        at = TX_RING + queue * RING_ROOM + 16 * slot
        self.area[at : at + 16] = descriptor

    def tx_tail(self, queue: int, value: int) -> None:
        self.words[queue] = value

    def rx_tail(self, queue: int, value: int) -> None:
        self.words[(0x2000 + 4 * queue) // 4] = value

    def is_sent(self, slot: int, queue: int = 0) -> bool:
        return self.area[TX_RING + queue * RING_ROOM + 16 * slot + 8] & 15 == DONE

    def send_frames(
        self, number: int, count: int = 1, seconds: float = 20.0, to: bytes = b"", size: int = 60
    ) -> float:
        """Sends frames to itself, or `to` others; the seconds until it saw that the last was sent.

        It naps before each look: one that spins would take the processor from whom it measures.
        """
        self.area[BUFFERS : BUFFERS + size] = udp_frame(to or self.mac, self.mac, number, size)
        for left in reversed(range(count)):
            slot = self.tails[0]
            self.put(0, slot, data(IOVA + BUFFERS, size, EOP | ICRC | (0 if left else RS)))
            self.tails[0] = (slot + 1) % self.entries
        start = time.perf_counter()
        self.tx_tail(0, self.tails[0])
        time.sleep(NAP)
        while not self.is_sent(slot):
            assert time.perf_counter() - start < seconds, f"frame {number} is never sent"
            time.sleep(NAP)
        return time.perf_counter() - start
