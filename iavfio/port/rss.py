# SPDX-License-Identifier: BSD-3-Clause
"""Receive-side scaling: key, indirection table and hashed packet classes
(docs/spec/descriptors.md 12).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from iavfio._driver import lib
from iavfio.arguments import Flag, Names, Range, known_fields, known_keywords, several, wrong_type
from iavfio.errors import ConfigError, Remedy
from iavfio.port.tunnels import TUNNELS

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
CLASSES = Names("packet class of RSS", tuple(FIELDS))
TUNNEL_NAMES = Names("tunnel that a rule for RSS spreads", tuple(TUNNELS))
TUPLE = 12  # bytes that are hashed of UDP over IPv4: addresses and ports
FLOWS = [int.from_bytes(hashlib.blake2b(bytes([i]), digest_size=TUPLE).digest()) for i in range(64)]
SHORTEST_KEY = 40  # bytes, of X710
PLACES = 64  # of the smallest table
LEAST_PLACES = 8  # for the flows above; random keys get about 40
QUEUE = Range(0, 255, "")  # the number of a queue in the table


@known_fields
@dataclass(frozen=True)
class Rss:
    """How flows are spread over queues.

    `key`: Toeplitz key of the PF's size; None takes the default one. `lut`: queue numbers, repeated
    to the PF's table size; None spreads over all queues. `fields`: packet classes that are hashed,
    names of FIELDS. `symmetric`: both directions of a flow hash alike, where the PF can do that.
    `tunnels`: names of TUNNELS whose packets are hashed by what tells those of one tunnel apart:
    TEID, session, SPI or SEID, and of PPPoE the packet inside; an E810 with the comms DDP package
    can do that.
    Raises ConfigError for what no PF can have; what this PF has shows in `Port.configure`.
    """

    key: bytes | None = None
    lut: tuple[int, ...] | None = None
    fields: frozenset[str] = frozenset(FIELDS)
    symmetric: bool = False
    tunnels: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        checked = {
            "key": None if self.key is None else _key(self.key),
            "lut": None if self.lut is None else _table(self.lut),
            "fields": CLASSES("fields", self.fields),
            "symmetric": Flag()("symmetric", self.symmetric),
            "tunnels": TUNNEL_NAMES("tunnels", self.tunnels),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    @known_keywords
    def make(
        cls,
        *,
        key: bytes | None = None,
        lut: Sequence[int] | None = None,
        fields: Iterable[str] | None = None,
        symmetric: bool = False,
        tunnels: Iterable[str] = (),
    ) -> Rss:
        """The settings from any collections; None takes the default. Raises ConfigError."""
        classes = FIELDS if fields is None else fields
        names = CLASSES("fields", list(classes) if isinstance(classes, Mapping) else classes)
        rules = TUNNEL_NAMES("tunnels", tunnels)
        return cls(key, None if lut is None else _table(lut), names, symmetric, rules)

    def key_of(self, size: int) -> bytes:
        """The key, which has the PF's size, or as much of the default one as the PF takes."""
        key = DEFAULT_KEY if self.key is None else self.key
        return key[:size].ljust(size, b"\0")

    def table_of(self, size: int, queues: int) -> bytes:
        """The table in the PF's size. Raises ConfigError when it names a queue too many."""
        pattern = tuple(range(queues)) if self.lut is None else self.lut
        worst = max(pattern)
        if worst >= queues or min(pattern) < 0:
            raise ConfigError(
                f"the RSS table names queue {worst}",
                f"the port has queues 0..{queues - 1}",
                Remedy("configure more queues, or correct lut=", "use more --queues"),
            )
        return bytes(pattern[i % len(pattern)] for i in range(size))

    @property
    def left_out(self) -> tuple[str, ...]:
        """Classes of packets that are not hashed."""
        return tuple(sorted(set(FIELDS) - self.fields))

    @property
    def table_queues(self) -> int | None:
        """How many queues the table names; None for all."""
        return None if self.lut is None else len(set(self.lut))

    @property
    def hashcfg(self) -> int:
        """Bitmap of PCTYPEs (docs/spec/descriptors.md 12.1)."""
        return sum(1 << bit for name in self.fields for bit in FIELDS[name])


def _key(key: object) -> bytes:
    if not isinstance(key, bytes | bytearray | memoryview):
        raise wrong_type("key", key, "a key in bytes")
    if not key:
        raise ConfigError("the RSS key is empty", "a key has the PF's size, mostly 52 bytes")
    if not any(bytes(key)):
        raise ConfigError(
            "an RSS key of zeros is not possible",
            "it spreads nothing: the hash of every packet is 0, and all arrive in one queue",
            "give random bytes, or leave key out for the default one",
        )
    places = _places(bytes(key))
    if len(key) >= SHORTEST_KEY and places < LEAST_PLACES:  # a shorter one fits no PF
        raise ConfigError(
            "this RSS key spreads almost nothing",
            f"{len(FLOWS)} flows are in {places} of a table's {PLACES} places: its bits repeat, or "
            "almost all of them are zero",
            "give random bytes, or leave key out for the default one",
        )
    return bytes(key)


def _places(key: bytes) -> int:
    """How many places of a small table the Toeplitz hashes of some flows fall on."""
    bits = int.from_bytes(key.ljust(TUPLE + 4, b"\0")[: TUPLE + 4], "big")
    windows = [bits >> (8 * TUPLE - 1 - i) & 0xFFFFFFFF for i in range(8 * TUPLE)]
    found = set()
    for flow in FLOWS:
        hashed = 0
        for i, window in enumerate(windows):
            if flow >> (8 * TUPLE - 1 - i) & 1:
                hashed ^= window
        found.add(hashed % PLACES)
    return len(found)


def _table(lut: object) -> tuple[int, ...]:
    queues = several("lut", lut, "queue numbers")
    if not queues:
        raise ConfigError("the RSS table is empty", "", "give queue numbers, as in lut=[0, 1]")
    return tuple(QUEUE(f"lut[{i}]", queue) for i, queue in enumerate(queues))
