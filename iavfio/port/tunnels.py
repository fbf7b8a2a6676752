# SPDX-License-Identifier: BSD-3-Clause
"""Tunnels whose packets a rule for RSS spreads (docs/spec/pf-dialects.md 9).

Without a rule a card hashes the outer headers, which are the same for all packets of a tunnel, or
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from iavfio._driver import lib
from iavfio.virtchnl.messages.rss_rules import Header

Pattern = tuple[Header, ...]
IPS: Final = (lib.VC_PROTO_IPV4, lib.VC_PROTO_IPV6)
ADDRESSES: Final = 0b11  # source and destination of an IP header
PORTS: Final = 0b11  # and of a TCP or UDP header
ID: Final = 0b1  # the first field of a tunnel's header
SEID: Final = 0b10  # the second one of PFCP's; the first is the flag that says whether it has one


def _behind_ip(proto: int, fields: int = ID) -> tuple[Pattern, ...]:
    return tuple((Header(ip, ADDRESSES), Header(proto, fields)) for ip in IPS)


def _gtpu() -> tuple[Pattern, ...]:
    """Its addresses are left out: newer kernels read them as those of the packet inside.

    A packet with an extension header, as of 5G, is another type of packet to the card.
    """
    teid = Header(lib.VC_PROTO_GTPU_IP, ID)
    plain = [(Header(ip), teid) for ip in IPS]
    extended = [(Header(ip), teid, Header(lib.VC_PROTO_GTPU_EH)) for ip in IPS]
    return (*plain, *extended)


def _pppoe() -> tuple[Pattern, ...]:
    """A session carries many flows, which IP addresses and ports tell apart.

    The card takes the last rule that fits, so the ones with ports come last.
    """
    session = Header(lib.VC_PROTO_PPPOE, ID)
    addresses = [(session, Header(ip, ADDRESSES)) for ip in IPS]
    ports = [
        (session, Header(ip, ADDRESSES), Header(proto, PORTS))
        for ip in IPS
        for proto in (lib.VC_PROTO_TCP, lib.VC_PROTO_UDP)
    ]
    return (*addresses, *ports)


# By tunnel, in the words of DPDK's `rss types`: the rules, in the order in which they are made.
TUNNELS: Final[Mapping[str, tuple[Pattern, ...]]] = MappingProxyType(
    {
        "gtpu": _gtpu(),
        "pppoe": _pppoe(),
        "l2tpv3": _behind_ip(lib.VC_PROTO_L2TPV3),
        "esp": _behind_ip(lib.VC_PROTO_ESP),
        "ah": _behind_ip(lib.VC_PROTO_AH),
        "pfcp": _behind_ip(lib.VC_PROTO_PFCP, SEID),
    }
)
