# SPDX-License-Identifier: BSD-3-Clause
"""The profiles of flows that ice has set up for a VF, and what they make of its traffic.

A profile has one segment for the headers of a packet, or a second one for those inside a tunnel.
Each segment names headers that a packet must have, and fields that are hashed. Bits are places in
the tables of iavfio/linuxpf/kernel/judge_ice_flows.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from types import MappingProxyType

from iavfio.softvf._device import lib
from iavfio.softvf.vf_config import HashRule

COUNT = struct.Struct("<I")
PROFILE = struct.Struct("<4B IQ IQ")

HEADERS = (
    "eth",
    "vlan",
    "ipv4",
    "ipv6",
    "any-ip",  # whatever is behind IPv4 or IPv6, or nothing
    "tcp",
    "udp",
    "sctp",
    "pppoe",
    "gtpu",
    "gtpu-eh",
    "gtpu-down",
    "gtpu-up",
    "l2tpv3",
    "esp",
    "ah",
    "pfcp",
    "nat-t-esp",
    "pfcp-node",
    "eth-non-ip",
)
FIELDS = (
    "eth-src",
    "eth-dst",
    "eth-type",
    "s-vlan",
    "c-vlan",
    "ipv4-src",
    "ipv4-dst",
    "ipv4-proto",
    "ipv4-dscp",
    "ipv4-ttl",
    "ipv6-src",
    "ipv6-dst",
    "ipv6-proto",
    "ipv6-tc",
    "ipv6-hops",
    "tcp-src",
    "tcp-dst",
    "udp-src",
    "udp-dst",
    "sctp-src",
    "sctp-dst",
    "gtpu-teid",
    "gtpu-eh-teid",
    "gtpu-up-teid",
    "gtpu-down-teid",
    "gtpu-eh-qfi",
    "pppoe-session",
    "pfcp-seid",
    "l2tpv3-session",
    "esp-spi",
    "ah-spi",
    "nat-t-esp-spi",
)
OTHER_HEADER, OTHER_FIELD = 31, 63  # bits of those that the tables do not have

# What the data plane calls them; "any-ip" asks for nothing.
PLANE_HEADERS: Mapping[str, int] = MappingProxyType(
    {
        "eth": lib.SOFTVF_HAS_ETH,
        "vlan": lib.SOFTVF_HAS_VLAN,
        "ipv4": lib.SOFTVF_HAS_IPV4,
        "ipv6": lib.SOFTVF_HAS_IPV6,
        "any-ip": 0,
        "tcp": lib.SOFTVF_HAS_TCP,
        "udp": lib.SOFTVF_HAS_UDP,
        "sctp": lib.SOFTVF_HAS_SCTP,
        "pppoe": lib.SOFTVF_HAS_PPPOE,
        "gtpu": lib.SOFTVF_HAS_GTPU,
        "gtpu-eh": lib.SOFTVF_HAS_GTPU_EH,
        "gtpu-down": lib.SOFTVF_HAS_GTPU_DOWN,
        "gtpu-up": lib.SOFTVF_HAS_GTPU_UP,
        "l2tpv3": lib.SOFTVF_HAS_L2TPV3,
        "esp": lib.SOFTVF_HAS_ESP,
        "ah": lib.SOFTVF_HAS_AH,
        "pfcp": lib.SOFTVF_HAS_PFCP,
    }
)
PLANE_FIELDS: Mapping[str, int] = MappingProxyType(
    {
        "eth-src": lib.SOFTVF_OF_ETH_SRC,
        "eth-dst": lib.SOFTVF_OF_ETH_DST,
        "eth-type": lib.SOFTVF_OF_ETH_TYPE,
        "s-vlan": lib.SOFTVF_OF_S_VLAN,
        "c-vlan": lib.SOFTVF_OF_C_VLAN,
        "ipv4-src": lib.SOFTVF_OF_IP_SRC,
        "ipv4-dst": lib.SOFTVF_OF_IP_DST,
        "ipv4-proto": lib.SOFTVF_OF_IP_PROTO,
        "ipv6-src": lib.SOFTVF_OF_IP_SRC,
        "ipv6-dst": lib.SOFTVF_OF_IP_DST,
        "ipv6-proto": lib.SOFTVF_OF_IP_PROTO,
        "tcp-src": lib.SOFTVF_OF_SRC_PORT,
        "tcp-dst": lib.SOFTVF_OF_DST_PORT,
        "udp-src": lib.SOFTVF_OF_SRC_PORT,
        "udp-dst": lib.SOFTVF_OF_DST_PORT,
        "sctp-src": lib.SOFTVF_OF_SRC_PORT,
        "sctp-dst": lib.SOFTVF_OF_DST_PORT,
        "gtpu-teid": lib.SOFTVF_OF_GTPU_TEID,
        "gtpu-eh-teid": lib.SOFTVF_OF_GTPU_TEID,
        "gtpu-up-teid": lib.SOFTVF_OF_GTPU_TEID,
        "gtpu-down-teid": lib.SOFTVF_OF_GTPU_TEID,
        "pppoe-session": lib.SOFTVF_OF_PPPOE_SESSION,
        "pfcp-seid": lib.SOFTVF_OF_PFCP_SEID,
        "l2tpv3-session": lib.SOFTVF_OF_L2TPV3_SESSION,
        "esp-spi": lib.SOFTVF_OF_ESP_SPI,
        "ah-spi": lib.SOFTVF_OF_AH_SPI,
    }
)

WORDS: Mapping[str, int] = MappingProxyType(  # fields as the software PF's snapshot names them
    {
        "ip-src": lib.SOFTVF_OF_IP_SRC,
        "ip-dst": lib.SOFTVF_OF_IP_DST,
        "src-port": lib.SOFTVF_OF_SRC_PORT,
        "dst-port": lib.SOFTVF_OF_DST_PORT,
        "ip-proto": lib.SOFTVF_OF_IP_PROTO,
        "teid": lib.SOFTVF_OF_GTPU_TEID,
        "l2tpv3-session": lib.SOFTVF_OF_L2TPV3_SESSION,
        "esp-spi": lib.SOFTVF_OF_ESP_SPI,
        "ah-spi": lib.SOFTVF_OF_AH_SPI,
        "seid": lib.SOFTVF_OF_PFCP_SEID,
        "pppoe-session": lib.SOFTVF_OF_PPPOE_SESSION,
        "s-vlan": lib.SOFTVF_OF_S_VLAN,
        "c-vlan": lib.SOFTVF_OF_C_VLAN,
        "eth-src": lib.SOFTVF_OF_ETH_SRC,
        "eth-dst": lib.SOFTVF_OF_ETH_DST,
        "eth-type": lib.SOFTVF_OF_ETH_TYPE,
    }
)

# Packet classes (docs/spec/descriptors.md 12.1) of the profiles that a VF has without a rule, by
# their headers: each hashes addresses, and ports where there are any.
CLASSES: Mapping[frozenset[str], tuple[int, ...]] = MappingProxyType(
    {
        frozenset({"ipv4"}): (35, 36),
        frozenset({"ipv4", "tcp"}): (32, 33),
        frozenset({"ipv4", "udp"}): (29, 30, 31),
        frozenset({"ipv4", "sctp"}): (34,),
        frozenset({"ipv6"}): (45, 46),
        frozenset({"ipv6", "tcp"}): (42, 43),
        frozenset({"ipv6", "udp"}): (39, 40, 41),
        frozenset({"ipv6", "sctp"}): (44,),
    }
)
INSIDE = frozenset({"ipv4", "ipv6"})  # headers of a packet that a tunnel carries
LAYER_4 = lib.SOFTVF_HAS_TCP | lib.SOFTVF_HAS_UDP | lib.SOFTVF_HAS_SCTP
TUNNELS = frozenset({"gtpu", "gtpu-eh", "gtpu-down", "gtpu-up"})


@dataclass(frozen=True)
class Segment:
    """Headers that a packet must have, and fields of theirs, by their names."""

    headers: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{' '.join(sorted(self.headers))} by {' '.join(sorted(self.fields)) or 'nothing'}"


@dataclass(frozen=True)
class Profile:
    """What serves a kind of packets. One with `attributes` comes before all without."""

    segments: tuple[Segment, ...]
    symmetric: bool = False
    attributes: bool = False

    def __str__(self) -> str:
        return " / inside ".join(map(str, self.segments))


@dataclass(frozen=True)
class Flows:
    """The profiles of one VF, the newest first: those of RSS, and those of its flow director."""

    rss: tuple[Profile, ...] = ()
    director: tuple[Profile, ...] = ()


@dataclass(frozen=True)
class Hashing:
    """What RSS makes of profiles; `left_out` says what the data plane cannot do of it."""

    classes: int = 0  # packet classes, as bits
    rules: tuple[HashRule, ...] = ()  # the first that fits decides; the classes come last
    symmetric: bool = False  # both directions hash alike, in rules that are symmetric
    left_out: tuple[str, ...] = ()


def decode(raw: bytes) -> Flows:
    """Decodes what the judge tells of one VF's profiles."""
    (count,) = COUNT.unpack_from(raw)
    found: tuple[list[Profile], list[Profile]] = ([], [])
    for number in range(count):
        at = COUNT.size + number * PROFILE.size
        director, segments, symmetric, attributes, *rest = PROFILE.unpack_from(raw, at)
        pairs = zip(rest[::2], rest[1::2], strict=True)
        every = tuple(Segment(_headers(headers), _fields(fields)) for headers, fields in pairs)
        found[director].append(Profile(every[:segments], bool(symmetric), bool(attributes)))
    return Flows(*map(tuple, found))


def _headers(bits: int) -> frozenset[str]:
    return _names(bits, HEADERS, OTHER_HEADER)


def _fields(bits: int) -> frozenset[str]:
    return _names(bits, FIELDS, OTHER_FIELD)


def _names(bits: int, table: Sequence[str], other: int) -> frozenset[str]:
    found = {name for place, name in enumerate(table) if bits >> place & 1}
    return frozenset(found | ({"another"} if bits >> other & 1 else set()))


def hashing(profiles: Sequence[Profile], symmetric: bool) -> Hashing:
    """What the data plane is to hash, and by what; `symmetric`: the VSI's hash function is."""
    order = sorted(
        (each for each in profiles if not _is_twin(each, profiles)),
        key=lambda each: not each.attributes,
    )
    made = {number: _rule(each) for number, each in enumerate(order) if not _classes(each)}
    last = max((number for number, (rule, _) in made.items() if rule), default=-1)
    symmetric = symmetric and any(each.symmetric for each in profiles)
    classes, rules, left_out = 0, [], [why for _, why in made.values() if why]
    late: list[HashRule] = []
    for number, profile in enumerate(order):
        if number in made:
            rules += [rule for rule, _ in (made[number],) if rule]
        elif number < last and not _is_rest(profile):
            rules += [rule for rule, _ in (_rule(profile),) if rule]
        elif symmetric and not profile.symmetric:
            late += [rule for rule, _ in (_rule(profile),) if rule]
        else:
            classes |= _classes(profile)
            if number < last:
                left_out.append(f"{profile}: the data plane has it behind all rules")
    late.sort(key=lambda rule: not rule.headers & LAYER_4)  # the rest of IP fits all of IP
    rules += late
    if len(rules) > lib.SOFTVF_RULES:
        left_out.append(f"{len(rules)} rules: the data plane has room for {lib.SOFTVF_RULES}")
    return Hashing(classes, tuple(rules[: lib.SOFTVF_RULES]), symmetric, tuple(left_out))


def _is_twin(profile: Profile, profiles: Sequence[Profile]) -> bool:
    """Whether it does inside any tunnel what another of the VF's does for plain packets."""
    outer, *inner = profile.segments
    return (
        bool(inner) and not outer.headers and any(each.segments == (*inner,) for each in profiles)
    )


def _is_rest(profile: Profile) -> bool:
    """Whether it serves IP without TCP, UDP and SCTP: no rule of the data plane's can say so."""
    return len(profile.segments[0].headers) == 1


def _classes(profile: Profile) -> int:
    """The packet classes of a profile that a VF has without a rule; 0 for one of a rule."""
    segment = profile.segments[0]
    whole = {f"{header}-{side}" for header in segment.headers for side in ("src", "dst")}
    if len(profile.segments) > 1 or segment.fields != whole:
        return 0
    return sum(1 << bit for bit in CLASSES.get(segment.headers, ()))


def _rule(profile: Profile) -> tuple[HashRule | None, str]:
    """A rule of the data plane's, or None, and what it cannot do of the profile."""
    inner = profile.segments[1] if len(profile.segments) > 1 else Segment()
    headers, fields, strange = combined(profile, PLANE_HEADERS, PLANE_FIELDS)
    if strange:
        return None, f"{profile}: the data plane does not know {', '.join(strange)}"
    if len(profile.segments) > 1 and not inner.headers & TUNNELS:
        return None, f"{profile}: the data plane looks inside no tunnel but GTP-U"
    if inner.headers & INSIDE:
        return None, f"{profile}: the data plane hashes no addresses inside GTP-U"
    return HashRule(headers, fields, profile.symmetric), ""


def combined(
    profile: Profile, headers: Mapping[str, int], fields: Mapping[str, int]
) -> tuple[int, int, list[str]]:
    """Headers and fields of all segments as bits of these tables, and names that those lack."""
    has = frozenset().union(*(segment.headers for segment in profile.segments))
    of = frozenset().union(*(segment.fields for segment in profile.segments))
    return (
        _all(headers.get(each, 0) for each in has),
        _all(fields.get(each, 0) for each in of),
        sorted((has - headers.keys()) | (of - fields.keys())),
    )


def _all(bits: Iterable[int]) -> int:
    """Bits together; some names have the same."""
    return reduce(or_, bits, 0)


def told(rule: HashRule) -> dict[str, object]:
    """A rule as JSON-able values, in the words of the software PF's snapshot."""
    return {
        "headers": [name for name, bit in PLANE_HEADERS.items() if rule.headers & bit],
        "fields": [name for name, bit in WORDS.items() if rule.fields & bit],
        "symmetric": rule.symmetric,
    }
