# SPDX-License-Identifier: BSD-3-Clause
"""BAR0 of a VF, as far as accesses are trapped (docs/spec/registers.md 2, 3, 5, 7).

A register whose behaviour is not modelled reads 0, ignores writes and is logged once. Doorbells and
VFINT_ITRN are memory of the data plane, which clients may also map.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from iavfio.softvf._device import lib
from iavfio.softvf.contract import ViolationKind
from iavfio.softvf.function.mailbox import Mailbox

if TYPE_CHECKING:
    from iavfio.softvf.dataplane import DataPlane
    from iavfio.softvf.personality import Personality

GONE = 0xFFFFFFFF
INTEVENT, ADMINQ, SWINT = int(lib.ICR0_INTEVENT), int(lib.ICR0_ADMINQ), int(lib.ICR0_SWINT)
LINK = int(lib.ICR0_LINK_STAT_CHANGE)
WB_ON_ITR = int(lib.DYN_CTL_WB_ON_ITR)
SWINT_TRIG = int(lib.DYN_CTL_SWINT_TRIG)
DYN_CTL_RESERVED = 0x38FE0000  # bits 17..23 and 27..29 (docs/spec/registers.md 5.1)
INTERVAL_MAX = int(lib.ITR_INTERVAL_MAX)
IN_PROGRESS = int(lib.RSTAT_INPROGRESS)


class Function(Protocol):
    """What the registers need of their VF."""

    def violation(self, rule: str, text: str, kind: ViolationKind = "violation") -> None:
        """Logs what the VF's driver did wrong; see contract.VfHardware."""


class Registers:
    """Trapped accesses to BAR0 of one VF."""

    def __init__(
        self,
        vf: int,
        personality: Personality,
        plane: DataPlane,
        mailbox: Mailbox,
        function: Function,
    ) -> None:
        self._vf, self._plane, self._mailbox, self._function = vf, plane, mailbox, function
        self._e810 = personality.device_id == lib.PCI_DEVICE_E810_VF
        self._wb_on_itr = personality.wb_on_itr
        self._vectors = personality.msix_count
        self._latches = personality.causes_latch  # also over a reset
        self._rstat = IN_PROGRESS
        self._cause = 0  # VFINT_ICR01
        self._cause_enable = 0  # VFINT_ICR0_ENA1
        self._held = 0  # causes that were raised while they were not enabled
        self._told: set[tuple[str, int]] = set()
        self.readers: dict[int, Callable[[], int]] = {}
        self.writers: dict[int, Callable[[int], None]] = {}
        self._guarded: set[int] = (
            set()
        )  # not to be written during a reset (docs/spec/registers.md 7)
        self._lay_out(personality.e810_itr)

    # ---- state that the VF's hardware changes

    @property
    def admin_cause_enabled(self) -> bool:
        """Whether ICR0_ENA.ADMINQ is set; the PF of the 700 series looks at it before a reset
        (docs/spec/registers.md 5.2). True on E810, which has no such register."""
        return self._e810 or bool(self._cause_enable & ADMINQ)

    def set_rstat(self, state: int) -> None:
        """Sets VFGEN_RSTAT."""
        self._rstat = state & int(lib.RSTAT_MASK)

    def reset(self) -> None:
        """Performs the hardware half of a VF reset; the data plane zeroes the registers that it has
        (docs/spec/registers.md 8)."""
        self._rstat = IN_PROGRESS
        if not self._latches:
            self._cause = 0
        self._cause_enable = self._held = 0

    def mailbox_cause(self) -> None:
        """Raises vector 0 for the mailbox."""
        self._raise(ADMINQ)

    def _raise(self, cause: int) -> None:
        if self._e810:  # an E810 VF has no cause registers
            self._plane.raise_mailbox(self._vf)
            return
        hidden = self._latches and self._cause & cause
        self._cause |= cause
        if hidden:
            return
        if cause & self._cause_enable:
            self._plane.raise_mailbox(self._vf)
        else:
            self._held |= cause

    # ---- access

    def read(self, offset: int, count: int) -> bytes:
        """Answers a trapped load; one that is not of an aligned 32-bit word reads 0."""
        if count != 4 or offset % 4:
            self._once(
                "width",
                offset,
                "docs/spec/registers.md 7",
                f"{count}-byte read of BAR0+{offset:#x}: registers are aligned 32-bit words",
            )
            return bytes(count)
        reader = self.readers.get(offset)
        if reader is None:
            self._unknown(offset, "read")
            return bytes(4)
        return (reader() & 0xFFFFFFFF).to_bytes(4, "little")

    def write(self, offset: int, data: bytes) -> None:
        """Carries out a trapped store; one that is not of an aligned 32-bit word has no effect."""
        if len(data) != 4 or offset % 4:
            self._once(
                "width",
                offset,
                "docs/spec/registers.md 7",
                f"{len(data)}-byte write of BAR0+{offset:#x}: registers are aligned 32-bit words",
            )
            return
        writer = self.writers.get(offset)
        if writer is None:
            self._unknown(offset, "write")
            return
        value = int.from_bytes(data, "little")
        if offset in self._guarded and self._rstat == IN_PROGRESS:
            if value:  # the register holds 0 already
                self._function.violation(
                    "docs/spec/registers.md 7",
                    f"BAR0+{offset:#x} is written with {value:#x} during a reset, which loses it",
                    "note" if self._mailbox.unaware else "violation",
                )
            return
        writer(value)

    def _unknown(self, offset: int, what: str) -> None:
        self._once(
            "unknown",
            offset,
            "docs/spec/registers.md 2",
            f"{what} of unmodelled register {offset:#x}",
            "note",
        )

    def _once(
        self, what: str, offset: int, rule: str, text: str, kind: ViolationKind = "violation"
    ) -> None:
        if (what, offset) not in self._told and len(self._told) < 4096:
            self._told.add((what, offset))
            self._function.violation(rule, text, kind)

    # ---- the map

    def _lay_out(self, e810_itr: bool) -> None:
        tails = 256 if self._e810 else 16
        for base in (int(lib.REG_QTX_TAIL1), int(lib.REG_QRX_TAIL1)):
            for queue in range(tails):
                self._memory(base + 4 * queue)
        for vector in range(1, self._vectors):
            self._both(
                int(lib.REG_VFINT_DYN_CTLN1) + 4 * (vector - 1),
                partial(self._plane.read_dyn_ctl, self._vf, vector),
                partial(self._write_dyn_ctl, vector),
            )
            for itr in range(3):
                at = 4 * itr + 12 * (vector - 1) if e810_itr else 64 * itr + 4 * (vector - 1)
                self._itr(int(lib.REG_VFINT_ITRN1) + at, vector, itr)
        for itr in range(3):
            self._itr(int(lib.REG_VFINT_ITR01) + 4 * itr, 0, itr)
        self._both(
            int(lib.REG_VFINT_DYN_CTL01),
            partial(self._plane.read_dyn_ctl, self._vf, 0),
            partial(self._write_dyn_ctl, 0),
        )
        self._both(int(lib.REG_VFINT_ICR01), self._read_cause, _ignore)
        self._both(int(lib.REG_VFINT_ICR0_ENA1), self._read_cause_enable, self._write_cause_enable)
        self._both(int(lib.REG_VFGEN_RSTAT), lambda: self._rstat, self._write_rstat)
        self._rings()
        self._rss()

    def _both(self, offset: int, read: Callable[[], int], write: Callable[[int], None]) -> None:
        self.readers[offset] = read
        self.writers[offset] = write

    def _memory(self, offset: int) -> None:
        self._both(
            offset,
            partial(self._plane.bar_read32, self._vf, offset),
            partial(self._plane.bar_write32, self._vf, offset),
        )
        self._guarded.add(offset)

    def _itr(self, offset: int, vector: int, itr: int) -> None:
        def write(value: int) -> None:
            # A driver that maps the page stores there; the plane looks there when a vector fires.
            if vector:
                self._plane.bar_write32(self._vf, offset, value & 0xFFF)
            self._plane.write_itr(self._vf, vector, itr, value & 0xFFF)

        self._both(offset, partial(self._plane.read_itr, self._vf, vector, itr), write)

    def _rings(self) -> None:
        mailbox = self._mailbox
        for name, ring in (("ATQ", mailbox.atq), ("ARQ", mailbox.arq)):
            for suffix, attribute, write in (
                ("BAL", "base_low", mailbox.write_base_low),
                ("BAH", "base_high", mailbox.write_base_high),
                ("LEN", "length", mailbox.write_length),
                ("H", "head", mailbox.write_head),
                ("T", "tail", mailbox.write_tail),
            ):
                offset = int(getattr(lib, f"REG_VF_{name}{suffix}1"))
                self._both(offset, partial(getattr, ring, attribute), partial(write, ring))
                self._guarded.add(offset)

    def _rss(self) -> None:
        if self._e810:
            return
        for base, words in (
            (int(lib.REG_VFQF_HENA), 2),
            (int(lib.REG_VFQF_HKEY), 13),
            (int(lib.REG_VFQF_HLUT), 16),
        ):
            for word in range(words):
                offset = base + 4 * word
                self._both(
                    offset, partial(self._rss_read, offset), partial(self._rss_write, offset)
                )

    # ---- registers that do more than hold a value

    def _write_dyn_ctl(self, vector: int, value: int) -> None:
        name = f"DYN_CTL of vector {vector}"
        if value & DYN_CTL_RESERVED:
            self._function.violation(
                "docs/spec/registers.md 5.1",
                f"{name}: reserved bits {value & DYN_CTL_RESERVED:#x} must be 0",
            )
        interval = (value & int(lib.DYN_CTL_INTERVAL_MASK)) >> int(lib.DYN_CTL_INTERVAL_SHIFT)
        if interval > INTERVAL_MAX:
            self._function.violation(
                "docs/spec/registers.md 5.1",
                f"{name}: interval {interval:#x} is above the largest, {INTERVAL_MAX:#x}",
            )
        if value & WB_ON_ITR and not self._wb_on_itr:
            self._once(
                "wb_on_itr",
                vector,
                "docs/spec/registers.md 5.1",
                f"{name}: WB_ON_ITR, which this device does not have",
            )
            value &= ~WB_ON_ITR
        if vector == 0 and value & SWINT_TRIG and not self._e810:
            self._cause |= SWINT
        self._plane.write_dyn_ctl(self._vf, vector, value)

    def _read_cause(self) -> int:
        cause, self._cause, self._held = self._cause, 0, 0
        return cause | (INTEVENT if cause else 0)

    def _read_cause_enable(self) -> int:
        return self._cause_enable

    def _write_cause_enable(self, value: int) -> None:
        if self._e810:
            return
        self._cause_enable = value & (ADMINQ | LINK | 0x1E)
        # A cause interrupts once, also when nobody reads the cause register.
        if self._held & self._cause_enable:
            self._held &= ~self._cause_enable
            self._plane.raise_mailbox(self._vf)

    def _write_rstat(self, value: int) -> None:
        self._once(
            "rstat",
            0,
            "docs/spec/registers.md 3",
            f"VFGEN_RSTAT is written with {value:#x}, but only the PF may write it",
        )

    def _rss_read(self, offset: int) -> int:
        self._rss_write(offset, 0)
        return 0

    def _rss_write(self, offset: int, value: int) -> None:
        self._once(
            "rss",
            0,
            "docs/spec/registers.md 6",
            f"RSS register {offset:#x} is used, but RSS_REG is not granted",
        )


def _ignore(value: int) -> None:
    """Takes a write to a read-only register, which has no effect."""
