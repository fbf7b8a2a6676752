# SPDX-License-Identifier: BSD-3-Clause
"""Scenarios about rules for RSS: what a pattern comes to, and what rules leave of each other."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from tests.judge.ice_messages import RESOURCES, V
from tests.judge.ice_pair import CAPS, Host, Say, Step
from tests.softvf.pf.pf_rig import rss_cfg

Scenario = tuple[Step, ...]
Header = tuple[int, int]
ADD, DEL = 45, 46
ETH, S_VLAN, C_VLAN, IPV4, IPV6, TCP, UDP, SCTP = range(1, 9)
GTPU, GTPU_EH, GTPU_DOWN, GTPU_UP, PPPOE, L2TPV3, ESP, AH, PFCP = range(9, 18)
TOEPLITZ, XOR, TOEPLITZ_SYMMETRIC, XOR_SYMMETRIC = range(4)
PATTERNS: tuple[tuple[Header, ...], ...] = (
    ((IPV4, 3),),
    ((IPV4, 1),),
    ((IPV4, 0x11),),
    ((IPV4, 4),),
    ((IPV4, 0),),
    ((IPV6, 3),),
    ((IPV4, 3), (TCP, 3)),
    ((IPV4, 3), (UDP, 0)),
    ((IPV4, 0), (SCTP, 2)),
    ((IPV6, 2), (UDP, 3)),
    ((IPV6, 1), (TCP, 1)),
    ((ETH, 1),),
    ((ETH, 3),),
    ((ETH, 4),),
    ((ETH, 5),),
    ((ETH, 0), (S_VLAN, 1), (C_VLAN, 1), (IPV4, 0)),
    ((ETH, 0), (IPV4, 3), (UDP, 3)),
    ((PPPOE, 1), (IPV4, 3)),
    ((PPPOE, 1), (IPV6, 3), (UDP, 3)),
    ((PPPOE, 1),),
    ((C_VLAN, 1),),
    ((TCP, 3),),
    (),
    ((0, 0), (IPV4, 3)),
    ((IPV4, 1), (IPV6, 1)),
    ((IPV4, 1), (TCP, 1), (UDP, 1)),
    ((IPV4, 0), (GTPU, 1)),
    ((IPV6, 0), (GTPU, 1)),
    ((IPV4, 0), (GTPU, 1), (GTPU_EH, 0)),
    ((IPV4, 0), (GTPU_EH, 0)),
    ((IPV4, 1), (GTPU_UP, 0)),
    ((IPV4, 1), (GTPU_DOWN, 0)),
    ((IPV4, 3), (L2TPV3, 1)),
    ((IPV6, 0), (ESP, 1)),
    ((IPV4, 3), (UDP, 0), (ESP, 1)),
    ((IPV4, 0), (AH, 1)),
    ((IPV4, 0), (PFCP, 2)),
    ((IPV4, 0), (PFCP, 1)),
    ((16383, 1),),
)


def add(*headers: Header, algorithm: int = TOEPLITZ) -> Say:
    """ADD_RSS_CFG."""
    return Say(ADD, rss_cfg(*headers, algorithm=algorithm))


def delete(*headers: Header, algorithm: int = TOEPLITZ) -> Say:
    """DEL_RSS_CFG."""
    return Say(DEL, rss_cfg(*headers, algorithm=algorithm))


def function(algorithm: int) -> Say:
    """CONFIG_RSS_HFUNC."""
    return Say(18, struct.pack("<HHI", V, algorithm, 0))


def classes(bits: int) -> Say:
    """SET_RSS_HASHCFG."""
    return Say(26, struct.pack("<Q", bits))


V4, V6, V4_UDP = ((IPV4, 3),), ((IPV6, 3),), ((IPV4, 0), (UDP, 3))
SOURCE = ((IPV4, 1),)


def scenarios() -> Iterable[tuple[str, Scenario]]:
    """What both packages take and refuse; each begins after GET_VF_RESOURCES."""
    yield "rules one by one", (add(*V4), add(*V4_UDP), add(*V6), delete(*V4_UDP), delete(*V6))
    yield "a rule again", (add(*V4), add(*V6), add(*V4))
    yield "a rule of the same headers", (add(*V4), add(*V6), add(*SOURCE), delete(*V4), delete(*V4))
    yield "a rule that is not there", (delete(*V4), add(*V4), delete(*V6), delete(*V4), delete(*V4))
    yield "rules and packet classes", (add(*V4), classes(1 << 33), add(*V6), classes(0))
    yield "rules of what is inside", (add((IPV4, 1), (GTPU_UP, 0)), delete((IPV4, 1), (GTPU_UP, 0)))
    yield "rules and resets", (add(*V4), Say(2), RESOURCES, add(*V6), Host("flr"), RESOURCES)
    without = Say(3, struct.pack("<I", CAPS & ~(1 << 27)))
    yield "rules of a VF without the capability", (without, add(*V4))
    for kind in (TOEPLITZ_SYMMETRIC, XOR_SYMMETRIC, 4, -1):
        yield f"a rule of function {kind}", (add(*V4, algorithm=kind), delete(*V4, algorithm=kind))
    yield (
        "the function goes through the rules",
        (add(*V4), add(*V6, algorithm=2), function(2), function(0)),
    )
    yield "a rule that the function leaves as it is", (add(*SOURCE), function(2))
    for rule in (SOURCE, V4):
        symmetric = add(*rule, algorithm=TOEPLITZ_SYMMETRIC)
        yield f"a symmetric rule of {rule}, then the plain function", (symmetric, function(0))
    yield (
        "the same function again",
        (function(2), add(*V4), function(2), function(0), add(*V4), function(0)),
    )
    for message in (add, delete):
        xor = message(*V4, algorithm=XOR)
        yield (
            f"{message.__name__} by XOR between functions",
            (function(2), xor, function(2), function(0), function(2)),
        )
        yield f"{message.__name__} by XOR, then a reset", (function(2), xor, Say(2), RESOURCES)
        yield f"{message.__name__} by XOR of no pattern", (message((TCP, 3), algorithm=XOR),)
    for count in (33, 0xFFFFFFFF):
        yield f"{count} headers", (Say(ADD, rss_cfg(*V4, count=count)),)


def patterns() -> Iterable[tuple[str, Scenario]]:
    """Each pattern alone: made, deleted, deleted again."""
    for each in PATTERNS:
        yield f"pattern {each}", (add(*each), delete(*each), delete(*each))
