# SPDX-License-Identifier: BSD-3-Clause
"""What every PF can be asked, and the state of a VF."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from iavfio.errors import ConfigError
from iavfio.host.records import RecordFile
from iavfio.vfs.words import Value

NOT_TOLD = None


class VfState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One VF as its PF tells; None where the PF's driver does not tell."""

    vf: Annotated[int, Meta(ge=0)]
    bdf: Annotated[str, Meta(description='PCI address or path of the socket; "": none')] = ""
    driver: Annotated[str, Meta(description='"": none')] = ""
    mac: Annotated[str | None, Meta(description="zeros: the host has set none")] = None
    vlan: Annotated[int | None, Meta(description="the port VLAN; 0: none")] = None
    qos: int | None = None
    trust: bool | None = None
    spoofchk: bool | None = None
    link: str | None = None
    rate: Annotated[int | None, Meta(description="Mbit/s at most; 0: no limit")] = None
    min_rate: Annotated[int | None, Meta(description="Mbit/s at least; 0: none")] = None

    def value(self, setting: str) -> Value | None:
        """The value of a setting by its word; None where it is not told."""
        found: Value | None = getattr(self, setting.replace("-", "_"))
        return found


class VfRecord(msgspec.Struct, frozen=True):
    """What one PF was like before iavfio changed it."""

    boot_id: str
    instance: str  # of a software PF: which one it was; "" for a card's
    number: int | None  # of VFs, None if it was not changed
    vfs: dict[int, dict[str, Any]]  # VF: setting: value before
    changed_at: float  # seconds since the epoch


class Pf(Protocol):
    """A PF and its VFs."""

    @property
    def name(self) -> str:
        """PCI address, or the directory of a software PF: what names it in records too."""

    @property
    def instance(self) -> str:
        """Changes when it is another PF under the same name."""

    @property
    def settable(self) -> tuple[str, ...]:
        """Words that `put` takes."""

    def describe(self) -> dict[str, Any]:
        """The fields of `PfRecord` besides the VFs."""

    def vfs(self) -> list[VfState]:
        """All VFs by number, as they are now. Raises HostError's kinds or IavfioError."""

    def command(self, vf: int, step: Mapping[str, Value], state: VfState) -> str:
        """Returns what `put` does as a line of shell or JSON."""

    def put(self, vf: int, step: Mapping[str, Value], state: VfState) -> None:
        """Changes settings of one group. Raises HostError's kinds or IavfioError."""

    def why_ignored(self, vf: int, name: str) -> tuple[str, str]:
        """The likely cause of a change that was accepted and not made, and the remedy."""

    def resize(self, number: int, report: Callable[[str], None], dry: bool) -> None:
        """Makes `number` VFs of none, or none of all. Raises HostError's kinds or ConfigError."""

    def file(self) -> RecordFile[VfRecord]:
        """Returns the file in which the PF's changes are recorded."""


def require(states: list[VfState], pf: Pf, vf: int) -> VfState:
    """The state of one VF. Raises ConfigError when there is none of that number."""
    found = next((state for state in states if state.vf == vf), None)
    if found is None:
        have = f"it has VF 0 to {states[-1].vf}" if states else "it has no VF"
        raise ConfigError(
            f"{pf.name} has no VF {vf}",
            have,
            f"see: iavfio vf {pf.name}" if states else f"make some: iavfio vf {pf.name} create 1",
        )
    return found
