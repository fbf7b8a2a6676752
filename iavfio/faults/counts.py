# SPDX-License-Identifier: BSD-3-Clause
"""What became of the packets."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Counts:
    """Packets of one queue, of one direction or of both, since the port was wrapped.

    Each packet that was `taken`, and each copy, is in one of the five others that make up the sum:
    taken + duplicated = delivered + lost + refused + discarded + held.
    """

    taken: int = 0  # received from the port, or accepted by send
    duplicated: int = 0  # copies made
    delivered: int = 0  # handed to the receiver, or to the device
    lost: int = 0  # thrown away on purpose
    refused: int = 0  # the driver did not send them: the device's rules forbid it
    discarded: int = 0  # still held when the faults ended or the queue did
    held: int = 0  # delayed, waiting to be overtaken, or waiting for room
    corrupted: int = 0  # one bit was inverted
    reordered: int = 0  # delivered behind a packet that came later
    delayed: int = 0  # held for a time, copies included

    @property
    def balanced(self) -> bool:
        """Whether the sum holds; False would be a defect of iavfio."""
        ends = self.delivered + self.lost + self.refused + self.discarded + self.held
        return self.taken + self.duplicated == ends

    def __add__(self, other: Counts) -> Counts:
        names = [field.name for field in fields(Counts)]
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass
class Tally:
    """The counts of one queue while they grow; `held` is what its stage holds."""

    taken: int = 0
    duplicated: int = 0
    delivered: int = 0
    lost: int = 0
    refused: int = 0
    discarded: int = 0
    corrupted: int = 0

    def counts(self, *, held: int, reordered: int, delayed: int) -> Counts:
        """A copy that does not change any more."""
        return Counts(**vars(self), held=held, reordered=reordered, delayed=delayed)
