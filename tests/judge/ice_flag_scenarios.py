# SPDX-License-Identifier: BSD-3-Clause
"""What a VF may say to a PF with vf-true-promisc-support or vf-vlan-pruning on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from tests.judge.ice_messages import (
    RESOURCES,
    V,
    add,
    plain,
    tags,
    unicast,
    untag,
    vlans_add,
    vlans_delete,
)
from tests.judge.ice_pair import Host, Say, Step
from tests.softvf.pf.pf_rig import promisc, vlan_filters

PLAIN = plain()
CAPABILITIES = Say(51)
FLAGS: Mapping[str, Host] = MappingProxyType(
    {
        "true promiscuity": Host("flags", ("true_promisc",)),
        "pruning": Host("flags", ("vlan_pruning",)),
        "both flags": Host("flags", ("true_promisc", "vlan_pruning")),
    }
)


def _promiscuous(flags: int) -> Say:
    return Say(14, promisc(V, flags))


def _outer(opcode: int, *vids: int) -> Say:
    return Say(opcode, vlan_filters(V, *((0, 0, vid, 0x8100) for vid in vids)))


def _steps() -> Iterable[tuple[str, tuple[Step, ...]]]:
    flr, trust, no_trust = Host("flr"), Host("trust", True), Host("trust", False)
    guarded, free = Host("spoofchk", True), Host("spoofchk", False)
    inner, no_inner = tags((5, 0x8100)), untag((5, 0x8100))
    yield "from the start", (RESOURCES, flr, RESOURCES, Say(2), RESOURCES)
    yield "filters", (RESOURCES, CAPABILITIES, inner, tags((6, 0x8100)), no_inner, inner, flr)
    yield "all filters deleted", (RESOURCES, CAPABILITIES, inner, no_inner, no_inner)
    yield (
        "outer filters",
        (RESOURCES, CAPABILITIES, _outer(52, 5, 6), _outer(53, 5), _outer(53, 6), _outer(53, 6)),
    )
    yield (
        "filters and the spoof check",
        (RESOURCES, CAPABILITIES, free, inner, _outer(52, 5), guarded, no_inner, free),
    )
    yield "plain filters", (PLAIN, vlans_add(5), vlans_add(6, 0), vlans_delete(5), vlans_delete(6))
    yield "plain filters, of id 0", (PLAIN, vlans_add(0), vlans_delete(0), vlans_add(7), flr, PLAIN)
    yield "plain filters that are not there", (PLAIN, vlans_delete(9), vlans_add(5), flr, RESOURCES)
    yield (
        "plain filters and the spoof check",
        (PLAIN, free, vlans_add(5), guarded, vlans_delete(5), vlans_add(8)),
    )
    yield "plain after V2", (RESOURCES, CAPABILITIES, inner, PLAIN, vlans_add(6), RESOURCES)
    yield "plain before V2", (PLAIN, vlans_add(6), RESOURCES, CAPABILITIES, inner, no_inner)
    yield (
        "plain before V2, outer filters",
        (PLAIN, RESOURCES, CAPABILITIES, _outer(52, 5), guarded, _promiscuous(3), _promiscuous(0)),
    )
    yield "plain after outer filters", (RESOURCES, CAPABILITIES, _outer(52, 5), PLAIN, guarded)
    for flags in (1, 2, 3):
        on, off = _promiscuous(flags), _promiscuous(0)
        yield f"promiscuous {flags}", (RESOURCES, on, add(unicast(1)), off, on, flr, RESOURCES)
        yield f"promiscuous {flags}, filters later", (RESOURCES, CAPABILITIES, on, inner, no_inner)
        yield f"promiscuous {flags}, filters first", (RESOURCES, CAPABILITIES, inner, on, off)
        yield f"promiscuous {flags}, plain", (PLAIN, on, off, vlans_add(5), on, vlans_delete(5))
        yield f"promiscuous {flags}, plain filters later", (PLAIN, on, vlans_add(5), vlans_add(6))
        yield (
            f"promiscuous {flags}, trusted meanwhile",
            (RESOURCES, on, trust, RESOURCES, on, no_trust, RESOURCES),
        )
    for vid in (100, 0):
        yield (
            f"port VLAN {vid}",
            (RESOURCES, Host("vlan", vid), RESOURCES, _promiscuous(3), _promiscuous(0), PLAIN),
        )
    yield "port VLAN withdrawn", (Host("vlan", 100), PLAIN, Host("vlan", 0), PLAIN, vlans_add(5))


def scenarios() -> Iterable[tuple[str, tuple[Step, ...]]]:
    """Each from a VF that is reset after the flags were set, as when they are set before VFs."""
    for name, deed in FLAGS.items():
        for what, steps in _steps():
            yield f"{name}: {what}", (deed, *steps)
