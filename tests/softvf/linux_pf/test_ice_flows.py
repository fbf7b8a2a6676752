# SPDX-License-Identifier: BSD-3-Clause
"""What profiles of ice make of a VF's RSS: bytes and numbers written by hand."""

from __future__ import annotations

import struct

import pytest

from iavfio.softvf._device import lib
from iavfio.softvf.linux_pf.ice.flows import (
    FIELDS,
    HEADERS,
    Flows,
    Hashing,
    Profile,
    Segment,
    decode,
    hashing,
    told,
)
from iavfio.softvf.vf_config import HashRule


def segment(headers: str, fields: str = "") -> Segment:
    return Segment(frozenset(headers.split()), frozenset(fields.split()))


def profile(headers: str, fields: str, **more: bool) -> Profile:
    return Profile((segment(headers, fields),), **more)


def plain(version: str, *transport: str, symmetric: bool = False) -> Profile:
    """One that every VF has."""
    names = (version, *transport)
    whole = " ".join(f"{name}-{side}" for name in names for side in ("src", "dst"))
    return profile(" ".join(names), whole, symmetric=symmetric)


def inside(outer: Profile) -> Profile:
    """Its twin, for what is inside any tunnel."""
    return Profile((Segment(), *outer.segments), outer.symmetric)


OWN = [plain("ipv4", "tcp"), plain("ipv4", "udp"), plain("ipv4"), plain("ipv6", "sctp")]
OWN_CLASSES = sum(1 << bit for bit in (32, 33, 29, 30, 31, 35, 36, 44))
TEID = profile("ipv4 any-ip gtpu", "gtpu-teid")
TEID_RULE = HashRule(lib.SOFTVF_HAS_IPV4 | lib.SOFTVF_HAS_GTPU, lib.SOFTVF_OF_GTPU_TEID)
SOURCE = profile("ipv4 any-ip udp", "ipv4-src udp-src", symmetric=True)
SOURCE_RULE = HashRule(
    lib.SOFTVF_HAS_IPV4 | lib.SOFTVF_HAS_UDP,
    lib.SOFTVF_OF_IP_SRC | lib.SOFTVF_OF_SRC_PORT,
    symmetric=True,
)


def test_profiles_are_decoded() -> None:
    raw = struct.pack("<I", 2)
    raw += struct.pack("<4B IQ IQ", 0, 1, 1, 0, 0b10000100, 1 << 5 | 1 << 16, 0, 0)
    raw += struct.pack("<4B IQ IQ", 1, 2, 0, 1, 1 << 31, 0, 1 << 3, 1 << 63 | 1 << 10)
    assert decode(raw) == Flows(
        rss=(profile("ipv4 sctp", "ipv4-src tcp-dst", symmetric=True),),
        director=(
            Profile((segment("another"), segment("ipv6", "another ipv6-src")), attributes=True),
        ),
    )
    assert decode(bytes(4)) == Flows()
    assert (HEADERS[7], FIELDS[5], FIELDS[16], FIELDS[10]) == (
        "sctp",
        "ipv4-src",
        "tcp-dst",
        "ipv6-src",
    )


def test_profiles_that_every_vf_has_are_classes() -> None:
    assert hashing(OWN, False) == Hashing(OWN_CLASSES)
    assert hashing([*OWN, *map(inside, OWN)], False) == Hashing(OWN_CLASSES)
    symmetric = [plain("ipv4", "tcp", symmetric=True)]
    assert hashing(symmetric, True) == Hashing(1 << 32 | 1 << 33, symmetric=True)
    assert hashing(symmetric, False) == Hashing(1 << 32 | 1 << 33), "the VSI's function is plain"


def test_the_newest_rule_comes_first_and_classes_come_last() -> None:
    assert hashing([SOURCE, TEID, *OWN], False) == Hashing(OWN_CLASSES, (SOURCE_RULE, TEID_RULE))
    assert hashing([TEID, inside(TEID), SOURCE], False).rules == (TEID_RULE, SOURCE_RULE)


def test_flags_of_a_packet_come_before_its_type() -> None:
    uplink = profile("ipv4 gtpu gtpu-up", "gtpu-up-teid", attributes=True)
    wanted = HashRule(
        lib.SOFTVF_HAS_IPV4 | lib.SOFTVF_HAS_GTPU | lib.SOFTVF_HAS_GTPU_UP,
        lib.SOFTVF_OF_GTPU_TEID,
    )
    assert hashing([TEID, uplink], False).rules == (wanted, TEID_RULE)


def test_a_class_before_a_rule_becomes_one() -> None:
    """As after a change of the hash function, which makes some profiles anew."""
    made = hashing([plain("ipv4", "udp"), SOURCE, plain("ipv6")], False)
    ports = lib.SOFTVF_OF_SRC_PORT | lib.SOFTVF_OF_DST_PORT
    both = lib.SOFTVF_OF_IP_SRC | lib.SOFTVF_OF_IP_DST
    udp = HashRule(lib.SOFTVF_HAS_IPV4 | lib.SOFTVF_HAS_UDP, both | ports)
    assert made == Hashing(1 << 45 | 1 << 46, (udp, SOURCE_RULE))
    rest = hashing([plain("ipv4"), SOURCE], False)
    assert rest.classes == 1 << 35 | 1 << 36 and rest.rules == (SOURCE_RULE,)
    assert len(rest.left_out) == 1 and "behind all rules" in rest.left_out[0]


def test_classes_that_are_not_symmetric_beside_rules_that_are() -> None:
    made = hashing([SOURCE, plain("ipv4"), plain("ipv4", "tcp")], True)
    assert made.symmetric and made.classes == 0 and made.left_out == ()
    heads = [told(rule)["headers"] for rule in made.rules]
    assert heads == [["ipv4", "udp"], ["ipv4", "tcp"], ["ipv4"]], "the rest of IP comes last"
    assert [rule.symmetric for rule in made.rules] == [True, False, False]


@pytest.mark.parametrize(
    ("strange", "word"),
    [
        (profile("ipv4 nat-t-esp", "nat-t-esp-spi"), "does not know nat-t-esp, nat-t-esp-spi"),
        (profile("ipv4 another", "ipv4-src"), "another"),
        (Profile((segment("ipv4"), segment("ipv4", "ipv4-src"))), "inside no tunnel but GTP-U"),
        (
            Profile((segment("ipv4 any-ip"), segment("gtpu ipv4", "ipv4-src"))),
            "hashes no addresses inside GTP-U",
        ),
    ],
)
def test_what_the_data_plane_cannot_do_is_said(strange: Profile, word: str) -> None:
    made = hashing([strange, TEID], False)
    assert made.rules == (TEID_RULE,)
    assert len(made.left_out) == 1 and word in made.left_out[0]


def test_the_inner_ports_of_gtpu_are_those_that_the_data_plane_hashes() -> None:
    """Newer kernels take what stands behind GTP-U for headers inside."""
    outer, inner = segment("ipv4 any-ip"), segment("gtpu udp", "gtpu-teid udp-src")
    (rule,) = hashing([Profile((outer, inner))], False).rules
    assert told(rule) == {
        "headers": ["ipv4", "udp", "gtpu"],
        "fields": ["src-port", "teid"],
        "symmetric": False,
    }


def test_more_rules_than_there_is_room_for() -> None:
    made = hashing([TEID] * (lib.SOFTVF_RULES + 1), False)
    assert len(made.rules) == lib.SOFTVF_RULES and "room for 64" in made.left_out[0]
