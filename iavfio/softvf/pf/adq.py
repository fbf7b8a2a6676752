# SPDX-License-Identifier: BSD-3-Clause
"""Application device queues: channels and cloud filters of i40e; the model has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.softvf._device import lib
from iavfio.softvf.pf.messages import Message
from iavfio.softvf.pf.status import Refused, Silence, Status
from iavfio.softvf.pf.vf import Vf

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

CAP = lib.VC_CAP_ADQ


def _refuse(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    raise Refused(Status.PARAM, "the ADQ capability was not granted")


def disable_channels(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Resets the VF, whether it has channels or not: i40e answers nothing else."""
    pf.resets.start(vf, "DISABLE_CHANNELS", notify=pf.personality.notify)
    raise Silence


ROWS: tuple[Message, ...] = (
    Message("ENABLE_CHANNELS", _refuse, fixed=8, per=16, count_size=4, gate=CAP, served_by="i40e"),
    Message("DISABLE_CHANNELS", disable_channels, gate=CAP, served_by="i40e"),
    Message("ADD_CLOUD_FILTER", _refuse, fixed=272, gate=CAP, served_by="i40e"),
    Message("DEL_CLOUD_FILTER", _refuse, fixed=272, gate=CAP, served_by="i40e"),
)
