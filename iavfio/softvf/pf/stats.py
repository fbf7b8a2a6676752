# SPDX-License-Identifier: BSD-3-Clause
"""GET_STATS: the counters of a VF's VSI (docs/spec/virtchnl.md 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.softvf._device import ffi
from iavfio.softvf.pf.messages import Message
from iavfio.softvf.pf.status import Refused
from iavfio.softvf.pf.vf import Vf

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

BITS_48 = (1 << 48) - 1
BITS_32 = (1 << 32) - 1
# rx_discards, rx_unknown_protocol, tx_discards, tx_errors are 32 bits wide, the others 48.
NARROW = (4, 5, 10, 11)
ICE_WORDS, I40E_WORDS = 12, 13


def get_stats(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Answers with what was counted since the first GET_STATS, on i40e after the last reset.

    ice sends 12 words and widens its counters to 64 bits; i40e sends 13, the last of which is
    rx_discards_other, and its counters are as wide as its registers and wrap. A refusal carries
    the same number of zeros.
    """
    message = ffi.from_buffer("struct vc_queue_select *", payload)
    ice = pf.personality.is_ice
    try:
        vf.require_vsi(message.vsi_id, pf.personality.vsi_id(vf.index))
    except Refused as refusal:
        refusal.payload = bytes(8 * (ICE_WORDS if ice else I40E_WORDS))
        raise
    now = pf.plane.stats(vf.index)
    if vf.stats_start is None:
        vf.stats_start = now
    values = [
        (count - start + base) % (1 << 64)
        for count, start, base in zip(now, vf.stats_start, vf.stats_base, strict=True)
    ]
    if vf.backwards:
        vf.backwards -= 1
        values = [vf.backwards] * len(values)
    if not ice:
        values = [v & (BITS_32 if i in NARROW else BITS_48) for i, v in enumerate(values)] + [0]
    return b"".join(value.to_bytes(8, "little") for value in values)


ROWS: tuple[Message, ...] = (
    Message("GET_STATS", get_stats, fixed=12, unlock="after GET_VF_RESOURCES"),
)
