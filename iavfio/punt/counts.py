# SPDX-License-Identifier: BSD-3-Clause
"""What became of each packet on its way to the TAP and from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# Reason: field of struct tap_delivered or struct tap_fetched (csrc/driver/punt/tap.h).
TO_TAP = {
    "tap_full": "full",
    "tap_down": "down",
    "too_long": "longer",
    "refused": "refused",
}
FROM_TAP = {
    "no_buffer": "no_buffer",
    "ring_full": "full",
    "port_down": "stopped",
    "too_long": "longer",
    "refused": "refused",
}


@dataclass(frozen=True)
class ToTap:
    """Packets that were punted: all of them were delivered or dropped for one reason.

    `drops`: tap_full (the kernel had no room), tap_down (the interface is down), too_long (for the
    MTU), refused; those that occurred. `bytes` without FCS, with tags; `tagged`: with a tag that
    was put back.
    """

    packets: int = 0
    delivered: int = 0
    bytes: int = 0
    tagged: int = 0
    drops: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, raw: Any) -> ToTap:
        """The counts of a `struct tap_delivered`."""
        return cls(raw.packets, raw.delivered, raw.bytes, raw.tagged, _drops(raw, TO_TAP))


@dataclass(frozen=True)
class FromTap:
    """Frames that the kernel sent: all of them were given to the device or dropped for one reason.

    `drops`: no_buffer (the pool was empty), ring_full, port_down (a reset, or the port was
    stopped), too_long (for the MTU), refused (shorter than 17 bytes); those that occurred.
    `unread`: what the kernel dropped itself, because nobody read in time.
    """

    frames: int = 0
    sent: int = 0
    bytes: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    unread: int = 0

    @classmethod
    def of(cls, raw: Any, unread: int) -> FromTap:
        """The counts of a `struct tap_fetched`."""
        return cls(raw.frames, raw.sent, raw.bytes, _drops(raw, FROM_TAP), unread)


@dataclass(frozen=True)
class Counts:
    """received = to_tap.packets + passed; `passed` were not selected."""

    received: int = 0
    passed: int = 0
    to_tap: ToTap = field(default_factory=ToTap)
    from_tap: FromTap = field(default_factory=FromTap)


def _drops(raw: Any, reasons: dict[str, str]) -> dict[str, int]:
    found = {reason: int(getattr(raw, name)) for reason, name in reasons.items()}
    return {reason: count for reason, count in found.items() if count}
