# SPDX-License-Identifier: BSD-3-Clause
"""Lengths and checked views of message bytes (docs/spec/virtchnl.md 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from iavfio._driver import ffi
from iavfio.errors import ConfigError

MESSAGE_MAX: Final = 4096  # every PF and every driver limits a message to as many bytes
VSI_ID_MAX: Final = 0x3FF  # VSI numbers have ten bits in hardware (docs/spec/admin-queue.md 2)

Item = TypeVar("Item")


class Malformed(ValueError):
    """These bytes are no message of their type; the text says why.

    MessageType turns this error into a MailboxError that names the message.
    """


@dataclass(frozen=True, slots=True)
class Length:
    """The length of a request in bytes: `fixed` + `per` * n. The PF compares for equality.

    `fixed` holds one element more than the header where a list follows, because the layouts once
    declared an array of one. The PF does not read these extra bytes; they are sent as zeros.
    """

    fixed: int
    per: int = 0

    def of(self, count: int = 0) -> int:
        """Returns the bytes of a message with `count` elements."""
        return self.fixed + self.per * count

    @property
    def most(self) -> int:
        """How many elements fit one message."""
        return (MESSAGE_MAX - self.fixed) // self.per


NO_CONTENT: Final = Length(0)


def blank(kind: str, length: Length, count: int = 0) -> tuple[bytearray, Any]:
    """Returns a zeroed request for `count` elements, and a view of it as struct `kind`."""
    data = bytearray(length.of(count))
    return data, ffi.from_buffer(f"struct {kind} *", data)


def view(kind: str, payload: bytes) -> Any:
    """Returns a message seen as struct `kind`; raises Malformed when it is too short for that."""
    name = f"struct {kind}"
    if len(payload) < ffi.sizeof(name):
        raise Malformed(f"{len(payload)} bytes cannot hold {ffi.sizeof(name)}")
    return ffi.from_buffer(f"{name} *", payload)


def chunks(
    what: str, length: Length, items: Sequence[Item], most: int | None = None
) -> list[Sequence[Item]]:
    """Splits a list into parts that fit one message each.

    Raises ConfigError for an empty list: a PF refuses a message without elements.
    """
    if not items:
        raise ConfigError(f"a request needs at least one of: {what}")
    size = min(length.most, most or MESSAGE_MAX)
    return [items[at : at + size] for at in range(0, len(items), size)]


def bounded(name: str, value: int, least: int, most: int) -> int:
    """Returns `value` when it lies in [least, most]; raises ConfigError otherwise."""
    if not least <= value <= most:
        raise ConfigError(f"{name} {value} is out of range", f"it must be {least}..{most}")
    return value


def vsi(value: int) -> int:
    """Returns a VSI id as GET_VF_RESOURCES reported it; raises ConfigError for any other."""
    return bounded("VSI id", value, 0, VSI_ID_MAX)
