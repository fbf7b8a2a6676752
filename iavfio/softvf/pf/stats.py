# SPDX-License-Identifier: BSD-3-Clause
"""GET_STATS: the counters of a VF's VSI (docs/spec/virtchnl.md 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.softvf._device import ffi
from iavfio.softvf.pf.messages import Message
from iavfio.softvf.pf.vf import Vf

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

BITS_48 = (1 << 48) - 1
BITS_32 = (1 << 32) - 1
# rx_discards, rx_unknown_protocol, tx_discards, tx_errors are 32 bits wide, the others 48.
NARROW = (4, 5, 10, 11)


def get_stats(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """12 counters; i40e's are as wide as its registers and wrap, ice widens them to 64 bits."""
    message = ffi.from_buffer("struct vc_queue_select *", payload)
    vf.require_vsi(message.vsi_id, pf.personality.vsi_id(vf.index))
    values = [
        (now + base) % (1 << 64)
        for now, base in zip(pf.plane.stats(vf.index), vf.stats_base, strict=True)
    ]
    if not pf.personality.is_ice:
        values = [v & (BITS_32 if i in NARROW else BITS_48) for i, v in enumerate(values)]
    return b"".join(value.to_bytes(8, "little") for value in values)


ROWS: tuple[Message, ...] = (
    Message("GET_STATS", get_stats, fixed=12, unlock="after GET_VF_RESOURCES"),
)
