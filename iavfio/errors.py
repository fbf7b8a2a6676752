# SPDX-License-Identifier: BSD-3-Clause
"""The root of all errors, and those that more than one room raises.

Errors are part of the interface: each says what happened, the likely cause, and what mends it.
This module imports nothing, so that `iavfio.pyvfio`, which knows no other room, may import it
(docs/adr/0007).
"""

from __future__ import annotations


class Remedy(str):
    """What mends an error, in Python's words; `command` says the same for the command line."""

    command: str

    def __new__(cls, python: str, command: str) -> Remedy:
        self = super().__new__(cls, python)
        self.command = command
        return self


class IavfioError(Exception):
    """Base of every error that iavfio raises on purpose, pyvfio's errors included.

    `what` says what happened, `cause` why (likely), `remedy` what mends it; `cause` and `remedy`
    may be empty. The text is one or two lines, fit for a terminal.
    """

    def __init__(self, what: str, cause: str = "", remedy: str = "") -> None:
        self.what, self.cause, self.remedy = what, cause, remedy
        super().__init__(self._text(remedy))

    def _text(self, remedy: str) -> str:
        text = f"{self.what}: {self.cause}" if self.cause else self.what
        return f"{text}\n  {remedy}" if remedy else text

    def advise(self, cause: str, remedy: str) -> None:
        """Replaces cause and remedy where a caller knows better than who raised the error."""
        self.cause, self.remedy = cause, remedy
        self.args = (self._text(remedy),)

    @property
    def command_text(self) -> str:
        """The text for the command line, where a remedy names options instead of arguments."""
        return self._text(getattr(self.remedy, "command", self.remedy))


class ConfigError(IavfioError, ValueError):
    """An argument or a combination of settings cannot work; nothing was changed."""


class WrongCall(ConfigError, TypeError):
    """A call that lacks arguments or has too many: a TypeError, as Python's own is."""


class NoSuchQueue(ConfigError, IndexError):
    """The port has no queue of that number."""


class NoSuchPacket(ConfigError, IndexError):
    """The burst has no packet of that number."""

    def __init__(self, number: int, count: int) -> None:
        last = f"packets are numbered 0 to {count - 1}" if count else "the burst is empty"
        remedy = "use 'for packet in burst', or a number below len(burst)" if count else ""
        super().__init__(f"there is no packet {number}", last, remedy)


class StateError(IavfioError, RuntimeError):
    """The call is not allowed in the state that the port, queue or burst is in."""


class DeviceError(IavfioError):
    """The device did something it must not, or stopped answering."""


class VfioError(IavfioError):
    """Base of every error of pyvfio; `errno` is the system's number, 0 where there is none."""

    def __init__(self, what: str, cause: str = "", remedy: str = "", errno: int = 0) -> None:
        self.errno = errno
        super().__init__(what, cause, remedy)


class DeviceLost(VfioError, DeviceError):
    """The device is gone: unplugged, taken back by the host, or its server ended."""


class NoIommu(VfioError):
    """There is no IOMMU for the device, or the IOMMU cannot isolate interrupts."""


class GroupNotViable(VfioError):
    """A kernel driver holds another device of the IOMMU group; `holders` maps BDF to driver."""

    def __init__(
        self,
        what: str,
        cause: str = "",
        remedy: str = "",
        errno: int = 0,
        holders: dict[str, str] | None = None,
    ) -> None:
        self.holders = holders or {}
        super().__init__(what, cause, remedy, errno)


class MailboxError(DeviceError):
    """The admin queue failed: no reply before the deadline, malformed reply, error bits."""


class MailboxTimeout(MailboxError):
    """No reply before the deadline; the channel is suspect until a barrier went through it."""


class PfRefused(DeviceError):
    """The PF answered a virtchnl request with an error status.

    `status` is the number as it came, `opcode` the virtchnl opcode that was refused.
    """

    def __init__(
        self, what: str, status: int, cause: str = "", remedy: str = "", opcode: int = 0
    ) -> None:
        self.status, self.opcode = status, opcode
        super().__init__(what, cause, remedy)


class ItemRefused(PfRefused):
    """The PF refused one item of a list: `accepted` are on, `refused` is not, `untried` unknown."""

    def __init__(
        self,
        error: PfRefused,
        refused: object,
        accepted: tuple[object, ...],
        untried: tuple[object, ...],
    ) -> None:
        self.refused, self.accepted, self.untried = refused, accepted, untried
        what = f"{error.what} ({refused})"
        super().__init__(what, error.status, error.cause, error.remedy, error.opcode)


class NotGranted(DeviceError):
    """The PF did not grant the capability that this needs; nothing was sent."""


class ResetUnderWay(DeviceError):
    """The VF is being reset: what was asked is void, negotiate again when the reset is over."""


class ResetError(DeviceError):
    """The VF did not come back from a reset before the deadline."""
