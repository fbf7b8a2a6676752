# SPDX-License-Identifier: BSD-3-Clause
"""A scripted PF behind the admin queue's registers, written from docs/spec/admin-queue.md alone.

It reads and writes the driver's memory by IOVA, as a device does, with layouts spelled out here so
that an error in the driver's layouts shows. Time is the test's: nothing sleeps.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from iavfio import pyvfio
from iavfio.virtchnl import AdminQueue, Event, Journal, VirtchnlClient

DESC = struct.Struct("<HHHHIIIIII")
DD, CMP, ERR, LB, RD, BUF, SI = 0x1, 0x2, 0x4, 0x200, 0x400, 0x1000, 0x2000
ENABLE, CRIT, OVFL, VFE = 1 << 31, 1 << 30, 1 << 29, 1 << 28
ARQBAH, ATQH, ATQLEN, ARQBAL, ARQT, ARQH = 0x6000, 0x6400, 0x6800, 0x6C00, 0x7000, 0x7400
ATQBAH, ATQBAL, ARQLEN, ATQT, RSTAT = 0x7800, 0x7C00, 0x8000, 0x8400, 0x8800
BASES = (ATQBAL, ATQBAH, ARQBAL, ARQBAH)
GONE, IN_RESET = 0xFFFFFFFF, 0xDEADBEEF


class Time:
    """A clock that only sleeping and reading advance."""

    def __init__(self) -> None:
        self.now = 100.0
        self.alarms: list[tuple[float, Callable[[], None]]] = []

    def __call__(self) -> float:
        self.sleep(1e-6)
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        due = [alarm for alarm in self.alarms if alarm[0] <= self.now]
        self.alarms = [alarm for alarm in self.alarms if alarm[0] > self.now]
        for _, action in sorted(due, key=lambda alarm: alarm[0]):
            action()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self.alarms.append((self.now + seconds, action))


class Leaps(Time):
    """A clock whose naps are the longer, the longer nothing has happened, and end at each alarm.

    So a wait in vain takes some dozen looks, whatever it lasts; it ends up to a third too late.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heard = self.now

    def happened(self) -> None:
        """From now on naps are short again."""
        self.heard = self.now

    def __call__(self) -> float:
        super().sleep(1e-6)
        return self.now

    def sleep(self, seconds: float) -> None:
        until, planned = self.now + (self.now - self.heard) / 3, len(self.alarms)
        until = min([until, *(alarm[0] for alarm in self.alarms)])
        super().sleep(max(seconds, until - self.now))
        if len(self.alarms) < planned:
            self.happened()


class FakeSpace:
    """An address space that maps at an IOVA above 4 GiB, so that high words matter."""

    def __init__(self) -> None:
        self.mapped: dict[int, pyvfio.DmaMemory] = {}

    def allocate(self, size: int) -> pyvfio.DmaMemory:
        return pyvfio.DmaMemory.allocate(size, huge="never")

    def map(self, memory: pyvfio.DmaMemory) -> int:
        iova = 0x7_0000_0000
        self.mapped[iova] = memory
        return iova

    def unmap(self, iova: int, size: int) -> None:
        assert self.mapped[iova].size == size
        del self.mapped[iova]

    def at(self, iova: int, size: int) -> memoryview:
        for base, memory in self.mapped.items():
            if base <= iova and iova + size <= base + memory.size:
                return memory.buffer()[iova - base : iova - base + size]
        raise AssertionError(f"DMA outside of live mappings: {iova:#x}")


@dataclass(frozen=True)
class Reply:
    """What the PF sends: `delay` in seconds, `times` how often, `length` to lie about it."""

    opcode: int
    status: int = 0
    payload: bytes = b""
    delay: float = 0.0
    times: int = 1
    length: int | None = None
    queue_opcode: int = 0x0802
    flags: int = DD | CMP | BUF


Handler = Callable[[int, bytes], "list[Reply] | None"]


@dataclass
class FakePf:
    """Registers, rings and a handler that turns (opcode, payload) into replies."""

    space: FakeSpace
    clock: Time
    handler: Handler = lambda opcode, payload: [Reply(opcode)]
    regs: dict[int, int] = field(default_factory=lambda: {RSTAT: 2})
    requests: list[tuple[int, bytes]] = field(default_factory=list)
    descriptors: list[tuple[int, ...]] = field(default_factory=list)
    writes: list[tuple[int, int]] = field(default_factory=list)
    frozen: bool = False  # takes no descriptors
    reads_as: int | None = None  # what every register reads
    stuck_bits: int = 0  # error bits that come back with every message
    completion: tuple[int, int] = (DD | CMP, 0)
    violations: list[str] = field(default_factory=list)
    lost_messages: int = 0
    after_send: Callable[[], None] | None = None

    def read32(self, offset: int) -> int:
        return self.regs.get(offset, 0) if self.reads_as is None else self.reads_as

    def write32(self, offset: int, value: int) -> None:
        assert 0 <= value <= 0xFFFFFFFF
        if self.reads_as == GONE:
            raise pyvfio.DeviceLost("gone")
        self.writes.append((offset, value))
        self.regs[offset] = value
        if offset == ATQT and self.regs.get(ATQLEN, 0) & ENABLE and not self.frozen:
            self.transmit()
        if offset == ARQT and self.regs.get(ARQLEN, 0) & ENABLE and value >= self.size(ARQLEN):
            self.violations.append(f"ARQT {value}")

    def size(self, register: int) -> int:
        return self.regs.get(register, 0) & 0x3FF

    def ring(self, low: int, high: int, index: int) -> memoryview:
        base = self.regs.get(high, 0) << 32 | self.regs.get(low, 0)
        assert base % 64 == 0, "ring bases are 64-byte aligned"
        return self.space.at(base + 32 * index, 32)

    def transmit(self) -> None:
        """Takes descriptors up to the tail, then moves the head."""
        head = self.regs.get(ATQH, 0)
        while head != self.regs[ATQT]:
            desc = self.ring(ATQBAL, ATQBAH, head)
            fields = DESC.unpack(desc)
            flags, opcode, length, _, message, _, _, _, high, low = fields
            self.descriptors.append(fields)
            payload = b""
            if flags & BUF:
                assert flags & RD, "the device reads the buffer of a request"
                payload = bytes(self.space.at(high << 32 | low, length))
            if bool(flags & LB) != (length > 512):
                self.violations.append(f"LB with {length} bytes")
            desc[:] = DESC.pack(
                flags | self.completion[0], opcode, length, self.completion[1], *fields[4:]
            )
            head = (head + 1) % self.size(ATQLEN)
            self.regs[ATQH] = head
            if self.stuck_bits:
                self.regs[ARQLEN] |= self.stuck_bits
            if opcode == 0x0801:
                self.requests.append((message, payload))
                for reply in self.handler(message, payload) or []:
                    if reply.delay:
                        self.clock.after(reply.delay, lambda reply=reply: self.send(reply))  # type: ignore[misc]
                    else:
                        self.send(reply)
            if self.after_send is not None:
                self.after_send()
            if not self.regs[ATQLEN] & ENABLE:
                return

    def send(self, reply: Reply) -> None:
        """Delivers a message into the next posted descriptor, or loses it."""
        for _ in range(reply.times):
            if not self.regs.get(ARQLEN, 0) & ENABLE:
                return
            head = self.regs.get(ARQH, 0)
            if head == self.regs.get(ARQT, 0):
                self.lost_messages += 1
                self.regs[ARQLEN] |= OVFL
                return
            desc = self.ring(ARQBAL, ARQBAH, head)
            flags, _, room, _, _, _, _, _, high, low = DESC.unpack(desc)
            if not flags & BUF or room != 4096 or flags & DD:
                self.violations.append(f"ARQ descriptor {head}: flags {flags:#x}, {room} bytes")
            self.space.at(high << 32 | low, len(reply.payload))[:] = reply.payload
            length = len(reply.payload) if reply.length is None else reply.length
            desc[:] = DESC.pack(
                reply.flags, reply.queue_opcode, length, 0, reply.opcode,
                reply.status & 0xFFFFFFFF, 0xAAAA, 0xBBBB, high, low,
            )  # fmt: skip
            self.regs[ARQH] = (head + 1) % self.size(ARQLEN)

    def reset(self) -> None:
        """A VF reset: the device disables both rings; their bases and indices read 0."""
        for register in (ATQLEN, ARQLEN, ATQH, ATQT, ARQH, ARQT, *BASES):
            self.regs[register] = 0
        self.regs[RSTAT] = 2


VERSION_1_1 = struct.pack("<II", 1, 1)


def resources(
    *,
    vsis: int = 1,
    pairs: int = 4,
    vectors: int = 5,
    max_frame: int = 9728,
    caps: int = 0x060980E1,
    key: int = 52,
    lut: int = 64,
    vsi_id: int = 10,
    vsi_pairs: int | None = None,
    vsi_type: int = 6,
    mac: bytes = bytes.fromhex("02badc0ffee0"),
    tail: bytes = b"",
) -> bytes:
    """A GET_VF_RESOURCES reply, 36 bytes as ice sends it unless `tail` is given."""
    head = struct.pack("<HHHHIII", vsis, pairs, vectors, max_frame, caps, key, lut)
    own = pairs if vsi_pairs is None else vsi_pairs
    return head + struct.pack("<HHiH", vsi_id, own, vsi_type, 4) + mac + tail


def link_event(speed: int, up: int = 1) -> bytes:
    """A LINK_CHANGE event."""
    return struct.pack("<iIB3xi", 1, speed, up, 0)


def polite(caps: int = 0x060980E1) -> Handler:
    """A PF that answers negotiation properly and everything else with success."""

    def handle(opcode: int, payload: bytes) -> list[Reply]:
        if opcode == 1:
            return [Reply(1, payload=VERSION_1_1)]
        if opcode == 3:
            return [Reply(3, payload=resources(caps=caps))]
        return [Reply(opcode)]

    return handle


def stats_of(number: int) -> bytes:
    return struct.pack("<12Q", *[number] * 12)


def gone() -> pyvfio.DeviceLost:
    """What a queue raises when its registers read all ones."""
    return pyvfio.DeviceLost("the VF is gone", "it was pulled out", "put it in again")


class Bench:
    """A client, its fake PF, and what the client told us."""

    def __init__(
        self, handler: Handler | None = None, clock: Time | None = None, **options: object
    ) -> None:
        self.clock = clock or Time()
        self.space = FakeSpace()
        self.pf = FakePf(self.space, self.clock, handler or polite())
        self.queue = AdminQueue(self.pf, self.space, gone, clock=self.clock, sleep=self.clock.sleep)
        self.queue.start()
        self.events: list[Event] = []
        self.client = VirtchnlClient(
            self.queue,
            Journal(clock=self.clock),
            clock=self.clock,
            sleep=self.clock.sleep,
            on_event=self.events.append,
            **options,  # type: ignore[arg-type]
        )

    @property
    def opcodes(self) -> list[int]:
        return [opcode for opcode, _ in self.pf.requests]

    def negotiated(self, caps: int = 0x060980E1) -> Bench:
        self.pf.handler = polite(caps)
        self.client.version()
        self.client.resources()
        self.pf.requests.clear()
        return self
