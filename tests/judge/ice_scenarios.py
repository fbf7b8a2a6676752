# SPDX-License-Identifier: BSD-3-Clause
"""What a VF may say and an administrator may do: each scenario starts from a fresh VF.

Most are one message that is right, nearly right or wrong in one field; the rest is about what a
message leaves behind.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from tests.judge import (
    ice_effect_scenarios,
    ice_flag_scenarios,
    ice_queue_scenarios,
    ice_rule_scenarios,
)
from tests.judge.ice_messages import (
    BROADCAST,
    LUT,
    MULTICAST,
    NO_FLEX,
    RESOURCES,
    ZERO,
    V,
    add,
    ask,
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
from tests.softvf.pf.pf_rig import (
    DPDK_CAPS,
    VPP_CAPS,
    macs,
    promisc,
    rss_key,
    rss_lut,
    select,
    vlan_filters,
    vlans,
)

Scenario = tuple[Step, ...]
Table = dict[str, Scenario]
FLR = Host("flr")
RESET = Say(2)


def _negotiation() -> Iterable[tuple[str, Scenario]]:
    def version(major: int, minor: int) -> Say:
        return Say(1, struct.pack("<II", major, minor))

    yield "resources", (RESOURCES,)
    yield "resources twice", (RESOURCES, RESOURCES)
    yield "resources of fewer capabilities", (RESOURCES, ask(1), Say(24, rss_lut(V, LUT)), Say(51))
    for name, asked in {"dpdk": DPDK_CAPS, "vpp": VPP_CAPS, "all": 0xFFFFFFFF, "none": 0}.items():
        yield f"resources of {name}", (ask(asked),)
    for bit in range(32):
        yield f"resources with bit {bit}", (ask(1 << bit),)
    yield "resources without payload", (Say(3),)
    for major, minor in ((1, 1), (2, 0), (1, 2), (0, 0)):
        yield f"version {major}.{minor}", (version(major, minor), RESOURCES)
        yield f"version {major}.{minor} without capabilities", (version(major, minor), Say(3))
    yield "version 1.0", (version(1, 0), Say(3), add(unicast(1)), vlans_add(5), Say(27))
    yield "version short", (Say(1, b"1234"),)
    for opcode in range(125):
        if opcode not in (1, 2, 3):
            yield f"opcode {opcode} without payload, before resources", (Say(opcode),)
            yield f"opcode {opcode} without payload", (RESOURCES, Say(opcode))
    for opcode, size in LENGTHS.items():
        yield f"opcode {opcode} of zeros", (RESOURCES, Say(opcode, bytes(size)))
    yield "reset", (RESET, RESOURCES)
    yield "reset that is long", (RESOURCES, Say(2, b"x"))
    yield "RXDIDs that were not asked for", (ask(NO_FLEX), Say(44))


LENGTHS = {
    4: 24,
    5: 40,
    17: 16,
    20: 4,
    21: 16,
    30: 24,
    32: 272,
    33: 272,
    45: 2444,
    46: 2444,
    47: 2616,
    48: 12,
    60: 48,
    61: 8,
    99: 4,
    107: 8,
    108: 8,
    111: 8,
    112: 16,
    113: 12,
}


def _addresses() -> Iterable[tuple[str, Scenario]]:
    for count in (14, 15, 16, 17, 18, 19, 20, 40, 66):
        yield f"{count} addresses", (add(*map(unicast, range(count))),)
    for count in (16, 17, 18):
        yield f"{count} addresses one by one", tuple(add(unicast(i)) for i in range(count))
    yield "an address again and again", (add(unicast(1)),) * 20
    yield "an address comes and goes", (add(unicast(1)), delete(unicast(1))) * 20
    yield "17 zeros", (add(*[ZERO] * 17),)
    yield "18 zeros", (add(*[ZERO] * 18),)
    yield "one address 17 times", (add(*[unicast(1)] * 17), add(unicast(2)))
    lldp = "01:80:c2:00:00:0e"
    for name, each in {
        "zero": ZERO,
        "broadcast": BROADCAST,
        "multicast": MULTICAST,
        "LLDP": lldp,
    }.items():
        yield f"address {name}", (add(each), add(unicast(1), each, unicast(2)), delete(each))
    for kind in range(4):
        one, two = add(unicast(1), kind=kind), add(unicast(2), kind=kind)
        gone = delete(unicast(1), kind=kind)
        yield f"kind {kind}", (one, RESOURCES, FLR, RESOURCES)
        yield f"kind {kind} deleted", (one, gone, RESOURCES, FLR, RESOURCES)
        yield f"kind {kind} replaced", (one, two, RESOURCES, gone, RESOURCES, FLR, RESOURCES)
        yield f"kind {kind} deleted, then another", (one, gone, two, RESOURCES, FLR, RESOURCES)
    yield "another VSI's", (Say(10, macs(9, unicast(1))), Say(11, macs(9, unicast(1))))
    yield "a list of none", (Say(10, struct.pack("<HH", V, 0) + bytes(8)),)
    yield (
        "deleting what is not there",
        (
            delete(unicast(99)),
            add(*map(unicast, range(17))),
            add(unicast(20)),
        ),
    )
    yield "deleting broadcast", (delete(BROADCAST), add(*map(unicast, range(17))), add(unicast(20)))
    yield (
        "deleting one of two",
        (add(unicast(1)), delete(unicast(2), unicast(1)), delete(unicast(1))),
    )
    for flags in (*range(8), 0xFFFF):
        on, off = Say(14, promisc(V, flags)), Say(14, promisc(V, 0))
        yield f"promiscuous {flags}", (on, on, off, off)
    yield "promiscuous, another VSI's", (Say(14, promisc(9, 3)),)
    yield "promiscuous on a VLAN", (Say(51), tags((5, 0x8100)), Say(14, promisc(V, 3)))


def _administrator() -> Iterable[tuple[str, Scenario]]:
    own, mac = "02:00:00:00:02:aa", Host("mac", bytes.fromhex("0200000002aa"))
    yield (
        "the administrator's address",
        (
            mac,
            RESOURCES,
            add(own),
            add(unicast(1)),
            delete(own),
            RESOURCES,
            add(MULTICAST),
            add(unicast(2), kind=1),
            FLR,
            RESOURCES,
        ),
    )
    yield "the administrator's address twice", (mac, RESOURCES, mac, RESOURCES)
    yield (
        "the administrator's address withdrawn",
        (
            mac,
            RESOURCES,
            Host("mac", bytes(6)),
            RESOURCES,
            add(unicast(1), kind=1),
            RESOURCES,
        ),
    )
    for count in (15, 16, 17):
        many = add(*(f"01:00:5e:00:00:{i:02x}" for i in range(count)))
        yield f"the administrator's address and {count} multicast", (mac, RESOURCES, many, add(own))
    trust = Host("trust", True)
    yield "trust", (RESOURCES, trust, add(unicast(1)), RESOURCES, Say(14, promisc(V, 3)))
    yield "trust withdrawn", (trust, RESOURCES, Host("trust", False), RESOURCES)
    no_trust, running = Host("trust", False), ice_queue_scenarios.enable(1, 1)
    yield (
        "trust comes and goes while a queue runs",
        (
            RESOURCES,
            ice_queue_scenarios.configure(),
            running,
            trust,
            no_trust,
            trust,
            add(unicast(30)),
        ),
    )
    for flags in (1, 2, 3):
        promiscuous = Say(14, promisc(V, flags))
        yield (
            f"trust withdrawn from a VF with flags {flags}",
            (trust, RESOURCES, promiscuous, no_trust, RESOURCES, promiscuous),
        )
    for end in ("00", "01", "03", "0e"):
        lldp = f"01:80:c2:00:00:{end}"
        yield (
            f"trust withdrawn from a VF with {lldp}",
            (RESOURCES, add(lldp), trust, add(lldp), no_trust, delete(lldp), RESOURCES),
        )
    yield (
        "trust withdrawn from a VF with 20 addresses",
        (
            trust,
            RESOURCES,
            add(*map(unicast, range(20))),
            no_trust,
            add(unicast(30)),
            delete(unicast(1)),
        ),
    )
    vlan = Host("vlan", 100)
    settings = tuple(vlan_setting(opcode, inner=1) for opcode in (54, 55, 56, 57))
    yield "port VLAN", (vlan, RESOURCES, Say(51), tags((5, 0x8100)), untag((5, 0x8100)), *settings)
    yield (
        "port VLAN, plain",
        (
            vlan,
            plain(),
            vlans_add(5),
            vlans_delete(5),
            Say(27),
            Say(28),
        ),
    )
    yield "port VLAN withdrawn", (vlan, RESOURCES, Host("vlan", 0), RESOURCES, Say(51))
    for mode in ("enable", "disable"):
        yield f"link {mode}", (Host("link", mode), RESOURCES, Host("link", "auto"))
    yield "spoof check", (RESOURCES, Host("spoofchk", False), Host("spoofchk", True))
    yield (
        "queues that were asked for, over an FLR",
        (RESOURCES, request(4), RESOURCES, FLR, RESOURCES),
    )
    yield "queues that were asked for, over trust", (RESOURCES, request(4), trust, RESOURCES)
    yield "queues asked for twice", (RESOURCES, request(4), RESOURCES, request(6), RESOURCES)
    yield "queues asked for before resources", (request(4),)
    for count in (0, 1, 15, 16, 17, 300, 0xFFFF):
        yield f"{count} queues", (RESOURCES, request(count), RESOURCES)


def _plain_vlans() -> Iterable[tuple[str, Scenario]]:
    for vid in (0, 1, 4095, 4096, 0xFFFF):
        yield f"VLAN {vid}", (vlans_add(vid), vlans_delete(vid))
    for count in (6, 7, 8, 20):
        yield f"{count} VLANs", (vlans_add(*range(1, count + 1)), vlans_add(4096), vlans_add(30))
    yield "VLAN twice", (vlans_add(5), vlans_add(5), vlans_delete(5), vlans_delete(5))
    yield "VLAN of another VSI", (Say(12, vlans(9, 5)), Say(13, vlans(9, 5)))
    yield "more to delete than there are", (vlans_add(5), vlans_delete(*range(1, 9)), vlans_add(5))
    yield "stripping", (Say(28), Say(27), Say(27, b"\0"), Say(51))
    keep = ice_queue_scenarios.configure(crc=1)
    yield "stripping and CRC", (Say(28), keep, Say(27), keep, Say(28))


def _vlans() -> Iterable[tuple[str, Scenario]]:
    known = Say(51)
    filters = {
        "inner": [(5, 0x8100, 0, 0)],
        "outer": [(0, 0, 5, 0x8100)],
        "outer 88a8": [(0, 0, 5, 0x88A8)],
        "inner 88a8": [(5, 0x88A8, 0, 0)],
        "inner 9100": [(5, 0x9100, 0, 0)],
        "inner 1234": [(5, 0x1234, 0, 0)],
        "both": [(5, 0x8100, 6, 0x8100)],
        "both types": [(5, 0x8100, 6, 0x88A8)],
        "id 0": [(0, 0x8100, 0, 0)],
        "outer id 0": [(0, 0, 0, 0x8100)],
        "nothing": [(0, 0, 0, 0)],
        "no type": [(5, 0, 0, 0)],
        "priority": [(0x2005, 0x8100, 0, 0)],
        "priority alone": [(0x2000, 0x8100, 0, 0)],
        "DEI": [(0x1005, 0x8100, 0, 0)],
        "4095": [(4095, 0x8100, 0, 0)],
        "two": [(5, 0x8100, 0, 0), (6, 0x8100, 0, 0)],
        "twice": [(5, 0x8100, 0, 0)] * 2,
        "second wrong": [(5, 0x8100, 0, 0), (6, 0x9999, 0, 0)],
        "eight": [(i, 0x8100, 0, 0) for i in range(1, 9)],
        "nine": [(i, 0x8100, 0, 0) for i in range(1, 10)],
    }
    for name, list_ in filters.items():
        put, take = Say(52, vlan_filters(V, *list_)), Say(53, vlan_filters(V, *list_))
        yield f"filter {name}", (known, put, take, take)
    one = tags((5, 0x8100))
    yield "filter before the capabilities", (one,)
    yield "filter of another VSI", (known, Say(52, vlan_filters(9, (5, 0x8100, 0, 0))))
    yield "one filter ten times", (known, *[one] * 10)
    yield (
        "one filter too many",
        (known, tags(*((i, 0x8100) for i in range(1, 9))), tags((9, 0x8100))),
    )
    masked = bytearray(vlan_filters(V, (5, 0x8100, 0, 0)))
    struct.pack_into("<H", masked, 10, 0xFFF)
    yield "filter with a mask", (known, Say(52, bytes(masked)))
    settings = {
        "8100": 1,
        "88a8": 2,
        "9100": 4,
        "two": 3,
        "toggle": 1 << 31,
        "toggled": 1 | 1 << 31,
        "place": 1 << 16,
        "placed": 1 | 1 << 16,
        "none": 0,
    }
    for opcode in (54, 55, 56, 57):
        for name, bits in settings.items():
            yield f"{opcode} inner {name}", (known, vlan_setting(opcode, inner=bits))
            yield f"{opcode} outer {name}", (known, vlan_setting(opcode, outer=bits))
        yield f"{opcode} both", (known, vlan_setting(opcode, outer=1, inner=1))
        yield f"{opcode} before the capabilities", (vlan_setting(opcode, inner=1),)
        yield f"{opcode} of another VSI", (known, vlan_setting(opcode, inner=1, vsi=9))
    keep, cut = ice_queue_scenarios.configure(crc=1), ice_queue_scenarios.configure()
    strip, leave = vlan_setting(54, inner=1), vlan_setting(55, inner=1)
    yield "CRC, then stripping", (known, keep, strip, leave, cut, strip)
    yield "stripping, then CRC", (known, strip, keep, leave, keep)
    yield (
        "inner stripping over resources",
        (known, strip, RESOURCES, strip, plain(), RESOURCES, known, leave, RESOURCES),
    )
    outer, no_outer = vlan_setting(54, outer=1), vlan_setting(55, outer=1)
    ways: dict[str, Step] = {
        "resources": RESOURCES,
        "plain": plain(),
        "none": ask(1),
        "1.0": Say(3),
        "reset": RESET,
        "FLR": FLR,
    }
    for name, again in ways.items():
        yield (
            f"outer stripping over {name}",
            (known, outer, again, RESOURCES, known, no_outer),
        )
    yield (
        "outer stripping after plain VLANs",
        (plain(), RESOURCES, known, outer, RESOURCES, outer, leave, strip, leave, RESOURCES),
    )
    yield (
        "outer stripping after plain VLANs and a reset",
        (plain(), FLR, RESOURCES, known, outer, leave, RESOURCES),
    )
    yield (
        "insertion of another type",
        (
            known,
            vlan_setting(54, outer=1),
            vlan_setting(56, outer=2),
            vlan_setting(54, outer=4, inner=1),
            vlan_setting(55, inner=1),
        ),
    )


def _rss() -> Iterable[tuple[str, Scenario]]:
    for size in (0, 1, 40, 51, 52, 53):
        yield f"key of {size}", (Say(23, rss_key(V, bytes(size))),)
    for size in (0, 63, 64, 65, 128, 512):
        yield f"table of {size}", (Say(24, rss_lut(V, (LUT * 8)[:size])),)
    for queue in (15, 16, 255):
        yield f"table with queue {queue}", (Say(24, rss_lut(V, bytes([queue]) + LUT[1:])),)
    yield "key of another VSI", (Say(23, rss_key(9, bytes(52))),)
    yield "table of another VSI", (Say(24, rss_lut(9, LUT)),)
    for algorithm in (*range(8), 0xFFFF):
        yield f"algorithm {algorithm}", (Say(18, struct.pack("<HHI", V, algorithm, 0)),)
    yield "algorithm of another VSI", (Say(18, struct.pack("<HHI", 9, 2, 0)),)
    for bit in (*range(29, 37), *range(39, 47), 48, 63):
        yield f"packet class {bit}", (Say(26, struct.pack("<Q", 1 << bit)),)
    yield "packet classes", (Say(25), Say(26, bytes(8)), Say(26, b"\xff" * 8))
    yield "counters", (Say(15, select(V, 0, 0)), Say(15, select(9, 0, 0)))


def _table() -> Table:
    table: Table = dict(_negotiation())
    table.update(_administrator())
    table.update(ice_effect_scenarios.scenarios())
    table.update(ice_flag_scenarios.scenarios())
    rules = ice_rule_scenarios.scenarios
    for subject in (_addresses, _vlans, _rss, ice_queue_scenarios.scenarios, rules):
        table.update((name, (RESOURCES, *steps)) for name, steps in subject())
    table.update((f"plain {name}", (plain(), *steps)) for name, steps in _plain_vlans())
    return table


SCENARIOS = _table()
STEPS = tuple(dict.fromkeys(step for steps in SCENARIOS.values() for step in steps))
