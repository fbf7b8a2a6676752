# SPDX-License-Identifier: BSD-3-Clause
"""Queue messages: CONFIG_VSI_QUEUES, CONFIG_IRQ_MAP, ENABLE/DISABLE_QUEUES, GET_STATS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from iavfio._driver import ffi
from iavfio.errors import ConfigError
from iavfio.virtchnl.messages import opcodes as op
from iavfio.virtchnl.messages.resources import FRAME_MAX, FRAME_MIN, QUEUES_MAX, VECTORS_MAX
from iavfio.virtchnl.messages.wire import blank, bounded, check_reply, chunks, view, vsi

RING_MIN, RING_MAX, RING_STEP = 64, 8160, 32
RING_ALIGN: Final = 128  # PFs program base / 128
BUFFER_MIN, BUFFER_MAX = 128, 16256
ITR_NONE: Final = 3
PAIRS_PER_MESSAGE: Final = 32


@dataclass(frozen=True, slots=True)
class QueuePair:
    """One queue pair as CONFIG_VSI_QUEUES wants it.

    Rings in descriptors, addresses as IOVA (128-byte aligned), `buffer` and `max_frame` in bytes.
    `rxdid` stays 0 unless RX_FLEX_DESC was granted: for other PFs the byte is padding.
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


class VsiStats(NamedTuple):
    """GET_STATS: counters of the VSI in the order that `ethtool -S` prints them."""

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


def encode_config_queues(vsi_id: int, pairs: Sequence[QueuePair]) -> list[bytes]:
    """CONFIG_VSI_QUEUES; more than 32 pairs make several messages. Raises ConfigError."""
    numbers = [pair.queue for pair in pairs]
    if len(set(numbers)) != len(numbers):
        raise ConfigError("a queue is configured twice in one request")
    messages = []
    for part in chunks(op.CONFIG_VSI_QUEUES, pairs, PAIRS_PER_MESSAGE):
        data, info = blank("vc_vsi_queue_config_info", op.CONFIG_VSI_QUEUES, len(part))
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


def encode_irq_map(vsi_id: int, vectors: Sequence[VectorMap]) -> bytes:
    """CONFIG_IRQ_MAP for all vectors at once. Raises ConfigError."""
    if not vectors or len({entry.vector for entry in vectors}) != len(vectors):
        raise ConfigError("an interrupt map names each vector once, and at least one")
    (part,) = chunks(op.CONFIG_IRQ_MAP, vectors)[:1]
    if len(part) < len(vectors):
        raise ConfigError(f"an interrupt map holds at most {len(part)} vectors")
    data, info = blank("vc_irq_map_info", op.CONFIG_IRQ_MAP, len(vectors))
    info.num_vectors = len(vectors)
    for at, entry in enumerate(vectors):
        wire = info.vecmap[at]
        wire.vsi_id = vsi(vsi_id)
        wire.vector_id = bounded("vector", entry.vector, 0, VECTORS_MAX - 1)
        wire.rxq_map = bounded("Rx queue map", entry.rx_queues, 0, 0xFFFF)
        wire.txq_map = bounded("Tx queue map", entry.tx_queues, 0, 0xFFFF)
        wire.rxitr_idx = bounded("Rx ITR index", entry.rx_itr, 0, ITR_NONE)
        wire.txitr_idx = bounded("Tx ITR index", entry.tx_itr, 0, ITR_NONE)
    return bytes(data)


def encode_queue_select(opcode: int, vsi_id: int, rx_queues: int, tx_queues: int) -> bytes:
    """ENABLE_QUEUES, DISABLE_QUEUES and GET_STATS: bitmaps of queues, both 0 only for GET_STATS."""
    if opcode != op.GET_STATS and not rx_queues | tx_queues:
        raise ConfigError(f"{op.opcode_name(opcode)} needs at least one queue")
    data, info = blank("vc_queue_select", opcode)
    info.vsi_id = vsi(vsi_id)
    info.rx_queues = bounded("Rx queue map", rx_queues, 0, 0xFFFFFFFF)
    info.tx_queues = bounded("Tx queue map", tx_queues, 0, 0xFFFFFFFF)
    return bytes(data)


def decode_stats(payload: bytes) -> VsiStats:
    """GET_STATS reply. Counters wrap and restart at resets: readers make them monotonic (F16)."""
    check_reply(op.GET_STATS, len(payload))
    info = view("vc_eth_stats", op.GET_STATS, payload)
    return VsiStats._make(int(getattr(info, name)) for name in VsiStats._fields)


def queue_bitmap(queues: int) -> int:
    """The bitmap of queues 0..queues-1."""
    return (1 << bounded("number of queues", queues, 1, 32)) - 1


def _ring(side: str, length: int, iova: int) -> tuple[int, int]:
    bounded(f"{side} ring", length, RING_MIN, RING_MAX)
    if length % RING_STEP:
        raise ConfigError(f"{side} ring {length} is no multiple of {RING_STEP}")
    if not 0 < iova < 1 << 64 or iova % RING_ALIGN:
        raise ConfigError(f"{side} ring at IOVA {iova:#x} is not {RING_ALIGN}-byte aligned")
    return length, iova


def describe_config(payload: bytes) -> str:
    """One line on a CONFIG_VSI_QUEUES request."""
    info = view("vc_vsi_queue_config_info", op.CONFIG_VSI_QUEUES, payload)
    count = min(int(info.num_queue_pairs), (len(payload) - 8) // 64)
    if not count:
        return f"vsi {info.vsi_id}, no pairs"
    pair = info.qpair[0]
    text = f"vsi {info.vsi_id}, {count} pairs, ring {pair.txq.ring_len}/{pair.rxq.ring_len}"
    text += f", buffer {pair.rxq.databuffer_size}, max {pair.rxq.max_pkt_size}"
    return text + (f", rxdid {pair.rxq.rxdid}" if pair.rxq.rxdid else "")


def describe_irq_map(payload: bytes) -> str:
    """One line on a CONFIG_IRQ_MAP request."""
    info = view("vc_irq_map_info", op.CONFIG_IRQ_MAP, payload)
    count = min(int(info.num_vectors), (len(payload) - ffi.sizeof("struct vc_irq_map_info")) // 12)
    maps = [info.vecmap[at] for at in range(count)]
    shown = (f"{m.vector_id}: rx {m.rxq_map:#x} tx {m.txq_map:#x}" for m in maps[:4])
    return f"{count} vectors, " + "; ".join(shown) + ("; ..." if count > 4 else "")


def describe_select(payload: bytes) -> str:
    """One line on ENABLE_QUEUES or DISABLE_QUEUES."""
    info = view("vc_queue_select", op.ENABLE_QUEUES, payload)
    return f"vsi {info.vsi_id}, rx {info.rx_queues:#x}, tx {info.tx_queues:#x}"
