# SPDX-License-Identifier: BSD-3-Clause
"""Which vector serves which queue pair, and what its control register says.

See docs/spec/registers.md 5.
"""

from __future__ import annotations

from dataclasses import dataclass

from iavfio._driver import lib

ITR_US = 32  # of a polling queue without WB_ON_ITR: write-back within 32 us
WB_US = 4  # with WB_ON_ITR: a write-back costs no interrupt
SLEEP_US = 16  # of a sleeping queue: interrupts at most every 16 us


def dyn_ctl(vector: int) -> int:
    """Offset of the vector's VFINT_DYN_CTL register."""
    if vector == 0:
        return int(lib.REG_VFINT_DYN_CTL01)
    return int(lib.REG_VFINT_DYN_CTLN1) + 4 * (vector - 1)


def interval(us: int) -> int:
    """INTERVAL field: units of 2 us, for ITR 0."""
    return int(min(us // 2, lib.ITR_INTERVAL_MAX) << lib.DYN_CTL_INTERVAL_SHIFT)


MAILBOX_ENABLE: int = lib.DYN_CTL_INTENA | lib.DYN_CTL_CLEARPBA | lib.DYN_CTL_ITR_NONE


@dataclass(frozen=True)
class Vector:
    """A vector and the queue pairs that share it."""

    number: int
    queues: tuple[int, ...]

    @property
    def bitmap(self) -> int:
        """The vector's queues as bits, for CONFIG_IRQ_MAP."""
        return sum(1 << q for q in self.queues)


@dataclass(frozen=True)
class VectorPlan:
    """One vector a queue pair where there are enough; vector 0 is the mailbox's alone.

    With too few, pairs share vectors round robin: queues are never derived from vectors
    (docs/spec/field-evidence.md 9).
    """

    vectors: tuple[Vector, ...]
    wb_on_itr: bool

    @classmethod
    def make(cls, queues: int, max_vectors: int, wb_on_itr: bool) -> VectorPlan:
        """Returns a plan for `queues` pairs and `max_vectors` vectors, 2 or more with vector 0."""
        count = max(min(queues, max_vectors - 1), 1)
        return cls(
            tuple(Vector(v + 1, tuple(range(v, queues, count))) for v in range(count)), wb_on_itr
        )

    def of(self, queue: int) -> int:
        """The vector of a queue pair."""
        return next(v.number for v in self.vectors if queue in v.queues)

    def first(self, queue: int) -> int:
        """The first queue pair of that pair's vector."""
        return next(v.queues[0] for v in self.vectors if queue in v.queues)

    @property
    def shared(self) -> bool:
        """Whether some vector serves several pairs."""
        return any(len(v.queues) > 1 for v in self.vectors)

    @property
    def poll_ctl(self) -> int:
        """Register value while polling: write-back at ITR expiry, if possible without interrupt."""
        if self.wb_on_itr:
            return int(lib.DYN_CTL_WB_ON_ITR) | interval(WB_US)
        return int(lib.DYN_CTL_INTENA | lib.DYN_CTL_CLEARPBA) | interval(ITR_US)

    @property
    def sleep_ctl(self) -> int:
        """Register value that arms the interrupt. A cause that is pending fires at once."""
        return int(lib.DYN_CTL_INTENA) | interval(SLEEP_US)
