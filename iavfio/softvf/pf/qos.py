# SPDX-License-Identifier: BSD-3-Clause
"""Traffic classes and rates. The model does not serve them.

i40e of Linux 6.12 does not know the opcodes; that of 7.x knows them and has no handler.
"""

from __future__ import annotations

from iavfio.softvf._device import lib
from iavfio.softvf.pf.messages import LINUX, Message

ROWS: tuple[Message, ...] = (
    Message("GET_QOS_CAPS", gate=lib.VC_CAP_QOS, unknown_to=LINUX),
    Message("CONFIG_QUEUE_BW", fixed=4, per=12, count_at=2, gate=lib.VC_CAP_QOS, unknown_to=LINUX),
    Message(
        "CONFIG_QUANTA",
        fixed=12,
        never_zero=(0, 10),  # the quanta's size and the number of queues
        gate=lib.VC_CAP_QOS,
        unknown_to=LINUX,
    ),
)
