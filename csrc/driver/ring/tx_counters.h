/* SPDX-License-Identifier: BSD-3-Clause */
/* How counts of the send side reach the stats segment. The send block has one writer: whoever holds the
 * send side. What other threads note for it meanwhile, the holder counts at the end of its call. */
#ifndef IAVFIO_DRIVER_TX_COUNTERS_H
#define IAVFIO_DRIVER_TX_COUNTERS_H

#include "driver/block.h"
#include "driver/ring/queue_pair.h"

/* Counts of one send call, on its stack; small, so that clearing them costs nothing. */
struct tx_tally {
    uint32_t posted, posted_bytes, doorbells;
    uint32_t busy, stops;
    uint32_t refused_short, refused_long, refused_segments, refused_handle;
    struct pool_tally pool;
};

struct tx_reaped { /* counts of one look for completions */
    uint32_t packets, bytes; /* of a ring at most */
    uint32_t restarts;
    struct pool_tally pool;
};

/* Whether others noted something for the holder of the send side. */
static inline bool tx_counters_any_noted(const struct queue_pair *pair)
{
    return __atomic_load_n(&pair->hangs_seen, __ATOMIC_RELAXED) |
           __atomic_load_n(&pair->given_up, __ATOMIC_RELAXED);
}

/* Adds what others noted for the holder of the send side to its block, which is open. */
static inline void tx_counters_add_noted(struct queue_pair *pair)
{
    struct sq_counters *sq = pair->sq;

    if (unlikely(__atomic_load_n(&pair->hangs_seen, __ATOMIC_RELAXED)))
        block_add(&sq->hangs, __atomic_exchange_n(&pair->hangs_seen, 0, __ATOMIC_RELAXED));
    if (unlikely(__atomic_load_n(&pair->given_up, __ATOMIC_RELAXED)))
        block_add(&sq->refused_full, __atomic_exchange_n(&pair->given_up, 0, __ATOMIC_RELAXED));
}

static inline void tx_counters_add(struct queue_pair *pair, const struct tx_tally *tally)
{
    struct sq_counters *sq = pair->sq;
    uint64_t next = block_open(&sq->seq);

    block_add(&sq->posted, tally->posted);
    block_add(&sq->posted_bytes, tally->posted_bytes);
    block_add(&sq->doorbells, tally->doorbells);
    if (unlikely(tally->busy | tally->stops)) {
        block_add(&sq->busy, tally->busy);
        block_add(&sq->stops, tally->stops);
    }
    if (unlikely(tally->refused_short | tally->refused_long | tally->refused_segments |
                 tally->refused_handle)) {
        block_add(&sq->refused_short, tally->refused_short);
        block_add(&sq->refused_long, tally->refused_long);
        block_add(&sq->refused_segments, tally->refused_segments);
        block_add(&sq->refused_handle, tally->refused_handle);
    }
    tx_counters_add_noted(pair);
    block_close(&sq->seq, next);
}

/* Counts completions, and `lost` packets that will never complete. */
static inline void tx_counters_reaped(struct queue_pair *pair, const struct tx_reaped *reaped,
                                      uint32_t lost)
{
    struct sq_counters *sq = pair->sq;
    uint64_t next = block_open(&sq->seq);

    if (likely(reaped->packets)) {
        block_add(&sq->packets, reaped->packets);
        block_add(&sq->bytes, reaped->bytes);
        block_add(&sq->cleans, 1);
    }
    if (unlikely(reaped->restarts | lost)) {
        block_add(&sq->restarts, reaped->restarts);
        block_add(&sq->drop_reset, lost);
    }
    tx_counters_add_noted(pair);
    block_close(&sq->seq, next);
}

/* Counts packets posted under one doorbell, when there is nothing else to count. */
INLINE void tx_counters_posted(struct queue_pair *pair, struct run run)
{
    struct sq_counters *sq = pair->sq;
    uint64_t next = block_open(&sq->seq);

    block_add(&sq->posted, run.count);
    block_add(&sq->posted_bytes, run.bytes);
    block_add(&sq->doorbells, 1);
    block_close(&sq->seq, next);
}

/* Counts what others noted; returns `run`, so that a burst may end with a jump to it. */
struct run tx_counters_noted(struct queue_pair *pair, struct run run);

#endif
