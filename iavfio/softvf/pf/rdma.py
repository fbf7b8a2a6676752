# SPDX-License-Identifier: BSD-3-Clause
"""RDMA messages, which i40e hands to a client of its driver; the model has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.softvf._device import lib
from iavfio.softvf.pf.messages import Message
from iavfio.softvf.pf.status import Refused, Status
from iavfio.softvf.pf.vf import Vf

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

CAP = lib.VC_CAP_RDMA


def _refuse(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    raise Refused(Status.PARAM, "the RDMA capability was not granted")


ROWS: tuple[Message, ...] = (
    Message("RDMA", _refuse, gate=CAP, any_length=True, served_by="i40e"),
    Message(
        "CONFIG_RDMA_IRQ_MAP", _refuse, fixed=4, per=12, count_size=4, gate=CAP, served_by="i40e"
    ),
    Message("RELEASE_RDMA_IRQ_MAP", _refuse, gate=CAP, served_by="i40e"),
)
