# SPDX-License-Identifier: BSD-3-Clause
"""Rules for RSS by protocol headers: ADD_RSS_CFG and DEL_RSS_CFG (docs/spec/virtchnl.md 5).

A rule names the headers of a packet from the outside in, and which of their fields are hashed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from iavfio._driver import ffi, lib
from iavfio.errors import ConfigError
from iavfio.virtchnl.messages.message_type import Advice, MessageType, nothing
from iavfio.virtchnl.messages.rss import HashFunction
from iavfio.virtchnl.messages.wire import Length, blank, view

RSS_CFG: Final = Length(ffi.sizeof("struct vc_rss_cfg"))
HEADERS_MAX: Final = 32

# The names of headers, and of their fields by the bits of field_selector.
HEADERS: Final[dict[int, tuple[str, tuple[str, ...]]]] = {
    lib.VC_PROTO_ETH: ("eth", ("src", "dst", "type")),
    lib.VC_PROTO_S_VLAN: ("s-vlan", ("id",)),
    lib.VC_PROTO_C_VLAN: ("c-vlan", ("id",)),
    lib.VC_PROTO_IPV4: ("ipv4", ("src", "dst", "dscp", "ttl", "proto")),
    lib.VC_PROTO_IPV6: ("ipv6", ("src", "dst", "tc", "hops", "proto")),
    lib.VC_PROTO_TCP: ("tcp", ("src", "dst")),
    lib.VC_PROTO_UDP: ("udp", ("src", "dst")),
    lib.VC_PROTO_SCTP: ("sctp", ("src", "dst")),
    lib.VC_PROTO_GTPU_IP: ("gtpu", ("teid",)),
    lib.VC_PROTO_GTPU_EH: ("gtpu-eh", ("qfi",)),
    lib.VC_PROTO_GTPU_EH_DOWN: ("gtpu-down", ("qfi",)),
    lib.VC_PROTO_GTPU_EH_UP: ("gtpu-up", ("qfi",)),
    lib.VC_PROTO_PPPOE: ("pppoe", ("session",)),
    lib.VC_PROTO_L2TPV3: ("l2tpv3", ("session",)),
    lib.VC_PROTO_ESP: ("esp", ("spi",)),
    lib.VC_PROTO_AH: ("ah", ("spi",)),
    lib.VC_PROTO_PFCP: ("pfcp", ("s", "seid")),
}


@dataclass(frozen=True, slots=True)
class Header:
    """One protocol header (VC_PROTO_*), and which of its fields are hashed, as bits."""

    proto: int
    fields: int = 0

    def __str__(self) -> str:
        name, fields = HEADERS.get(self.proto, (f"header {self.proto}", ()))
        hashed = [
            fields[bit] if bit < len(fields) else f"bit {bit}"
            for bit in range(32)
            if self.fields >> bit & 1
        ]
        return f"{name}({', '.join(hashed)})" if hashed else name


def _encode(
    vsi_id: int, headers: Sequence[Header], function: HashFunction = HashFunction.TOEPLITZ
) -> list[bytes]:
    """The message names no VSI."""
    if not 0 < len(headers) <= HEADERS_MAX:
        raise ConfigError(f"a rule of {len(headers)} headers", f"it has 1 to {HEADERS_MAX}")
    data, rule = blank("vc_rss_cfg", RSS_CFG)
    rule.proto_hdrs.count, rule.rss_algorithm = len(headers), int(function)
    for place, header in zip(rule.proto_hdrs.proto_hdr, headers, strict=False):
        place.type, place.field_selector = header.proto, header.fields
    return [bytes(data)]


def _show(payload: bytes) -> str:
    rule = view("vc_rss_cfg", payload)
    count = min(int(rule.proto_hdrs.count), HEADERS_MAX)
    places = rule.proto_hdrs.proto_hdr
    headers = [Header(int(places[i].type), int(places[i].field_selector)) for i in range(count)]
    symmetric = int(rule.rss_algorithm) == HashFunction.SYMMETRIC_TOEPLITZ
    return " / ".join(map(str, headers)) + (", symmetric" if symmetric else "")


# Arguments: headers from the outside in, and the hash function. A rule of the same headers is
# replaced; a success does not say that the card's parser finds such packets.
ADD_RSS_CFG = MessageType(
    "ADD_RSS_CFG",
    _encode,
    RSS_CFG,
    nothing,
    gate=lib.VC_CAP_ADV_RSS_PF,
    show=_show,
    advice=Advice(
        "the card's DDP package does not know the protocol (that of linux-firmware knows no tunnel "
        "of a rule but PPPoE), or the card has no room for more rules",
        "on the host: load the comms package (/lib/firmware/intel/ice/ddp/ice-SERIAL.pkg, then "
        "reload ice); or leave it out of tunnels",
    ),
)

# Arguments: as of ADD_RSS_CFG. A rule that is not there is deleted with success.
DEL_RSS_CFG = MessageType(
    "DEL_RSS_CFG",
    _encode,
    RSS_CFG,
    nothing,
    gate=lib.VC_CAP_ADV_RSS_PF,
    show=_show,
    advice=Advice("the card does not take the rule back", "a reset of the VF does"),
)
