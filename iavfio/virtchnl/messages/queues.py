# SPDX-License-Identifier: BSD-3-Clause
"""Queue messages: CONFIG_VSI_QUEUES, CONFIG_IRQ_MAP, ENABLE_QUEUES, DISABLE_QUEUES."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from iavfio._driver import ffi
from iavfio.errors import ConfigError
from iavfio.virtchnl.messages.message_type import QUICK, Advice, MessageType, nothing
from iavfio.virtchnl.messages.resources import FRAME_MAX, FRAME_MIN, QUEUES_MAX, VECTORS_MAX
from iavfio.virtchnl.messages.wire import Length, blank, bounded, chunks, view, vsi

RING_MIN, RING_MAX, RING_STEP = 64, 8160, 32
RING_ALIGN: Final = 128  # PFs program base / 128
BUFFER_MIN, BUFFER_MAX = 128, 16256
ITR_NONE: Final = 3
PAIRS_PER_MESSAGE: Final = 32

PAIRS: Final = Length(72, 64)
VECTORS: Final = Length(14, 12)
SELECT: Final = Length(12)


@dataclass(frozen=True, slots=True)
class QueuePairConfig:
    """One queue pair as CONFIG_VSI_QUEUES wants it.

    Rings are in descriptors, addresses are IOVAs (128-byte aligned), `buffer` and `max_frame` are
    in bytes. `rxdid` stays 0 unless RX_FLEX_DESC was granted: for other PFs the byte is padding.
    """

    queue: int
    tx_ring: int
    tx_iova: int
    rx_ring: int
    rx_iova: int
    buffer: int
    max_frame: int
    rxdid: int = 0
    crc_disable: bool = False
    rx_timestamp: bool = False


@dataclass(frozen=True, slots=True)
class VectorMap:
    """One vector as CONFIG_IRQ_MAP wants it: bitmaps of queues 0..15 and the ITR that paces each.

    An ITR index is 0..2, or 3 for none.
    """

    vector: int
    rx_queues: int = 0
    tx_queues: int = 0
    rx_itr: int = 0
    tx_itr: int = 1


def queue_bitmap(queues: int) -> int:
    """Returns the bitmap of queues 0..queues-1; raises ConfigError beyond 32."""
    return (1 << bounded("number of queues", queues, 1, 32)) - 1


def _encode_config(vsi_id: int, pairs: Sequence[QueuePairConfig]) -> list[bytes]:
    """More than 32 pairs make several messages."""
    numbers = [pair.queue for pair in pairs]
    if len(set(numbers)) != len(numbers):
        raise ConfigError("a queue is configured twice in one request")
    messages = []
    for part in chunks("queue pairs", PAIRS, pairs, PAIRS_PER_MESSAGE):
        data, info = blank("vc_vsi_queue_config_info", PAIRS, len(part))
        info.vsi_id = vsi(vsi_id)
        info.num_queue_pairs = len(part)
        for at, pair in enumerate(part):
            tx, rx = info.qpair[at].txq, info.qpair[at].rxq
            tx.vsi_id = rx.vsi_id = vsi_id
            tx.queue_id = rx.queue_id = bounded("queue", pair.queue, 0, QUEUES_MAX - 1)
            tx.ring_len, tx.dma_ring_addr = _ring("Tx", pair.tx_ring, pair.tx_iova)
            rx.ring_len, rx.dma_ring_addr = _ring("Rx", pair.rx_ring, pair.rx_iova)
            rx.databuffer_size = bounded("Rx buffer size", pair.buffer, BUFFER_MIN, BUFFER_MAX)
            rx.max_pkt_size = bounded("largest frame", pair.max_frame, FRAME_MIN, FRAME_MAX)
            rx.crc_disable = pair.crc_disable
            rx.rxdid = bounded("RXDID", pair.rxdid, 0, 63)
            rx.flags = pair.rx_timestamp
        messages.append(bytes(data))
    return messages


def _ring(side: str, length: int, iova: int) -> tuple[int, int]:
    bounded(f"{side} ring", length, RING_MIN, RING_MAX)
    if length % RING_STEP:
        raise ConfigError(f"{side} ring {length} is no multiple of {RING_STEP}")
    if not 0 < iova < 1 << 64 or iova % RING_ALIGN:
        raise ConfigError(f"{side} ring at IOVA {iova:#x} is not {RING_ALIGN}-byte aligned")
    return length, iova


def _show_config(payload: bytes) -> str:
    info = view("vc_vsi_queue_config_info", payload)
    count = min(int(info.num_queue_pairs), (len(payload) - 8) // PAIRS.per)
    if not count:
        return f"vsi {info.vsi_id}, no pairs"
    pair = info.qpair[0]
    text = f"vsi {info.vsi_id}, {count} pairs, ring {pair.txq.ring_len}/{pair.rxq.ring_len}"
    text += f", buffer {pair.rxq.databuffer_size}, max {pair.rxq.max_pkt_size}"
    return text + (f", rxdid {pair.rxq.rxdid}" if pair.rxq.rxdid else "")


def _encode_irq_map(vsi_id: int, vectors: Sequence[VectorMap]) -> list[bytes]:
    """All vectors go in one message, because each message replaces the map before it."""
    if not vectors or len({entry.vector for entry in vectors}) != len(vectors):
        raise ConfigError("an interrupt map names each vector once, and at least one")
    if len(vectors) > VECTORS.most:
        raise ConfigError(f"an interrupt map holds at most {VECTORS.most} vectors")
    data, info = blank("vc_irq_map_info", VECTORS, len(vectors))
    info.num_vectors = len(vectors)
    for at, entry in enumerate(vectors):
        wire = info.vecmap[at]
        wire.vsi_id = vsi(vsi_id)
        wire.vector_id = bounded("vector", entry.vector, 0, VECTORS_MAX - 1)
        wire.rxq_map = bounded("Rx queue map", entry.rx_queues, 0, 0xFFFF)
        wire.txq_map = bounded("Tx queue map", entry.tx_queues, 0, 0xFFFF)
        wire.rxitr_idx = bounded("Rx ITR index", entry.rx_itr, 0, ITR_NONE)
        wire.txitr_idx = bounded("Tx ITR index", entry.tx_itr, 0, ITR_NONE)
    return [bytes(data)]


def _show_irq_map(payload: bytes) -> str:
    info = view("vc_irq_map_info", payload)
    room = (len(payload) - ffi.sizeof("struct vc_irq_map_info")) // VECTORS.per
    count = min(int(info.num_vectors), room)
    maps = [info.vecmap[at] for at in range(min(count, 4))]
    shown = (f"{m.vector_id}: rx {m.rxq_map:#x} tx {m.txq_map:#x}" for m in maps)
    return f"{count} vectors, " + "; ".join(shown) + ("; ..." if count > 4 else "")


def _encode_select(vsi_id: int, rx_queues: int, tx_queues: int) -> list[bytes]:
    if not rx_queues | tx_queues:
        raise ConfigError("a request needs at least one queue")
    data, info = blank("vc_queue_select", SELECT)
    info.vsi_id = vsi(vsi_id)
    info.rx_queues = bounded("Rx queue map", rx_queues, 0, 0xFFFFFFFF)
    info.tx_queues = bounded("Tx queue map", tx_queues, 0, 0xFFFFFFFF)
    return [bytes(data)]


def _show_select(payload: bytes) -> str:
    info = view("vc_queue_select", payload)
    return f"vsi {info.vsi_id}, rx {info.rx_queues:#x}, tx {info.tx_queues:#x}"


# Arguments: a QueuePairConfig for each queue pair.
CONFIG_VSI_QUEUES = MessageType(
    "CONFIG_VSI_QUEUES",
    _encode_config,
    PAIRS,
    nothing,
    show=_show_config,
    advice=Advice(
        "ring length, buffer size, frame size or VSI id is beyond what it takes",
        "use fewer queues, rings of at most 4096, or a smaller MTU",
    ),
)

# Arguments: a VectorMap for each vector. PFs want the map in poll mode, too; ice takes no queue on
# vector 0 (docs/spec/virtchnl.md 9).
CONFIG_IRQ_MAP = MessageType(
    "CONFIG_IRQ_MAP",
    _encode_irq_map,
    VECTORS,
    nothing,
    show=_show_irq_map,
    advice=Advice(
        "a vector does not exist, or ice was given queues on vector 0",
        "use vectors 1..N of those that the VF has",
    ),
)

# Arguments: bitmaps of Rx and Tx queues. A LINK_CHANGE event follows the reply.
ENABLE_QUEUES = MessageType(
    "ENABLE_QUEUES",
    _encode_select,
    SELECT,
    nothing,
    show=_show_select,
    advice=Advice(
        "the host disabled the link, or the queues were not configured",
        "on the host: ip link set dev <PF> vf <N> state auto",
    ),
)

# Arguments: bitmaps of Rx and Tx queues. Once the PF has answered, the device writes to no ring of
# these queues. The deadline is short, because a reset ends DMA where the PF does not.
DISABLE_QUEUES = MessageType(
    "DISABLE_QUEUES", _encode_select, SELECT, nothing, deadline=QUICK, show=_show_select
)
