# SPDX-License-Identifier: BSD-3-Clause
"""What went over a VF's mailbox as its driver sees it: raw messages, to compare drivers by."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Any

CAPACITY = 4096
Kept = tuple[float, str, int, int, bytes, str]  # time, direction, opcode, status, payload, note


class Recorder:
    """The last messages of one VF: "out" from its driver, "in" to it, "note" for a reset."""

    def __init__(self) -> None:
        self._entries: deque[Kept] = deque(maxlen=CAPACITY)

    def sent(self, opcode: int, payload: bytes) -> None:
        """Records a message of the VF's driver."""
        self._entries.append((time.time(), "out", opcode, 0, payload, ""))

    def received(self, opcode: int, status: int, payload: bytes) -> None:
        """Records a message that reached the VF's driver."""
        self._entries.append((time.time(), "in", opcode, status & 0xFFFFFFFF, payload, ""))

    def note(self, text: str) -> None:
        """Records something that is no message."""
        self._entries.append((time.time(), "note", 0, 0, b"", text))

    def entries(self) -> Iterator[dict[str, Any]]:
        """The messages in the form of iavfio's journal files, one object an entry, oldest first.

        They are those of now, whatever comes or is forgotten while they are read.
        """
        return map(_entry, tuple(self._entries))

    def clear(self) -> None:
        """Forgets everything."""
        self._entries.clear()


def _entry(kept: Kept) -> dict[str, Any]:
    when, direction, opcode, status, payload, note = kept
    return {
        "time": when,
        "direction": direction,
        "opcode": opcode,
        "status": status - (1 << 32) if status >> 31 else status,
        "note": note,
        "adv_link_speed": True,
        "hex": payload.hex(),
    }
