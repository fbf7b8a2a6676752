# SPDX-License-Identifier: BSD-3-Clause
"""When something that is looked for once a second has ended: soon, or later if it comes back."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

FIRST = 0.9  # seconds without it after which it has ended: one look, which comes each second
LONGEST = 15.0  # that it ever takes
LATER = 4.0  # times as long, for what came back
SOON = 30.0  # seconds after its end in which it is the same thing that comes back


@dataclass
class _Seen:
    last: float  # when it was last found
    needed: float = FIRST
    ended: float | None = None


@dataclass
class Calm:
    """Remembers by names what was found, and when. Times are those of time.monotonic."""

    _seen: dict[str, _Seen] = field(default_factory=dict)

    def found(self, name: str) -> None:
        """It is there."""
        now = time.monotonic()
        seen = self._seen.setdefault(name, _Seen(now))
        if seen.ended is not None:
            back = now - seen.ended < SOON
            seen.needed = min(seen.needed * LATER, LONGEST) if back else FIRST
            seen.ended = None
        seen.last = now

    def over(self, name: str) -> bool:
        """Whether it has been away for long enough; once it is over it is no longer asked for."""
        seen = self._seen.get(name)
        if seen is None or seen.ended is not None:
            return False
        now = time.monotonic()
        if now - seen.last < seen.needed:
            return False
        seen.ended = now
        return True

    def open(self) -> list[str]:
        """What was found and is not over."""
        return [name for name, seen in self._seen.items() if seen.ended is None]
