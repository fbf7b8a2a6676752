# SPDX-License-Identifier: BSD-3-Clause
"""GET_STATS: the PF's counters of the VSI."""

from __future__ import annotations

from typing import Final, NamedTuple

from iavfio.virtchnl.messages.message_type import QUICK, MessageType, ReplyLength
from iavfio.virtchnl.messages.wire import Length, blank, view, vsi

SELECT: Final = Length(12)


class VsiStats(NamedTuple):
    """The VSI's counters, in the order that `ethtool -S` prints them."""

    rx_bytes: int
    rx_unicast: int
    rx_multicast: int
    rx_broadcast: int
    rx_discards: int
    rx_unknown_protocol: int
    tx_bytes: int
    tx_unicast: int
    tx_multicast: int
    tx_broadcast: int
    tx_discards: int
    tx_errors: int


def _encode(vsi_id: int) -> list[bytes]:
    """The message is a queue selection of which the PF reads the VSI only."""
    data, info = blank("vc_queue_select", SELECT)
    info.vsi_id = vsi(vsi_id)
    return [bytes(data)]


def _decode(payload: bytes) -> VsiStats:
    """Counters wrap and restart at resets: readers make them monotonic."""
    info = view("vc_eth_stats", payload)
    return VsiStats._make(int(getattr(info, name)) for name in VsiStats._fields)


def _show(payload: bytes) -> str:
    return f"vsi {view('vc_queue_select', payload).vsi_id}"


def _show_reply(payload: bytes) -> str:
    s = _decode(payload)
    return f"rx {s.rx_bytes} bytes, {s.rx_discards} discards; tx {s.tx_bytes} bytes"


# No arguments. ice answers with these 12 words; kernel i40e appends a 13th, rx_discards_other
# (docs/spec/virtchnl.md 9). The deadline is short, because a port asks once a second and keeps
# others waiting meanwhile.
GET_STATS = MessageType(
    "GET_STATS",
    _encode,
    SELECT,
    _decode,
    ReplyLength(96),
    deadline=QUICK,
    show=_show,
    show_reply=_show_reply,
)
