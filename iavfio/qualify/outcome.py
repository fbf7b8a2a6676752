# SPDX-License-Identifier: BSD-3-Clause
"""What a check finds: facts, figures, and one of three ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from iavfio.errors import IavfioError

if TYPE_CHECKING:
    from iavfio.qualify.vfs import Vfs

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"


class NotRun(IavfioError):
    """A check that cannot be made here; the text says why, and what makes it possible."""


class Failed(IavfioError):
    """What a card did other than it should, in words."""


@dataclass
class Seen:
    """What a check saw on the way to its end.

    `facts` are the same on every card of a kind, so that two bundles can be compared; `figures` are
    measured: their names end in a unit.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One thing that is tried. `shows`: what a pass means; `traffic`: needs a way for frames."""

    name: str
    shows: str
    run: Callable[[Vfs, Seen], None]
    traffic: bool = True


@dataclass(frozen=True)
class Outcome:
    """How a check ended. `reason`: why it failed or was not run; `trace`: of its own error."""

    check: str
    status: str
    reason: str = ""
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    trace: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Returns all fields as a dictionary, for JSON."""
        return asdict(self)


def require(true: object, text: str) -> None:
    """Raises Failed with `text` where something is not as it should be."""
    if not true:
        raise Failed(text)
