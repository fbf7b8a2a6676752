# SPDX-License-Identifier: BSD-3-Clause
"""CONFIG_VSI_QUEUES, ENABLE_QUEUES, DISABLE_QUEUES.

See docs/spec/virtchnl.md 5, 9 and docs/spec/descriptors.md 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iavfio.softvf._device import ffi, lib
from iavfio.softvf.contract import ViolationKind
from iavfio.softvf.pf.messages import Message, Unlock
from iavfio.softvf.pf.resources import RXDIDS
from iavfio.softvf.pf.status import Refused, Status
from iavfio.softvf.pf.vf import Offer, Vf

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

QUEUES_PER_MESSAGE = 16
DATABUFFER_MIN = 128
DATABUFFER_MAX = 16256
HEADER_MAX = 1984
FRAME_MIN = 64
I40E_FRAME_LIMIT = 16384  # beyond what the context has bits for
ICE_RING_MIN = 64
UNIT = 128  # ring bases and buffer sizes are kept in units of 128 bytes
CHAINED = 5  # buffers that a frame on the E810 fills at most
PORT_VLAN_TAG = 4  # bytes that a VF on a port VLAN need not count
RXDID_LEGACY = 1
RXDID_BITS = 64  # ice shifts a 64-bit mask, so 65 is taken for 1
RING_BITS = 0xFFFF  # of a ring's length that ice looks at
Ring = tuple[int, int]  # address and entries
ACTIVE: Unlock = "after GET_VF_RESOURCES"


def config_vsi_queues(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Writes the contexts of queue pairs.

    Both PFs go pair by pair. i40e leaves configured what stood before the refused half. ice
    disables the queues from the refused position in the list down to queue 0, running ones too
    (docs/spec/pf-dialects.md 5).
    """
    message = ffi.from_buffer("struct vc_vsi_queue_config_info *", payload)
    vf.require_vsi(message.vsi_id, pf.personality.vsi_id(vf.index))
    n = int(message.num_queue_pairs)
    most = vf.num_queue_pairs if pf.personality.is_ice else QUEUES_PER_MESSAGE
    if n > min(QUEUES_PER_MESSAGE, most):
        raise Refused(
            Status.PARAM,
            f"{n} queue pairs, the VF has {vf.num_queue_pairs}",
            rule="docs/spec/descriptors.md 10",
        )
    pairs = [message.qpair[i] for i in range(n)]
    if pf.personality.is_ice:
        _configure_ice(pf, vf, pairs)
        return b""
    for pair in pairs:
        _check_ids(pf, vf, pair)
        _check_i40e_rx(pf, pair.rxq)
        _configure_rx(pf, vf, pair.rxq, _ring(pair.rxq))
        _check_i40e_tx(pf, pair.txq)
        _configure_tx(pf, vf, pair.txq, _ring(pair.txq))
    vf.pairs_in_use = n
    return b""


def _configure_ice(pf: Pf, vf: Vf, pairs: list[Any]) -> None:
    for step in (_check_crc, _configure_ice_pair):
        for at, pair in enumerate(pairs):
            try:
                step(pf, vf, at, pair)
            except (Refused, OSError):
                for queue in range(at, -1, -1):
                    _disable(pf, vf, queue)
                raise


def _configure_ice_pair(pf: Pf, vf: Vf, at: int, pair: Any) -> None:
    """The send queue runs before the receive queue is looked at.

    The receive queue's context is written before its descriptor format is looked at: one that is
    refused leaves the oldest format. A queue whose ring has no entries is left alone.
    """
    _check_ids(pf, vf, pair)
    _check_rings(pf, pair)
    if pair.txq.ring_len:
        _configure_tx(pf, vf, pair.txq, _ice_ring(pf, vf, at, pair.txq, rx=False))
    if not pair.rxq.ring_len:
        return
    ring = _ice_ring(pf, vf, at, pair.rxq, rx=True)
    _check_ice_rx(pf, vf, pair.rxq)
    _configure_rx(pf, vf, pair.rxq, ring)
    if vf.has(lib.VC_CAP_RX_FLEX_DESC):
        _check_rxdid(pf, f"queue {pair.rxq.queue_id}", int(pair.rxq.rxdid))


def _ring(half: Any) -> Ring:
    return int(half.dma_ring_addr), int(half.ring_len)


def _ice_ring(pf: Pf, vf: Vf, at: int, half: Any, *, rx: bool) -> Ring:
    """The ring that a queue gets of a pair at this place of the list.

    ice of Linux 6.1 keeps what it reads by the place, and then sets the queue up by what is kept
    for the queue's number: of a list in another order queues get each other's rings.
    """
    address, length = _ring(half)
    said = address, length & RING_BITS
    if not pf.personality.is_ice_6_1:
        return said
    vf.rings[at, rx] = said
    queue = int(half.queue_id)
    kept = vf.rings.get((queue, rx), (0, 0))
    if queue != at:
        vf.hardware.violation(
            "docs/spec/pf-dialects.md 5",
            f"{'Rx' if rx else 'Tx'} queue {queue} at place {at} of CONFIG_VSI_QUEUES: ice of "
            f"Linux 6.1 gives it the ring last named at place {queue}, {kept[1]} descriptors at "
            f"{kept[0]:#x}",
        )
    return kept


def _disable(pf: Pf, vf: Vf, queue: int) -> None:
    """ice forgets to note that the receive queue does not run any more.

    Only DISABLE_QUEUES makes it one that ENABLE_QUEUES starts (docs/spec/pf-dialects.md 5).
    """
    pf.plane.disable_queue(vf.index, queue, True)
    pf.plane.disable_queue(vf.index, queue, False)
    vf.rx_stopped |= vf.rx_enabled & 1 << queue
    vf.tx_enabled &= ~(1 << queue)
    if queue in vf.queues:
        vf.queues[queue].tx = False  # ice starts a send queue when it is configured


def _refuse(text: str) -> Refused:
    return Refused(Status.PARAM, text, rule="docs/spec/descriptors.md 10")


def _check_ids(pf: Pf, vf: Vf, pair: Any) -> None:
    own = pf.personality.vsi_id(vf.index)
    if pair.txq.vsi_id != own or pair.rxq.vsi_id != own:
        raise _refuse(
            f"queue {pair.txq.queue_id}: vsi_id {pair.txq.vsi_id} and {pair.rxq.vsi_id}, "
            f"the VF's is {own}"
        )
    if pair.txq.queue_id != pair.rxq.queue_id:
        raise _refuse(f"queue ids of a pair differ: Tx {pair.txq.queue_id}, Rx {pair.rxq.queue_id}")
    if pair.txq.queue_id >= vf.num_queue_pairs:
        raise _refuse(f"queue {pair.txq.queue_id}, the VF has {vf.num_queue_pairs} queue pairs")


def _check_i40e_tx(pf: Pf, tx: Any) -> None:
    most, where = pf.personality.max_ring, f"queue {tx.queue_id}"
    if tx.ring_len % 8 or tx.ring_len > most:
        raise _refuse(f"{where}: Tx ring_len {tx.ring_len}, a multiple of 8 up to {most} wanted")


def _check_i40e_rx(pf: Pf, rx: Any) -> None:
    most, where = pf.personality.max_ring, f"queue {rx.queue_id}"
    if rx.ring_len % 32 or rx.ring_len > most:
        raise _refuse(f"{where}: Rx ring_len {rx.ring_len}, a multiple of 32 up to {most} wanted")
    if rx.splithdr_enabled and rx.hdr_size > HEADER_MAX:
        raise _refuse(f"{where}: hdr_size {rx.hdr_size}, at most {HEADER_MAX}")
    if rx.databuffer_size > DATABUFFER_MAX:
        raise _refuse(f"{where}: databuffer_size {rx.databuffer_size}, at most {DATABUFFER_MAX}")
    if not FRAME_MIN <= rx.max_pkt_size < I40E_FRAME_LIMIT:
        raise _refuse(
            f"{where}: max_pkt_size {rx.max_pkt_size} is not in {FRAME_MIN}..{I40E_FRAME_LIMIT - 1}"
        )


def _check_crc(pf: Pf, vf: Vf, at: int, pair: Any) -> None:
    if not pair.rxq.crc_disable or pf.personality.is_ice_6_1:  # to which it is a pad byte
        return
    where = f"queue {pair.rxq.queue_id}"
    if not vf.has(lib.VC_CAP_CRC):
        raise _refuse(f"{where}: crc_disable without the CRC capability")
    if vf.strip != "none":
        raise _refuse(f"{where}: crc_disable together with VLAN stripping")


def _check_rings(pf: Pf, pair: Any) -> None:
    tx, rx, most = pair.txq, pair.rxq, pf.personality.max_ring
    where = f"queue {tx.queue_id}"
    if tx.headwb_enabled:
        raise _refuse(f"{where}: headwb_enabled must be 0")
    for side, length in (("Tx", tx.ring_len), ("Rx", rx.ring_len & RING_BITS)):
        if length and (not ICE_RING_MIN <= length <= most or length % 32):
            raise _refuse(
                f"{where}: {side} ring_len {length}, "
                f"a multiple of 32 in {ICE_RING_MIN}..{most} wanted"
            )


def _check_ice_rx(pf: Pf, vf: Vf, rx: Any) -> None:
    where = f"queue {rx.queue_id}"
    if rx.databuffer_size and not DATABUFFER_MIN <= rx.databuffer_size <= DATABUFFER_MAX:
        raise _refuse(
            f"{where}: databuffer_size {rx.databuffer_size} "
            f"is not in {DATABUFFER_MIN}..{DATABUFFER_MAX}"
        )
    longest = pf.max_frame(vf)
    if not FRAME_MIN <= rx.max_pkt_size <= longest:
        raise _refuse(f"{where}: max_pkt_size {rx.max_pkt_size} is not in {FRAME_MIN}..{longest}")


def _check_rxdid(pf: Pf, where: str, rxdid: int) -> None:
    """ice before Linux 6.14 knows what it offers only after a VF's GET_SUPPORTED_RXDIDS."""
    if not pf.rxdids_told:
        raise _refuse(f"{where}: rxdid {rxdid} before GET_SUPPORTED_RXDIDS")
    if not _offered(rxdid):
        raise _refuse(f"{where}: rxdid {rxdid} was not offered")


def _offered(rxdid: int) -> bool:
    return bool(RXDIDS >> rxdid % RXDID_BITS & 1)


def _stop(pf: Pf, vf: Vf, queue: int, rx: bool) -> bool:
    """Stops a queue that is configured while it runs; returns whether it ran."""
    runs = vf.rx_enabled & ~vf.rx_stopped if rx else vf.tx_enabled
    ran = bool(runs >> queue & 1)
    if ran:
        vf.hardware.violation(
            "docs/spec/virtchnl.md 9",
            f"{'Rx' if rx else 'Tx'} queue {queue}: CONFIG_VSI_QUEUES while it is enabled",
        )
    pf.plane.disable_queue(vf.index, queue, rx)
    return ran


def _base(vf: Vf, side: str, queue: int, address: int) -> int:
    if address % UNIT:
        vf.hardware.violation(
            "docs/spec/descriptors.md 10",
            f"{side} queue {queue}: ring address {address:#x} is not {UNIT}-byte aligned, "
            "the low bits are lost",
        )
    return address - address % UNIT


def _configure_tx(pf: Pf, vf: Vf, tx: Any, ring: Ring) -> None:
    queue, (address, length) = int(tx.queue_id), ring
    offer = vf.queues.setdefault(queue, Offer())
    ran = _stop(pf, vf, queue, rx=False)
    if pf.personality.is_ice:
        vf.tx_enabled &= ~(1 << queue)  # until the next ENABLE_QUEUES, though it runs
    pf.plane.configure_tx(vf.index, queue, _base(vf, "Tx", queue, address), length)
    offer.tx = length > 0
    # ice starts a send queue here; ENABLE_QUEUES only turns its interrupt on
    # (docs/spec/virtchnl.md 9).
    if offer.tx and (ran or pf.personality.is_ice):
        pf.plane.enable_queue(vf.index, queue, False)


def _buffer_size(pf: Pf, asked: int) -> int:
    """What the context holds: i40e rounds down, ice up, beyond the buffer's end."""
    return (asked + (UNIT - 1 if pf.personality.is_ice else 0)) // UNIT * UNIT


def _longest_frame(pf: Pf, vf: Vf, rx: Any) -> int:
    """Both PFs add the port VLAN's tag; i40e's sum may be too long for its field in the context.

    ice takes no more than a frame's buffers hold.
    """
    longest = int(rx.max_pkt_size) + (PORT_VLAN_TAG if vf.port_vlan else 0)
    if pf.personality.is_ice:
        return min(longest, CHAINED * int(rx.databuffer_size))
    if longest >= I40E_FRAME_LIMIT:
        vf.hardware.violation(
            "docs/spec/pf-dialects.md 5",
            f"Rx queue {rx.queue_id}: max_pkt_size {rx.max_pkt_size} on a port VLAN leaves "
            f"{longest % I40E_FRAME_LIMIT} in the context: it will never receive",
        )
    return longest % I40E_FRAME_LIMIT


def _configure_rx(pf: Pf, vf: Vf, rx: Any, ring: Ring) -> None:
    queue, (address, length) = int(rx.queue_id), ring
    offer = vf.queues.setdefault(queue, Offer())
    ran = _stop(pf, vf, queue, rx=True)
    base = _base(vf, "Rx", queue, address)
    size = _buffer_size(pf, int(rx.databuffer_size))
    if size != rx.databuffer_size:
        text = f"Rx queue {queue}: databuffer_size {rx.databuffer_size} is taken as {size}"
        if size > rx.databuffer_size:
            text += ": the device may write beyond the end of the buffer"
        kind: ViolationKind = "violation" if size > rx.databuffer_size else "note"
        vf.hardware.violation("docs/spec/descriptors.md 10", text, kind)
    offer.rx, offer.rx_iova = length > 0 and size > 0, base
    flex = vf.has(lib.VC_CAP_RX_FLEX_DESC) and pf.rxdids_told and _offered(int(rx.rxdid))
    offer.keep_crc = bool(rx.crc_disable) and vf.has(lib.VC_CAP_CRC)
    if rx.ring_len and not size:
        vf.hardware.violation(
            "docs/spec/descriptors.md 10",
            f"Rx queue {queue}: databuffer_size 0, it will never receive",
        )
    if not offer.rx:
        return
    pf.plane.configure_rx(
        vf.index,
        queue,
        base,
        length,
        size,
        _longest_frame(pf, vf, rx),
        pf.personality.rxdid_written or (int(rx.rxdid) % RXDID_BITS if flex else RXDID_LEGACY),
        offer.keep_crc,
    )
    if ran:
        pf.plane.enable_queue(vf.index, queue, True)


def _select(pf: Pf, vf: Vf, payload: bytes) -> tuple[int, int]:
    message = ffi.from_buffer("struct vc_queue_select *", payload)
    vf.require_vsi(message.vsi_id, pf.personality.vsi_id(vf.index))
    rx, tx = int(message.rx_queues), int(message.tx_queues)
    if not rx and not tx:
        raise Refused(Status.PARAM, "no queue selected")
    if (rx | tx) >> 16:
        raise _not_there(rx, tx)
    return rx, tx


def _not_there(rx: int, tx: int) -> Refused:
    return Refused(Status.PARAM, f"maps {rx:#x}, {tx:#x} name a queue that the VF does not have")


def _bits(bitmap: int) -> list[int]:
    return [bit for bit in range(16) if bitmap >> bit & 1]


def enable_queues(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Starts queues; a LINK_CHANGE event follows the answer, whatever it is."""
    if not pf.personality.is_ice and vf.link_mode == "disable":
        raise Refused(Status.PERM, "the administrator disabled the VF's link", kind="note")
    asked = rx, tx = _select(pf, vf, payload)
    if pf.personality.is_ice:
        rx, tx = vf.until_wrong(rx, tx)
    rx_mapped = tx_mapped = 0
    for rx_map, tx_map in vf.vector_maps.values():
        rx_mapped, tx_mapped = rx_mapped | rx_map, tx_mapped | tx_map
    for unmapped, side in ((rx & ~rx_mapped, "Rx"), (tx & ~tx_mapped, "Tx")):
        if unmapped:
            vf.hardware.violation(
                "docs/spec/virtchnl.md 7",
                f"{side} queues {unmapped:#x} are on no vector: their write-backs may stay unseen",
                "note",
            )
    for queue in _bits(rx):
        if not vf.queues.get(queue, Offer()).rx:
            text = f"Rx queue {queue} was never configured: it does not start"
            vf.hardware.violation("docs/spec/virtchnl.md 9", f"{text}, the PF reports success")
    own = (1 << vf.num_queue_pairs) - 1  # i40e turns on what lies beyond, which is another's
    rx, tx = rx & own, tx & own
    if rx & vf.rx_stopped:
        vf.hardware.violation(
            "docs/spec/virtchnl.md 9",
            f"Rx queues {rx & vf.rx_stopped:#x} were stopped by a CONFIG_VSI_QUEUES that was "
            "refused: ice takes them for enabled, so they stay dead until DISABLE_QUEUES",
        )
    for queue in _bits(rx & ~vf.rx_enabled):
        if vf.queues.get(queue, Offer()).rx:
            pf.plane.enable_queue(vf.index, queue, True)
        vf.rx_enabled |= 1 << queue
    for queue in _bits(tx & ~vf.tx_enabled):
        _enable_tx(pf, vf, queue)
        vf.tx_enabled |= 1 << queue
    if pf.personality.is_ice and (rx, tx) != asked:
        raise _not_there(*asked)
    return b""


def _enable_tx(pf: Pf, vf: Vf, queue: int) -> None:
    if not vf.queues.get(queue, Offer()).tx:
        since = " since it was disabled: ice starts it there" if pf.personality.is_ice else ""
        vf.hardware.violation(
            "docs/spec/virtchnl.md 9",
            f"Tx queue {queue} is enabled without CONFIG_VSI_QUEUES{since}, so it stays dead",
        )
        return
    if not pf.personality.is_ice:
        pf.plane.enable_queue(vf.index, queue, False)


def disable_queues(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Stops queues; no DMA for them after the answer."""
    asked = rx, tx = _select(pf, vf, payload)
    if pf.personality.is_ice:
        tx, rx = vf.until_wrong(tx, rx)
    for queue in _bits(rx):
        pf.plane.disable_queue(vf.index, queue, True)
    for queue in _bits(tx):
        pf.plane.disable_queue(vf.index, queue, False)
        if pf.personality.is_ice and queue in vf.queues:
            vf.queues[queue].tx = False
    vf.rx_enabled &= ~rx
    vf.rx_stopped &= ~rx
    vf.tx_enabled &= ~tx
    if (rx, tx) != asked:
        raise _not_there(*asked)
    return b""


def stop_in_use(pf: Pf, vf: Vf) -> None:
    """Stops the first queues, as many as the last CONFIG_VSI_QUEUES had entries, before one all.

    The VF is not told, and its queues stay configured. Where it had more entries than the VF has
    queues, i40e stops the next VF's as well (docs/spec/pf-dialects.md 5).
    """
    pairs = vf.num_queue_pairs if vf.pairs_in_use is None else vf.pairs_in_use
    stopped = (1 << pairs) - 1
    for queue in _bits(vf.rx_enabled & stopped):
        pf.plane.disable_queue(vf.index, queue, True)
    for queue in _bits(vf.tx_enabled & stopped):
        pf.plane.disable_queue(vf.index, queue, False)
    vf.rx_enabled &= ~stopped
    vf.tx_enabled &= ~stopped


ROWS: tuple[Message, ...] = (
    Message("CONFIG_TX_QUEUE", fixed=24, unlock=ACTIVE),
    Message("CONFIG_RX_QUEUE", fixed=40, unlock=ACTIVE),
    Message("CONFIG_VSI_QUEUES", config_vsi_queues, fixed=72, per=64, count_at=2, unlock=ACTIVE),
    Message("ENABLE_QUEUES", enable_queues, fixed=12, unlock=ACTIVE),
    Message("DISABLE_QUEUES", disable_queues, fixed=12, unlock=ACTIVE),
)
