# SPDX-License-Identifier: BSD-3-Clause
"""The VF's two admin queues as the device works them.

Every descriptor and payload is copied once out of the client's memory, then checked, then used. The
rules are those of docs/spec/admin-queue.md 1, 2, 3, 4, 5, 6 and docs/spec/registers.md 3.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from iavfio.softvf._device import lib
from iavfio.softvf.contract import QueueError, QueueName, ViolationKind
from iavfio.softvf.function.regions import DmaFault

DESCRIPTOR = struct.Struct("<HHHHIIIIII")
FLAGS = struct.Struct("<H")
UNAWARE = (
    2.5  # seconds: an idle Linux driver looks for resets every 2 s (docs/spec/admin-queue.md 7)
)
ENABLE, CRIT, OVFL, VFE = (
    int(lib.AQLEN_ENABLE),
    int(lib.AQLEN_CRIT),
    int(lib.AQLEN_OVFL),
    int(lib.AQLEN_VFE),
)
ERRORS: Mapping[str, int] = MappingProxyType({"vfe": VFE, "ovfl": OVFL, "crit": CRIT})
LEN_MASK = INDEX_MASK = 0x3FF
ERROR_BITS = CRIT | OVFL | VFE
DD, CMP, ERR = int(lib.AQ_FLAG_DD), int(lib.AQ_FLAG_CMP), int(lib.AQ_FLAG_ERR)
LB, RD, BUF, SI = (
    int(lib.AQ_FLAG_LB),
    int(lib.AQ_FLAG_RD),
    int(lib.AQ_FLAG_BUF),
    int(lib.AQ_FLAG_SI),
)
MAX_PAYLOAD = int(lib.AQ_BUFFER_SIZE)
LARGE = int(lib.AQ_LARGE_BUFFER)
ALIGN = int(lib.AQ_BASE_ALIGN)
BATCH = 8  # descriptors worked off per turn: a message may cost the PF 0.2 ms


class Function(Protocol):
    """What the mailbox needs of its VF."""

    bus_master: bool

    def dma_read(self, iova: int, length: int) -> bytes:
        """Reads the client's memory; raises DmaFault outside the windows."""

    def dma_write(self, iova: int, data: bytes) -> None:
        """Writes the client's memory; raises DmaFault outside the windows."""

    def mailbox_interrupt(self) -> None:
        """Raises the ADMINQ cause."""

    def violation(self, rule: str, text: str, kind: ViolationKind = "violation") -> None:
        """Logs what the VF's driver did wrong; see contract.VfHardware."""

    def message_from_vf(self, opcode: int, payload: bytes) -> None:
        """Hands a message to the PF's driver."""

    def queue_shutdown(self) -> None:
        """Tells the PF's driver that the admin queue was shut down."""

    def soon(self, call: Callable[[], None]) -> None:
        """Calls after the event in hand."""


@dataclass
class Ring:
    """One of the two rings: its five registers."""

    name: str
    base_low: int = 0
    base_high: int = 0
    length: int = 0  # what xxQLEN reads
    head: int = 0
    tail: int = 0
    worked: bool = False  # since the ring was enabled

    @property
    def entries(self) -> int:
        """Number of descriptors."""
        return self.length & LEN_MASK

    @property
    def live(self) -> bool:
        """Whether the ring is enabled, and not stopped by a critical error."""
        return self.length & (ENABLE | CRIT) == ENABLE

    def address(self, index: int) -> int:
        """IOVA of a descriptor."""
        return (self.base_high << 32 | self.base_low) + DESCRIPTOR.size * index

    def clear(self) -> None:
        """Zeroes all registers, as a reset does."""
        self.base_low = self.base_high = self.length = self.head = self.tail = 0
        self.worked = False


class Mailbox:
    """ATQ (VF to PF) and ARQ (PF to VF)."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self.atq, self.arq = Ring("ATQ"), Ring("ARQ")
        self._scheduled = False
        self._master_told = False
        self._reset_at = -UNAWARE

    def reset(self) -> None:
        """Performs the hardware half of any VF reset (docs/spec/registers.md 8)."""
        self.atq.clear()
        self.arq.clear()
        self._master_told = False
        self._reset_at = time.monotonic()

    def fail(self, queue: QueueName, error: QueueError) -> None:
        """Sets an error bit of a ring that is enabled, as a fault of the device does."""
        ring = self.atq if queue == "atq" else self.arq
        if ring.length & ENABLE:
            ring.length |= ERRORS[error]
            self._function.mailbox_interrupt()

    @property
    def unaware(self) -> bool:
        """Whether the last reset is so young that the VF's driver may not know of it yet."""
        return time.monotonic() - self._reset_at < UNAWARE

    # ---- register writes

    def write_base_low(self, ring: Ring, value: int) -> None:
        """Takes a write of xxBAL."""
        if value % ALIGN:
            self._wrong(
                "docs/spec/registers.md 3", f"{ring.name}BAL {value:#x} is not {ALIGN}-byte aligned"
            )
        self._base_may_change(ring, value & ~(ALIGN - 1) != ring.base_low and value != 0)
        ring.base_low = value & ~(ALIGN - 1)

    def write_base_high(self, ring: Ring, value: int) -> None:
        """Takes a write of xxBAH."""
        self._base_may_change(ring, value not in (ring.base_high, 0))
        ring.base_high = value

    def _base_may_change(self, ring: Ring, changes: bool) -> None:
        if changes and ring.length & ENABLE and ring.worked:
            self._wrong(
                "docs/spec/admin-queue.md 4",
                f"the base of the {ring.name} changes while the queue is in use",
            )

    def write_length(self, ring: Ring, value: int) -> None:
        """Takes a write of xxQLEN, whose error bits can only be cleared, by writing 0 there."""
        reserved = value & ~(LEN_MASK | ERROR_BITS | ENABLE)
        if reserved:
            self._wrong("docs/spec/registers.md 3", f"{ring.name}LEN: reserved bits {reserved:#x}")
        if value & ENABLE and not value & LEN_MASK:
            self._wrong("docs/spec/registers.md 3", f"{ring.name} is enabled with 0 descriptors")
            value &= ~ENABLE
        if ring.length & value & ENABLE and (value ^ ring.length) & LEN_MASK and ring.worked:
            self._wrong(
                "docs/spec/registers.md 3", f"{ring.name}LEN.LEN changes while the queue is in use"
            )
        if not ring.length & value & ENABLE:
            ring.worked = False
        errors = ring.length & value & ERROR_BITS
        ring.length = value & (LEN_MASK | ENABLE) | errors

    def write_head(self, ring: Ring, value: int) -> None:
        """Takes a write of xxQH: drivers write 0 before they enable the ring, and at shutdown."""
        if value and ring.length & ENABLE:
            self._wrong(
                "docs/spec/admin-queue.md 4", f"{ring.name}H is written with {value} while enabled"
            )
        ring.head = value & INDEX_MASK

    def write_tail(self, ring: Ring, value: int) -> None:
        """Takes a write of xxQT, the doorbell."""
        if value & ~INDEX_MASK:
            self._wrong(
                "docs/spec/registers.md 3", f"{ring.name}T: reserved bits {value & ~INDEX_MASK:#x}"
            )
        value &= INDEX_MASK
        if ring.length & ENABLE and value >= ring.entries:
            self._critical(ring, f"{ring.name}T {value} is outside its {ring.entries} descriptors")
            return
        if not ring.length & ENABLE and value:
            # Harmless, and Linux does it: at removal it repeats RESET_VF (docs/spec/virtchnl.md 7).
            text = f"{ring.name}T moves to {value} while the queue is disabled"
            self._wrong("docs/spec/admin-queue.md 4", text, "note")
        ring.tail = value
        ring.worked = ring.worked or bool(ring.length & ENABLE and value)
        if ring is self.atq:
            self.work()

    # ---- VF to PF

    def work(self) -> None:
        """Works the ATQ off: a batch now, the rest after the event in hand."""
        self._scheduled = False
        ring = self.atq
        for _ in range(BATCH):
            if not ring.live or ring.head == ring.tail:
                return
            if not self._function.bus_master:
                if not self._master_told:
                    self._master_told = True
                    self._wrong(
                        "docs/spec/registers.md 8",
                        "the ATQ's doorbell is rung with Bus Master off: the device can do no DMA",
                    )
                return
            if ring.head >= ring.entries:
                self._critical(ring, f"ATQH {ring.head} is outside {ring.entries} descriptors")
                return
            if not self._take(ring):
                return
        if not self._scheduled:
            self._scheduled = True
            self._function.soon(self.work)

    def _take(self, ring: Ring) -> bool:
        """Takes one descriptor; returns False when the queue has stopped."""
        index, at = ring.head, ring.address(ring.head)
        try:
            raw = self._function.dma_read(at, DESCRIPTOR.size)
        except DmaFault:
            self._critical(ring, f"ATQ descriptor {index} at {at:#x} is outside the DMA windows")
            return False
        flags, opcode, datalen, _, cookie_high, _, param0, _, high, low = DESCRIPTOR.unpack(raw)
        self._inspect(index, raw)
        retval, payload = int(lib.AQ_RC_OK), b""
        if opcode == lib.AQ_QUEUE_SHUTDOWN:
            if param0 & ~1 or datalen:
                self._wrong(
                    "docs/spec/admin-queue.md 2",
                    f"ATQ descriptor {index}: a shutdown with other parameters than bit 0",
                )
        elif opcode != lib.AQ_SEND_MSG_TO_PF:
            retval = int(lib.AQ_RC_ESRCH)
            self._wrong(
                "docs/spec/admin-queue.md 2",
                f"ATQ descriptor {index}: opcode {opcode:#06x}, which a VF does not have",
            )
        elif datalen > MAX_PAYLOAD:
            retval = int(lib.AQ_RC_EINVAL)
            self._wrong(
                "docs/spec/admin-queue.md 3",
                f"ATQ descriptor {index}: {datalen} payload bytes, at most {MAX_PAYLOAD} may be",
            )
        elif datalen and flags & (BUF | RD) != BUF | RD:
            retval = int(lib.AQ_RC_EINVAL)
        elif datalen:
            try:
                payload = self._function.dma_read(high << 32 | low, datalen)
            except DmaFault:
                retval = int(lib.AQ_RC_EIO)
                ring.length |= CRIT
                self._wrong(
                    "docs/spec/admin-queue.md 5",
                    f"ATQ descriptor {index}: its payload of {datalen} bytes at "
                    f"{high << 32 | low:#x} is outside the DMA windows",
                )
        # The completion is visible before the PF's answer (docs/spec/admin-queue.md 1).
        if not self._complete(ring, index, raw, retval):
            return False
        if not flags & SI:
            self._function.mailbox_interrupt()
        if retval == lib.AQ_RC_OK:
            if opcode == lib.AQ_QUEUE_SHUTDOWN:
                self._function.queue_shutdown()
            else:
                self._function.message_from_vf(cookie_high, payload)
        return True

    def _inspect(self, index: int, raw: bytes) -> None:
        flags, opcode, datalen, retval, _, low, param0, param1, _, _ = DESCRIPTOR.unpack(raw)
        where = f"ATQ descriptor {index}"
        if flags & (DD | CMP | ERR):
            self._wrong(
                "docs/spec/admin-queue.md 1",
                f"{where}: posted with DD, CMP or ERR set (flags {flags:#06x})",
            )
        if retval:
            self._wrong("docs/spec/admin-queue.md 1", f"{where}: posted with retval {retval}")
        if opcode != lib.AQ_SEND_MSG_TO_PF:
            return
        if bool(datalen) != (flags & (BUF | RD) == BUF | RD) or bool(flags & BUF) != bool(
            flags & RD
        ):
            self._wrong(
                "docs/spec/admin-queue.md 1",
                f"{where}: {datalen} payload bytes with flags {flags:#06x}; "
                "BUF and RD go with a payload",
            )
        if bool(flags & LB) != (datalen > LARGE):
            self._wrong(
                "docs/spec/admin-queue.md 1",
                f"{where}: {datalen} payload bytes with flags {flags:#06x}; "
                f"LB goes with more than {LARGE}",
            )
        if low or param0 or param1:
            self._wrong(
                "docs/spec/admin-queue.md 1", f"{where}: cookie_low and parameters must be 0"
            )

    def _complete(self, ring: Ring, index: int, raw: bytes, retval: int) -> bool:
        flags, opcode, datalen = struct.unpack_from("<HHH", raw)
        flags = flags & ~ERR | DD | CMP | (ERR if retval else 0)
        at = ring.address(index)
        try:
            self._function.dma_write(at + 2, struct.pack("<HHH", opcode, datalen, retval))
            self._function.dma_write(at, FLAGS.pack(flags))  # last: drivers poll it
        except DmaFault:
            self._critical(ring, f"ATQ descriptor {index} at {at:#x} cannot be written back")
            return False
        ring.head = (index + 1) % ring.entries
        return True

    # ---- PF to VF

    def deliver(self, opcode: int, retval: int, payload: bytes) -> bool:
        """Puts a message into the ARQ; returns False when the message is lost."""
        ring = self.arq
        if not ring.live or not ring.entries:
            return False
        if not self._function.bus_master:
            self._wrong(
                "docs/spec/registers.md 8", "a message for the VF is lost: Bus Master is off"
            )
            return False
        if ring.head >= ring.entries:
            self._critical(ring, f"ARQH {ring.head} is outside {ring.entries} descriptors")
            return False
        if ring.head == ring.tail:
            ring.length |= OVFL
            self._wrong(
                "docs/spec/admin-queue.md 6",
                f"message {opcode} is lost: no free ARQ descriptor",
                "note",
            )
            return False
        index, at = ring.head, ring.address(ring.head)
        try:
            raw = self._function.dma_read(at, DESCRIPTOR.size)
        except DmaFault:
            self._critical(ring, f"ARQ descriptor {index} at {at:#x} is outside the DMA windows")
            return False
        flags, _, room, _, _, _, _, _, high, low = DESCRIPTOR.unpack(raw)
        self._inspect_posted(index, flags, room)
        if not flags & BUF or len(payload) > room:
            ring.length |= OVFL
            self._wrong(
                "docs/spec/admin-queue.md 6",
                f"message {opcode} of {len(payload)} bytes is lost: its buffer has {room}",
            )
            return False
        try:
            if payload:
                self._function.dma_write(high << 32 | low, payload)
            # The status is told in cookie_low; ERR (bit 2) stays clear (docs/guides/guest-lab.md).
            done = flags & ~(ERR | DD | CMP) | DD | CMP
            head = DESCRIPTOR.pack(
                done,
                int(lib.AQ_SEND_MSG_TO_VF),
                len(payload),
                0,
                opcode & 0xFFFFFFFF,
                retval & 0xFFFFFFFF,
                0,
                0,
                high,
                low,
            )
            self._function.dma_write(at + FLAGS.size, head[FLAGS.size :])
            self._function.dma_write(at, head[: FLAGS.size])
        except DmaFault:
            self._critical(
                ring, f"ARQ buffer {index} at {high << 32 | low:#x} is outside the DMA windows"
            )
            return False
        ring.head = (index + 1) % ring.entries
        self._function.mailbox_interrupt()
        return True

    def _inspect_posted(self, index: int, flags: int, room: int) -> None:
        where = f"ARQ descriptor {index}"
        if flags & (DD | CMP | ERR):
            self._wrong(
                "docs/spec/admin-queue.md 6",
                f"{where}: posted again with flags {flags:#06x}: DD, CMP and ERR must be cleared",
            )
        if not flags & BUF:
            self._wrong(
                "docs/spec/admin-queue.md 1", f"{where}: posted without BUF (flags {flags:#06x})"
            )
        if room > LARGE and not flags & LB:
            self._wrong(
                "docs/spec/admin-queue.md 1",
                f"{where}: posted without LB for a buffer of {room} bytes",
            )

    def _critical(self, ring: Ring, text: str) -> None:
        ring.length |= CRIT
        self._wrong("docs/spec/registers.md 3", text)

    def _wrong(self, rule: str, text: str, kind: ViolationKind = "violation") -> None:
        self._function.violation(rule, text, kind)
