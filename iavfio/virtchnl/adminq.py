# SPDX-License-Identifier: BSD-3-Clause
"""The VF's admin queue: two rings of descriptors between driver and PF.

See docs/spec/admin-queue.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from iavfio import pyvfio
from iavfio._driver import ffi, lib
from iavfio.errors import ConfigError, DeviceLost, MailboxError, MailboxTimeout, ResetUnderWay
from iavfio.virtchnl.messages.names import opcode_name

ENTRIES: Final = 32
BUFFER: Final = int(lib.AQ_BUFFER_SIZE)
DESCRIPTOR: Final = int(ffi.sizeof("struct aq_desc"))
ATQ_RING, ARQ_RING = 0, 4096
ATQ_BUFFERS: Final = 8192
ARQ_BUFFERS: Final = ATQ_BUFFERS + ENTRIES * BUFFER
MEMORY: Final = ARQ_BUFFERS + ENTRIES * BUFFER
# Seconds until the device must have taken a descriptor (docs/spec/admin-queue.md 9).
COMPLETION: Final = 0.25


class Registers(Protocol):
    """What the queue needs of a BAR."""

    def read32(self, offset: int) -> int: ...
    def write32(self, offset: int, value: int) -> None: ...


class Space(Protocol):
    """What the queue needs of an address space."""

    def allocate(self, size: int) -> pyvfio.DmaMemory: ...
    def map(self, memory: pyvfio.DmaMemory) -> int: ...
    def unmap(self, iova: int, size: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Message:
    """A message from the PF. `length` is what the device claimed, `payload` at most 4096 bytes."""

    opcode: int
    status: int
    payload: bytes
    length: int


@dataclass(slots=True)
class QueueCounters:
    """What went over the queue and what went wrong, since the queue was made."""

    sent: int = 0
    received: int = 0
    ignored: int = 0  # descriptors without DD, with an error, or with another opcode than 0802
    oversized: int = 0  # messages that claim more bytes than a buffer has
    vf_errors: int = 0
    overflows: int = 0
    criticals: int = 0
    restarts: int = 0


class AdminQueue:
    """Admin queue of one VF. Not thread-safe, but for `enabled()`.

    The constructor takes memory and maps it; `start()` programs the device, again after each reset.
    `gone` makes the error for a device that is lost.
    All checks are made on copies: the device may write the shared memory at any time.
    """

    def __init__(
        self,
        bar: Registers,
        space: Space,
        gone: Callable[[], DeviceLost],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bar = bar
        self._space = space
        self.gone = gone
        self._clock = clock
        self._sleep = sleep
        self.counters = QueueCounters()
        self.critical = False  # a ring or DMA fault was reported since the last start
        self._next = self._reclaimed = self._clean = 0
        memory = space.allocate(MEMORY)
        try:
            self._iova = space.map(memory)
        except BaseException:
            memory.close()
            raise
        self._memory: pyvfio.DmaMemory | None = memory
        self._view = memory.buffer()

    # Life

    def start(self) -> None:
        """Programs both rings and stocks the receive ring; forgets what was under way.

        Raises ResetUnderWay when the VF is not ready, DeviceLost, or MailboxError when a base
        address does not read back.
        """
        if self._memory is None:
            raise MailboxError("the admin queue was closed")
        state = self._read(lib.REG_VFGEN_RSTAT) & lib.RSTAT_MASK
        if state not in (lib.RSTAT_COMPLETED, lib.RSTAT_VFACTIVE):
            raise ResetUnderWay(
                "the VF is not ready for its admin queue", f"reset state {state}, not 1 or 2"
            )
        for register in (
            lib.REG_VF_ATQLEN1,
            lib.REG_VF_ARQLEN1,
            lib.REG_VF_ATQH1,
            lib.REG_VF_ATQT1,
            lib.REG_VF_ARQH1,
            lib.REG_VF_ARQT1,
        ):
            self._write(register, 0)
        self._view[:ATQ_BUFFERS] = bytes(ATQ_BUFFERS)
        self._next = self._reclaimed = self._clean = 0
        self.critical = False
        for index in range(ENTRIES):
            self._post(index)
        for low, high, iova in self._bases():
            self._write(low, iova & 0xFFFFFFFF)
            self._write(high, iova >> 32)
        self._write(lib.REG_VF_ATQLEN1, ENTRIES | lib.AQLEN_ENABLE)
        self._write(lib.REG_VF_ARQLEN1, ENTRIES | lib.AQLEN_ENABLE)
        wrong = self._astray()
        if wrong:
            raise MailboxError(
                wrong,
                "the device ignores register writes: a reset began, or this is no adaptive VF",
                "reset the VF and open it again",
            )
        # The tail last: from here on the device may write messages.
        self._write(lib.REG_VF_ARQT1, ENTRIES - 1)
        self._read(lib.REG_VFGEN_RSTAT)  # flushes posted writes (docs/spec/registers.md 7)
        self.counters.restarts += 1

    def _bases(self) -> tuple[tuple[int, int, int], ...]:
        return (
            (lib.REG_VF_ATQBAL1, lib.REG_VF_ATQBAH1, self._iova + ATQ_RING),
            (lib.REG_VF_ARQBAL1, lib.REG_VF_ARQBAH1, self._iova + ARQ_RING),
        )

    def _astray(self) -> str:
        """What is wrong with the bases of rings just enabled, which are disabled again; or "".

        A reset clears base and ENABLE. One that came before our write of ENABLE leaves a ring
        enabled at address 0, where the next doorbell would have the device read.
        """
        for low, high, iova in self._bases():
            found = self._read(high) << 32 | self._read(low)
            if found != iova:
                self._write(lib.REG_VF_ATQLEN1, 0)
                self._write(lib.REG_VF_ARQLEN1, 0)
                return f"the admin queue's base reads back {found:#x}, not {iova:#x}"
        return ""

    def enabled(self) -> bool:
        """Whether the device owns the receive ring; False tells of a reset. Raises DeviceLost."""
        value = self._bar.read32(lib.REG_VF_ARQLEN1)
        if value == lib.REG_GONE:
            raise self.gone()
        return value != lib.REG_IN_RESET and bool(value & lib.AQLEN_ENABLE)

    def check(self) -> None:
        """Counts and clears error bits; raises ResetUnderWay or DeviceLost.

        After a critical error `critical` stays set until the next start (docs/spec/reliability.md
        F11).
        """
        for register in (lib.REG_VF_ATQLEN1, lib.REG_VF_ARQLEN1):
            value = self._read(register)
            if not value & lib.AQLEN_ENABLE:
                raise self._reset()
            errors = value & (lib.AQLEN_VFE | lib.AQLEN_OVFL | lib.AQLEN_CRIT)
            if not errors:
                continue
            self.counters.vf_errors += bool(errors & lib.AQLEN_VFE)
            self.counters.overflows += bool(errors & lib.AQLEN_OVFL)
            if errors & lib.AQLEN_CRIT:
                self.counters.criticals += 1
                self.critical = True
            self._write(register, value & ~errors)  # sticky: written back without the bits
            # A reset between read and write would be hidden: the write has set ENABLE again.
            resetting = self._read(lib.REG_VFGEN_RSTAT) & lib.RSTAT_MASK == lib.RSTAT_INPROGRESS
            if self._astray() or resetting:
                raise self._reset()

    def shutdown(self) -> None:
        """Tells the device that the driver goes, and takes both rings back."""
        length = self._bar.read32(lib.REG_VF_ATQLEN1)
        if length == lib.REG_GONE:
            return
        try:
            if length != lib.REG_IN_RESET and length & lib.AQLEN_ENABLE:
                try:
                    self.send(lib.AQ_QUEUE_SHUTDOWN, param0=1, completion=0.01)
                except (MailboxError, ResetUnderWay):
                    pass  # a courtesy: the device may be past answering
            for register in (
                lib.REG_VF_ATQLEN1,
                lib.REG_VF_ATQH1,
                lib.REG_VF_ATQT1,
                lib.REG_VF_ATQBAL1,
                lib.REG_VF_ATQBAH1,
                lib.REG_VF_ARQLEN1,
                lib.REG_VF_ARQH1,
                lib.REG_VF_ARQT1,
                lib.REG_VF_ARQBAL1,
                lib.REG_VF_ARQBAH1,
            ):
                self._write(register, 0)
        except DeviceLost:
            pass  # nobody is left to tell

    def close(self) -> None:
        """Unmaps and frees the rings; may be called twice.

        Raises MailboxError, and keeps everything mapped, while the device still owns a ring: it may
        write to it. Call `shutdown()` first, or reset the VF.
        """
        if self._memory is None:
            return
        for register in (lib.REG_VF_ATQLEN1, lib.REG_VF_ARQLEN1):
            value = self._bar.read32(register)
            if value in (lib.REG_GONE, lib.REG_IN_RESET):
                continue
            if value & lib.AQLEN_ENABLE:
                raise MailboxError(
                    "the device still owns the admin queue",
                    "it was not shut down, or ignores that",
                    "reset the VF (FLR), then close again",
                )
        self._space.unmap(self._iova, self._memory.size)
        self._view.release()
        self._memory.close()
        self._memory = None

    # Sending

    def send(
        self,
        opcode: int,
        payload: bytes = b"",
        *,
        message: int = 0,
        param0: int = 0,
        completion: float = COMPLETION,
    ) -> None:
        """Sends one descriptor and waits until the device has taken it.

        `opcode` is the queue's (0801 for a virtchnl message, whose opcode is `message`);
        `completion` is the deadline in seconds. Raises ConfigError, MailboxTimeout, MailboxError,
        ResetUnderWay or DeviceLost.
        """
        if len(payload) > BUFFER:
            raise ConfigError(f"a message of {len(payload)} bytes exceeds {BUFFER}")
        if self._memory is None:
            raise MailboxError("the admin queue was closed")
        self._reclaim()
        slot, following = self._next, (self._next + 1) % ENTRIES
        if following == self._reclaimed:
            raise MailboxError(
                "the admin queue is full",
                "the device takes no descriptors",
                "reset the VF",
            )
        buffer = ATQ_BUFFERS + slot * BUFFER
        # The rest of the buffer is cleared: nothing of an older message reaches the device
        # (docs/spec/reliability.md S5).
        self._view[buffer : buffer + BUFFER] = payload.ljust(BUFFER, b"\0")
        flags = lib.AQ_FLAG_SI
        if payload:
            flags |= lib.AQ_FLAG_BUF | lib.AQ_FLAG_RD
            flags |= lib.AQ_FLAG_LB if len(payload) > lib.AQ_LARGE_BUFFER else 0
        iova = self._iova + buffer if payload else 0
        self._store(
            ATQ_RING + slot * DESCRIPTOR,
            flags=flags,
            opcode=opcode,
            datalen=len(payload),
            cookie_high=message,
            param0=param0,
            addr_high=iova >> 32,
            addr_low=iova & 0xFFFFFFFF,
        )
        self._next = following
        self._write(lib.REG_VF_ATQT1, following)
        self.counters.sent += 1
        self._complete(slot, opcode, message, completion)

    def _complete(self, slot: int, opcode: int, message: int, completion: float) -> None:
        """Waits until ATQH has passed `slot`, then looks at what the device wrote back."""
        name = opcode_name(message) if message else f"admin command {opcode:04x}"
        end = self._clock() + completion
        pause = 0.0
        while self._head(lib.REG_VF_ATQH1) != self._next:
            self.check()
            if self.critical:
                raise _critical(name)
            if self._clock() >= end:
                raise MailboxTimeout(
                    f"the device did not take {name} within {completion * 1e3:.0f} ms",
                    "the admin queue stands still",
                    "reset the VF",
                )
            if pause:
                self._sleep(pause)
            pause = min(pause * 2, 1e-3) or 5e-5
        done = self._load(ATQ_RING + slot * DESCRIPTOR)
        if done.flags & lib.AQ_FLAG_DD and (done.flags & lib.AQ_FLAG_ERR or done.retval):
            raise MailboxError(
                f"the device rejected {name} with admin queue code {done.retval & 0xFF}",
                "a code is all that it tells; possible reasons: the descriptor, or its buffer",
                "save the mailbox journal and report it",
            )

    def _reclaim(self) -> None:
        """Clears the descriptors that the device has taken."""
        head = self._head(lib.REG_VF_ATQH1)
        if (head - self._reclaimed) % ENTRIES > (self._next - self._reclaimed) % ENTRIES:
            self.check()  # after a reset the head reads 0
            raise MailboxError(
                f"the transmit head is {head}, legal is {self._reclaimed}..{self._next}",
                "the device is broken or was reset",
                "reset the VF",
            )
        while self._reclaimed != head:
            self._store(ATQ_RING + self._reclaimed * DESCRIPTOR)
            self._reclaimed = (self._reclaimed + 1) % ENTRIES

    # Receiving

    def receive(self) -> list[Message]:
        """All messages that have come, oldest first; at most one ring full.

        Each slot is given back before this returns, whatever it held. Raises MailboxError for a
        head beyond the ring, ResetUnderWay or DeviceLost (docs/spec/reliability.md F6, F12).
        """
        if self._memory is None:
            raise MailboxError("the admin queue was closed")
        head = self._head(lib.REG_VF_ARQH1)
        if head == self._clean:
            return []
        # A reset sets the head to 0. Read after the head, ENABLE tells whether that one is valid.
        self.check()
        messages = []
        while self._clean != head:
            found = self._take(self._clean)
            if found is None:
                self.counters.ignored += 1
            else:
                self.counters.received += 1
                messages.append(found)
            self._post(self._clean)
            last = self._clean
            self._clean = (self._clean + 1) % ENTRIES
        self._write(lib.REG_VF_ARQT1, last)
        return messages

    def _take(self, index: int) -> Message | None:
        """Copies one message out of the ring, None when the descriptor holds none."""
        done = self._load(ARQ_RING + index * DESCRIPTOR)
        if not done.flags & lib.AQ_FLAG_DD or done.flags & lib.AQ_FLAG_ERR:
            return None
        if done.opcode != lib.AQ_SEND_MSG_TO_VF:
            return None
        length = int(done.datalen)
        self.counters.oversized += length > BUFFER
        buffer = ARQ_BUFFERS + index * BUFFER
        payload = bytes(self._view[buffer : buffer + min(length, BUFFER)])
        status = int(ffi.cast("int32_t", done.cookie_low))
        return Message(int(done.cookie_high), status, payload, length)

    def _post(self, index: int) -> None:
        iova = self._iova + ARQ_BUFFERS + index * BUFFER
        self._store(
            ARQ_RING + index * DESCRIPTOR,
            flags=lib.AQ_FLAG_BUF | lib.AQ_FLAG_LB,
            datalen=BUFFER,
            addr_high=iova >> 32,
            addr_low=iova & 0xFFFFFFFF,
        )

    # Memory and registers

    def _store(self, at: int, **fields: int) -> None:
        descriptor = ffi.new("struct aq_desc *", fields)
        self._view[at : at + DESCRIPTOR] = ffi.buffer(descriptor)[:]

    def _load(self, at: int) -> Any:
        """A private copy of a descriptor."""
        return ffi.from_buffer("struct aq_desc *", bytes(self._view[at : at + DESCRIPTOR]))

    def _head(self, register: int) -> int:
        """Returns a head register, checked against the ring (docs/spec/reliability.md F12)."""
        head = self._read(register) & lib.AQ_INDEX_MASK
        if head >= ENTRIES:
            self.check()
            raise MailboxError(
                f"the admin queue's head is {head}, the ring has {ENTRIES} entries",
                "the device is broken",
                "reset the VF",
            )
        return int(head)

    def _read(self, register: int) -> int:
        value = self._bar.read32(register)
        if value == lib.REG_GONE:
            raise self.gone()
        if value == lib.REG_IN_RESET:
            raise self._reset()
        return value

    def _write(self, register: int, value: int) -> None:
        try:
            self._bar.write32(register, value)
        except DeviceLost as error:
            raise self.gone() from error

    @staticmethod
    def _reset() -> ResetUnderWay:
        return ResetUnderWay("the VF is being reset", "the device has disabled the admin queue")


def _critical(name: str) -> MailboxError:
    return MailboxError(
        f"the admin queue failed while {name} was sent",
        "the device reports a critical ring or DMA error",
        "the queue is set up anew at the next request; if it fails again reset the VF",
    )
