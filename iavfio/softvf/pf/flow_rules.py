# SPDX-License-Identifier: BSD-3-Clause
"""Rules for flows: RSS by pattern and the flow director. The model does not serve them."""

from __future__ import annotations

from iavfio.softvf._device import lib
from iavfio.softvf.pf.messages import Message

ROWS: tuple[Message, ...] = (
    Message("ADD_RSS_CFG", fixed=2444, gate=lib.VC_CAP_ADV_RSS_PF),
    Message("DEL_RSS_CFG", fixed=2444, gate=lib.VC_CAP_ADV_RSS_PF),
    Message("ADD_FDIR_FILTER", fixed=2616, gate=lib.VC_CAP_FDIR_PF),
    Message("DEL_FDIR_FILTER", fixed=12, gate=lib.VC_CAP_FDIR_PF),
)
