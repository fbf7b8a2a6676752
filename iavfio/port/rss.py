# SPDX-License-Identifier: BSD-3-Clause
"""Receive-side scaling: key, indirection table and hashed packet classes
(docs/spec/descriptors.md 12).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from iavfio._driver import lib
from iavfio.errors import ConfigError

# The key of the Toeplitz verification suite, which most drivers default to, extended to 52 bytes.
DEFAULT_KEY = bytes.fromhex(
    "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa"
) + bytes(12)

# Class name -> PCTYPE bits. X722 and E810 tell unicast UDP, multicast UDP and SYNs apart from the
# rest of their kind (docs/spec/descriptors.md 12.1); the PF's own mask leaves out what a card does
# not know.
FIELDS: dict[str, tuple[int, ...]] = {
    "ipv4-udp": (lib.PCTYPE_UDP4, lib.PCTYPE_UDP4_UNICAST, lib.PCTYPE_UDP4_MULTICAST),
    "ipv4-tcp": (lib.PCTYPE_TCP4, lib.PCTYPE_TCP4_SYN),
    "ipv4-sctp": (lib.PCTYPE_SCTP4,),
    "ipv4-other": (lib.PCTYPE_OTHER4,),
    "ipv4-frag": (lib.PCTYPE_FRAG4,),
    "ipv6-udp": (lib.PCTYPE_UDP6, lib.PCTYPE_UDP6_UNICAST, lib.PCTYPE_UDP6_MULTICAST),
    "ipv6-tcp": (lib.PCTYPE_TCP6, lib.PCTYPE_TCP6_SYN),
    "ipv6-sctp": (lib.PCTYPE_SCTP6,),
    "ipv6-other": (lib.PCTYPE_OTHER6,),
    "ipv6-frag": (lib.PCTYPE_FRAG6,),
    "l2": (lib.PCTYPE_L2_PAYLOAD,),
}


@dataclass(frozen=True)
class Rss:
    """How flows are spread over queues.

    `key`: Toeplitz key, cut or zero-padded to the PF's size. `lut`: queue numbers, repeated to the
    PF's table size; None spreads over all queues. `fields`: packet classes that are hashed, names
    of FIELDS. `symmetric`: both directions of a flow hash alike, where the PF can do that.
    """

    key: bytes = DEFAULT_KEY
    lut: tuple[int, ...] | None = None
    fields: frozenset[str] = frozenset(FIELDS)
    symmetric: bool = False

    @classmethod
    def make(
        cls,
        *,
        key: bytes | None = None,
        lut: Sequence[int] | None = None,
        fields: Iterable[str] | None = None,
        symmetric: bool = False,
    ) -> Rss:
        """Checked settings. Raises ConfigError for an unknown class, an empty table or key."""
        wanted = frozenset(FIELDS if fields is None else fields)
        unknown = sorted(wanted - FIELDS.keys())
        if unknown:
            raise ConfigError(
                f"RSS knows no packet class {unknown[0]!r}", "", f"choose of: {', '.join(FIELDS)}"
            )
        if key is not None and not key:
            raise ConfigError("the RSS key is empty", "", "40 or 52 bytes are usual")
        if lut is not None and not len(lut):
            raise ConfigError("the RSS table is empty", "", "give queue numbers, e.g. lut=[0, 1]")
        return cls(
            DEFAULT_KEY if key is None else bytes(key),
            None if lut is None else tuple(int(q) for q in lut),
            wanted,
            symmetric,
        )

    def key_of(self, size: int) -> bytes:
        """The key in the PF's size."""
        return self.key[:size].ljust(size, b"\0")

    def table_of(self, size: int, queues: int) -> bytes:
        """The table in the PF's size. Raises ConfigError when it names a queue too many."""
        pattern = tuple(range(queues)) if self.lut is None else self.lut
        worst = max(pattern)
        if worst >= queues or min(pattern) < 0:
            raise ConfigError(
                f"the RSS table names queue {worst}",
                f"the port has queues 0..{queues - 1}",
                "configure more queues, or correct lut=",
            )
        return bytes(pattern[i % len(pattern)] for i in range(size))

    @property
    def hashcfg(self) -> int:
        """Bitmap of PCTYPEs (docs/spec/descriptors.md 12.1)."""
        return sum(1 << bit for name in self.fields for bit in FIELDS[name])
