# SPDX-License-Identifier: BSD-3-Clause
"""What the driver knows of one virtchnl message, as one row.

A row has the message's name, its lengths, the capability that unlocks it, how it is written and
read, how a journal shows it, and what a refusal of it means. Rows stand in the file of their
subject (`queues`, `rss`, ...); `registry` collects them. A row is called with the message's
arguments to make a Request:

    client.ask(CONFIG_RSS_HFUNC(HashFunction.TOEPLITZ))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, Final, Generic, NamedTuple, ParamSpec, TypeVar

from iavfio.errors import MailboxError
from iavfio.virtchnl.messages.names import NUMBERS
from iavfio.virtchnl.messages.wire import MESSAGE_MAX, Length, Malformed

P = ParamSpec("P")
R = TypeVar("R")

QUICK: Final = 2.0  # seconds for a request that others wait for (docs/spec/admin-queue.md 9)
PATIENT: Final = 10.0  # seconds: a PF that starts many VFs at once answers each of them late


class Advice(NamedTuple):
    """Why PFs are known to refuse a message, and what mends that.

    A status names no reason, so `reasons` are told as possible ones only; "" where none is known.
    """

    reasons: str
    remedy: str


ARGUMENTS: Final = Advice("", "the mailbox journal shows what was sent")
TRUST: Final = "on the host: ip link set dev <PF> vf <N> trust on"


@dataclass(frozen=True, slots=True)
class ReplyLength:
    """The legal lengths of a successful reply, in bytes.

    A PF may append to a structure what we do not know yet: kernel i40e answers GET_STATS with 104
    bytes where ice sends 96. Such a reply is legal from the length that we know on. A reply
    without content has no structure that could grow.
    """

    least: int
    most: int = MESSAGE_MAX

    def fault(self, length: int) -> str:
        """Returns what is wrong with a length, or "" when it is legal."""
        if self.least <= length <= self.most:
            return ""
        wanted = "exactly" if self.least == self.most else "at least"
        return f"it has {length} bytes, {wanted} {self.least} are wanted"


NO_REPLY_CONTENT: Final = ReplyLength(0, 0)


def nothing(payload: bytes) -> None:
    """Reads a reply whose arrival says everything."""


def show_size(payload: bytes) -> str:
    """Shows a message without content."""
    return f"{len(payload)} bytes" if payload else ""


@dataclass(frozen=True, slots=True, eq=False)
class MessageType(Generic[P, R]):
    """One virtchnl message: a row of the driver's table (docs/spec/virtchnl.md 2, 5).

    `encode` takes the VSI id and the arguments and returns the payloads of one message or, for a
    list too long for one, of several. `decode` takes the payload of a successful reply.
    `gate` is the capability (VC_CAP_*) without which the message is never sent; a message that
    `negotiates` is sent before capabilities and VSI are known. `deadline` is in seconds.
    `show` and `show_reply` return one line for the journal and may raise Malformed.
    """

    name: str
    encode: Callable[Concatenate[int, P], Sequence[bytes]]
    length: Length
    decode: Callable[[bytes], R]
    reply: ReplyLength = NO_REPLY_CONTENT
    gate: int = 0
    negotiates: bool = False
    deadline: float = PATIENT
    show: Callable[[bytes], str] = show_size
    show_reply: Callable[[bytes], str] = show_size
    advice: Advice = ARGUMENTS

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Request[R]:
        """Returns a request with these arguments; nothing is checked or sent yet."""
        return Request(self, lambda vsi_id: self.encode(vsi_id, *args, **kwargs))

    @property
    def number(self) -> int:
        """The opcode; it stands in csrc/hw/virtchnl.h alone."""
        return NUMBERS[self.name]

    def read(self, payload: bytes) -> R:
        """Returns what a successful reply says.

        Raises MailboxError for a reply that no PF may send (docs/spec/reliability.md F4, F5); what
        was known before stays as it was.
        """
        fault = self.reply.fault(len(payload))
        if fault:
            raise self.malformed(fault)
        try:
            return self.decode(payload)
        except Malformed as error:
            raise self.malformed(str(error)) from error

    def malformed(self, why: str) -> MailboxError:
        """Returns the error for a message of this type that breaks the protocol."""
        return MailboxError(
            f"the PF's {self.name} message makes no sense",
            why,
            "save the mailbox journal and report it; a VF reset may help",
        )


AnyMessage = MessageType[..., Any]


@dataclass(frozen=True, slots=True, eq=False)
class Request(Generic[R]):
    """A message with its arguments; `payloads` takes the VSI id and raises ConfigError."""

    type: MessageType[..., R]
    payloads: Callable[[int], Sequence[bytes]]
