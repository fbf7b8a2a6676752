# SPDX-License-Identifier: BSD-3-Clause
"""A driver made of bytes: raw rings, doorbells and write-backs against the data plane.

Nothing here knows the driver. Bit positions are written from docs/spec/descriptors.md 1, 2, 5, 6, 7
and not taken from the headers, so that a wrong header shows.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, cast

from iavfio.softvf.dataplane import DataPlane, PlaneEvent
from iavfio.softvf.personality import Tunnel
from iavfio.softvf.vf_config import VfConfig

IOVA = 0x4000_0000
TX_RING, RX_RING, RX_BUFFERS, TX_BUFFERS, SIZE = 0, 0x2_0000, 0x8_0000, 0x20_0000, 0x80_0000
EOP, RS, ICRC, IL2TAG1, DUMMY = 0x01, 0x02, 0x04, 0x08, 0x10
IIPT6, IIPT4, IIPT4_CSUM = 0x20, 0x40, 0x60
TCP, SCTP, UDP = 0x100, 0x200, 0x300
QTX_TAIL, QRX_TAIL = 0x0000, 0x2000
TUNNELS: Mapping[int, Tunnel] = MappingProxyType({4789: "vxlan", 6081: "geneve"})
STATS = (
    "rx_bytes rx_uc rx_mc rx_bc rx_discard rx_unknown "
    "tx_bytes tx_uc tx_mc tx_bc tx_discard tx_error"
)


def mac(last: int) -> bytes:
    """02:00:00:00:00:<last>: the primary address of VF `last - 1`."""
    return bytes([2, 0, 0, 0, 0, last])


def data(
    address: int,
    size: int,
    cmd: int,
    *,
    maclen: int = 0,
    iplen: int = 0,
    l4len: int = 0,
    tag: int = 0,
    dtype: int = 0,
) -> bytes:
    """A Tx data descriptor; header lengths in bytes (docs/spec/descriptors.md 1)."""
    qw1 = dtype | cmd << 4 | (maclen // 2) << 16 | (iplen // 4) << 23 | (l4len // 4) << 30
    return struct.pack("<QQ", address, qw1 | size << 34 | tag << 48)


def context(
    *,
    tso_len: int = 0,
    mss: int = 0,
    tag2: int | None = None,
    eipt: int = 0,
    eiplen: int = 0,
    l4tunt: int = 0,
    l4tunlen: int = 0,
    outer_checksum: bool = False,
) -> bytes:
    """A Tx context descriptor; header lengths in bytes (docs/spec/descriptors.md 2)."""
    qw0 = eipt | (eiplen // 4) << 2 | l4tunt << 9 | (l4tunlen // 2) << 12 | outer_checksum << 23
    cmd = (1 if mss else 0) | (4 if tag2 is not None else 0)
    return struct.pack("<QQ", qw0 | (tag2 or 0) << 32, 1 | cmd << 4 | tso_len << 30 | mss << 50)


@dataclass(frozen=True)
class Received:
    """A frame and what its last descriptor said, whatever the format."""

    data: bytes
    parts: tuple[int, ...]
    words: tuple[int, int, int, int]
    rxdid: int

    def bit(self, legacy: int, flex: int) -> bool:
        return bool(self.words[1] >> (legacy if self.rxdid == 1 else flex) & 1)

    @property
    def ptype(self) -> int:
        return self.words[1] >> 30 & 0xFF if self.rxdid == 1 else self.words[0] >> 16 & 0x3FF

    @property
    def cast(self) -> int:
        return (self.words[1] >> 9 if self.rxdid == 1 else self.words[0] >> 14) & 3

    @property
    def hash(self) -> int | None:
        """The RSS hash, None when the descriptor does not claim one."""
        if self.rxdid == 1:
            return self.words[0] >> 32 if self.words[1] >> 12 & 3 == 3 else None
        if not self.words[1] >> 12 & 1:
            return None
        return self.words[3] & 0xFFFFFFFF if self.rxdid in (22, 23) else self.words[1] >> 32

    @property
    def verdict(self) -> str:
        """Names of the checksum bits that are set: l3l4p ipe l4e eipe eudpe."""
        names = [("l3l4p", 3, 3), ("ipe", 22, 4), ("l4e", 23, 5), ("eipe", 24, 6)]
        found = [name for name, legacy, flex in names if self.bit(legacy, flex)]
        if self.rxdid != 1 and self.words[1] >> 7 & 1:
            found.append("eudpe")
        return " ".join(found)

    @property
    def tag1(self) -> int | None:
        word = self.words[0] if self.rxdid == 1 else self.words[1]
        return word >> 16 & 0xFFFF if self.bit(2, 13) else None

    @property
    def tag2(self) -> int | None:
        present = self.words[2] & 1 if self.rxdid == 1 else self.words[2] >> 11 & 1
        return self.words[2] >> 48 if present else None

    @property
    def mark(self) -> int | None:
        """What a flow rule shows, None for nothing (docs/spec/descriptors.md 6, 7, 14)."""
        if self.rxdid == 1:
            shown = self.words[1] >> 11 & 1 and self.words[2] >> 4 & 3 == 1
            return self.words[3] >> 32 if shown else None
        value = self.words[1] >> 32 if self.rxdid in (22, 23) else self.words[3] & 0xFFFFFFFF
        if self.rxdid == 6:
            return value & 0xFFFF if value & 0xFFFF != 0xFFFF else None
        return None if value == 0xFFFFFFFF else value

    @property
    def loopback(self) -> bool:
        return self.bit(14, 8)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
    """Waits until the data thread has done its part; generous, for a busy machine."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"never happened: {what}"
        time.sleep(0.0002)


@dataclass
class Vf:
    """One VF's shared memory, BAR and one or more queue pairs, driven by hand."""

    plane: DataPlane
    index: int
    ring: int = 64
    buffer: int = 2048
    rxdid: int = 22
    max_frame: int = 9728
    keep_crc: bool = False
    config: VfConfig = field(default_factory=VfConfig)
    rx_heads: dict[int, int] = field(default_factory=dict)
    tx_tail: int = 0
    free: int = TX_BUFFERS

    def __post_init__(self) -> None:
        self.fd = os.memfd_create("plane-rig")
        os.ftruncate(self.fd, SIZE)
        self.memory = mmap.mmap(self.fd, SIZE)
        self.bar = mmap.mmap(self.plane.bar_fd(self.index), 0x10000)

        # One store a doorbell: struct.pack_into writes bytes, and the device sees the steps.
        self.words_of_bar = memoryview(self.bar).cast("I")

    def close(self) -> None:
        self.words_of_bar.release()
        self.memory.close()
        self.bar.close()
        os.close(self.fd)

    # ---- set-up

    def map_all(self) -> None:
        self.plane.set_bus_master(self.index, True)
        self.plane.dma_map(self.index, self.fd, 0, IOVA, SIZE, True, True)

    def publish(self, **changes: Any) -> None:
        defaults: dict[str, Any] = {
            "primary_mac": mac(self.index + 1),
            "active": True,
            "hashcfg": (1 << 64) - 1,
            "rss_lut": bytes(64),
        }
        self.config = VfConfig(**(defaults | changes))
        self.plane.publish(self.index, self.config)

    def open(self, *, queues: int = 1, post: int | None = None, **changes: Any) -> None:
        """Maps, configures, posts (all but one by default) and enables."""
        self.map_all()
        self.publish(num_queues=queues, **changes)
        self.start(queues=queues, post=post)

    def start(self, *, queues: int = 1, post: int | None = None) -> None:
        self.tx_tail = 0
        self.memory[TX_RING : TX_RING + self.ring * 16] = bytes(self.ring * 16)
        self.plane.configure_tx(self.index, 0, IOVA + TX_RING, self.ring)
        for queue in range(queues):
            self.rx_heads[queue] = 0
            for slot in range(self.ring):
                self.post_rx(slot, queue=queue)
            self.plane.configure_rx(
                self.index,
                queue,
                IOVA + self.rx_ring(queue),
                self.ring,
                self.buffer,
                self.max_frame,
                self.rxdid,
                self.keep_crc,
            )
            self.rx_tail(self.ring - 1 if post is None else post, queue)
            self.plane.enable_queue(self.index, queue, True)
        self.plane.enable_queue(self.index, 0, False)

    def rx_ring(self, queue: int) -> int:
        return RX_RING + queue * 0x4000

    def rx_buffer(self, slot: int, queue: int = 0) -> int:
        room = max(self.buffer, 2048)
        return RX_BUFFERS + (queue * self.ring + slot) * room

    def post_rx(
        self, slot: int, address: int | None = None, header: int = 0, queue: int = 0
    ) -> None:
        at = self.rx_ring(queue) + slot * 32
        where = IOVA + self.rx_buffer(slot, queue) if address is None else address
        self.memory[at : at + 32] = struct.pack("<QQQQ", where, header, 0, 0)

    def doorbell(self, at: int, value: int) -> None:
        self.words_of_bar[at // 4] = value

    def rx_tail(self, value: int, queue: int = 0) -> None:
        self.doorbell(QRX_TAIL + 4 * queue, value)

    # ---- sending

    def put(self, payload: bytes) -> int:
        """Payload into shared memory; its IOVA."""
        if self.free + len(payload) > SIZE:
            self.free = TX_BUFFERS
        at = self.free
        self.memory[at : at + len(payload)] = payload
        self.free += len(payload) + 64
        return IOVA + at

    def post(self, descriptors: Sequence[bytes], doorbell: bool = True) -> list[int]:
        """Descriptors behind the tail; their slots."""
        slots = []
        for descriptor in descriptors:
            at = TX_RING + self.tx_tail * 16
            self.memory[at : at + 16] = descriptor
            slots.append(self.tx_tail)
            self.tx_tail = (self.tx_tail + 1) % self.ring
        if doorbell:
            self.doorbell(QTX_TAIL, self.tx_tail)
        return slots

    def frame(self, frame: bytes, cmd: int = 0, **fields: Any) -> bytes:
        """A descriptor for a frame of one buffer, with EOP, RS and ICRC."""
        return data(self.put(frame), len(frame), cmd | EOP | RS | ICRC, **fields)

    def send(self, *frames: bytes) -> None:
        self.post([self.frame(frame) for frame in frames])

    def done(self, slot: int) -> bool:
        return self.memory[TX_RING + slot * 16 + 8] & 15 == 15

    def tx_words(self, slot: int) -> tuple[int, int]:
        return cast("tuple[int, int]", struct.unpack_from("<QQ", self.memory, TX_RING + slot * 16))

    # ---- receiving

    def words(self, slot: int, queue: int = 0) -> tuple[int, int, int, int]:
        at = self.rx_ring(queue) + slot * 32
        return cast("tuple[int, int, int, int]", struct.unpack_from("<QQQQ", self.memory, at))

    def has_dd(self, slot: int, queue: int = 0) -> bool:
        return bool(self.words(slot, queue)[1] & 1)

    def filled(self, queue: int = 0) -> int:
        """Descriptors with DD from the driver's head on."""
        head, n = self.rx_heads[queue], 0
        while n < self.ring and self.has_dd((head + n) % self.ring, queue):
            n += 1
        return n

    def length_of(self, words: tuple[int, int, int, int]) -> int:
        return (words[1] >> 38 if self.rxdid == 1 else words[0] >> 32) & 0x3FFF

    def take(self, queue: int = 0) -> Received:
        """The next whole frame; its descriptors are posted again and the tail moves on."""
        payload, parts = b"", []
        while True:
            slot = self.rx_heads[queue]
            wait_for(partial(self.has_dd, slot, queue), f"DD in Rx slot {slot}")
            words = self.words(slot, queue)
            size = self.length_of(words)
            at = self.rx_buffer(slot, queue)
            payload += self.memory[at : at + size]
            parts.append(size)
            self.post_rx(slot, queue=queue)
            self.rx_heads[queue] = (slot + 1) % self.ring
            self.rx_tail(slot, queue)
            if words[1] >> 1 & 1:
                return Received(payload, tuple(parts), words, self.rxdid)

    def exchange(self, *frames: bytes) -> list[Received]:
        """Sends frames that come back, and takes them."""
        self.send(*frames)
        return [self.take() for _ in frames]

    # ---- looking

    def stat(self, name: str) -> int:
        return self.plane.stats(self.index)[STATS.split().index(name)]

    def settle(self) -> None:
        """Waits until the last posted descriptor, which has RS, is written back."""
        last = (self.tx_tail - 1) % self.ring
        wait_for(lambda: self.done(last), f"Tx slot {last} done")


@dataclass
class Rig:
    """A data plane with its VFs."""

    plane: DataPlane
    vfs: list[Vf]

    def events(self, kind: str) -> list[PlaneEvent]:
        return [event for event in self.plane.events() if event.kind == kind]

    def wait_event(self, kind: str, *words: str) -> PlaneEvent:
        """The first event of that kind with these words; others of its batch are dropped."""
        found: list[PlaneEvent] = []

        def arrived() -> bool:
            found.extend(e for e in self.events(kind) if all(word in e.text for word in words))
            return bool(found)

        wait_for(arrived, f"{kind} with {words}")
        return found[0]


@contextmanager
def rig(
    vfs: int = 1,
    *,
    uplink: str = "loopback",
    start: bool = True,
    plane: dict[str, Any] | None = None,
    tunnels: Mapping[int, Tunnel] = TUNNELS,
    **fields: Any,
) -> Iterator[Rig]:
    """A started plane; write-back is immediate unless `plane` says otherwise.

    `tunnels`: what the host has registered, by UDP port.
    """
    options: dict[str, Any] = {"bar_size": 0x10000, "uplink": uplink, "writeback": "immediate"}
    it = DataPlane(vfs, **(options | (plane or {})))
    for port, kind in tunnels.items():
        it.add_tunnel(kind, port)
    made: list[Vf] = []
    try:
        made.extend(Vf(it, index, **fields) for index in range(vfs))
        if start:
            it.start()
        yield Rig(it, made)
    finally:
        it.stop()
        for vf in made:
            vf.close()
