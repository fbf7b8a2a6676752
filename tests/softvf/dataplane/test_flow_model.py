# SPDX-License-Identifier: BSD-3-Clause
"""Any rules of the flow director and any frames, against a model that knows values, not bytes.

The model is of a few headers whose values are few, so that rules and frames often meet.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from iavfio.softvf._device import lib
from iavfio.softvf.vf_config import FlowAction, FlowRule
from tests.softvf.dataplane.plane_rig import Vf, mac, rig

QUEUES, RSS_QUEUE = 8, 7
PROTOCOLS = {"udp": 17, "tcp": 6, "sctp": 132, "esp": 50, "other": 99}
PORTED = ("udp", "tcp", "sctp")
FIELDS = ("src", "dst", "sport", "dport", "proto", "ttl", "dscp", "spi", "vlan")
NAMES = {
    "src": lib.SOFTVF_OF_IP_SRC,
    "dst": lib.SOFTVF_OF_IP_DST,
    "sport": lib.SOFTVF_OF_SRC_PORT,
    "dport": lib.SOFTVF_OF_DST_PORT,
    "proto": lib.SOFTVF_OF_IP_PROTO,
    "ttl": lib.SOFTVF_OF_IP_TTL,
    "dscp": lib.SOFTVF_OF_IP_DSCP,
    "spi": lib.SOFTVF_OF_ESP_SPI,
    "vlan": lib.SOFTVF_OF_C_VLAN,
}
HEADERS = {
    4: lib.SOFTVF_HAS_IPV4,
    6: lib.SOFTVF_HAS_IPV6,
    "udp": lib.SOFTVF_HAS_UDP,
    "tcp": lib.SOFTVF_HAS_TCP,
    "sctp": lib.SOFTVF_HAS_SCTP,
    "esp": lib.SOFTVF_HAS_ESP,
}


@dataclass(frozen=True)
class Words:
    """A packet: what rules can compare of it."""

    version: int
    proto: str
    src: int
    dst: int
    sport: int
    dport: int
    ttl: int
    dscp: int
    spi: int
    vlan: int | None

    def has(self, name: str) -> bool:
        if name in ("sport", "dport"):
            return self.proto in PORTED
        if name == "spi":
            return self.proto == "esp"
        return name != "vlan" or self.vlan is not None

    def frame(self) -> bytes:
        if self.proto == "esp":
            body = struct.pack(">II", self.spi, 1) + bytes(32)
        elif self.proto == "other":
            body = bytes(40)
        else:
            rest = b"\0\x28\0\0" if self.proto == "udp" else bytes(8) + b"\x50\0" + bytes(6)
            body = (struct.pack(">HH", self.sport, self.dport) + rest).ljust(40, b"\0")
        if self.version == 4:
            kind, family = 0x0800, socket.AF_INET
            head = struct.pack(
                ">BBHHHBBH", 0x45, self.dscp << 2, 20 + len(body), 0, 0, self.ttl,
                PROTOCOLS[self.proto], 0)  # fmt: skip
            addresses = [f"10.0.0.{n}" for n in (self.src, self.dst)]
        else:
            kind, family = 0x86DD, socket.AF_INET6
            head = struct.pack(
                ">IHBB", 6 << 28 | self.dscp << 22, len(body), PROTOCOLS[self.proto], self.ttl
            )
            addresses = [f"fd00::{n}" for n in (self.src, self.dst)]
        packed = b"".join(socket.inet_pton(family, each) for each in addresses)
        tag = b"" if self.vlan is None else struct.pack(">HH", 0x8100, self.vlan)
        return mac(1) + mac(1) + tag + struct.pack(">H", kind) + head + packed + body


FEW = st.integers(1, 2)
PACKETS = st.builds(
    Words,
    version=st.sampled_from([4, 6]),
    proto=st.sampled_from(sorted(PROTOCOLS)),
    src=FEW, dst=FEW, sport=FEW, dport=FEW, ttl=FEW, dscp=FEW, spi=FEW,
    vlan=st.sampled_from([None, 1, 2]),
)  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """A rule as the model has it."""

    template: Words
    above: bool  # its headers name what is above IP, where that is a header of rules
    fields: frozenset[str]
    action: FlowAction
    queue: int
    queues: int
    mark: int | None

    @property
    def named(self) -> bool:
        return self.template.proto != "other" and (
            self.above or bool(self.fields & {"sport", "dport", "spi"})
        )

    def fits(self, packet: Words) -> bool:
        return (
            packet.version == self.template.version
            and (not self.named or packet.proto == self.template.proto)
            and all(
                packet.has(name) and getattr(packet, name) == getattr(self.template, name)
                for name in self.fields
            )
        )

    def told(self) -> FlowRule:
        headers = HEADERS[self.template.version]
        if self.named:
            headers |= HEADERS[self.template.proto]
        return FlowRule(
            headers,
            sum(NAMES[name] for name in self.fields),
            self.template.frame(),
            self.action,
            self.queue,
            self.queues,
            self.mark,
        )


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    template = draw(PACKETS)
    fields = draw(
        st.frozensets(st.sampled_from([f for f in FIELDS if template.has(f)]), max_size=3)
    )
    action = draw(st.sampled_from(FlowAction))
    queues = draw(st.sampled_from([1, 2, 4])) if action is FlowAction.QUEUES else 1
    return Rule(
        template,
        draw(st.booleans()),
        fields,
        action,
        draw(st.integers(0, QUEUES - queues)),
        queues,
        draw(st.none() | st.integers(0, 0xFFFFFFFE)),
    )


def expected(flows: list[Rule], packet: Words, hash_: int | None) -> tuple[int | None, int | None]:
    """Queue, None for dropped, and mark."""
    by_rss = 0 if hash_ is None else RSS_QUEUE
    for rule in flows:
        if not rule.fits(packet):
            continue
        if rule.action is FlowAction.DROP:
            return None, None
        if rule.action is FlowAction.PASS:
            return by_rss, rule.mark
        return rule.queue + (hash_ or 0) % rule.queues, rule.mark
    return by_rss, None


def counts(vf: Vf) -> list[int]:
    return [vf.plane.queue_stats(0, queue, True)[0] for queue in range(QUEUES)]


def check(vf: Vf, flows: list[Rule], packets: list[Words]) -> None:
    for packet in packets:
        before = counts(vf)
        vf.send(packet.frame())
        vf.settle()
        arrived = [q for q, (a, b) in enumerate(zip(before, counts(vf), strict=True)) if a != b]
        if not arrived:
            assert expected(flows, packet, None)[0] is None
            continue
        (queue,) = arrived
        got = vf.take(queue)
        assert (queue, got.mark) == expected(flows, packet, got.hash)


@given(st.lists(rules(), max_size=12), st.lists(PACKETS, min_size=1, max_size=12))
@settings(max_examples=60)
def test_any_rules_and_any_frames(flows: list[Rule], packets: list[Words]) -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open(queues=QUEUES)
        vf.publish(
            num_queues=QUEUES,
            comms=True,
            rss_lut=bytes([RSS_QUEUE] * 64),
            rss_key=bytes(range(52)),
            flows=tuple(rule.told() for rule in flows),
        )
        check(vf, flows, packets + [rule.template for rule in flows])
