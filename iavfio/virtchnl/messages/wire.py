# SPDX-License-Identifier: BSD-3-Clause
"""How long each message is, and checked views of message bytes (spec: virtchnl 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeVar

from iavfio._driver import ffi
from iavfio.errors import ConfigError, MailboxError
from iavfio.virtchnl.messages import opcodes as op

MESSAGE_MAX: Final = 4096  # every PF and every driver limits a message to this
VSI_ID_MAX: Final = 0x3FF  # VSI numbers have ten bits in hardware (spec: adminq 2)

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Length:
    """Request length in bytes: `fixed` + `per` * n. The PF compares for equality.

    `fixed` holds one element more than the header where a list follows: the layouts once declared
    an array of one, and the lengths stayed. The extra bytes are not read and are sent as zeros.
    """

    fixed: int
    per: int = 0

    def of(self, count: int = 0) -> int:
        """Bytes of a message with `count` elements."""
        return self.fixed + self.per * count

    @property
    def most(self) -> int:
        """Elements that fit one message."""
        return (MESSAGE_MAX - self.fixed) // self.per


REQUEST: Final[Mapping[int, Length]] = MappingProxyType(
    {
        op.VERSION: Length(8),
        op.RESET_VF: Length(0),
        op.GET_VF_RESOURCES: Length(4),
        op.CONFIG_VSI_QUEUES: Length(72, 64),
        op.CONFIG_IRQ_MAP: Length(14, 12),
        op.ENABLE_QUEUES: Length(12),
        op.DISABLE_QUEUES: Length(12),
        op.ADD_ETH_ADDR: Length(12, 8),
        op.DEL_ETH_ADDR: Length(12, 8),
        op.ADD_VLAN: Length(6, 2),
        op.DEL_VLAN: Length(6, 2),
        op.CONFIG_PROMISCUOUS_MODE: Length(4),
        op.GET_STATS: Length(12),
        op.CONFIG_RSS_HFUNC: Length(8),
        op.CONFIG_RSS_KEY: Length(5, 1),
        op.CONFIG_RSS_LUT: Length(5, 1),
        op.GET_RSS_HASHCFG_CAPS: Length(0),
        op.SET_RSS_HASHCFG: Length(8),
        op.ENABLE_VLAN_STRIPPING: Length(0),
        op.DISABLE_VLAN_STRIPPING: Length(0),
        op.REQUEST_QUEUES: Length(2),
        op.GET_SUPPORTED_RXDIDS: Length(0),
        op.GET_OFFLOAD_VLAN_V2_CAPS: Length(0),
        op.ADD_VLAN_V2: Length(8, 32),
        op.DEL_VLAN_V2: Length(8, 32),
        op.ENABLE_VLAN_STRIPPING_V2: Length(16),
        op.DISABLE_VLAN_STRIPPING_V2: Length(16),
        op.ENABLE_VLAN_INSERTION_V2: Length(16),
        op.DISABLE_VLAN_INSERTION_V2: Length(16),
    }
)

# Successful replies: (least, most) bytes. What is not listed carries nothing.
REPLY: Final[Mapping[int, tuple[int, int]]] = MappingProxyType(
    {
        op.VERSION: (8, 8),
        # One VSI is 36 bytes; i40e sends one element more (spec: virtchnl 4).
        op.GET_VF_RESOURCES: (36, MESSAGE_MAX),
        op.GET_STATS: (96, 96),
        op.EVENT: (16, 16),
        op.GET_RSS_HASHCFG_CAPS: (8, 8),
        op.REQUEST_QUEUES: (2, 2),
        op.GET_SUPPORTED_RXDIDS: (8, 8),
        op.GET_OFFLOAD_VLAN_V2_CAPS: (40, 40),
    }
)


def malformed(opcode: int, why: str) -> MailboxError:
    """The error for a reply that breaks the protocol; what was known before stays as it was."""
    return MailboxError(
        f"the PF's {op.opcode_name(opcode)} message makes no sense",
        why,
        "save the mailbox journal and report it; a VF reset may help",
    )


def check_reply(opcode: int, length: int) -> None:
    """Raises MailboxError unless a successful reply of `length` bytes is legal (F4)."""
    least, most = REPLY.get(opcode, (0, 0))
    if not least <= length <= most:
        wanted = str(least) if least == most else f"{least}..{most}"
        raise malformed(opcode, f"it has {length} bytes, not {wanted}")


def blank(kind: str, opcode: int, count: int = 0) -> tuple[bytearray, Any]:
    """A zeroed request of the exact length for `count` elements, and a view as struct `kind`."""
    data = bytearray(REQUEST[opcode].of(count))
    return data, ffi.from_buffer(f"struct {kind} *", data)


def view(kind: str, opcode: int, payload: bytes) -> Any:
    """A reply seen as struct `kind`; raises MailboxError when it is too short for that."""
    name = f"struct {kind}"
    if len(payload) < ffi.sizeof(name):
        raise malformed(opcode, f"{len(payload)} bytes cannot hold {ffi.sizeof(name)}")
    return ffi.from_buffer(f"{name} *", payload)


def chunks(opcode: int, items: Sequence[Item], most: int | None = None) -> list[Sequence[Item]]:
    """Splits a list into parts that fit one message each; an empty list is a ConfigError.

    The PF refuses a message without elements, so none is ever made.
    """
    if not items:
        raise ConfigError(f"{op.opcode_name(opcode)} needs at least one element")
    size = min(REQUEST[opcode].most, most or MESSAGE_MAX)
    return [items[at : at + size] for at in range(0, len(items), size)]


def bounded(name: str, value: int, least: int, most: int) -> int:
    """`value` itself when it lies in [least, most], else ConfigError."""
    if not least <= value <= most:
        raise ConfigError(f"{name} {value} is out of range", f"it must be {least}..{most}")
    return value


def vsi(value: int) -> int:
    """A VSI id as GET_VF_RESOURCES reported it."""
    return bounded("VSI id", value, 0, VSI_ID_MAX)
