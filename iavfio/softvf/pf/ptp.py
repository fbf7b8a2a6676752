# SPDX-License-Identifier: BSD-3-Clause
"""The clock. The model does not serve it.

i40e of Linux 6.12 does not know the opcodes; that of 7.x knows them and has no handler.
"""

from __future__ import annotations

from iavfio.softvf._device import lib
from iavfio.softvf.pf.messages import LINUX, Message

ROWS: tuple[Message, ...] = (
    Message("1588_PTP_GET_CAPS", fixed=48, gate=lib.VC_CAP_PTP, unknown_to=LINUX),
    Message("1588_PTP_GET_TIME", fixed=16, gate=lib.VC_CAP_PTP, unknown_to=LINUX),
)
