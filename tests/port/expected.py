# SPDX-License-Identifier: BSD-3-Clause
"""What the PF of a running port must hold, worked out from the settings alone."""

from __future__ import annotations

from typing import Any

from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf

# Packet classes that each card's PF offers (docs/spec/descriptors.md 12.1), spelled out here.
BASIC = {31, 33, 34, 35, 36, 41, 43, 44, 45, 46}
FINER = {29, 30, 32, 39, 40, 42}
# The key of the Toeplitz verification suite, and zeros up to the size that PFs take.
DEFAULT_KEY = bytes.fromhex(
    "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa"
) + bytes(12)
OFFERED: dict[str, set[int]] = {
    "e810": BASIC | FINER,
    "x710": BASIC | {63},
    "x722": BASIC | FINER | {63},
}
CLASSES: dict[str, set[int]] = {
    "ipv4-udp": {29, 30, 31},
    "ipv4-tcp": {32, 33},
    "ipv4-sctp": {34},
    "ipv4-other": {35},
    "ipv4-frag": {36},
    "ipv6-udp": {39, 40, 41},
    "ipv6-tcp": {42, 43},
    "ipv6-sctp": {44},
    "ipv6-other": {45},
    "ipv6-frag": {46},
    "l2": {63},
}


# Rules by tunnel: headers and fields, as an E810's PF tells them (docs/spec/pf-dialects.md 9).
IPS = ("ipv4", "ipv6")
RULES: dict[str, list[tuple[list[str], list[str]]]] = {
    "gtpu": [([ip, *more], ["teid"]) for ip in IPS for more in (["gtpu"], ["gtpu", "gtpu-eh"])],
    "pppoe": [
        ([ip, *l4, "pppoe"], ["ip-src", "ip-dst", *ports, "pppoe-session"])
        for ip in IPS
        for l4, ports in (
            ([], []),
            (["tcp"], ["src-port", "dst-port"]),
            (["udp"], ["src-port", "dst-port"]),
        )
    ],
    "l2tpv3": [([ip, "l2tpv3"], ["ip-src", "ip-dst", "l2tpv3-session"]) for ip in IPS],
    "esp": [([ip, "esp"], ["ip-src", "ip-dst", "esp-spi"]) for ip in IPS],
    "ah": [([ip, "ah"], ["ip-src", "ip-dst", "ah-spi"]) for ip in IPS],
    "pfcp": [([ip, "pfcp"], ["ip-src", "ip-dst", "seid"]) for ip in IPS],
}


# What Linux's own ice hashes as well, once it hashes any class of that version of IP.
RESTS = ((set(range(29, 37)), {35, 36}), (set(range(39, 47)), {45, 46}))


def snapshot(pf: SoftPf, vf: int = 0) -> dict[str, Any]:
    """The administrator's view of a VF."""
    answer: dict[str, Any] = pf.control("snapshot", vf=vf)["snapshot"]
    return answer


def held(pf: SoftPf, vf: int = 0) -> dict[str, Any]:
    """The part of the administrator's view that settings decide."""
    seen = snapshot(pf, vf)
    return {
        "macs": sorted(seen["macs"]),
        "unicast": seen["promisc"]["unicast"],
        "multicast": seen["promisc"]["multicast"],
        "key": seen["rss"]["key"],
        "table": seen["rss"]["lut"],
        "classes": seen["rss"]["hashcfg"],
        "symmetric": seen["rss"]["symmetric"],
        "rules": sorted(map(str, seen["rss"]["rules"])),
        "stripped": seen["vlan_strip"] != "none",
        "enabled": (seen["queues"]["enabled_rx"], seen["queues"]["enabled_tx"]),
        "vectors": _vectors(seen["queues"]),
    }


def _vectors(queues: dict[str, Any]) -> dict[str, list[int]]:
    """By vector: the receive and send queues, as bits, that raise it.

    ice keeps a queue on its vector until another one takes it. One that is disabled raises nothing.
    """
    rx, tx = (sum(1 << queue for queue in queues[f"enabled_{way}"]) for way in ("rx", "tx"))
    raised = {v: [maps[0] & rx, maps[1] & tx] for v, maps in queues["vectors"].items()}
    return {v: maps for v, maps in raised.items() if any(maps)}


def expected(port: Port, pf: SoftPf, vf: int = 0) -> dict[str, Any]:
    """The same from the port's settings and the PF's own facts: personality, trust, own address."""
    seen, wanted = snapshot(pf, vf), port.settings
    personality, trusted = seen["personality"], seen["trusted"]
    queues = list(range(wanted.queues))
    bits = (
        set().union(*(CLASSES[name] for name in wanted.rss.fields)) if wanted.rss.fields else set()
    )
    if seen.get("pf", "").startswith("linux-ice"):
        bits = bits.union(*(rest for version, rest in RESTS if bits & version))
    pattern = wanted.rss.lut or tuple(queues)
    vectors = port.control.session.resources.max_vectors - 1
    count = min(len(queues), vectors)
    maps = {str(v + 1): [sum(1 << q for q in queues[v::count])] * 2 for v in range(count)}
    return {
        "macs": sorted({mac.hex(":") for mac in (port.mac, *wanted.extra_macs)}),
        "unicast": trusted and wanted.promiscuous,
        "multicast": trusted and (wanted.promiscuous or wanted.all_multicast),
        "key": (wanted.rss.key or DEFAULT_KEY).hex(),
        "table": [pattern[i % len(pattern)] for i in range(64)],
        "classes": sum(1 << bit for bit in bits & OFFERED[personality]),
        "symmetric": personality == "e810" and wanted.rss.symmetric,
        "rules": sorted(
            str({"headers": headers, "fields": fields, "symmetric": wanted.rss.symmetric})
            for tunnel in wanted.rss.tunnels
            for headers, fields in RULES[tunnel]
        ),
        "stripped": "vlan" in wanted.metadata,
        "enabled": (queues, queues),
        "vectors": maps,
    }
