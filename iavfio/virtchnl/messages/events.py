# SPDX-License-Identifier: BSD-3-Clause
"""EVENT: what the PF says of its own accord (docs/spec/virtchnl.md 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from iavfio._driver import lib
from iavfio.errors import StateError
from iavfio.virtchnl.messages.message_type import MessageType, ReplyLength
from iavfio.virtchnl.messages.wire import NO_CONTENT, Malformed, view

Kind = Literal["link", "reset", "close"]
SPEED_MAX: Final = 1_000_000  # Mb/s; beyond it a word is no speed

SPEED_BITS: Final[Mapping[int, int]] = MappingProxyType(
    {
        lib.VC_LINK_2_5GB: 2500,
        lib.VC_LINK_100MB: 100,
        lib.VC_LINK_1GB: 1000,
        lib.VC_LINK_10GB: 10000,
        lib.VC_LINK_40GB: 40000,
        lib.VC_LINK_20GB: 20000,
        lib.VC_LINK_25GB: 25000,
        lib.VC_LINK_5GB: 5000,
    }
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `speed` in Mb/s, None when unknown or not a link event.

    "reset": a reset is about to come (it may also be stale news of the last one, F23);
    "close": the PF driver goes away.
    """

    kind: Kind
    link_up: bool = False
    speed: int | None = None
    severity: int = 0

    def __str__(self) -> str:
        if self.kind == "link":
            pace = f" {self.speed} Mb/s" if self.speed is not None else ", speed unknown"
            return "LINK_CHANGE " + (f"up{pace}" if self.link_up else "down")
        name = "RESET_IMPENDING" if self.kind == "reset" else "PF_DRIVER_CLOSE"
        return f"{name} severity {self.severity}"


def decode_event(payload: bytes, adv_link_speed: bool) -> Event:
    """Returns an EVENT message; with `adv_link_speed` granted its speed is in Mb/s.

    Raises MailboxError for a message that is too short, an unknown event or a link status that is
    neither 0 nor 1. A speed that is not known leaves `speed` None (docs/spec/reliability.md F6).
    """
    return EVENT.read(payload).event(adv_link_speed)


@dataclass(frozen=True, slots=True)
class RawEvent:
    """The words of an event; what its speed means depends on what was granted when it came."""

    kind: Kind
    link_status: int
    link_speed: int
    severity: int

    def event(self, adv_link_speed: bool) -> Event:
        """Returns the event with its speed in Mb/s; see `decode_event`."""
        if self.kind != "link":
            return Event(self.kind, severity=self.severity)
        word = self.link_speed
        if not adv_link_speed:
            speed = SPEED_BITS.get(word)
        else:
            speed = word if 0 < word <= SPEED_MAX else None
        return Event("link", bool(self.link_status), speed)


KINDS: Final[Mapping[int, Kind]] = MappingProxyType(
    {
        lib.VC_EVENT_LINK_CHANGE: "link",
        lib.VC_EVENT_RESET_IMPENDING: "reset",
        lib.VC_EVENT_PF_DRIVER_CLOSE: "close",
    }
)


def _encode(vsi_id: int) -> list[bytes]:
    raise StateError("a VF sends no EVENT", "it is the PF's message", "")


def _decode(payload: bytes) -> RawEvent:
    info = view("vc_pf_event", payload)
    kind = KINDS.get(int(info.event))
    if kind is None:
        raise Malformed(f"event {info.event} is not known")
    if kind == "link" and info.link_status > 1:
        raise Malformed(f"link status {info.link_status}")
    return RawEvent(kind, int(info.link_status), int(info.link_speed), int(info.severity))


# The PF sends this message; a VF never does.
EVENT = MessageType("EVENT", _encode, NO_CONTENT, _decode, ReplyLength(16), negotiates=True)
