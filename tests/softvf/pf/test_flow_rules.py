# SPDX-License-Identifier: BSD-3-Clause
"""Rules for RSS as ice takes them (docs/spec/pf-dialects.md 9), numbers written from the paper."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tests.softvf.pf.pf_rig import LINUX_CAPS, Rig, rig, rss_cfg

ADD, DEL = 45, 46
ETH, S_VLAN, C_VLAN, IPV4, IPV6, TCP, UDP, SCTP = range(1, 9)
GTPU, GTPU_EH, GTPU_DOWN, GTPU_UP, PPPOE, L2TPV3, ESP, AH, PFCP = range(9, 18)
GTPC, ECPRI, GRE = 18, 19, 24
ADDRESSES = PORTS = 3
SYMMETRIC = 2
Header = tuple[int, int]


def rules(pf: Rig, vf: int = 0) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = pf.pf.snapshot(vf)["rss"]["rules"]
    return seen


def heads(pf: Rig) -> list[str]:
    return [" ".join(rule["headers"]) for rule in rules(pf)]


TAKEN: list[tuple[str, list[Header], list[str], list[str]]] = [
    # DDP package, headers sent; headers and fields of the rule
    ("os", [(IPV4, ADDRESSES)], ["ipv4"], ["ip-src", "ip-dst"]),
    ("os", [(IPV4, 0x11)], ["ipv4"], ["ip-src", "ip-proto"]),
    ("os", [(IPV6, 2), (UDP, PORTS)], ["ipv6", "udp"], ["ip-dst", "src-port", "dst-port"]),
    ("os", [(IPV4, 0), (TCP, 1)], ["ipv4", "tcp"], ["src-port"]),
    ("os", [(IPV6, 0), (SCTP, 2)], ["ipv6", "sctp"], ["dst-port"]),
    ("os", [(ETH, ADDRESSES)], ["eth"], ["eth-src", "eth-dst"]),
    ("os", [(ETH, 4)], ["eth"], ["eth-type"]),
    ("os", [(ETH, 0), (S_VLAN, 1), (C_VLAN, 1), (IPV4, 0)], ["eth", "vlan", "ipv4"],
     ["s-vlan", "c-vlan"]),
    # No tunnel that ends the look for a packet type: the package is not asked.
    ("os", [(PPPOE, 1), (IPV4, 0)], ["ipv4", "pppoe"], ["pppoe-session"]),
    ("os", [(IPV4, 1), (GTPU_UP, 0)], ["ipv4", "gtpu-up"], ["ip-src"]),
    ("os", [(IPV4, 1), (GTPU_DOWN, 0)], ["ipv4", "gtpu-down"], ["ip-src"]),
    ("comms", [(IPV4, 0), (GTPU, 1)], ["ipv4", "gtpu"], ["teid"]),
    ("comms", [(IPV6, 0), (GTPU, 1), (GTPU_EH, 0)], ["ipv6", "gtpu", "gtpu-eh"], ["teid"]),
    ("comms", [(IPV4, ADDRESSES), (L2TPV3, 1)], ["ipv4", "l2tpv3"],
     ["ip-src", "ip-dst", "l2tpv3-session"]),
    ("comms", [(IPV6, 0), (ESP, 1)], ["ipv6", "esp"], ["esp-spi"]),
    ("comms", [(IPV4, 0), (AH, 1)], ["ipv4", "ah"], ["ah-spi"]),
    ("comms", [(IPV4, 0), (PFCP, 2)], ["ipv4", "pfcp"], ["seid"]),
    # A selection that is not listed is passed over, as long as another header has one.
    ("os", [(IPV4, 4), (UDP, PORTS)], ["ipv4", "udp"], ["src-port", "dst-port"]),
    ("os", [(IPV4, ADDRESSES), (0, 0), (UDP, 0)], ["ipv4", "udp"], ["ip-src", "ip-dst"]),
]  # fmt: skip
REFUSED: list[tuple[str, list[Header]]] = [
    ("os", []),
    ("os", [(0, 0), (IPV4, ADDRESSES)]),
    ("os", [(IPV4, 0)]),
    ("os", [(IPV4, 4)]),
    ("os", [(ETH, 5)]),
    ("os", [(PPPOE, 1)]),
    ("os", [(C_VLAN, 1)]),
    ("os", [(TCP, PORTS)]),
    ("os", [(IPV4, ADDRESSES), (GRE, 0)]),
    ("os", [(IPV4, ADDRESSES), (UDP, 0), (GTPC, 1)]),
    ("os", [(ETH, 3), (ECPRI, 2)]),
    ("os", [(IPV4, 1), (IPV6, 1)]),
    ("os", [(IPV4, 1), (TCP, 1), (UDP, 1)]),
    ("os", [(IPV4, 0), (GTPU, 1)]),
    ("os", [(IPV4, 0), (GTPU_EH, 0)]),
    ("os", [(IPV4, 3), (L2TPV3, 1)]),
    ("os", [(IPV6, 3), (ESP, 1)]),
    ("os", [(IPV4, 3), (UDP, 0), (ESP, 1)]),
    ("os", [(IPV4, 3), (AH, 1)]),
    ("os", [(IPV4, 3), (PFCP, 2)]),
    ("comms", [(GTPU, 1)]),
    ("comms", [(IPV4, 0), (PFCP, 1)]),
    ("comms", [(IPV4, 0), (GTPU, 1), (IPV6, 3)]),
]


@pytest.mark.parametrize(("ddp", "sent", "headers", "fields"), TAKEN)
def test_rules_that_ice_takes(
    ddp: str, sent: list[Header], headers: list[str], fields: list[str]
) -> None:
    with rig("e810", ddp=ddp) as pf:
        pf.negotiate()
        assert pf.status(ADD, rss_cfg(*sent)) == 0
        assert rules(pf) == [{"headers": headers, "fields": fields, "symmetric": False}]
        assert len(pf.config.rules) == 1
        assert pf.status(DEL, rss_cfg(*sent)) == 0
        assert rules(pf) == [] and not pf.config.rules
        assert pf.violations == []


@pytest.mark.parametrize(("ddp", "sent"), REFUSED)
def test_rules_that_ice_refuses(ddp: str, sent: list[Header]) -> None:
    with rig("e810", ddp=ddp) as pf:
        pf.negotiate()
        assert pf.status(ADD, rss_cfg(*sent)) == -5
        assert pf.status(DEL, rss_cfg(*sent)) == -5
        assert rules(pf) == []
        assert pf.violations == [], "what a PF does not have breaks no rule"


@pytest.mark.parametrize(
    "message",
    [
        rss_cfg((IPV4, 3), count=33),
        rss_cfg((IPV4, 3), count=0xFFFFFFFF),
        rss_cfg((IPV4, 3), algorithm=4),
        rss_cfg((IPV4, 3), algorithm=-1),
    ],
)
def test_a_message_that_no_driver_may_send(message: bytes) -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(ADD, message) == -5
        assert len(pf.violations) == 1


def test_who_gets_rules() -> None:
    with rig("e810") as pf:
        pf.negotiate(0xBEBD8CF9 & ~(1 << 27))
        assert pf.status(ADD, rss_cfg((IPV4, 3))) == -64
    with rig("x710") as pf:
        assert not struct.unpack_from("<I", pf.negotiate(), 8)[0] >> 27 & 1
        assert pf.status(ADD, rss_cfg((IPV4, 3))) == -95
    with rig("e810") as pf:
        pf.negotiate()
        pf.negotiate(0xBEBD8CF9 & ~(1 << 27))  # the allow-list remembers, the handler does not
        assert pf.status(ADD, rss_cfg((IPV4, 3))) == -5


def test_the_last_rule_comes_first_and_one_of_the_same_headers_is_replaced() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        for sent in ([(IPV4, 3)], [(IPV4, 0), (UDP, 3)], [(IPV6, 3)]):
            assert pf.status(ADD, rss_cfg(*sent)) == 0
        assert heads(pf) == ["ipv6", "ipv4 udp", "ipv4"]
        assert pf.status(ADD, rss_cfg((IPV4, 3))) == 0  # as it is: at its place
        assert heads(pf) == ["ipv6", "ipv4 udp", "ipv4"]
        assert pf.status(ADD, rss_cfg((IPV4, 1))) == 0
        assert heads(pf) == ["ipv4", "ipv6", "ipv4 udp"]
        assert rules(pf)[0]["fields"] == ["ip-src"]
        assert pf.status(DEL, rss_cfg((IPV4, 3))) == 0  # of other fields: not this one
        assert heads(pf) == ["ipv4", "ipv6", "ipv4 udp"]
        assert pf.status(DEL, rss_cfg((IPV4, 1), algorithm=SYMMETRIC)) == 0
        assert heads(pf) == ["ipv6", "ipv4 udp"]


def test_packet_classes_take_the_rules_away() -> None:
    for classes, status in ((1 << 33, 0), (1 << 20, -53), (0, 0)):
        with rig("e810") as pf:
            pf.negotiate()
            assert pf.status(ADD, rss_cfg((IPV4, 3))) == 0
            assert pf.status(26, struct.pack("<Q", classes)) == status
            assert rules(pf) == [] and pf.config.rules == ()
    with rig("e810", hashcfg_refused=True) as pf:
        pf.negotiate()
        assert pf.status(ADD, rss_cfg((IPV4, 3))) == 0
        assert pf.status(26, bytes(8)) == -64
        assert heads(pf) == ["ipv4"]


def test_the_function_goes_through_the_rules() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(ADD, rss_cfg((IPV4, 3), algorithm=SYMMETRIC)) == 0
        assert pf.status(ADD, rss_cfg((IPV6, 3), algorithm=3)) == 0
        assert [rule["symmetric"] for rule in rules(pf)] == [False, True]
        for algorithm in (2, 0):
            assert pf.status(18, struct.pack("<HHI", 1, algorithm, 0)) == 0
            assert [rule["symmetric"] for rule in rules(pf)] == [algorithm == 2] * 2


def function(pf: Rig, algorithm: int) -> list[bool]:
    """Chooses the hash function; which of the VF's rules are symmetric then."""
    assert pf.status(18, struct.pack("<HHI", 1, algorithm, 0)) == 0
    return [rule["symmetric"] for rule in rules(pf)]


def test_the_function_that_is_there_leaves_rules_as_they_are() -> None:
    """ice looks at nothing then: rules keep the symmetry that they were made with."""
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(ADD, rss_cfg((IPV4, 3), algorithm=SYMMETRIC)) == 0
        assert function(pf, 0) == [True]
        assert function(pf, SYMMETRIC) == [True]
        assert pf.status(ADD, rss_cfg((IPV6, 3))) == 0
        assert function(pf, SYMMETRIC) == [False, True]
        assert function(pf, 0) == [False, False]


@pytest.mark.parametrize("opcode", [ADD, DEL])
def test_a_rule_by_xor_takes_the_vf_off_the_symmetric_function(opcode: int) -> None:
    """Asking for symmetry once more is no change to ice, which remembers what was asked last."""
    with rig("e810") as pf:
        pf.negotiate()
        function(pf, SYMMETRIC)
        assert pf.status(opcode, rss_cfg((IPV4, 3), algorithm=1)) == 0
        assert not pf.config.symmetric
        function(pf, SYMMETRIC)
        assert not pf.config.symmetric
        function(pf, 0)
        function(pf, SYMMETRIC)
        assert pf.config.symmetric


@pytest.mark.parametrize(("kernel", "status"), [("6.1", -5), ("6.12", -5), ("7.x", 0)])
def test_xor_of_headers_that_lead_nowhere(kernel: str, status: int) -> None:
    """ice of Linux 7.3 looks at the algorithm first, where the others look at the headers."""
    with rig("e810", pf_kernel=kernel) as pf:
        assert pf.status(1, struct.pack("<II", 1, 1)) == 0
        assert pf.status(3, struct.pack("<I", LINUX_CAPS)) == 0
        assert pf.status(ADD, rss_cfg((TCP, 3), algorithm=1)) == status


def test_the_function_leaves_out_rules_that_lack_one_of_a_pair() -> None:
    for pattern in ((IPV4, 1), (IPV4, 2)):
        with rig("e810") as pf:
            pf.negotiate()
            assert pf.status(ADD, rss_cfg(pattern)) == 0
            assert pf.status(18, struct.pack("<HHI", 1, 2, 0)) == 0
            assert [rule["symmetric"] for rule in rules(pf)] == [False]


def test_rules_that_the_function_changes_come_first() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(ADD, rss_cfg((IPV4, 3))) == 0
        assert pf.status(ADD, rss_cfg((IPV6, 3), algorithm=SYMMETRIC)) == 0
        assert heads(pf) == ["ipv6", "ipv4"]
        assert pf.status(18, struct.pack("<HHI", 1, 2, 0)) == 0
        assert heads(pf) == ["ipv4", "ipv6"]


def test_ice_of_linux_6_1_takes_a_symmetric_rule_for_a_plain_one() -> None:
    with rig("e810", pf_kernel="6.1") as pf:
        assert pf.status(1, struct.pack("<II", 1, 1)) == 0
        assert pf.status(3, struct.pack("<I", LINUX_CAPS)) == 0
        assert pf.status(ADD, rss_cfg((IPV4, 3), algorithm=SYMMETRIC)) == 0
        assert [rule["symmetric"] for rule in rules(pf)] == [False]


def test_vfs_have_the_symmetry_that_each_wants() -> None:
    """A profile is of one symmetry: both stand side by side, and who changes joins the other."""
    with rig("e810", vfs=2) as pf:
        pf.negotiate()
        pf.negotiate(vf=1)
        assert pf.status(ADD, rss_cfg((IPV4, 3), algorithm=SYMMETRIC)) == 0
        assert pf.status(ADD, rss_cfg((IPV4, 3)), vf=1) == 0
        assert [[rule["symmetric"] for rule in rules(pf, vf)] for vf in (0, 1)] == [[True], [False]]


def test_a_rule_of_another_symmetry_becomes_the_youngest() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(ADD, rss_cfg((IPV4, 3))) == 0
        assert pf.status(ADD, rss_cfg((IPV6, 3))) == 0
        assert pf.status(ADD, rss_cfg((IPV4, 3))) == 0
        assert heads(pf) == ["ipv6", "ipv4"]
        assert pf.status(ADD, rss_cfg((IPV4, 3), algorithm=SYMMETRIC)) == 0
        assert heads(pf) == ["ipv4", "ipv6"]


def test_xor_is_a_success_that_is_noted() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(ADD, rss_cfg((IPV4, 3), algorithm=1)) == 0
        assert rules(pf) == [] and any("XOR" in note for note in pf.notes)


def test_there_is_an_end_to_rules() -> None:
    """Sets of two to four headers of which each makes another rule."""
    sets: list[list[Header]] = [
        [(ip, 3), *extra]
        for ip in (IPV4, IPV6)
        for l4 in ([], [(TCP, 3)], [(UDP, 3)], [(SCTP, 3)])
        for more in ([], [(ETH, 0)], [(C_VLAN, 0)], [(ETH, 0), (C_VLAN, 0)])
        for far in ([], [(PPPOE, 0)], [(GTPU_UP, 0)])
        for extra in [[*more, *l4, *far]]
    ]
    with rig("e810") as pf:
        pf.negotiate()
        answers = [pf.status(ADD, rss_cfg(*each)) for each in sets]
        assert answers == [0] * 64 + [-5] * (len(sets) - 64)
        assert len(rules(pf)) == 64
        assert pf.status(DEL, rss_cfg(*sets[0])) == 0
        assert pf.status(ADD, rss_cfg(*sets[-1])) == 0
