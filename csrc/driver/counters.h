/* SPDX-License-Identifier: BSD-3-Clause */
/* Per-queue counters as they lie in the shared stats segment: C writes them, other processes map them
 * read-only. Order and meaning of the libie part: docs/spec/libie-counters.md 1, 2, 3, 4. A block belongs
 * to a queue index for the life of the port, so totals survive stop, reset and resize
 * (docs/spec/libie-counters.md 2). seq is even while the block is stable; the one writer makes it odd
 * around an update. */
#ifndef IAVFIO_DRIVER_COUNTERS_H
#define IAVFIO_DRIVER_COUNTERS_H

#include <stdint.h>

struct rq_counters {
    uint64_t seq;
    /* libie, NAPI group */
    uint64_t packets;
    uint64_t bytes;
    uint64_t fragments;
    /* libie, fail group */
    uint64_t alloc_page_fail;
    uint64_t build_skb_fail;
    /* libie, page pool: our buffer pool's cache and shared ring (docs/spec/libie-counters.md 4) */
    uint64_t pp_alloc_fast;
    uint64_t pp_alloc_slow;
    uint64_t pp_alloc_slow_ho;
    uint64_t pp_alloc_empty;
    uint64_t pp_alloc_refill;
    uint64_t pp_alloc_waive;
    uint64_t pp_recycle_cached;
    uint64_t pp_recycle_cache_full;
    uint64_t pp_recycle_ring;
    uint64_t pp_recycle_ring_full;
    uint64_t pp_recycle_released_ref;
    /* our own: packets that libie has no name for, then how the polling goes */
    uint64_t drop_error; /* RXE, or a checksum of the frame itself was wrong at the MAC */
    uint64_t drop_oversize; /* length beyond the buffer, or chain beyond max_frame */
    uint64_t drop_chain; /* chain longer than RX_MAX_CHAIN or never ended */
    uint64_t drop_malformed; /* a write-back that no device may write */
    uint64_t drop_reset; /* received but lost to a reset or stop before delivery */
    uint64_t polls;
    uint64_t empty_polls;
    uint64_t reserved[8];
};

struct sq_counters {
    uint64_t seq;
    /* libie, NAPI group: counted at completion */
    uint64_t packets;
    uint64_t bytes;
    /* libie, xmit group */
    uint64_t busy;
    uint64_t stops;
    uint64_t restarts;
    uint64_t linearized;
    /* our own */
    uint64_t posted; /* packets handed to the device; posted - packets = in flight */
    uint64_t posted_bytes;
    /* below TX_MIN_FRAME: would have been an MDD event (docs/spec/descriptors.md 15) */
    uint64_t refused_short;
    uint64_t refused_long; /* above the frame limit */
    uint64_t refused_segments; /* more than TX_MAX_BUFFERS or an empty segment */
    uint64_t refused_handle; /* handle outside the pool */
    uint64_t drop_reset; /* posted, then lost to a reset or stop */
    uint64_t doorbells;
    uint64_t cleans;
    uint64_t hangs; /* stalls that were found, each once (docs/spec/libie-counters.md 6) */
    uint64_t refused_full; /* the ring was full when the burst was released */
    uint64_t reserved[14];
};

#endif
