# SPDX-License-Identifier: BSD-3-Clause
"""A stream: frames of one kind, what varies in them, how long they are and how fast they come."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from iavfio.arguments import Choice, Range, received_mac, shown, vf_mac
from iavfio.datapath.pair import FCS
from iavfio.errors import ConfigError
from iavfio.generator import signature
from iavfio.generator.field import Field, Span, addresses, numbers
from iavfio.generator.rate import Rate, parse_stream_rate
from iavfio.generator.rows import ETHERNET, IP_BYTES
from iavfio.generator.templates import Template, from_file, from_frames
from iavfio.generator.tunnel import KINDS, Tunnel, check_inside
from iavfio.ranges import FRAME, IMIX, LIMIT
from iavfio.signatures import checked_class

HIGHEST_VLAN = 4094
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", re.ASCII)
PROTO = Choice("protocol", ("udp", "tcp", "icmp", "ethernet"))
TUNNEL = Choice("tunnel", tuple(KINDS))
TUNNEL_KEYS = (
    *("vni", "outer_src_ip", "outer_dst_ip", "outer_sport"),
    *("inner_src_mac", "inner_dst_mac"),
)
OUTER_PORT = 49152
INNER_SRC, INNER_DST = "02:00:00:00:00:03", "02:00:00:00:00:04"
L4_BYTES = {"udp": 8, "tcp": 20, "icmp": 8, "ethernet": 0}
TCP_FLAGS = "FSRPAUEC"  # in the order of their bits
CHECKS: dict[str, Choice | Range] = {
    "proto": PROTO,
    "pcp": Range(0, 7, ""),
    "ttl": Range(1, 255, "hops"),
    "dscp": Range(0, 63, ""),
    "ethertype": Range(0x0600, 0xFFFF, ""),
    "burst": Range(1, 1 << 16, "frames"),
    "count": LIMIT,
    "seed": Range(0, (1 << 63) - 1, ""),
}
DEFAULTS = {  # the networks for benchmarks of RFC 2544 and RFC 5180
    4: ("198.18.0.1", "198.19.0.1"),
    6: ("2001:2::1", "2001:2:0:8000::1"),
}


@dataclass(frozen=True)
class Recipe:
    """A stream's values, checked: what its frames are made from.

    `version`: of IP, 0 for bare Ethernet; `headers`: their bytes; `src_mac` and `dst_mac` are None
    where the port and its peer decide.
    """

    version: int
    headers: int
    src_mac: bytes | None
    dst_mac: bytes | None
    tags: tuple[tuple[int, Field], ...]  # of each tag the EtherType and the id
    src_ip: Field
    dst_ip: Field
    sport: Field
    dport: Field
    flags: int
    size: Field
    rate: Rate
    template: Template | None
    tunnel: Tunnel | None = None

    @property
    def link(self) -> tuple[int, Field, Field]:
        """IP version, source and destination of the outermost IP header."""
        outer = self.tunnel
        if outer is None:
            return self.version, self.src_ip, self.dst_ip
        return outer.version, outer.src_ip, outer.dst_ip


@checked_class
@dataclass(frozen=True, kw_only=True)
class Stream:
    """Frames of one kind. docs/guides/gen.md tells what each name means.

    `src_ip`, `dst_ip`, `sport`, `dport`, `vlan`, `qinq` and `size` take one value, a range "a-b" or
    "a-b+step", a list, or "random:" before one of these; addresses also a network. `size` counts
    the FCS, and may be "imix"; None: 64, or the shortest that holds the headers. `rate`: "10kpps",
    "1Gbit/s" (with FCS), "10%" of line rate (with preamble and gap), or "max". `burst` frames go
    back to back; `count` ends the stream, 0 = never. `frames` (bytes, or anything with __bytes__)
    or `pcap` (a file's name) are templates: sent as they are, but for MAC addresses;
    src_mac="keep" keeps theirs. `tunnel` (vxlan, geneve, gre, gtpu) puts headers around all that,
    with `outer_src_ip`, `outer_dst_ip`, `outer_sport` and the key `vni` as fields. Raises
    ConfigError.
    """

    name: str = ""
    proto: str = "udp"
    src_mac: str | bytes = "own"
    dst_mac: str | bytes | None = None
    vlan: Any = None
    qinq: Any = None
    pcp: int = 0
    src_ip: Any = None
    dst_ip: Any = None
    sport: Any = 1024
    dport: Any = 9
    ttl: int = 64
    dscp: int = 0
    flags: str = "A"
    ethertype: int = 0x88B5  # for local experiments (IEEE 802)
    size: int | str | Sequence[int | str] | None = None
    rate: str = "max"
    burst: int = 1
    count: int = 0
    seed: int = 1
    tunnel: str = ""
    vni: Any = None
    outer_src_ip: Any = None
    outer_dst_ip: Any = None
    outer_sport: Any = None
    inner_src_mac: str | bytes | None = None
    inner_dst_mac: str | bytes | None = None
    frames: Sequence[Any] | None = field(default=None, repr=False)
    pcap: str | PathLike[str] | None = None
    recipe: Recipe = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or (self.name and not NAME.fullmatch(self.name)):
            raise ConfigError(
                f"name={shown(self.name)} is not possible",
                "a stream's name has 1 to 32 letters, digits and . _ -",
            )
        for name, check in CHECKS.items():
            check(name, getattr(self, name))
        template = _template(self)
        version, src, dst = _ends(self)
        tunnel = _tunnel(self, version)
        tags = _tags(self)
        headers = ETHERNET + 4 * len(tags) + IP_BYTES[version] + L4_BYTES[self.proto]
        headers += 0 if tunnel is None else tunnel.bytes
        recipe = Recipe(
            version=version,
            headers=headers,
            src_mac=None if self.src_mac in ("own", "keep") else vf_mac("src_mac", self.src_mac),
            dst_mac=_destination(self.dst_mac),
            tags=tags,
            src_ip=src,
            dst_ip=dst,
            sport=numbers("sport", self.sport, 0xFFFF),
            dport=numbers("dport", self.dport, 0xFFFF),
            flags=_flags(self.flags),
            size=_sizes(self, headers + signature.BYTES + FCS),
            rate=parse_stream_rate(self.rate),
            template=template,
            tunnel=tunnel,
        )
        object.__setattr__(self, "recipe", recipe)

    @property
    def signed(self) -> bool:
        """Whether its frames carry a signature by which a receiver counts them."""
        return self.recipe.template is None


def _template(stream: Stream) -> Template | None:
    if stream.frames is not None and stream.pcap is not None:
        raise ConfigError(
            "a stream has frames and pcap", "both are templates", "make a stream of each"
        )
    if stream.frames is None and stream.pcap is None:
        if stream.src_mac == "keep":
            raise ConfigError("src_mac=keep is not possible", "it is of templates", "leave it out")
        return None
    for name in ("proto", "vlan", "qinq", "src_ip", "dst_ip", "sport", "dport", "size", "tunnel"):
        if getattr(stream, name) != type(stream).__dataclass_fields__[name].default:
            raise ConfigError(
                f"{name} cannot be given with a template",
                "the frames of a template are sent as they are, but for MAC addresses",
                "leave it out, or rewrite the file: iavfio replay VF FILE --rewrite",
            )
    return from_frames(stream.frames) if stream.pcap is None else from_file(stream.pcap)


def _ends(stream: Stream) -> tuple[int, Field, Field]:
    """IP version, source and destination."""
    if stream.proto == "ethernet":
        for name in ("src_ip", "dst_ip"):
            if getattr(stream, name) is not None:
                raise ConfigError(
                    f"{name} cannot be given with proto=ethernet", "it has no IP header"
                )
        return 0, Field((Span(0),)), Field((Span(0),))
    return _both_ends("", stream.src_ip, stream.dst_ip)


def _both_ends(outer: str, src: Any, dst: Any) -> tuple[int, Field, Field]:
    found = {
        name: addresses(f"{outer}{name}", given)
        for name, given in (("src_ip", src), ("dst_ip", dst))
        if given is not None
    }
    versions = {version for _, version in found.values()} or {4}
    if len(versions) > 1:
        raise ConfigError(
            f"{outer}src_ip and {outer}dst_ip are of different versions",
            f"one is IPv4, the other IPv6: {shown(src)}, {shown(dst)}",
            "give both of one version",
        )
    version = versions.pop()
    here, there = DEFAULTS[version]
    return (
        version,
        found.get("src_ip", addresses("src_ip", here))[0],
        found.get("dst_ip", addresses("dst_ip", there))[0],
    )


def _tunnel(stream: Stream, version: int) -> Tunnel | None:
    if stream.tunnel == "":
        for name in TUNNEL_KEYS:
            if getattr(stream, name) is not None:
                raise ConfigError(
                    f"{name} without a tunnel is not possible",
                    "it is of the headers around the stream's packets",
                    f"add tunnel=vxlan, or one of {', '.join(KINDS)}",
                )
        return None
    TUNNEL("tunnel", stream.tunnel)
    kind = KINDS[stream.tunnel]
    check_inside(stream.tunnel, version)
    for name, wanted, whose in (
        ("outer_sport", kind.port is not None, "UDP"),
        ("inner_src_mac", kind.bridges, "an Ethernet frame inside"),
        ("inner_dst_mac", kind.bridges, "an Ethernet frame inside"),
    ):
        if getattr(stream, name) is not None and not wanted:
            raise ConfigError(
                f"{name} with tunnel={stream.tunnel} is not possible",
                f"it is of {whose}, which that tunnel has not",
                "leave it out",
            )
    outer, src, dst = _both_ends("outer_", stream.outer_src_ip, stream.outer_dst_ip)
    key = kind.key if stream.vni is None else stream.vni
    sport = OUTER_PORT if stream.outer_sport is None else stream.outer_sport
    macs = (stream.inner_dst_mac or INNER_DST), (stream.inner_src_mac or INNER_SRC)
    return Tunnel(
        stream.tunnel,
        outer,
        src,
        dst,
        numbers("outer_sport", sport, 0xFFFF),
        None if key is None else numbers("vni", key, kind.highest_key),
        received_mac("inner_dst_mac", macs[0]) + vf_mac("inner_src_mac", macs[1]),
    )


def _tags(stream: Stream) -> tuple[tuple[int, Field], ...]:
    if stream.qinq is not None and stream.vlan is None:
        raise ConfigError(
            "qinq without vlan is not possible", "it is the tag in front of another", "give both"
        )
    given = ((0x88A8, "qinq", stream.qinq), (0x8100, "vlan", stream.vlan))
    return tuple(
        (kind, numbers(name, ids, HIGHEST_VLAN)) for kind, name, ids in given if ids is not None
    )


def _destination(given: str | bytes | None) -> bytes | None:
    if given is None:
        return None
    if given in ("ff:ff:ff:ff:ff:ff", b"\xff" * 6):
        return b"\xff" * 6
    return received_mac("dst_mac", given)


def _flags(given: object) -> int:
    if not isinstance(given, str) or not given or not set(given) <= set(TCP_FLAGS):
        raise ConfigError(
            f"flags={shown(given)} is not possible",
            f"TCP's flags are letters of {TCP_FLAGS}",
            "flags=S, or flags=PA",
        )
    return sum(1 << TCP_FLAGS.index(letter) for letter in set(given))


def _sizes(stream: Stream, least: int) -> Field:
    if stream.size is None:
        return Field((Span(max(least, FRAME.low)),))
    if stream.size == "imix":
        return Field(tuple(Span(max(size, least)) for size in IMIX))
    size = numbers("size", stream.size, FRAME.high)
    least = max(least, FRAME.low)
    for span in size.spans:
        if span.first < least:
            raise ConfigError(
                f"frames of {span.first} bytes are too short",
                f"{least} bytes (with FCS) hold Ethernet, its headers and the signature",
                f"size={least}",
            )
    return size
