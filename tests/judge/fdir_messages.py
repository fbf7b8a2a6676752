# SPDX-License-Identifier: BSD-3-Clause
"""ADD_FDIR_FILTER and DEL_FDIR_FILTER as a VF says them: iavfio itself has no flow director.

The layouts are those of docs/spec/virtchnl.md 5 (Flow rules).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from iavfio._driver import lib
from iavfio.port.port import Port
from iavfio.virtchnl.messages.message_type import MessageType, ReplyLength
from iavfio.virtchnl.messages.wire import Length

ADD, DEL = 47, 48
ETH, IPV4, IPV6, TCP, UDP = 1, 4, 5, 6, 7
GTPU, GTPU_EH, L2TPV3, ESP, AH, PFCP = 9, 10, 14, 15, 16, 17
DROP, PASS, QUEUE, REGION, MARK = 0, 2, 3, 4, 5  # actions
SUCCESS, NO_RESOURCE, EXISTS, CONFLICT, NOT_THERE, INVALID = range(6)  # of a reply's status
HEADERS, ACTIONS = 32, 8  # that a filter has room for
PATIENCE = 20.0  # seconds


@dataclass(frozen=True)
class Header:
    """One header: which of its fields count, as bits, and the bytes that have them."""

    kind: int
    fields: int = 0
    content: bytes = b""

    def packed(self) -> bytes:
        """Returns the 72 bytes of it."""
        return struct.pack("<iI64s", self.kind, self.fields, self.content)


class Action(NamedTuple):
    """One action, and its argument: a queue, a queue and the logarithm of a region, a mark."""

    kind: int
    argument: int = 0
    region: int = 0

    def packed(self) -> bytes:
        """Returns the 36 bytes of it."""
        wide = struct.pack("<I", self.argument)
        content = wide if self.kind == MARK else struct.pack("<HB", self.argument, self.region)
        return struct.pack("<i32s", self.kind, content)


def ipv4(fields: int, src: str = "0.0.0.0", dst: str = "0.0.0.0", proto: int = 0) -> Header:
    """The addresses of IPv4 (bits 0, 1), what it carries (bit 4)."""
    ends = bytes(map(int, f"{src}.{dst}".split(".")))
    return Header(IPV4, fields, bytes([0x45, *bytes(8), proto, 0, 0]) + ends)


def ports(kind: int, fields: int, src: int = 0, dst: int = 0) -> Header:
    """Those of TCP or UDP."""
    return Header(kind, fields, struct.pack(">2H", src, dst))


def add(
    headers: list[Header], actions: list[Action], *, vsi: int = 1, only_ask: bool = False
) -> bytes:
    """ADD_FDIR_FILTER."""
    rule = b"".join(each.packed() for each in headers).ljust(72 * HEADERS, b"\0")
    deeds = b"".join(each.packed() for each in actions).ljust(36 * ACTIONS, b"\0")
    head = struct.pack("<HHIii", vsi, int(only_ask), 0, 0, len(headers))
    return head + rule + struct.pack("<i", len(actions)) + deeds + bytes(4)


def add_raw(packet: bytes, actions: list[Action], *, length: int) -> bytes:
    """ADD_FDIR_FILTER for packets like this one in all bits; `length`: what it says it has."""
    pattern = struct.pack("<H", length) + packet.ljust(1020, b"\0") + b"\xff" * 1020
    deeds = b"".join(each.packed() for each in actions).ljust(36 * ACTIONS, b"\0")
    rule = pattern.ljust(72 * HEADERS, b"\0")
    return (
        struct.pack("<HHIii", 1, 0, 0, 0, 0)
        + rule
        + struct.pack("<i", len(actions))
        + deeds
        + bytes(4)
    )


def delete(flow: int, *, vsi: int = 1) -> bytes:
    """DEL_FDIR_FILTER."""
    return struct.pack("<HHIi", vsi, 0, flow, 0)


class Outcome(NamedTuple):
    """What a successful reply says."""

    status: int
    flow: int = 0


def added(reply: bytes) -> Outcome:
    """Reads the reply to ADD_FDIR_FILTER."""
    return Outcome(*struct.unpack("<i", reply[-4:]), *struct.unpack_from("<I", reply, 4))


def deleted(reply: bytes) -> Outcome:
    """Reads the reply to DEL_FDIR_FILTER."""
    return Outcome(*struct.unpack("<i", reply[-4:]))


_ADD, _DEL = (
    MessageType(
        name,
        lambda _, payload: [payload],
        Length(size),
        read,
        ReplyLength(size, size),
        gate=lib.VC_CAP_FDIR_PF,
    )
    for name, size, read in (
        ("ADD_FDIR_FILTER", 2616, added),
        ("DEL_FDIR_FILTER", 12, deleted),
    )
)


def say(port: Port, payload: bytes) -> Outcome:
    """Has a port's VF say either; the reply's outcome. Raises PfRefused as a port does."""
    with port.control.status.exclusively(PATIENCE), port.control.session.within(PATIENCE):
        kind = _DEL if len(payload) == _DEL.length.fixed else _ADD
        return port.control.session.client.ask(kind(payload))
