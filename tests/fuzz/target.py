# SPDX-License-Identifier: BSD-3-Clause
"""What is fuzzed: a function of bytes, inputs to begin with, and what would be a finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).parents[1] / "data" / "fuzz"  # CORPUS/TARGET/anything: inputs to keep
MOST = 1 << 15  # bytes of an input


@dataclass(frozen=True)
class Target:
    """`feed` takes any bytes; whatever it raises is a finding, and so is an input that hangs.

    `fed` and `finding` say in words what it feeds and what would be wrong, for the guide.
    """

    name: str
    feed: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    fed: str
    finding: str

    def inputs(self) -> list[bytes]:
        """The seeds, and what is kept of former findings."""
        kept = sorted((CORPUS / self.name).glob("*"))
        return [*self.seeds(), *(path.read_bytes() for path in kept)]


class Words:
    """Takes an input apart; behind its end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def more(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        """Returns the next `count` bytes, fewer at the end."""
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def number(self, count: int) -> int:
        """A number of so many bytes."""
        return int.from_bytes(self.take(count), "little")

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(max(len(self._data) - self._at, 0))
