# SPDX-License-Identifier: BSD-3-Clause
"""Messages that the PF sends of its own accord (spec: virtchnl 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from iavfio._driver import lib
from iavfio.virtchnl.messages import opcodes as op
from iavfio.virtchnl.messages.wire import check_reply, malformed, view

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
    """An EVENT message; `adv_link_speed`: the capability was granted, speeds come in Mb/s.

    Raises MailboxError for a wrong length, an unknown event or a link status that is neither 0
    nor 1. A speed that is not known leaves `speed` None (F6).
    """
    check_reply(op.EVENT, len(payload))
    info = view("vc_pf_event", op.EVENT, payload)
    code, severity = int(info.event), int(info.severity)
    if code == lib.VC_EVENT_LINK_CHANGE:
        if info.link_status > 1:
            raise malformed(op.EVENT, f"link status {info.link_status}")
        return Event("link", bool(info.link_status), _speed(int(info.link_speed), adv_link_speed))
    if code == lib.VC_EVENT_RESET_IMPENDING:
        return Event("reset", severity=severity)
    if code == lib.VC_EVENT_PF_DRIVER_CLOSE:
        return Event("close", severity=severity)
    raise malformed(op.EVENT, f"event {code} is not known")


def _speed(word: int, adv_link_speed: bool) -> int | None:
    if not adv_link_speed:
        return SPEED_BITS.get(word)
    return word if 0 < word <= SPEED_MAX else None
