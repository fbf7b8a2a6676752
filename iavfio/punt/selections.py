# SPDX-License-Identifier: BSD-3-Clause
"""Selections that need no libpcap: what a kernel has to see of a link, and everything."""

from __future__ import annotations

import numpy as np

from iavfio.capture.filter import STEP, Filter

# Codes of classic BPF, as csrc/driver/capture/filter.c has them.
LOAD_HALF, LOAD_BYTE_AT_X, LOAD_X, JUMP_EQUAL, RETURN = 0x28, 0x50, 0x01, 0x15, 0x06
ACCEPT, REFUSE = 0xFFFFFFFF, 0

ARP, IPV4, IPV6, SLOW, LLDP = 0x0806, 0x0800, 0x86DD, 0x8809, 0x88CC  # SLOW: LACP's
VLAN, QINQ = 0x8100, 0x88A8
TYPE_AT, TAG = 12, 4
PROTOCOL4_AT, NEXT_HEADER_AT, BEHIND_OPTIONS_AT = 23, 20, 54
ICMP, ICMP6, HOP_BY_HOP = 1, 58, 0  # MLD stands behind hop-by-hop options

USUAL = "ARP, ND, ICMP, ICMPv6, LACP and LLDP"

# Label, code, value, and where a comparison goes on: labels, "" is the next step.
Line = tuple[str, int, int, str, str]


def _program() -> list[Line]:
    """X is the length of the tags; each tag moves the type that is looked at."""
    lines: list[Line] = [("", LOAD_X, 0, "", ""), ("", LOAD_HALF, TYPE_AT, "", "")]
    for tags in (1, 2):
        lines += [
            ("", JUMP_EQUAL, VLAN, f"tag {tags}", ""),
            ("", JUMP_EQUAL, QINQ, f"tag {tags}", "body"),
            (f"tag {tags}", LOAD_X, TAG * tags, "", ""),
            ("", LOAD_HALF, TYPE_AT + TAG * tags, "", ""),
        ]
    return [
        *lines,
        ("body", JUMP_EQUAL, ARP, "accept", ""),
        ("", JUMP_EQUAL, SLOW, "accept", ""),
        ("", JUMP_EQUAL, LLDP, "accept", ""),
        ("", JUMP_EQUAL, IPV4, "four", ""),
        ("", JUMP_EQUAL, IPV6, "six", "refuse"),
        ("four", LOAD_BYTE_AT_X, PROTOCOL4_AT, "", ""),
        ("", JUMP_EQUAL, ICMP, "accept", "refuse"),
        ("six", LOAD_BYTE_AT_X, NEXT_HEADER_AT, "", ""),
        ("", JUMP_EQUAL, ICMP6, "accept", ""),
        ("", JUMP_EQUAL, HOP_BY_HOP, "", "refuse"),
        ("", LOAD_BYTE_AT_X, BEHIND_OPTIONS_AT, "", ""),
        ("", JUMP_EQUAL, ICMP6, "accept", "refuse"),
        ("refuse", RETURN, REFUSE, "", ""),
        ("accept", RETURN, ACCEPT, "", ""),
    ]


def usual() -> Filter:
    """What a kernel has to see of a link: ARP, ND, ICMP, ICMPv6 with MLD, LACP and LLDP, in up to
    two VLAN tags as well.
    """
    lines = _program()
    places = {label: at for at, (label, *_) in enumerate(lines) if label}
    steps = np.zeros(len(lines), dtype=STEP)
    for at, (_, code, value, yes, no) in enumerate(lines):
        skip = [places[label] - at - 1 if label else 0 for label in (yes, no)]
        steps[at] = (code, *skip, value)
    return Filter.of_steps(steps, USUAL)


def everything() -> Filter:
    """Each packet."""
    return Filter.of_steps(np.array([(RETURN, 0, 0, ACCEPT)], dtype=STEP), "everything")
