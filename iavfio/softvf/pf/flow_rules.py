# SPDX-License-Identifier: BSD-3-Clause
"""Rules for flows: RSS by headers as ice has it, and the flow director, which is not served.

See docs/spec/virtchnl.md 5 (Flow rules) and docs/spec/pf-dialects.md 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from iavfio.softvf._device import ffi, lib
from iavfio.softvf.pf.messages import Message
from iavfio.softvf.pf.status import Refused, Status
from iavfio.softvf.pf.vf import Vf
from iavfio.softvf.vf_config import HashRule

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

HEADERS_MAX = 32
LAYER_3 = lib.SOFTVF_HAS_IPV4 | lib.SOFTVF_HAS_IPV6
LAYER_4 = lib.SOFTVF_HAS_TCP | lib.SOFTVF_HAS_UDP | lib.SOFTVF_HAS_SCTP

# ice_vc_hdr_list: what each type of header asks of a packet.
HEADERS: Mapping[int, int] = MappingProxyType(
    {
        lib.VC_PROTO_NONE: 0,
        lib.VC_PROTO_ETH: lib.SOFTVF_HAS_ETH,
        lib.VC_PROTO_S_VLAN: lib.SOFTVF_HAS_VLAN,
        lib.VC_PROTO_C_VLAN: lib.SOFTVF_HAS_VLAN,
        lib.VC_PROTO_IPV4: lib.SOFTVF_HAS_IPV4,
        lib.VC_PROTO_IPV6: lib.SOFTVF_HAS_IPV6,
        lib.VC_PROTO_TCP: lib.SOFTVF_HAS_TCP,
        lib.VC_PROTO_UDP: lib.SOFTVF_HAS_UDP,
        lib.VC_PROTO_SCTP: lib.SOFTVF_HAS_SCTP,
        lib.VC_PROTO_PPPOE: lib.SOFTVF_HAS_PPPOE,
        lib.VC_PROTO_GTPU_IP: lib.SOFTVF_HAS_GTPU,
        lib.VC_PROTO_GTPU_EH: lib.SOFTVF_HAS_GTPU_EH,
        lib.VC_PROTO_GTPU_EH_DOWN: lib.SOFTVF_HAS_GTPU_DOWN,
        lib.VC_PROTO_GTPU_EH_UP: lib.SOFTVF_HAS_GTPU_UP,
        lib.VC_PROTO_L2TPV3: lib.SOFTVF_HAS_L2TPV3,
        lib.VC_PROTO_ESP: lib.SOFTVF_HAS_ESP,
        lib.VC_PROTO_AH: lib.SOFTVF_HAS_AH,
        lib.VC_PROTO_PFCP: lib.SOFTVF_HAS_PFCP,
    }
)
NAMES: Mapping[int, str] = MappingProxyType(
    {bit: name for name, bit in (
        ("eth", lib.SOFTVF_HAS_ETH),
        ("vlan", lib.SOFTVF_HAS_VLAN),
        ("ipv4", lib.SOFTVF_HAS_IPV4),
        ("ipv6", lib.SOFTVF_HAS_IPV6),
        ("tcp", lib.SOFTVF_HAS_TCP),
        ("udp", lib.SOFTVF_HAS_UDP),
        ("sctp", lib.SOFTVF_HAS_SCTP),
        ("pppoe", lib.SOFTVF_HAS_PPPOE),
        ("gtpu", lib.SOFTVF_HAS_GTPU),
        ("gtpu-eh", lib.SOFTVF_HAS_GTPU_EH),
        ("gtpu-down", lib.SOFTVF_HAS_GTPU_DOWN),
        ("gtpu-up", lib.SOFTVF_HAS_GTPU_UP),
        ("l2tpv3", lib.SOFTVF_HAS_L2TPV3),
        ("esp", lib.SOFTVF_HAS_ESP),
        ("ah", lib.SOFTVF_HAS_AH),
        ("pfcp", lib.SOFTVF_HAS_PFCP),
    )}
)  # fmt: skip
FIELD_NAMES: Mapping[int, str] = MappingProxyType(
    {
        lib.SOFTVF_OF_IP_SRC: "ip-src",
        lib.SOFTVF_OF_IP_DST: "ip-dst",
        lib.SOFTVF_OF_SRC_PORT: "src-port",
        lib.SOFTVF_OF_DST_PORT: "dst-port",
        lib.SOFTVF_OF_IP_PROTO: "ip-proto",
        lib.SOFTVF_OF_GTPU_TEID: "teid",
        lib.SOFTVF_OF_L2TPV3_SESSION: "l2tpv3-session",
        lib.SOFTVF_OF_ESP_SPI: "esp-spi",
        lib.SOFTVF_OF_AH_SPI: "ah-spi",
        lib.SOFTVF_OF_PFCP_SEID: "seid",
        lib.SOFTVF_OF_PPPOE_SESSION: "pppoe-session",
        lib.SOFTVF_OF_S_VLAN: "s-vlan",
        lib.SOFTVF_OF_C_VLAN: "c-vlan",
        lib.SOFTVF_OF_ETH_SRC: "eth-src",
        lib.SOFTVF_OF_ETH_DST: "eth-dst",
        lib.SOFTVF_OF_ETH_TYPE: "eth-type",
    }
)

_IP = {0: lib.SOFTVF_OF_IP_SRC, 1: lib.SOFTVF_OF_IP_DST, 4: lib.SOFTVF_OF_IP_PROTO}
_PORTS = {0: lib.SOFTVF_OF_SRC_PORT, 1: lib.SOFTVF_OF_DST_PORT}
# By header, its fields by their bits of field_selector ...
FIELDS: Mapping[int, Mapping[int, int]] = MappingProxyType(
    {
        lib.VC_PROTO_ETH: {
            0: lib.SOFTVF_OF_ETH_SRC,
            1: lib.SOFTVF_OF_ETH_DST,
            2: lib.SOFTVF_OF_ETH_TYPE,
        },
        lib.VC_PROTO_S_VLAN: {0: lib.SOFTVF_OF_S_VLAN},
        lib.VC_PROTO_C_VLAN: {0: lib.SOFTVF_OF_C_VLAN},
        lib.VC_PROTO_IPV4: _IP,
        lib.VC_PROTO_IPV6: _IP,
        lib.VC_PROTO_TCP: _PORTS,
        lib.VC_PROTO_UDP: _PORTS,
        lib.VC_PROTO_SCTP: _PORTS,
        lib.VC_PROTO_PPPOE: {0: lib.SOFTVF_OF_PPPOE_SESSION},
        lib.VC_PROTO_GTPU_IP: {0: lib.SOFTVF_OF_GTPU_TEID},
        lib.VC_PROTO_L2TPV3: {0: lib.SOFTVF_OF_L2TPV3_SESSION},
        lib.VC_PROTO_ESP: {0: lib.SOFTVF_OF_ESP_SPI},
        lib.VC_PROTO_AH: {0: lib.SOFTVF_OF_AH_SPI},
        lib.VC_PROTO_PFCP: {1: lib.SOFTVF_OF_PFCP_SEID},
    }
)
# ... and which bits may go together (ice_vc_hash_field_list), where not all may: MAC addresses or
# the EtherType.
APART: Mapping[int, frozenset[int]] = MappingProxyType(
    {lib.VC_PROTO_ETH: frozenset({0b001, 0b010, 0b011, 0b100})}
)

# Headers that end the look for a packet type; the package must know it behind IPv4 or IPv6.
TUNNELS = frozenset(
    {
        lib.VC_PROTO_GTPU_IP,
        lib.VC_PROTO_GTPU_EH,
        lib.VC_PROTO_L2TPV3,
        lib.VC_PROTO_ESP,
        lib.VC_PROTO_AH,
        lib.VC_PROTO_PFCP,
    }
)
IPS = frozenset({lib.VC_PROTO_IPV4, lib.VC_PROTO_IPV6})
TRANSPORTS = frozenset({lib.VC_PROTO_TCP, lib.VC_PROTO_UDP, lib.VC_PROTO_SCTP})

Pattern = list[tuple[int, int]]  # headers: type, field_selector


def told(rule: HashRule) -> dict[str, Any]:
    """A rule as JSON-able values."""
    return {
        "headers": [name for bit, name in NAMES.items() if rule.headers & bit],
        "fields": [name for bit, name in FIELD_NAMES.items() if rule.fields & bit],
        "symmetric": rule.symmetric,
    }


def _known_to_package(pattern: Pattern, comms: bool) -> bool:
    """Whether the DDP package has the packet type that the headers lead to."""
    known = over_ip = False
    for kind, _ in pattern:
        if kind == lib.VC_PROTO_NONE:
            break
        if kind in IPS:
            known = over_ip = True
        elif kind == lib.VC_PROTO_ETH or (kind in TRANSPORTS and over_ip):
            known = True
        elif kind in TUNNELS:
            return comms if over_ip else known
    return known


def _fields(kind: int, selector: int) -> int:
    """What a header's field_selector names; 0 for a combination that ice does not list."""
    bits = FIELDS.get(kind, {})
    allowed = APART.get(kind)
    if selector & ~sum(1 << bit for bit in bits) or (allowed and selector not in allowed):
        return 0
    return sum(field for bit, field in bits.items() if selector >> bit & 1)


def _rule(pattern: Pattern, symmetric: bool) -> HashRule:
    headers = fields = 0
    for kind, selector in pattern:
        if kind not in HEADERS:
            raise Refused(Status.PARAM, f"ice has no rule of header {kind}", kind="note")
        headers |= HEADERS[kind]
        fields |= _fields(kind, selector)
    if not fields:
        raise Refused(Status.PARAM, "the rule names no field that ice can hash", kind="note")
    for layer in (LAYER_3, LAYER_4):
        if (headers & layer).bit_count() > 1:
            raise Refused(Status.PARAM, "the rule has two headers of one layer", kind="note")
    return HashRule(headers, fields, symmetric)


def _read(pf: Pf, vf: Vf, payload: bytes) -> tuple[Pattern, int]:
    """The headers and the algorithm of a message that ice looks at closer."""
    message = ffi.from_buffer("struct vc_rss_cfg *", payload)
    vf.require_active()
    vf.require_cap(lib.VC_CAP_ADV_RSS_PF)
    count, algorithm = int(message.proto_hdrs.count), int(message.rss_algorithm)
    if count > HEADERS_MAX:
        raise Refused(Status.PARAM, f"{count} headers, at most {HEADERS_MAX} fit")
    if not lib.VC_RSS_TOEPLITZ <= algorithm <= lib.VC_RSS_XOR_SYMMETRIC:
        raise Refused(Status.PARAM, f"there is no RSS algorithm {algorithm}")
    if algorithm == lib.VC_RSS_XOR and pf.personality.pf_kernel == "7.x":
        return [], algorithm  # that ice switches the function before it looks at the headers
    headers = message.proto_hdrs.proto_hdr
    pattern = [(int(headers[i].type), int(headers[i].field_selector)) for i in range(count)]
    if not _known_to_package(pattern, pf.personality.ddp == "comms"):
        raise Refused(
            Status.PARAM,
            f"the {pf.personality.ddp} DDP package has no packet type for these headers",
            kind="note",
        )
    return pattern, algorithm


def _xor(pf: Pf, vf: Vf) -> bytes:
    """Takes the VF off the symmetric function, which CONFIG_RSS_HFUNC does not notice."""
    vf.symmetric = False
    pf.publish(vf)
    vf.hardware.violation(
        "docs/spec/pf-dialects.md 9", "RSS by XOR: taken as ice takes it, Toeplitz is used", "note"
    )
    return b""


def add_rss_cfg(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """A rule of the same headers is replaced; the last one that fits a packet hashes it."""
    pattern, algorithm = _read(pf, vf, payload)
    if algorithm == lib.VC_RSS_XOR:
        return _xor(pf, vf)
    symmetric = algorithm == lib.VC_RSS_TOEPLITZ_SYMMETRIC
    rule = _rule(pattern, symmetric and not pf.personality.is_ice_6_1)  # which hashes none alike
    same = [each for each in vf.rules if each.headers == rule.headers]
    if same != [rule]:  # which stays at its place
        rest = [each for each in vf.rules if each.headers != rule.headers]
        if len(rest) == lib.SOFTVF_RULES:
            raise Refused(Status.PARAM, f"{lib.SOFTVF_RULES} rules are there already", kind="note")
        vf.rules = [rule, *rest]
    pf.publish(vf)
    return b""


def del_rss_cfg(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """A rule that the VF does not have is deleted with success."""
    pattern, algorithm = _read(pf, vf, payload)
    if algorithm == lib.VC_RSS_XOR:
        return _xor(pf, vf)
    rule = _rule(pattern, False)
    unwanted = (rule.headers, rule.fields)
    vf.rules = [each for each in vf.rules if (each.headers, each.fields) != unwanted]
    pf.publish(vf)
    return b""


GATE = lib.VC_CAP_ADV_RSS_PF
ROWS: tuple[Message, ...] = (
    Message("ADD_RSS_CFG", add_rss_cfg, fixed=2444, gate=GATE, served_by="ice"),
    Message("DEL_RSS_CFG", del_rss_cfg, fixed=2444, gate=GATE, served_by="ice"),
    Message("ADD_FDIR_FILTER", fixed=2616, gate=lib.VC_CAP_FDIR_PF),
    Message("DEL_FDIR_FILTER", fixed=12, gate=lib.VC_CAP_FDIR_PF),
)
