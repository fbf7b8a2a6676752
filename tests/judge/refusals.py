# SPDX-License-Identifier: BSD-3-Clause
"""Conversations during which the PF's firmware refuses a command, and what the VF is told then."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from iavfio.linuxpf.process import Answer, JudgeProcess, Kind, What
from tests.softvf.pf.pf_rig import (
    LINUX_CAPS,
    config_queues,
    irq_map,
    macs,
    pair,
    promisc,
    rss_key,
    rss_lut,
    select,
    setting,
    vlan_filters,
    vlans,
)

CODES = {"EPERM": 1, "EBUSY": 12, "EINVAL": 14, "ENOSPC": 16}  # of the firmware
VERSION = 1, struct.pack("<II", 1, 1)
RESET = 2, b""
Message = tuple[int, bytes]  # opcode and payload


def _begin(caps: int) -> tuple[Message, ...]:
    return VERSION, (3, struct.pack("<I", caps))


def _common(vsi: int) -> tuple[Message, ...]:
    """What every driver says, from addresses to the table of RSS."""
    return (
        (10, macs(vsi, "02:00:00:00:01:01", "01:00:5e:00:00:01")),
        (6, config_queues(vsi, *(pair(vsi, queue) for queue in range(4)))),
        (7, irq_map((vsi, 1, 15, 15, 0, 1))),
        (8, select(vsi, 15, 15)),
        (23, rss_key(vsi, bytes(52))),
        (24, rss_lut(vsi, bytes([0, 1, 2, 3] * 16))),
        (26, struct.pack("<Q", 1 << 33)),
    )


def _end(vsi: int) -> tuple[Message, ...]:
    return (
        (15, select(vsi, 0, 0)),
        (14, promisc(vsi, 0)),
        (9, select(vsi, 15, 15)),
        (11, macs(vsi, "02:00:00:00:01:01", "01:00:5e:00:00:01")),
        RESET,
    )


def ice_whole() -> tuple[Message, ...]:
    """What a driver with VLAN V2 says to ice."""
    tags = vlan_filters(1, (5, 0x8100, 0, 0), (6, 0x8100, 0, 0))
    inner = setting(1, inner=1)
    return (
        *_begin(LINUX_CAPS),
        *((44, b""), (51, b"")),
        *_common(1),
        (18, struct.pack("<HHI", 1, 1, 0)),
        (52, tags),
        (14, promisc(1, 3)),
        *((opcode, inner) for opcode in (54, 55, 56, 57)),
        (53, tags),
        *_end(1),
    )


def ice_plain() -> tuple[Message, ...]:
    """The plain VLAN messages to ice."""
    vids = vlans(1, 5, 6)
    return (*_begin(LINUX_CAPS & ~(1 << 15)), (12, vids), (27, b""), (28, b""), (13, vids), RESET)


def i40e_whole() -> tuple[Message, ...]:
    """What a driver says to i40e."""
    vids = vlans(10, 5, 6)
    return (
        *_begin(LINUX_CAPS),
        *_common(10),
        *((12, vids), (14, promisc(10, 3)), (28, b""), (27, b""), (13, vids)),
        *_end(10),
    )


@dataclass(frozen=True)
class Refusal:
    """One command of the firmware's that one message of a conversation needs, and both by number.

    `at` is the message's place in the conversation.
    """

    at: int
    message: int
    command: int


class Speaker:
    """VF 0 of a judge, which takes the place of a dead one."""

    def __init__(self, process: JudgeProcess) -> None:
        self.process = process

    def fresh(self) -> None:
        """A trusted VF after an FLR."""
        self.process.request(What.TRUST, 0, 1)
        self.process.request(What.FLR)

    def say(self, message: Message) -> Answer:
        """Everything that a message brings about."""
        self.process.said += 1
        return self.process.request(What.MESSAGE, 0, *message)

    def say_all(self, messages: Sequence[Message]) -> list[int | None]:
        """The status of each message's reply, None where there is none."""
        return [status(self.say(message), message[0]) for message in messages]

    def refusals(self, conversation: Sequence[Message]) -> Iterator[Refusal]:
        """All that firmware may refuse during a conversation."""
        self.fresh()
        for at, message in enumerate(conversation):
            frames = self.say(message).frames
            commands = dict.fromkeys(frame.opcode for frame in frames if frame.kind == Kind.COMMAND)
            yield from (Refusal(at, message[0], command) for command in commands)

    def refused(self, conversation: Sequence[Message], what: Refusal, code: int) -> int | None:
        """Has the firmware refuse a command once; the status that the VF is told."""
        self.fresh()
        self.say_all(conversation[: what.at])
        self.process.request(What.REFUSE, 1 | code << 16, what.command)
        told = status(self.say(conversation[what.at]), what.message)
        self.process.request(What.REFUSE, 0, what.command)
        self.say_all(conversation[what.at + 1 :])
        return told


def status(answer: Answer, opcode: int) -> int | None:
    """The status of the first reply to a message of VF 0's."""
    found = (told for vf, said, told, _ in answer.messages if (vf, said) == (0, opcode))
    return next(found, None)
