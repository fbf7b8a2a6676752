# SPDX-License-Identifier: BSD-3-Clause
"""Scenarios about what serves a VF's frames: what comes of settings together, and over resets."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from tests.judge.ice_messages import (
    MULTICAST,
    RESOURCES,
    V,
    add,
    delete,
    plain,
    request,
    tags,
    unicast,
    untag,
    vlan_setting,
    vlans_add,
    vlans_delete,
)
from tests.judge.ice_pair import Host, Say, Step
from tests.judge.ice_queue_scenarios import FOUR, RUNNING, configure, disable, enable
from tests.softvf.pf.pf_rig import irq_map, promisc, rss_key, rss_lut

Scenario = tuple[Step, ...]
FLR, RESET = Host("flr"), Say(2)
KEY = Say(23, rss_key(V, bytes(range(52))))
SPREAD = Say(24, rss_lut(V, bytes([3, 2, 1, 0] * 16)))
SYMMETRIC, PLAIN_HASH = (Say(18, struct.pack("<HHI", V, kind, 0)) for kind in (2, 0))
VLANS = (Say(51), tags((5, 0x8100), (6, 0x8100)))


def scenarios() -> Iterable[tuple[str, Scenario]]:
    """All of them; none needs a step before."""
    yield from _resets()
    yield from _vlans()
    yield from _queues()
    for mbps in (1, 37, 1000, 99_999):
        rate = Host("rate", mbps)
        yield f"{mbps} Mbit/s", (RESOURCES, rate, FLR, RESOURCES, rate, Host("rate", 0), FLR)


def _resets() -> Iterable[tuple[str, Scenario]]:
    left: dict[str, Scenario] = {
        "key": (KEY,),
        "table": (SPREAD,),
        "no packet classes": (Say(26, bytes(8)),),
        "symmetry": (SYMMETRIC,),
        "addresses": (add(unicast(1), MULTICAST), add(unicast(2), kind=1)),
        "VLANs": VLANS,
        "promiscuity": (Say(14, promisc(V, 3)),),
        "stripping": (Say(51), vlan_setting(54, inner=1)),
        "queues": RUNNING,
        "rate": (Host("rate", 500),),
        "no spoof check": (Host("spoofchk", False),),
    }
    for name, steps in left.items():
        for reset in (FLR, RESET):
            yield f"{name} over {reset}", (RESOURCES, *steps, reset, RESOURCES, *steps)


def _vlans() -> Iterable[tuple[str, Scenario]]:
    everything, nothing = Say(14, promisc(V, 3)), Say(14, promisc(V, 0))
    more, fewer = tags((7, 0x8100)), untag((5, 0x8100))
    yield (
        "promiscuity among VLANs",
        (RESOURCES, *VLANS, everything, more, fewer, nothing, untag((6, 0x8100), (7, 0x8100))),
    )
    yield "VLANs of a promiscuous VF", (RESOURCES, everything, *VLANS, nothing, fewer)
    yield (
        "plain VLANs of a promiscuous VF",
        (plain(), everything, vlans_add(5, 6), nothing, vlans_delete(5, 6), vlans_add(7)),
    )
    off, on = Host("spoofchk", False), Host("spoofchk", True)
    yield "VLANs and the spoof check", (RESOURCES, *VLANS, off, more, on, fewer, off, fewer, on)
    yield "VLANs without spoof check", (RESOURCES, off, *VLANS, fewer, untag((6, 0x8100)), on)
    yield "plain VLANs and the spoof check", (plain(), vlans_add(5), off, vlans_add(6), on)
    yield (
        "queues on a port VLAN",
        (Host("vlan", 100), RESOURCES, configure(0, frame=1518), enable(1, 1), Host("vlan", 0)),
    )
    inner, on_port = vlan_setting(54, inner=1), Host("vlan", 100)
    resets: tuple[Step, ...] = (
        *(FLR, RESET, request(4), on_port, Host("vlan", 200), Host("vlan", 0)),
        *(Host("mac", bytes.fromhex("020000000001")), Host("trust", True), Host("trust", False)),
    )
    for reset in resets:
        again = (reset, RESOURCES, Say(51), reset)
        whole = (on_port, RESOURCES, Say(51), inner, *again)
        yield f"inner tags on a port VLAN over {reset}", whole
        yield f"plain tags on a port VLAN over {reset}", (on_port, plain(), Say(27), reset, plain())
        yield f"inner tags over {reset}", (RESOURCES, Say(51), inner, *again)
    yield "addresses on a port VLAN", (Host("vlan", 100), RESOURCES, add(unicast(1)), everything)


def _queues() -> Iterable[tuple[str, Scenario]]:
    for buffer in (128, 1000, 1024, 2048, 4096):
        yield f"long frames in {buffer}", (RESOURCES, configure(0, buffer=buffer, frame=9000))
        yield (
            f"long frames into buffers of {buffer}",
            (RESOURCES, configure(0, buffer=buffer, frame=9000), enable(1, 1)),
        )
    moved = Say(7, irq_map((V, 2, 15, 15, 2, 0)))
    fewer = Say(7, irq_map((V, 1, 1, 2, 0, 1), (V, 2, 1, 0, 2, 0)))
    beyond = Say(7, irq_map((V, 3, 3, 3, 0, 0), (V, 4, 0x8005, 15, 0, 0)))
    other = Say(7, irq_map((V, 3, 3, 0, 0, 0), (V, 4, 12, 15, 1, 1)))
    yield "queues that move to other vectors", (RESOURCES, *RUNNING, moved, other, moved)
    yield "vectors after the start", (RESOURCES, FOUR, enable(15, 15), moved)
    yield (
        "vectors of queues that stop and start",
        (RESOURCES, *RUNNING, disable(3, 3), other, enable(3, 3), FOUR, enable(15, 15)),
    )
    slower = Say(7, irq_map((V, 1, 1, 1, 2, 2)))
    yield "queues that keep their ITR", (RESOURCES, *RUNNING, slower)
    yield "vectors that lose a queue", (RESOURCES, *RUNNING, fewer, moved, fewer)
    yield (
        "vectors of queues that the VF has not",
        (RESOURCES, request(4), RESOURCES, *RUNNING, beyond),
    )
    again = configure(0)
    yield "link of send queues", (RESOURCES, again, enable(0, 1), RESOURCES, again, RESOURCES)
    none, few = Say(26, bytes(8)), Say(26, struct.pack("<Q", 1 << 33))
    yield "classes and symmetry", (RESOURCES, few, SYMMETRIC, none, PLAIN_HASH, PLAIN_HASH, none)
    yield "addresses while it runs", (RESOURCES, *RUNNING, add(unicast(1)), delete(unicast(1)))
