# SPDX-License-Identifier: BSD-3-Clause
"""What `iavfio vf --json` prints, as types: `iavfio schema vf` is made from them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from iavfio.vfs.pf import VfState
from iavfio.vfs.schemas import CHANGE, PF

Value = bool | int | str


class PfRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="schema", tag=PF):
    """A PF and its VFs: `iavfio vf PF list --json`."""

    pf: Annotated[str, Meta(description="PCI address, or the directory of a software PF")]
    kind: Annotated[str, Meta(description='"kernel" or "software"')]
    interface: Annotated[str, Meta(description='network interface of the PF; "": none')]
    driver: Annotated[str, Meta(description="of the PF; of a software PF its personality")]
    max_vfs: Annotated[int, Meta(ge=0)]
    settable: Annotated[list[str], Meta(description="words that 'set' takes on this PF")]
    vfs: list[VfState]


class ChangedRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One setting of one VF before and after."""

    vf: int
    setting: str
    before: Annotated[Value | None, Meta(description="null: the PF's driver did not tell")]
    after: Value
    verified: Annotated[bool, Meta(description="whether reading back showed the new value")]


class ChangeRecord(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="schema", tag=CHANGE
):
    """What create, destroy, set and undo did."""

    pf: str
    dry_run: bool
    vfs_before: int
    vfs_after: int
    changed: list[ChangedRecord]
