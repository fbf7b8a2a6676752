# SPDX-License-Identifier: BSD-3-Clause
"""Application device queues: channels and cloud filters of i40e; the model has none.

i40e makes channels for a VF whose spoof check the administrator has switched off. Here a VF is told
-22 then, too (docs/spec/pf-dialects.md 5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.softvf._device import lib
from iavfio.softvf.pf.messages import Message
from iavfio.softvf.pf.status import Refused, Silence, Status
from iavfio.softvf.pf.vf import Vf

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

CAP = lib.VC_CAP_ADQ


def enable_channels(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Refuses, with the reason of i40e's where i40e has one."""
    if vf.spoof_check:
        raise Refused(Status.PARAM, "channels while the VF's spoof check is on")
    if not vf.has(CAP):
        raise Refused(Status.PARAM, "the ADQ capability was not granted")
    raise Refused(Status.PARAM, "the software PF has no channels", kind="note")


def _cloud_filter(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    raise Refused(Status.PARAM, "a cloud filter of a VF that has no channels")


def disable_channels(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Resets the VF, whether it has channels or not: i40e answers nothing else."""
    pf.resets.start(vf, "DISABLE_CHANNELS", notify=pf.personality.notify)
    raise Silence


ROWS: tuple[Message, ...] = (
    Message("ENABLE_CHANNELS", enable_channels, 8, 16, count_size=4, gate=CAP, served_by="i40e"),
    Message("DISABLE_CHANNELS", disable_channels, gate=CAP, served_by="i40e"),
    Message("ADD_CLOUD_FILTER", _cloud_filter, fixed=272, gate=CAP, served_by="i40e"),
    Message("DEL_CLOUD_FILTER", _cloud_filter, fixed=272, gate=CAP, served_by="i40e"),
)
