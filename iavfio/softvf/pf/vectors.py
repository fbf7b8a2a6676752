# SPDX-License-Identifier: BSD-3-Clause
"""CONFIG_IRQ_MAP: which queues a vector serves. See docs/spec/virtchnl.md 5, 9."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iavfio.softvf._device import ffi
from iavfio.softvf.pf.messages import Message
from iavfio.softvf.pf.status import Refused, Status
from iavfio.softvf.pf.vf import Vf

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

ITR_NONE = 3


def config_irq_map(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Sets which queues each vector serves, and under which ITR.

    Both PFs go entry by entry: those before the refused one are in force. On ice so are the queues
    of the refused entry that come before one that the VF does not have.
    """
    message = ffi.from_buffer("struct vc_irq_map_info *", payload)
    vf.require_active()
    p = pf.personality
    n = int(message.num_vectors)
    if n > p.max_vectors:
        raise Refused(Status.PARAM, f"{n} vectors, the VF has {p.max_vectors}")
    for entry in [message.vecmap[i] for i in range(n)]:
        _check_map(pf, vf, entry)
        asked = int(entry.rxq_map), int(entry.txq_map)
        rx, tx = vf.until_wrong(*asked)  # i40e has refused others already
        whole = (rx, tx) == asked
        if rx | tx or whole:
            _map(pf, vf, entry, rx, tx)
        if not whole:
            raise _unknown_queue(vf, entry)
    return b""


def _unknown_queue(vf: Vf, entry: Any) -> Refused:
    return Refused(
        Status.PARAM,
        f"vector {entry.vector_id}: maps {entry.rxq_map:#x}, {entry.txq_map:#x} name a queue "
        f"beyond the VF's {vf.num_queue_pairs}",
    )


def _map(pf: Pf, vf: Vf, entry: Any, rx: int, tx: int) -> None:
    """A queue leaves its vector on ice for another one only, on i40e with the vector's next map."""
    vector = int(entry.vector_id)
    for other, (rx_there, tx_there) in vf.vector_maps.items():
        if pf.personality.is_ice and other == vector:
            rx, tx = rx | rx_there, tx | tx_there
        elif pf.personality.is_ice:
            vf.vector_maps[other] = rx_there & ~rx, tx_there & ~tx
    rx_itr, tx_itr = int(entry.rxitr_idx) & ITR_NONE, int(entry.txitr_idx) & ITR_NONE
    pf.plane.map_vector(vf.index, vector, rx, tx, rx_itr, tx_itr)
    vf.vector_maps[vector] = rx, tx


def _check_map(pf: Pf, vf: Vf, entry: Any) -> None:
    p = pf.personality
    vf.require_vsi(entry.vsi_id, p.vsi_id(vf.index))
    if entry.vector_id >= p.max_vectors:
        raise Refused(Status.PARAM, f"vector {entry.vector_id}, the VF has {p.max_vectors}")
    queues = int(entry.rxq_map | entry.txq_map)
    if queues >> vf.num_queue_pairs and not p.is_ice:
        raise _unknown_queue(vf, entry)
    if p.is_ice and entry.vector_id == 0 and queues:
        raise Refused(Status.PARAM, "queues on vector 0, which on ice is the mailbox's alone")
    for itr in (int(entry.rxitr_idx), int(entry.txitr_idx)):
        if itr > ITR_NONE:
            vf.hardware.violation(
                "docs/spec/virtchnl.md 5",
                f"ITR index {itr} is not in 0..3, taken as {itr & ITR_NONE}",
            )


ROWS: tuple[Message, ...] = (
    Message("CONFIG_IRQ_MAP", config_irq_map, fixed=14, per=12, unlock="after GET_VF_RESOURCES"),
)
