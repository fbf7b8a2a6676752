# SPDX-License-Identifier: BSD-3-Clause
"""A tunnel around a stream's packets: VXLAN, Geneve, GRE or GTP-U, with fields of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from iavfio.errors import ConfigError
from iavfio.generator.field import Field
from iavfio.generator.rows import (
    ETHERNET,
    IP_BYTES,
    UDP,
    Numbers,
    Rows,
    put,
    put_ip,
    put_word,
    udp_checksum,
)

ETHERTYPES = {4: 0x0800, 6: 0x86DD}
BRIDGED = 0x6558  # the EtherType of an Ethernet frame inside
IP_UDP, IP_GRE = 17, 47
VXLAN_FLAGS = 0x08  # there is a VNI (RFC 7348, 5)
GRE_KEY = 0x2000  # there is a key (RFC 2890, 2)
GTP_FLAGS, GTP_DATA = 0x30, 0xFF  # version 1, GTP and no more; a T-PDU (3GPP TS 29.281, 5.1)

Column = Callable[[str, Field], list[int]]
"""The values of a field by its name, one a frame."""


@dataclass(frozen=True)
class Kind:
    """A kind of tunnel: its UDP port, None: it lies on IP; whether it carries Ethernet frames, else
    IP packets; the highest key and the one by default, None: without a key.
    """

    port: int | None
    bridges: bool
    highest_key: int
    key: int | None


KINDS = {
    "vxlan": Kind(4789, True, (1 << 24) - 1, 1),  # RFC 7348
    "geneve": Kind(6081, True, (1 << 24) - 1, 1),  # RFC 8926
    "gtpu": Kind(2152, False, (1 << 32) - 1, 1),  # 3GPP TS 29.281
    "gre": Kind(None, False, (1 << 32) - 1, None),  # RFC 2784, RFC 2890
}


@dataclass(frozen=True)
class Tunnel:
    """A stream's tunnel. `version`, `src_ip`, `dst_ip` and `sport` are of its outer headers; `key`
    is the VNI, the TEID, or GRE's key; `macs` are of the frame inside, destination first.
    """

    name: str
    version: int
    src_ip: Field
    dst_ip: Field
    sport: Field
    key: Field | None
    macs: bytes

    @property
    def kind(self) -> Kind:
        """What its name stands for."""
        return KINDS[self.name]

    @property
    def bytes(self) -> int:
        """Bytes between the Ethernet header with its tags and the IP header inside."""
        udp = 0 if self.kind.port is None else UDP
        return IP_BYTES[self.version] + udp + self._header + (ETHERNET if self.kind.bridges else 0)

    @property
    def _header(self) -> int:
        """Bytes of the tunnel's own header."""
        return 4 if self.name == "gre" and self.key is None else 8

    @property
    def fields(self) -> Iterator[Field]:
        """All that may vary."""
        yield from (self.src_ip, self.dst_ip)
        if self.kind.port is not None:
            yield self.sport
        if self.key is not None:
            yield self.key

    def write(
        self,
        rows: Rows,
        at: int,
        sizes: Numbers,
        column: Column,
        *,
        inner: int,
        hops: int,
        dscp: int,
    ) -> None:
        """Writes its headers from `at` on, around what is there already.

        `sizes`: bytes of each frame; `inner`: the EtherType of what is inside.
        """
        kind, base = self.kind, at + IP_BYTES[self.version]
        header = base + (0 if kind.port is None else UDP)
        if kind.bridges:
            frame = header + self._header
            rows[:, frame : frame + 12] = np.frombuffer(self.macs, np.uint8)
            put_word(rows, frame + 12, inner)
        keys = None if self.key is None else column("key", self.key)
        self._own_header(rows, header, sizes - header - self._header, keys, inner)
        ends = column("outer_src_ip", self.src_ip), column("outer_dst_ip", self.dst_ip)
        protocol = IP_GRE if kind.port is None else IP_UDP
        put_ip(rows, at, self.version, sizes - at, protocol, ends, hops=hops, dscp=dscp)
        if kind.port is not None:
            put(rows, base, 2, column("outer_sport", self.sport))
            put_word(rows, base + 2, kind.port)
            put_word(rows, base + 4, sizes - base)
            check = udp_checksum(rows, base, self.version, sizes - base, IP_UDP)
            put_word(rows, base + 6, check)

    def _own_header(
        self, rows: Rows, at: int, payload: Numbers, keys: list[int] | None, inner: int
    ) -> None:
        if self.name == "gre":
            put_word(rows, at, 0 if keys is None else GRE_KEY)
            put_word(rows, at + 2, inner)
            if keys is not None:
                put(rows, at + 4, 4, keys)
            return
        assert keys is not None
        if self.name == "gtpu":
            rows[:, at : at + 2] = GTP_FLAGS, GTP_DATA
            put_word(rows, at + 2, payload)
            put(rows, at + 4, 4, keys)
            return
        if self.name == "vxlan":
            rows[:, at] = VXLAN_FLAGS
        else:
            put_word(rows, at + 2, BRIDGED)
        put(rows, at + 4, 3, keys)


def check_inside(name: str, version: int) -> None:
    """Raises ConfigError for a tunnel of IP packets around a frame that has none."""
    if not KINDS[name].bridges and not version:
        raise ConfigError(
            f"tunnel={name} around proto=ethernet is not possible",
            "it carries IP packets, and no Ethernet frames",
            "tunnel=vxlan or tunnel=geneve carry frames",
        )
