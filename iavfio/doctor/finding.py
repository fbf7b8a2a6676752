# SPDX-License-Identifier: BSD-3-Clause
"""What doctor can find: a row a finding, and what was seen where one applies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from iavfio.host.changes import Write

if TYPE_CHECKING:
    pass

Severity = Literal["error", "warning", "note"]
ORDER: tuple[Severity, ...] = ("error", "warning", "note")
Of = TypeVar("Of")


@dataclass(frozen=True)
class Seen:
    """One sight of a fault: what, its cause, the command, and writes that mend it for this boot.

    Only what can be put back has `writes`.
    """

    what: str
    cause: str
    remedy: str
    writes: tuple[Write, ...] = ()


@dataclass(frozen=True)
class Row(Generic[Of]):
    """One finding that is possible. `look` yields nothing where all is well.

    error: VFs cannot be opened or move no packet; warning: they lose speed, or safety is off;
    note: worth knowing.
    """

    name: str
    severity: Severity
    look: Callable[[Of], Iterable[Seen]]


@dataclass(frozen=True)
class Finding:
    """What a row saw; `device`: the BDF that it is about, "" for the host."""

    name: str
    severity: Severity
    device: str
    seen: Seen

    @property
    def hinders(self) -> bool:
        return self.severity != "note"

    @property
    def fixable(self) -> bool:
        """Whether `--fix` mends it; a note is nobody's to mend unasked."""
        return self.hinders and bool(self.seen.writes)

    def __str__(self) -> str:
        where = f" {self.device}" if self.device else ""
        return (
            f"{self.severity}: {self.name}{where}: {self.seen.what}\n"
            f"  cause: {self.seen.cause}\n  mend: {self.seen.remedy}"
        )
