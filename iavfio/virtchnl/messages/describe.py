# SPDX-License-Identifier: BSD-3-Clause
"""One readable line for any message, in either direction."""

from __future__ import annotations

from typing import Literal

from iavfio.errors import MailboxError
from iavfio.virtchnl.messages.events import EVENT, decode_event
from iavfio.virtchnl.messages.message_type import show_size
from iavfio.virtchnl.messages.names import opcode_name
from iavfio.virtchnl.messages.registry import MESSAGES
from iavfio.virtchnl.messages.wire import Malformed
from iavfio.virtchnl.status import status_name

Direction = Literal["out", "in"]


def describe(
    direction: Direction, opcode: int, status: int, payload: bytes, adv_link_speed: bool = True
) -> str:
    """Returns one line: opcode name, status of a reply, content. It never raises on any bytes."""
    name = opcode_name(opcode)
    if direction == "in" and opcode == EVENT.number:
        try:
            return f"{name} {decode_event(payload, adv_link_speed)}"
        except MailboxError as error:
            return f"{name} malformed: {error.cause}"
    if direction == "in" and status:
        return f"{name} refused {status} ({status_name(status)})"
    row = MESSAGES.get(opcode)
    try:
        if row is None:
            content = show_size(payload)
        else:
            content = row.show(payload) if direction == "out" else row.show_reply(payload)
    except Malformed as error:
        content = f"malformed: {error}"
    ok = "ok " if direction == "in" else ""
    return f"{name} {ok}{content}".rstrip()
